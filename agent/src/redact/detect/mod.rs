//! Finds personal data and secrets in text that no field table knows.
//!
//! Promise: what is found does not come out; what comes out in its place is a
//! marker `[class]`, `[class:token]` or `[phone:mask:token]`, such as
//! `[phone:1555****67:t1.…]`, `[email:t1.…]`, `[card]`, `[secret]`. In the
//! mask-only profile a phone becomes its mask alone and the rest `****`.
//!
//! Found: JIDs, phone numbers (with `+`, bare and valid, near a keyword, under a
//! key, nationally formatted), WhatsApp ids that hold numbers, e-mail, cards,
//! IBANs, JWTs, credentials, page tokens, AWS keys, private keys, passwords in
//! URLs and behind keys, content behind keys, IP addresses if the policy says
//! so; also behind percent and backslash escapes, in base64 and in hex.
//! Refused as numbers: clocks, byte counts, thread handles, trace ids.
//!
//! How: one pass over the words of the text, then, only if it has escapes, a
//! pass over the decoded text. Markers in between are fenced with 0xFF, a byte
//! that no UTF-8 text has, so that no text can pretend to be one.

mod card;
mod decode;
mod ids;
mod key;
mod net;
mod number;
mod pass;
mod plan;
mod secret;

pub(super) use key::{KeyClass, classify as classify_key};
pub(super) use number::is_clock;
pub(super) use plan::is_phone;

use super::stats::{Class, Stats};
use super::token::{Digits, Tokens};
use crate::json::escape_into;
use pass::Pass;

/// Fences markers while text is still being scanned.
const FENCE: u8 = 0xff;
/// How many layers of escapes are taken off.
const LAYERS: usize = 3;

/// What the detectors share: keys, counters, policy, scratch.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) tokens: Tokens,
    pub(super) stats: Stats,
    /// Whether masks are written.
    pub(super) mask: bool,
    /// Whether markers are only masks (the mask-only profile).
    pub(super) bare: bool,
    /// Whether IP addresses are taken out.
    pub(super) ips: bool,
    /// Buffers that passes borrow and give back.
    spare: Vec<Vec<u8>>,
}

impl Scanner {
    pub(super) fn new(tokens: Tokens, mask: bool, bare: bool, ips: bool) -> Self {
        Self { tokens, stats: Stats::default(), mask, bare, ips, spare: Vec::new() }
    }

    /// Appends `text`, redacted, to `out` as a JSON string body; how many hits.
    pub(super) fn scan(&mut self, text: &[u8], out: &mut Vec<u8>) -> u32 {
        let mut best = self.borrow();
        let hits = self.scan_raw(text, &mut best);
        finish(&best, out);
        self.give_back(best);
        hits
    }

    /// Whether anything in `text` would be taken out. Counts nothing.
    pub(super) fn finds(&mut self, text: &[u8]) -> bool {
        let stats = self.stats;
        let mut out = self.borrow();
        let hits = self.scan_raw(text, &mut out);
        self.give_back(out);
        self.stats = stats;
        hits > 0
    }

    /// Scans `text` into `best`, markers fenced.
    fn scan_raw(&mut self, text: &[u8], best: &mut Vec<u8>) -> u32 {
        let mut hits = self.pass(text, best, 0);
        if !decode::may_be_escaped(best) {
            return hits;
        }
        // `current` is the text with one more layer taken off; `best` the last
        // one in which something was found.
        let (mut current, mut next) = (self.borrow(), self.borrow());
        current.extend_from_slice(best);
        for _ in 0..LAYERS {
            next.clear();
            if !decode::unescape(&current, &mut next) {
                break;
            }
            current.clear();
            let found = self.pass(&next, &mut current, 0);
            if found > 0 {
                hits += found;
                best.clear();
                best.extend_from_slice(&current);
            }
        }
        self.give_back(current);
        self.give_back(next);
        hits
    }

    /// One pass over `text`; `depth` counts encodings looked into.
    fn pass(&mut self, text: &[u8], out: &mut Vec<u8>, depth: u8) -> u32 {
        Pass::new(self, text, out, depth).run()
    }

    /// Whether `decoded` (out of base64 or hex) holds anything. Counts nothing.
    fn finds_inside(&mut self, decoded: &[u8], depth: u8) -> bool {
        let stats = self.stats;
        let mut out = self.borrow();
        let hits = self.pass(decoded, &mut out, depth + 1);
        self.give_back(out);
        self.stats = stats;
        hits > 0
    }

    /// Appends a marker for a phone number, unfenced, and counts it.
    pub(super) fn phone_marker(&mut self, digits: &Digits, out: &mut Vec<u8>) {
        self.stats.count(Class::Phone);
        if self.bare {
            digits.mask(out);
            return;
        }
        out.extend_from_slice(b"[phone:");
        if self.mask {
            digits.mask(out);
            out.push(b':');
        }
        out.extend_from_slice(&self.tokens.token(Class::Phone, digits.as_slice()));
        out.push(b']');
    }

    /// Appends a marker, with a token over `canonical` if there is one.
    pub(super) fn marker(&mut self, class: Class, canonical: Option<&[u8]>, out: &mut Vec<u8>) {
        self.stats.count(class);
        if self.bare {
            out.extend_from_slice(b"****");
            return;
        }
        out.push(b'[');
        out.extend_from_slice(class.name().as_bytes());
        if let Some(canonical) = canonical {
            out.push(b':');
            out.extend_from_slice(&self.tokens.token(class, canonical));
        }
        out.push(b']');
    }

    /// An empty buffer that has been used before.
    pub(super) fn borrow(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a buffer back, to be used again.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare.push(buffer);
    }
}

/// Appends scanned text as a JSON string body, the fences taken off.
fn finish(scanned: &[u8], out: &mut Vec<u8>) {
    for piece in scanned.split(|&c| c == FENCE) {
        escape_into(piece, out);
    }
}

#[cfg(test)]
mod tests;
