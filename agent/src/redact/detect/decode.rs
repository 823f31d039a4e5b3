//! Takes encodings off: percent and backslash escapes, other scripts' digits,
//! base64, hex.

use crate::json::unescape_into;

/// Whether `text` could change under [`unescape`].
pub(super) fn may_be_escaped(text: &[u8]) -> bool {
    memchr::memchr3(b'\\', b'%', b'&', text).is_some()
        || memchr::memchr3(0xd9, 0xdb, 0xef, text).is_some()
        || memchr::memchr(0xe0, text).is_some()
}

/// Appends `text` with one layer of escapes taken off; whether any was.
///
/// Percent escapes only where they stand for something printable or a byte of a
/// multi-byte character: `%15550001111` must not lose its first digits.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let (used, byte) = match c {
            b'%' => (3, hex2(rest.get(1..3)).filter(|b| (0x20..0x7f).contains(b))),
            b'\\' => match rest.get(1) {
                Some(b'x') => (4, hex2(rest.get(2..4)).filter(|b| (0x20..0x7f).contains(b))),
                Some(b'u') => {
                    let before = out.len();
                    unescape_into(rest.get(..6).unwrap_or_default(), out);
                    if out.get(before) == Some(&b'\\') || out.len() == before {
                        out.truncate(before);
                        (0, None)
                    } else {
                        changed = true;
                        at += 6;
                        continue;
                    }
                }
                Some(c @ (b'"' | b'\'' | b'\\' | b'/')) => (2, Some(*c)),
                Some(b'n' | b'r' | b't') => (2, Some(b' ')),
                _ => (0, None),
            },
            b'&' => entity(rest),
            0xd9 | 0xdb | 0xe0 | 0xef => foreign_digit(rest),
            _ => (0, None),
        };
        if let Some(byte) = byte {
            out.push(byte);
            at += used;
            changed = true;
        } else {
            out.push(c);
            at += 1;
        }
    }
    changed
}

fn hex2(digits: Option<&[u8]>) -> Option<u8> {
    digits?
        .iter()
        .try_fold(0u8, |n, &c| u8::try_from(char::from(c).to_digit(16)?).ok().map(|d| n << 4 | d))
}

/// `&#43;` and `&#x2b;`.
fn entity(rest: &[u8]) -> (usize, Option<u8>) {
    let Some(body) = rest.strip_prefix(b"&#") else {
        return (0, None);
    };
    let (hex, body) = match body.split_first() {
        Some((b'x' | b'X', tail)) => (true, tail),
        _ => (false, body),
    };
    let len = body.iter().take(5).take_while(|c| c.is_ascii_hexdigit()).count();
    let radix = if hex { 16 } else { 10 };
    let code = body.get(..len).and_then(|d| str::from_utf8(d).ok());
    let code = code.and_then(|d| u8::from_str_radix(d, radix).ok());
    let end = body.get(len) == Some(&b';');
    (2 + usize::from(hex) + len + 1, code.filter(|c| end && (0x20..0x7f).contains(c)))
}

/// Arabic-Indic, Persian, Devanagari and full-width digits, full-width `+`.
fn foreign_digit(rest: &[u8]) -> (usize, Option<u8>) {
    let (used, base) = match *rest {
        [0xd9, c, ..] => (2, c.wrapping_sub(0xa0)),
        [0xdb, c, ..] => (2, c.wrapping_sub(0xb0)),
        [0xe0, 0xa5, c, ..] => (3, c.wrapping_sub(0xa6)),
        [0xef, 0xbc, 0x8b, ..] => return (3, Some(b'+')),
        [0xef, 0xbc, c, ..] => (3, c.wrapping_sub(0x90)),
        _ => (0, 255),
    };
    (used, (base < 10).then(|| b'0' + base))
}

/// Where the base64 run (either alphabet, padding) that begins at `start` ends.
pub(super) fn base64_run(text: &[u8], start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let len = rest.iter().take_while(|&&c| sextet(c).is_some()).count();
    let pad = rest.get(len..).unwrap_or_default().iter().take(2).take_while(|&&c| c == b'=');
    start + len + pad.count()
}

fn sextet(c: u8) -> Option<u8> {
    Some(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Appends what base64 `run` stands for, bytes that are not printable as spaces.
/// False if hardly anything is printable.
pub(super) fn base64(run: &[u8], out: &mut Vec<u8>) -> bool {
    base64_bytes(run, out);
    printable(out)
}

/// Appends the bytes that base64 `run` stands for.
pub(super) fn base64_bytes(run: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0u32, 0);
    for s in run.iter().map_while(|&c| sextet(c)) {
        bits = bits << 6 | u32::from(s);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 0xff).to_le_bytes()[0]);
        }
    }
}

/// Appends what hex `run` stands for; false unless it is all hex and printable.
pub(super) fn hex(run: &[u8], out: &mut Vec<u8>) -> bool {
    let (pairs, odd) = run.as_chunks::<2>();
    for pair in pairs {
        let Some(byte) = hex2(Some(pair)).filter(|b| (0x20..0x7f).contains(b)) else {
            return false;
        };
        out.push(byte);
    }
    odd.is_empty()
}

/// Turns what is not printable into spaces; whether a third was printable.
fn printable(bytes: &mut [u8]) -> bool {
    let mut kept = 0;
    for b in bytes.iter_mut() {
        if (0x21..0x7f).contains(b) {
            kept += 1;
        } else {
            *b = b' ';
        }
    }
    kept * 3 >= bytes.len()
}
