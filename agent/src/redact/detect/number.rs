//! Phone numbers and JIDs.

use super::super::stats::Class;
use super::super::token::Digits;
use super::pass::{Pass, Word};
use super::plan;

/// Digits and the separators between them, as people write numbers.
#[derive(Default)]
struct Grouped {
    digits: [u8; 20],
    /// For each group: digits up to its end, and where in the text it ends.
    groups: [(usize, usize); 8],
    count: usize,
    /// The separators seen: space, dash, dot, slash, parenthesis as bits.
    seps: u8,
    paren: bool,
}

/// Words that announce a number, with or without a colon behind them.
fn announces(word: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "call",
        "called",
        "calling",
        "caller",
        "callee",
        "phone",
        "phones",
        "telephone",
        "tel",
        "mobile",
        "cell",
        "msisdn",
        "number",
        "whatsapp",
        "sms",
        "dial",
        "contact",
        "recipient",
        "sender",
        "fax",
        "telefon",
        "telefono",
        "handy",
        "movil",
        "celular",
    ];
    (3..=9).contains(&word.len()) && WORDS.iter().any(|w| w.as_bytes().eq_ignore_ascii_case(word))
}

/// Whether a run of digits is a clock (epoch seconds to nanoseconds, 2001–2033).
pub(in super::super) fn is_clock(digits: &[u8]) -> bool {
    matches!(digits.len(), 10 | 13 | 16 | 19) && digits.first() == Some(&b'1')
}

impl Pass<'_> {
    /// A word of digits alone.
    pub(super) fn number_word(&mut self, word: Word) {
        let next = self.byte(word.end);
        if word.len() <= 3 && next == b'.' && self.ipv4(word.start) {
            return;
        }
        let first = self.byte(word.end + 1);
        if matches!(next, b' ' | b'-' | b'.' | b'/')
            && (first.is_ascii_digit() || first == b'(' || first == b'-')
            && self.grouped(word.start, word.start)
        {
            return;
        }
        if word.len() >= 7 {
            self.run_of_digits(word.start, word.end);
        }
    }

    /// Notes a word that announces a phone number.
    pub(super) fn note_hint(&mut self, word: Word) {
        if announces(self.text.get(word.start..word.end).unwrap_or_default()) {
            self.hint = Some(word.end);
        }
    }

    /// `+` and a number.
    pub(super) fn plus(&mut self) {
        let plus = self.at;
        let mut first = plus + 1;
        while matches!(self.byte(first), b' ' | b'(') && first < plus + 3 {
            first += 1;
        }
        if !self.byte(first).is_ascii_digit() {
            return;
        }
        let end = self.run_while(first, |c| c.is_ascii_digit());
        if self.jid(plus, first, end) {
            return;
        }
        self.grouped(plus, plus + 1);
    }

    /// `(` and a number.
    pub(super) fn paren(&mut self) {
        if self.byte(self.at + 1).is_ascii_digit() {
            self.grouped(self.at, self.at);
        }
    }

    /// A number that is written in groups, from `first` on; `start` is where the
    /// hit begins (a `+` may stand before).
    fn grouped(&mut self, start: usize, first: usize) -> bool {
        let it = self.collect(first);
        let plus = start != first;
        for n in (1..=it.count).rev() {
            let Some(&(len, end)) = it.groups.get(n - 1) else {
                continue;
            };
            let digits = it.digits.get(..len).unwrap_or_default();
            let lens = |i: usize| {
                let to = it.groups.get(i).map_or(0, |g| g.0);
                to - i.checked_sub(1).and_then(|i| it.groups.get(i)).map_or(0, |g| g.0)
            };
            let after = self.byte(end);
            let clock = after == b':' && self.byte(end + 1).is_ascii_digit();
            if n > 1 && !it.paren && self.card(start, end, digits) {
                return true;
            }
            let number = if plus {
                (7..=15).contains(&len)
            } else if n < 2 || clock || len > 17 {
                false
            } else {
                let national = match (n, lens(0)) {
                    (3, 3) => len == 10 && lens(1) == 3,
                    (2, 3) => len == 10 && it.paren,
                    (4, 1) => {
                        len == 11 && lens(1) == 3 && lens(2) == 3 && digits.first() == Some(&b'1')
                    }
                    _ => false,
                };
                let ten = digits.get(len.saturating_sub(10)..).unwrap_or_default();
                let north = national && ten.first().is_some_and(|c| *c >= b'2');
                let trunk = digits.first() == Some(&b'0')
                    && (9..=13).contains(&len)
                    && (2..=5).contains(&lens(0))
                    && (1..n).all(|i| lens(i) >= 2)
                    && it.seps & 4 == 0;
                let coded = (10..=15).contains(&len)
                    && plan::is_phone(digits)
                    && plan::calling_code(digits) == Some(lens(0))
                    && (1..n).all(|i| lens(i) >= 2);
                let hinted = self.hinted(start) && (7..=15).contains(&len) && it.seps & 4 == 0;
                let dialled = digits.strip_prefix(b"00").is_some_and(plan::is_phone)
                    && (1..n).all(|i| lens(i) >= 2)
                    && it.seps & 4 == 0;
                north || trunk || coded || hinted || dialled
            };
            if number {
                self.phone(start, end, &Digits::of(digits));
                return true;
            }
        }
        false
    }

    fn collect(&self, first: usize) -> Grouped {
        let mut it = Grouped::default();
        let (mut at, mut len) = (first, 0);
        loop {
            let mut seps = 0;
            while seps < 3 {
                it.seps |= match self.byte(at) {
                    b' ' => 1,
                    b'-' => 2,
                    b'.' => 4,
                    b'/' => 8,
                    b'(' | b')' => 16,
                    _ => break,
                };
                it.paren |= self.byte(at) == b'(';
                at += 1;
                seps += 1;
            }
            let end = self.run_while(at, |c| c.is_ascii_digit());
            if end == at || it.count == it.groups.len() {
                return it;
            }
            for i in at..end {
                let Some(to) = it.digits.get_mut(len) else {
                    return it;
                };
                *to = self.text.get(i).copied().unwrap_or(b'0');
                len += 1;
            }
            if let Some(group) = it.groups.get_mut(it.count) {
                *group = (len, end);
            }
            it.count += 1;
            at = end;
        }
    }

    /// A maximal run of seven or more digits.
    pub(super) fn run_of_digits(&mut self, start: usize, end: usize) {
        if self.jid(start, start, end) || self.email_through(end) {
            return;
        }
        let digits = self.text.get(start..end).unwrap_or_default();
        if self.card(start, end, digits) || start < self.kept_until {
            return;
        }
        if self.is_fraction(start) || self.is_uuid_part(start, end) {
            return;
        }
        let international = digits.strip_prefix(b"00").is_some_and(plan::is_phone);
        let hinted = (7..=15).contains(&digits.len()) && self.hinted(start) && !is_clock(digits);
        if international || plan::is_phone(digits) || hinted {
            self.phone(start, end, &Digits::of(digits));
        } else if digits.len() >= 16 {
            self.hex_digits(start, end);
        }
    }

    /// Hex of digits alone, `3136…`: the word loop gives it here as a number.
    fn hex_digits(&mut self, start: usize, end: usize) {
        let mut decoded = self.scanner.borrow();
        let digits = self.text.get(start..end).unwrap_or_default();
        let found = self.depth < 2
            && super::decode::hex(digits, &mut decoded)
            && self.scanner.finds_inside(&decoded, self.depth);
        self.scanner.give_back(decoded);
        if found {
            self.hit(start, end, Class::Hex, None);
        }
    }

    /// A JID whose user part begins with the digits `first..end`.
    fn jid(&mut self, start: usize, first: usize, end: usize) -> bool {
        // Device (`:12`, `_1`, `.0:3`) or the epoch of an old group id (`-161…`).
        let at =
            self.run_while(end, |c| c.is_ascii_digit() || matches!(c, b':' | b'_' | b'.' | b'-'));
        if self.byte(at) != b'@' || at - end > 20 {
            return false;
        }
        let domain = self.rest(at + 1);
        let is =
            |d: &str| domain.get(..d.len()).is_some_and(|x| x.eq_ignore_ascii_case(d.as_bytes()));
        let user = self.text.get(first..at).unwrap_or_default();
        if is("s.whatsapp.net") || is("c.us") || is("whatsapp.net") || is("hosted") {
            let digits = Digits::of(self.text.get(first..end).unwrap_or_default());
            self.phone(start, at, &digits);
        } else if is("g.us") {
            self.hit(start, at, Class::Group, Some(user));
        } else if is("lid") || is("newsletter") || is("broadcast") || is("call") || is("bot") {
            let user = self.text.get(first..end).unwrap_or_default();
            self.hit(start, at, Class::User, Some(user));
        } else {
            return false;
        }
        true
    }

    /// Whether a word that announces a number stands closely before.
    fn hinted(&self, start: usize) -> bool {
        self.hint.is_some_and(|end| start.saturating_sub(end) <= 16)
    }

    /// The fraction of a time of day, `12:20:42.060123456`.
    fn is_fraction(&self, start: usize) -> bool {
        let at = |back: usize| start.checked_sub(back).map_or(0, |i| self.byte(i));
        matches!(at(1), b'.' | b',')
            && at(2).is_ascii_digit()
            && at(3).is_ascii_digit()
            && at(4) == b':'
    }

    /// A part of a UUID.
    fn is_uuid_part(&self, start: usize, end: usize) -> bool {
        let dashes = |from: Option<usize>| {
            from.is_some_and(|f| {
                (0..36).all(|i| {
                    let c = self.byte(f + i);
                    if matches!(i, 8 | 13 | 18 | 23) { c == b'-' } else { c.is_ascii_hexdigit() }
                })
            })
        };
        (end - start == 12 && dashes(start.checked_sub(24)))
            || (end - start == 8 && dashes(Some(start)))
    }

    /// A hex id of a usual length.
    pub(super) fn is_trace_id(&self, word: Word) -> bool {
        matches!(word.len(), 12 | 16 | 24 | 32 | 40 | 56 | 64)
            && self
                .text
                .get(word.start..word.end)
                .is_some_and(|w| w.iter().all(u8::is_ascii_hexdigit))
    }
}
