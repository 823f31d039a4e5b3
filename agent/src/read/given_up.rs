//! What a sink gave up, out of the signed log, and where the archive has it.
//!
//! The `gap` leaves are the only truth: nothing beside the archive has to be kept
//! to know what `sealtail replay` has to send.

use super::archive::Archive;
use super::batch;
use super::identity::Identities;
use super::open::{OpenArchiveError, object_of};
use super::walk::{Fault, Walk};
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::leaf::{Body, Leaf, Missing};
use std::io;
use std::ops::Range;

/// One log, as far as it is to be sent again.
#[derive(Debug)]
pub struct Log {
    /// Its incarnation.
    pub incarnation: String,
    /// Ranges of records, in order, none touching another: each is in the archive
    /// without a hole.
    pub ranges: Vec<Range<u64>>,
    /// Ranges that are wanted and that the archive does not have: not yet, or not
    /// any more. A gap of the log's own says why.
    pub absent: Vec<Range<u64>>,
    batches: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    index: u64,
    leaf: Leaf,
    records: Range<u64>,
}

/// What is to be sent again.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// What this sink gave up.
    GivenUpBy(String),
    /// These records of one incarnation.
    Records(String, Range<u64>),
}

/// Reads the logs of `origin`.
///
/// # Errors
/// When the archive cannot be read, or a log is broken: what follows is not known then.
pub async fn logs(
    archive: &Archive,
    keys: &[VerifyingKey],
    origin: &str,
    wanted: &Wanted,
) -> Result<Vec<Log>, OpenArchiveError> {
    let mut logs = Vec::new();
    for (of, incarnation) in archive.incarnations() {
        let other = matches!(wanted, Wanted::Records(only, _) if *only != incarnation);
        if of != origin || other {
            continue;
        }
        let Some(mut walk) = Walk::new(archive, &of, &incarnation, keys) else { continue };
        let (mut ranges, mut batches) = (Vec::new(), Vec::new());
        if let Wanted::Records(_, range) = wanted {
            ranges.push(range.clone());
        }
        while let Some(step) = walk.step().await? {
            let step = step.map_err(|fault| match fault {
                Fault::Altered(what) | Fault::Missing(what) => OpenArchiveError::Broken(what),
            })?;
            match &step.leaf.body {
                Body::Batch { first, count, .. } => {
                    let records = *first..first.saturating_add(*count);
                    batches.push(Step { index: step.index, leaf: step.leaf, records });
                }
                Body::Gap { missing: Missing::Sink { sink, first, count }, .. } => {
                    if matches!(wanted, Wanted::GivenUpBy(name) if name == sink) {
                        ranges.push(*first..first.saturating_add(*count));
                    }
                }
                _ => {}
            }
        }
        let ranges = joined(ranges);
        let held = joined(batches.iter().map(|step| step.records.clone()).collect());
        let touches = |step: &Step| {
            ranges.iter().any(|r| step.records.start < r.end && r.start < step.records.end)
        };
        batches.retain(touches);
        let (ranges, absent) = (within(&ranges, &held), without(&ranges, &held));
        if !(ranges.is_empty() && absent.is_empty()) {
            logs.push(Log { incarnation, ranges, absent, batches });
        }
    }
    Ok(logs)
}

impl Log {
    /// Gives the lines of the records in `range`, in order, to `take`.
    ///
    /// # Errors
    /// When an object is missing, is another, or does not open; what `take` says.
    pub async fn read(
        &self,
        archive: &Archive,
        range: &Range<u64>,
        identities: &mut Identities,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), OpenArchiveError> {
        for step in &self.batches {
            let Some(object) = step.leaf.object() else { continue };
            if step.records.end <= range.start || step.records.start >= range.end {
                continue;
            }
            let bytes = object_of(archive, object, step.index).await?;
            batch::open(&bytes, &step.leaf, step.index, identities, |seq, line| {
                if range.contains(&seq) { take(seq, line) } else { Ok(()) }
            })
            .await
            .map_err(|source| {
                let name = archive.name(&object.key);
                OpenArchiveError::Object { name, source }
            })?;
        }
        Ok(())
    }
}

/// In order, and those that touch or overlap as one.
pub(crate) fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match out.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// What of `ranges` is in `held`; both as [`joined`] makes them.
fn within(ranges: &[Range<u64>], held: &[Range<u64>]) -> Vec<Range<u64>> {
    let both = |a: &Range<u64>, b: &Range<u64>| a.start.max(b.start)..a.end.min(b.end);
    let pairs = ranges.iter().flat_map(|a| held.iter().map(move |b| both(a, b)));
    pairs.filter(|range| !range.is_empty()).collect()
}

/// What of `ranges` is not in `held`; both as [`joined`] makes them.
pub(crate) fn without(ranges: &[Range<u64>], held: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for range in ranges {
        let mut at = range.start;
        for other in held.iter().filter(|o| o.end > range.start && o.start < range.end) {
            out.push(at..other.start.max(at));
            at = at.max(other.end);
        }
        out.push(at..range.end.max(at));
    }
    out.retain(|range| !range.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_cut_and_what_is_not_there_is_named() {
        let wanted = joined(vec![30..40, 0..5, 4..10, 10..12, 7..7]);
        assert_eq!(wanted, [0..12, 30..40]);
        let held = joined(vec![2..6, 8..20, 35..60]);
        assert_eq!(within(&wanted, &held), [2..6, 8..12, 35..40]);
        assert_eq!(without(&wanted, &held), [0..2, 6..8, 30..35]);
        assert_eq!(without(&wanted, &[]), wanted);
        let (few, many) = (joined(vec![3..3, 3..4]), joined(vec![0..5, 5..10]));
        assert_eq!(without(&few, &many), [0..0; 0]);
    }
}
