//! The CRI log form of Kubernetes runtimes:
//! `<RFC3339Nano> stdout|stderr P|F[:tags] message`.
//!
//! Source: kubernetes `pkg/kubelet/kuberuntime/logs` and the CRI logging design.
//! Refuses (with `None`) whatever is not of that form; the caller passes such a
//! line on as text, whole.

#![deny(clippy::indexing_slicing)]

use memchr::memchr;

use super::Part;
use crate::line::Stream;

/// The longest timestamp that is taken for one, in bytes (RFC 3339 with
/// nanoseconds and an offset has 35).
const LONGEST_TIME: usize = 40;

/// Takes the framing off one raw line.
pub(crate) fn parse(raw: &[u8]) -> Option<Part<'_>> {
    let (time, rest) = word(raw)?;
    let time = timestamp(time)?;
    let (stream, rest) = word(rest)?;
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // An empty message may come without the space behind the tag.
    let (tag, text) = word(rest).unwrap_or((rest, &[]));
    let more = match tag {
        [b'P'] | [b'P', b':', ..] => true,
        [b'F'] | [b'F', b':', ..] => false,
        _ => return None,
    };
    Some(Part { text, stream, time: Some(time), more })
}

/// Splits at the first space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr(b' ', text.get(..text.len().min(64)).unwrap_or(text))?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// `2024-11-04T13:02:44…`: enough of a check to tell a log from a sentence.
fn timestamp(text: &[u8]) -> Option<&str> {
    let form = b"0000-00-00T00:00:00";
    if text.len() < form.len() + 1 || text.len() > LONGEST_TIME {
        return None;
    }
    let fits =
        text.iter().zip(form).all(|(b, f)| if *f == b'0' { b.is_ascii_digit() } else { b == f });
    if !fits {
        return None;
    }
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_tags_and_empty_messages() {
        let part = parse(b"2024-11-04T13:02:44.7Z stdout P half ").unwrap();
        assert_eq!(part.text, b"half ");
        assert_eq!((part.stream, part.more), (Stream::Stdout, true));
        assert_eq!(part.time, Some("2024-11-04T13:02:44.7Z"));
        let part = parse(b"2024-11-04T13:02:44.625123456+00:00 stderr F:a:b x y").unwrap();
        assert_eq!((part.text, part.stream, part.more), (&b"x y"[..], Stream::Stderr, false));
        for empty in [&b"2024-11-04T13:02:44Z stdout F "[..], b"2024-11-04T13:02:44Z stdout F"] {
            assert_eq!(parse(empty).unwrap().text, b"");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for raw in [
            &b""[..],
            b"hello world",
            b"2024-11-04 13:02:44.625 UTC [44] LOG:  x",
            b"2024-11-04T13:02:44Z stdin F x",
            b"2024-11-04T13:02:44Z stdout Q x",
            b"2024-11-04T13:02:44Z stdout",
            b"\xff\xfe\xfd\x00",
        ] {
            assert!(parse(raw).is_none(), "{raw:?}");
        }
    }
}
