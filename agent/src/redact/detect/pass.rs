//! One pass over one text, word by word.

use super::super::stats::Class;
use super::super::token::Digits;
use super::plan::is_phone;
use super::{FENCE, Scanner, decode};

/// The state of a pass.
///
/// Invariant: `flushed <= at <= text.len()`; `text[..flushed]` has been written
/// or replaced, so a hit can reach back as far as `flushed`, not further.
pub(super) struct Pass<'a> {
    pub(super) scanner: &'a mut Scanner,
    pub(super) text: &'a [u8],
    out: &'a mut Vec<u8>,
    /// Everything before this has been written to `out`.
    flushed: usize,
    /// Where the pass stands.
    pub(super) at: usize,
    hits: u32,
    /// How many encodings this text was taken out of.
    pub(super) depth: u8,
    /// End of the last word that announces a phone number, if near.
    pub(super) hint: Option<usize>,
    /// Numbers that begin before this are under a key that makes them no phones.
    pub(super) kept_until: usize,
    /// Base64 runs have been looked into up to here.
    looked_until: usize,
}

/// A maximal run of ASCII letters and digits.
#[derive(Clone, Copy)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) digits: usize,
    pub(super) upper: usize,
}

impl Word {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

const DIGIT: u8 = 1;
const UPPER: u8 = 2;
const LOWER: u8 = 4;
const SIGN: u8 = 8;

/// What each byte begins: a word, something to look at, or nothing.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i: usize = 0;
    while i < 256 {
        let c = i.to_le_bytes()[0];
        table[i] = match c {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'=' | b':' | b'@' | b'+' | b'(' | b'-' | FENCE => SIGN,
            _ => 0,
        };
        i += 1;
    }
    table
};

fn class(c: u8) -> u8 {
    CLASS.get(usize::from(c)).copied().unwrap_or(0)
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        scanner: &'a mut Scanner,
        text: &'a [u8],
        out: &'a mut Vec<u8>,
        depth: u8,
    ) -> Self {
        Self {
            scanner,
            text,
            out,
            flushed: 0,
            at: 0,
            hits: 0,
            depth,
            hint: None,
            kept_until: 0,
            looked_until: 0,
        }
    }

    /// Runs to the end of the text; how many hits.
    pub(super) fn run(mut self) -> u32 {
        while let Some(&c) = self.text.get(self.at) {
            match class(c) {
                0 => self.at += 1,
                SIGN => {
                    let before = self.at;
                    self.sign(c);
                    self.at = self.at.max(before + 1);
                }
                _ => self.word(),
            }
        }
        self.out.extend_from_slice(self.text.get(self.flushed..).unwrap_or_default());
        self.hits
    }

    fn sign(&mut self, c: u8) {
        match c {
            b'=' | b':' => self.separator(c),
            b'@' => self.at_sign(),
            b'+' => self.plus(),
            b'(' => self.paren(),
            b'-' => self.private_key(),
            // A marker: copied as it is.
            _ => {
                let rest = self.text.get(self.at + 1..).unwrap_or_default();
                let len = memchr::memchr(FENCE, rest).unwrap_or(rest.len());
                self.at += len + 2;
                self.at = self.at.min(self.text.len());
            }
        }
    }

    fn word(&mut self) {
        let word = self.word_at(self.at);
        self.at = word.end;
        if word.digits == word.len() {
            self.number_word(word);
            return;
        }
        if self.special_word(word) || self.iban(word) {
            return;
        }
        if self.encoded(word) {
            return;
        }
        if word.digits >= 7 {
            self.runs_inside(word);
        } else if word.digits == 0 {
            self.note_hint(word);
        }
    }

    /// The word that begins at `start`.
    pub(super) fn word_at(&self, start: usize) -> Word {
        let (mut digits, mut upper) = (0, 0);
        let rest = self.text.get(start..).unwrap_or_default();
        let mut len = 0;
        for &c in rest {
            let k = class(c);
            if k & (DIGIT | UPPER | LOWER) == 0 {
                break;
            }
            digits += usize::from(k & DIGIT);
            upper += usize::from(k >> 1 & 1);
            len += 1;
        }
        Word { start, end: start + len, digits, upper }
    }

    /// The runs of seven or more digits in a word that has letters too.
    fn runs_inside(&mut self, word: Word) {
        // `\u0035…`: four digits of the escape, which the next layer takes off.
        let escape = self.before(word.start) == b'\\' && self.byte(word.start) == b'u';
        let mut at = word.start + if escape { 5 } else { 0 };
        while at < word.end {
            if self.byte(at).is_ascii_digit() {
                let mut end = at;
                while end < word.end && self.byte(end).is_ascii_digit() {
                    end += 1;
                }
                if end - at >= 7 && !self.is_trace_id(word) {
                    self.run_of_digits(at, end);
                }
                at = end;
            } else {
                at += 1;
            }
        }
        self.at = self.at.max(word.end);
    }

    /// Base64 or hex that holds something: taken out whole.
    fn encoded(&mut self, word: Word) -> bool {
        const MAX_DEPTH: u8 = 2;
        if self.depth >= MAX_DEPTH || word.start < self.looked_until {
            return false;
        }
        let end = decode::base64_run(self.text, word.start);
        if end - word.start < 14 {
            return false;
        }
        let Some(run) = self.text.get(word.start..end) else {
            return false;
        };
        let mut decoded = self.scanner.borrow();
        let hex = run.len() >= 16 && decode::hex(run, &mut decoded);
        let found = if hex {
            self.scanner.finds_inside(&decoded, self.depth)
        } else {
            decoded.clear();
            self.looked_until = end;
            run.iter().any(u8::is_ascii_uppercase)
                && decode::base64(run, &mut decoded)
                && self.scanner.finds_inside(&decoded, self.depth)
        };
        self.scanner.give_back(decoded);
        if found {
            self.hit(word.start, end, if hex { Class::Hex } else { Class::Base64 }, None);
        }
        found
    }

    /// Replaces `start..end` by a marker, and goes on behind it.
    pub(super) fn hit(&mut self, start: usize, end: usize, class: Class, token: Option<&[u8]>) {
        self.open(start, end);
        self.scanner.marker(class, token, self.out);
        self.out.push(FENCE);
    }

    /// Replaces `start..end`, whose digits are a phone number's.
    pub(super) fn phone(&mut self, start: usize, end: usize, digits: &Digits) {
        self.open(start, end);
        // `00` dials abroad where `+` does: one number, one token.
        let dialled = digits.as_slice().strip_prefix(b"00").filter(|rest| is_phone(rest));
        let digits = dialled.map_or(*digits, Digits::of);
        self.scanner.phone_marker(&digits, self.out);
        self.out.push(FENCE);
    }

    fn open(&mut self, start: usize, end: usize) {
        let start = start.max(self.flushed);
        let end = end.clamp(start, self.text.len());
        self.out.extend_from_slice(self.text.get(self.flushed..start).unwrap_or_default());
        self.out.push(FENCE);
        self.flushed = end;
        self.at = end;
        self.hits += 1;
        self.hint = None;
    }

    /// How far a hit can reach back.
    pub(super) fn floor(&self) -> usize {
        self.flushed
    }

    /// The byte at `at`; NUL outside.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The byte before `at`; NUL at the beginning.
    pub(super) fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |i| self.byte(i))
    }

    /// The text from `at` on.
    pub(super) fn rest(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// Where the run of bytes that `f` likes, from `at` on, ends.
    pub(super) fn run_while(&self, at: usize, f: impl Fn(u8) -> bool) -> usize {
        at + self.rest(at).iter().take_while(|&&c| f(c)).count()
    }

    /// Where the run of bytes that `f` likes, up to `at`, begins.
    pub(super) fn run_before(&self, at: usize, floor: usize, f: impl Fn(u8) -> bool) -> usize {
        let mut start = at;
        while start > floor && f(self.before(start)) {
            start -= 1;
        }
        start
    }
}
