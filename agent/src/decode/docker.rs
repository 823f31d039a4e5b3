//! Docker's json-file form: `{"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}`.
//!
//! Source: moby `daemon/logger/jsonfilelog/jsonlog`, which writes through its
//! own encoder. The keys may come in any order. A `log` that does not end in a
//! newline is a part; the next record of the same stream goes on with it.
//! Exactly 16384 bytes of text are a part and then a record that is only the
//! newline.
//!
//! The parser here allocates nothing and takes what that encoder writes. What
//! it does not know goes to `serde_json`; what that refuses too is no Docker
//! record (`None`), and the caller passes the line on as text, whole.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::Deserialize;

use super::Part;
use crate::line::Stream;

/// Takes the framing off one raw line; unescaped text goes to `scratch`.
pub(crate) fn parse<'a>(raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Part<'a>> {
    // Two steps, so that the borrow of `scratch` ends when the fast one refuses.
    let fast = match fields(raw, scratch) {
        Some(fields) => fields,
        None => slow(raw, scratch)?,
    };
    let text = match fast.log {
        Text::Raw(text) => text,
        Text::Scratch => &*scratch,
    };
    let (text, more) = match text.split_last() {
        Some((b'\n', text)) => (text, false),
        _ => (text, !fast.ended),
    };
    Some(Part { text, stream: fast.stream, time: fast.time, more })
}

/// Where the value of `log` stands.
enum Text<'a> {
    /// In the raw line; it had no escape (but perhaps the last newline's).
    Raw(&'a [u8]),
    /// In the scratch buffer, unescaped.
    Scratch,
}

struct Fields<'a> {
    log: Text<'a>,
    /// The escape of the last newline has been left out of a raw `log`.
    ended: bool,
    stream: Stream,
    time: Option<&'a str>,
}

/// What Docker's own encoder writes, without allocating.
fn fields<'a>(raw: &'a [u8], scratch: &mut Vec<u8>) -> Option<Fields<'a>> {
    let mut rest = raw.strip_prefix(b"{\"")?;
    let mut log = None;
    let mut stream = None;
    let mut time = None;
    loop {
        if let Some(value) = rest.strip_prefix(b"log\":\"") {
            if log.is_some() {
                return None;
            }
            let (text, ended, after) = string(value, scratch)?;
            log = Some((text, ended));
            rest = after;
        } else if let Some(value) = rest.strip_prefix(b"stream\":\"") {
            let (name, after) = plain(value)?;
            rest = after;
            stream = Some(stream_of(name)?);
        } else if let Some(value) = rest.strip_prefix(b"time\":\"") {
            let (stamp, after) = plain(value)?;
            rest = after;
            time = Some(std::str::from_utf8(stamp).ok()?);
        } else if let Some(value) = rest.strip_prefix(b"attrs\":{") {
            rest = skip_object(value)?;
        } else {
            return None;
        }
        match rest {
            b"}" | b"}\r" => break,
            [b',', b'"', after @ ..] => rest = after,
            _ => return None,
        }
    }
    let (log, ended) = log?;
    Some(Fields { log, ended, stream: stream?, time })
}

/// A name of a stream; others are not what Docker writes.
fn stream_of(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

/// A string without escapes, up to its quote: the value, and what follows.
fn plain(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr2(b'"', b'\\', text)?;
    match text.get(end)? {
        b'"' => Some((text.get(..end)?, text.get(end + 1..)?)),
        _ => None,
    }
}

/// A string up to its quote: the value, whether a last newline was left out of
/// it, and what follows.
fn string<'a>(text: &'a [u8], scratch: &mut Vec<u8>) -> Option<(Text<'a>, bool, &'a [u8])> {
    let first = memchr2(b'"', b'\\', text)?;
    let head = text.get(..first)?;
    let rest = text.get(first..)?;
    if let [b'"', after @ ..] = rest {
        return Some((Text::Raw(head), false, after));
    }
    // The commonest line of all: its only escape is the newline at its end.
    if let [b'\\', b'n', b'"', after @ ..] = rest {
        return Some((Text::Raw(head), true, after));
    }
    scratch.clear();
    scratch.extend_from_slice(head);
    let after = unescape(rest, scratch)?;
    Some((Text::Scratch, false, after))
}

/// Unescapes up to the closing quote into `out`: what follows the quote.
fn unescape<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        out.extend_from_slice(rest.get(..at)?);
        let code = match rest.get(at..)? {
            [b'"', after @ ..] => return Some(after),
            [b'\\', code, after @ ..] => {
                rest = after;
                *code
            }
            _ => return None,
        };
        match code {
            b'"' | b'\\' | b'/' => out.push(code),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => rest = unicode(rest, out)?,
            _ => return None,
        }
    }
}

/// The character of a `\u` escape, whose four digits `rest` begins with. A
/// surrogate without its other half becomes U+FFFD, as Go's decoder has it.
fn unicode<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (high, mut rest) = hex4(rest)?;
    let mut value = high;
    if (0xd800..0xdc00).contains(&high)
        && let Some(escape) = rest.strip_prefix(b"\\u")
        && let Some((low, after)) = hex4(escape)
        && (0xdc00..0xe000).contains(&low)
    {
        value = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        rest = after;
    }
    let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits
        .iter()
        .try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))?;
    Some((value, rest))
}

/// Skips an object whose opening brace has been taken: what follows its end.
fn skip_object(mut rest: &[u8]) -> Option<&[u8]> {
    let mut depth = 1u32;
    loop {
        let at = rest.iter().position(|b| matches!(b, b'"' | b'{' | b'}'))?;
        let byte = *rest.get(at)?;
        rest = rest.get(at + 1..)?;
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => rest = skip_string(rest)?,
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

fn skip_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        let quote = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if quote { 1 } else { 2 }..)?;
        if quote {
            return Some(rest);
        }
    }
}

/// A Docker record as other writers may put it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    time: Option<&'a str>,
}

/// The rare way: anything that is JSON and has a `log`, and a stream or a time.
fn slow<'a>(raw: &'a [u8], scratch: &mut Vec<u8>) -> Option<Fields<'a>> {
    memchr(b'{', raw.get(..raw.len().min(16))?)?;
    let record: Record<'a> = serde_json::from_slice(raw).ok()?;
    if record.stream.is_none() && record.time.is_none() {
        return None;
    }
    let stream = match record.stream.as_deref() {
        None | Some("") => Stream::None,
        Some(name) => stream_of(name.as_bytes())?,
    };
    scratch.clear();
    scratch.extend_from_slice(record.log.as_bytes());
    Some(Fields { log: Text::Scratch, ended: false, stream, time: record.time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(raw: &str) -> Option<(String, Stream, Option<String>, bool)> {
        let mut scratch = Vec::new();
        let part = parse(raw.as_bytes(), &mut scratch)?;
        let text = String::from_utf8_lossy(part.text).into_owned();
        Some((text, part.stream, part.time.map(str::to_owned), part.more))
    }

    #[test]
    fn plain_part_and_attrs() {
        assert_eq!(
            part(r#"{"log":"hello\n","stream":"stdout","time":"2019-01-01T11:11:11.1Z"}"#),
            Some(("hello".into(), Stream::Stdout, Some("2019-01-01T11:11:11.1Z".into()), false))
        );
        let (text, _, _, more) = part(r#"{"log":"half","stream":"stderr","time":"t"}"#).unwrap();
        assert_eq!((text.as_str(), more), ("half", true));
        let (text, stream, ..) =
            part(r#"{"time":"t","attrs":{"a}":"\"}{","n":{"m":1}},"stream":"stderr","log":"x\n"}"#)
                .unwrap();
        assert_eq!((text.as_str(), stream), ("x", Stream::Stderr));
        let (text, _, _, more) = part(r#"{"log":"\n","stream":"stdout","time":"t"}"#).unwrap();
        assert_eq!((text.as_str(), more), ("", false));
    }

    #[test]
    fn escapes_agree_with_serde_json() {
        for log in [
            "\"\\/\u{8}\u{c}\r\t\n",
            "a \u{1} \u{7f} é 漢 \u{1f600} <html>&amp;\u{2028}\n",
            "no newline at the end \\",
            "\\n\n",
        ] {
            let raw = serde_json::json!({"log": log, "stream": "stdout", "time": "t"}).to_string();
            let (text, .., more) = part(&raw).unwrap();
            assert_eq!(text, log.strip_suffix('\n').unwrap_or(log));
            assert_eq!(more, !log.ends_with('\n'));
        }
        let (text, ..) = part(
            r#"{"log":"\ud83d\ude00 \u003chtml\u003e \ud83d x \ude00\n","stream":"stdout","time":"t"}"#,
        )
        .unwrap();
        assert_eq!(text, "\u{1f600} <html> \u{fffd} x \u{fffd}");
    }

    #[test]
    fn other_writers_are_understood() {
        let (text, stream, ..) =
            part(r#" { "stream" : "stderr", "extra": [1], "log" : "spaced\n" }"#).unwrap();
        assert_eq!((text.as_str(), stream), ("spaced", Stream::Stderr));
    }

    #[test]
    fn what_is_no_docker_record_is_refused() {
        for raw in [
            "",
            "{",
            "plain",
            r#"{"log":"x"}"#,
            r#"{"log":1,"stream":"stdout"}"#,
            r#"{"log":"cut off"#,
            r#"{"log":"x\n","stream":"stdin","time":"t"}"#,
            r#"{"log":"x\n","log":"y\n","stream":"stdout","time":"t"}"#,
            r#"{"log":"bad \q escape\n","stream":"stdout","time":"t"}"#,
            r#"{"message":"a JSON line","stream":"stdout"}"#,
        ] {
            assert!(part(raw).is_none(), "{raw}");
        }
    }
}
