//! Finds the records that a destination refuses, and delivers the others.
//!
//! A record is condemned only if the same destination took another record of
//! the same batch; if all are refused, it is the destination that is wrong (an
//! index, a proxy), and nothing is condemned (DESIGN.md, "Errors"). A refused
//! range is halved; of two halves, the second is known to be the bad one when
//! the first was taken, and what nobody has judged yet is tried again as one.
//! So one bad record among n is found with at most log2(n) + 4 requests; it is
//! tried alone before it is condemned.

use super::answer::Refusal;
use std::ops::Range;

/// How many single records may be refused, with none taken, before it is said
/// that all are.
const ALL: usize = 5;

/// What to do next: ranges are places in the batch's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send these, and say what became of them.
    Try(Range<usize>),
    /// All is known: these records are condemned, all others were taken.
    Condemned(Vec<(usize, Refusal)>),
    /// Everything that was tried is refused: the destination is wrong.
    AllRefused(Refusal),
}

/// The search in one batch.
#[derive(Debug)]
pub struct Dissection {
    /// Ranges that nobody has judged, in order.
    unknown: Vec<Range<usize>>,
    /// A range that has a bad record in it, and why: it was refused, or it is what
    /// is left of one that was.
    bad: Option<(Range<usize>, Refusal)>,
    /// `bad` is one record that was refused alone, not only left over.
    alone: bool,
    /// What is refused is too large: a part being taken says nothing of the rest.
    by_size: bool,
    /// What [`Next::Try`] named last.
    trying: Option<Range<usize>>,
    taken: bool,
    singles: Vec<(usize, Refusal)>,
    /// Records that were tried out of order, to find one that is taken.
    samples: usize,
}

impl Dissection {
    /// The whole batch of `len` records was refused; `named` is the record that
    /// the destination blames.
    #[must_use]
    pub fn new(len: usize, refusal: Refusal, named: Option<usize>) -> Self {
        let mut search = Self {
            unknown: Vec::new(),
            bad: None,
            alone: len == 1,
            by_size: false,
            trying: None,
            taken: false,
            singles: Vec::new(),
            samples: 0,
        };
        match named.filter(|n| *n < len && len > 1) {
            // Its word is tried, not believed: the one record alone, first.
            Some(n) => {
                search.unknown =
                    [n..n + 1, 0..n, n + 1..len].into_iter().filter(|r| !r.is_empty()).collect();
            }
            None => search.bad = Some((0..len, refusal)),
        }
        search
    }

    /// The whole batch was refused because it is too large.
    #[must_use]
    pub fn halving(len: usize, refusal: Refusal) -> Self {
        let mut search = Self::new(len, refusal, None);
        search.sized();
        search
    }

    /// From here on parts are judged by their size: what is refused is halved,
    /// and nothing is concluded.
    fn sized(&mut self) {
        self.by_size = true;
        if let Some((range, refusal)) = self.bad.take() {
            self.halve(range, refusal);
        }
    }

    fn halve(&mut self, range: Range<usize>, refusal: Refusal) {
        if range.len() <= 1 {
            self.singles.push((range.start, refusal));
            return;
        }
        let middle = range.start + range.len() / 2;
        self.unknown.splice(0..0, [range.start..middle, middle..range.end]);
    }

    /// What to do next.
    pub fn step(&mut self) -> Next {
        if let Some((range, refusal)) = self.bad.take() {
            if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                self.bad = Some((range.clone(), refusal));
                return self.attempt(range.start..middle);
            }
            if !self.alone {
                // It is condemned for what was said of it alone.
                return self.attempt(range);
            }
            self.singles.push((range.start, refusal));
        }
        if !self.taken
            && self.singles.len() + self.samples >= ALL
            && let Some((_, refusal)) = self.singles.first()
        {
            return Next::AllRefused(refusal.clone());
        }
        if !self.taken && self.singles.len() >= 3 {
            // Is there any that it takes? The last one, then one in the middle.
            if let Some(last) = self.unknown.pop() {
                let at = if self.samples == 0 { last.end - 1 } else { last.start + last.len() / 2 };
                self.samples += 1;
                for part in [last.start..at, at + 1..last.end] {
                    if !part.is_empty() {
                        self.unknown.push(part);
                    }
                }
                return self.attempt(at..at + 1);
            }
        }
        if !self.unknown.is_empty() {
            let range = self.unknown.remove(0);
            return self.attempt(range);
        }
        match self.singles.first() {
            Some((_, refusal)) if !self.taken => Next::AllRefused(refusal.clone()),
            _ => {
                let mut singles = std::mem::take(&mut self.singles);
                singles.sort_by_key(|(n, _)| *n);
                Next::Condemned(singles)
            }
        }
    }

    /// What was tried last was taken.
    pub fn was_taken(&mut self) {
        self.taken = true;
        let Some(tried) = self.trying.take() else { return };
        if let Some((range, refusal)) = self.bad.take() {
            // So it is in the other half.
            self.alone = false;
            self.bad = Some((tried.end..range.end, refusal));
        }
    }

    /// What was tried last was refused; `too_large`: for its size.
    pub fn was_refused(&mut self, refusal: Refusal, too_large: bool) {
        let Some(tried) = self.trying.take() else { return };
        if too_large && !self.by_size {
            let rest = self.bad.take().map(|(range, _)| tried.end..range.end);
            self.by_size = true;
            self.unknown.splice(0..0, rest.filter(|r| !r.is_empty()));
        }
        if self.by_size {
            return self.halve(tried, refusal);
        }
        self.alone = tried.len() == 1;
        if let Some((range, _)) = self.bad.take() {
            let rest = tried.end..range.end;
            match self.unknown.first_mut() {
                Some(first) if first.start == rest.end => first.start = rest.start,
                _ => self.unknown.insert(0, rest),
            }
        }
        self.bad = Some((tried, refusal));
    }

    fn attempt(&mut self, range: Range<usize>) -> Next {
        self.trying = Some(range.clone());
        Next::Try(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn refusal() -> Refusal {
        Refusal { status: 400, code: Some(6), reason: "invalid".into(), entry: None }
    }

    /// Runs it against a destination that refuses a range with a bad record in
    /// it: what is taken, what is condemned (`None`: all refused), requests.
    fn search(len: usize, bad: &[usize], named: bool) -> (Vec<usize>, Option<Vec<usize>>, usize) {
        let first = named.then(|| bad[0]);
        let mut dissection = Dissection::new(len, refusal(), first);
        let (mut taken, mut requests) = (Vec::new(), 1);
        loop {
            match dissection.step() {
                Next::Try(range) => {
                    requests += 1;
                    if bad.iter().any(|b| range.contains(b)) {
                        dissection.was_refused(refusal(), false);
                    } else {
                        taken.extend(range);
                        dissection.was_taken();
                    }
                }
                Next::Condemned(singles) => {
                    return (taken, Some(singles.into_iter().map(|s| s.0).collect()), requests);
                }
                Next::AllRefused(_) => return (taken, None, requests),
            }
        }
    }

    #[test]
    fn one_bad_record_of_a_thousand_costs_few_requests() {
        for bad in [0, 1, 499, 500, 998, 999] {
            for named in [false, true] {
                let (taken, condemned, requests) = search(1000, &[bad], named);
                let all: BTreeSet<_> = taken.iter().copied().collect();
                assert_eq!((taken.len(), all.len()), (999, 999), "nothing twice");
                assert_eq!(condemned, Some(vec![bad]));
                assert!(requests <= if named { 4 } else { 15 }, "{bad}: {requests} requests");
            }
        }
    }

    #[test]
    fn any_bad_records_are_found_and_all_others_taken_once() {
        let mut at = 7_u64;
        let mut random = |n: u64| {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (at >> 33) % n
        };
        for _ in 0..500 {
            let len = 1 + random(200) as usize;
            let count = random(len as u64 + 1) as usize;
            let bad: BTreeSet<usize> = (0..count).map(|_| random(len as u64) as usize).collect();
            let bad: Vec<_> = bad.into_iter().collect();
            if bad.is_empty() {
                continue;
            }
            let (taken, condemned, _) = search(len, &bad, false);
            let all: BTreeSet<_> = taken.iter().copied().collect();
            assert_eq!(all.len(), taken.len(), "nothing twice");
            match condemned {
                Some(condemned) => {
                    assert_eq!(condemned, bad);
                    assert_eq!(taken.len(), len - bad.len());
                }
                None => assert!(taken.is_empty(), "{bad:?} of {len}: {taken:?}"),
            }
        }
    }

    /// A refusal that was a mood of the destination condemns nobody.
    #[test]
    fn what_is_taken_when_it_is_tried_again_is_not_condemned() {
        for (len, named) in [(1000, None), (7, Some(3)), (2, None)] {
            let mut dissection = Dissection::new(len, refusal(), named);
            let mut taken = 0;
            let condemned = loop {
                match dissection.step() {
                    Next::Try(range) => {
                        taken += range.len();
                        dissection.was_taken();
                    }
                    Next::Condemned(singles) => break singles,
                    Next::AllRefused(_) => panic!("all refused"),
                }
            };
            assert_eq!((taken, condemned), (len, vec![]));
        }
    }

    #[test]
    fn what_is_too_large_is_halved_until_it_fits() {
        let sizes: Vec<_> = (0..100).map(|n| if n == 40 { 5000 } else { 10 + n % 7 }).collect();
        for switch in [false, true] {
            let mut dissection = if switch {
                Dissection::new(100, refusal(), None)
            } else {
                Dissection::halving(100, refusal())
            };
            let mut taken = Vec::new();
            let condemned = loop {
                match dissection.step() {
                    Next::Try(range) if sizes[range.clone()].iter().sum::<usize>() > 300 => {
                        dissection.was_refused(refusal(), true);
                    }
                    Next::Try(range) => {
                        taken.extend(range);
                        dissection.was_taken();
                    }
                    Next::Condemned(singles) => break singles,
                    Next::AllRefused(_) => panic!("all refused"),
                }
            };
            taken.sort_unstable();
            assert_eq!(taken, (0..100).filter(|n| *n != 40).collect::<Vec<_>>());
            assert_eq!(condemned.iter().map(|s| s.0).collect::<Vec<_>>(), [40]);
        }
    }

    #[test]
    fn where_all_are_refused_nothing_is_condemned_and_little_is_asked() {
        let all: Vec<_> = (0..1000).collect();
        let (taken, condemned, requests) = search(1000, &all, false);
        assert_eq!((taken.len(), condemned), (0, None));
        assert!(requests < 50, "{requests}");
        // A single record has no other beside it.
        assert_eq!(search(1, &[0], false), (vec![], None, 1));
        assert_eq!(search(2, &[0], false).1, Some(vec![0]));
        // The first few being bad is not all.
        assert_eq!(search(1000, &[0, 1, 2, 3, 4, 5, 6, 7], false).1.unwrap().len(), 8);
    }
}
