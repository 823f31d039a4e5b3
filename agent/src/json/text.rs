//! JSON string bodies: escape and unescape into buffers that are used again.

use std::str;

/// Appends the text that the JSON string body `raw` stands for.
///
/// `raw` is what stands between the quotes. On a tape it has been checked, and
/// is decoded exactly; elsewhere (a string that was cut off) whatever is not an
/// escape is copied as it is, and a lone surrogate becomes U+FFFD.
pub fn unescape_into(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let used = match tail.get(1).copied() {
            Some(b'u') => unicode(tail, out),
            Some(c) => simple(c).map_or(0, |byte| {
                out.push(byte);
                2
            }),
            None => 0,
        };
        if used == 0 {
            out.push(b'\\');
            rest = tail.get(1..).unwrap_or_default();
        } else {
            rest = tail.get(used..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
}

/// The byte that a two-character escape stands for.
fn simple(c: u8) -> Option<u8> {
    Some(match c {
        b'"' | b'\\' | b'/' => c,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Decodes `\uXXXX`, or a surrogate pair of them; how many bytes that took.
fn unicode(tail: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = hex4(tail.get(2..6)) else {
        return 0;
    };
    let (code, used) = if (0xd800..0xdc00).contains(&first) {
        match tail.get(6..8).filter(|x| *x == b"\\u").and_then(|_| hex4(tail.get(8..12))) {
            Some(low) if (0xdc00..0xe000).contains(&low) => {
                (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 12)
            }
            _ => (0xfffd, 6),
        }
    } else {
        (first, 6)
    };
    let c = char::from_u32(code).unwrap_or('\u{fffd}');
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    used
}

/// Four hex digits.
pub(super) fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0u32, |n, &c| Some(n << 4 | char::from(c).to_digit(16)?))
}

/// Appends `text` as a JSON string body (no quotes), always valid on one line.
///
/// Control characters and U+007F are escaped; bytes that are not UTF-8 become
/// U+FFFD.
pub fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = str::from_utf8(text) {
        escape_valid(text.as_bytes(), out);
        return;
    }
    for chunk in text.utf8_chunks() {
        escape_valid(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_valid(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    while let Some(at) = find_special(rest) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&c, tail)) = tail.split_first() else {
            return;
        };
        match c {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                let nibbles = [c >> 4, c & 15];
                out.extend(nibbles.map(|n| HEX.get(usize::from(n)).copied().unwrap_or(b'0')));
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Where the first byte is that a JSON string body cannot hold as it is.
///
/// Eight bytes a step (a lane's high bit is set where the byte is below 0x20,
/// `"`, `\` or 0x7f); false alarms are settled byte by byte.
pub(super) fn find_special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let special = |c: u8| c < 0x20 || c == b'"' || c == b'\\' || c == 0x7f;
    let mut at = 0;
    let (words, tail) = text.as_chunks::<8>();
    for word in words {
        let x = u64::from_le_bytes(*word);
        let hit = (x.wrapping_sub(ONES * 0x20) & !x)
            | zero(x ^ (ONES * 0x22))
            | zero(x ^ (ONES * 0x5c))
            | zero(x ^ (ONES * 0x7f));
        if hit & HIGH != 0
            && let Some(i) = word.iter().position(|&c| special(c))
        {
            return Some(at + i);
        }
        at += 8;
    }
    tail.iter().position(|&c| special(c)).map(|i| at + i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = vec![b'"'];
        escape_into(text, &mut out);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(escaped(b"a\xff\xfeb\0"), "\"a\u{fffd}\u{fffd}b\\u0000\"");
    }

    #[test]
    fn a_string_that_was_cut_off_is_decoded_as_far_as_it_goes() {
        let mut out = Vec::new();
        unescape_into(br"a\u00e9\ud83d\ude2e\ud83d\x\", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "aé😮\u{fffd}\\x\\");
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in ".*") {
            let json = escaped(text.as_bytes());
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&back, &text);
            let mut out = Vec::new();
            unescape_into(&json.as_bytes()[1..json.len() - 1], &mut out);
            prop_assert_eq!(out, text.as_bytes());
        }
    }
}
