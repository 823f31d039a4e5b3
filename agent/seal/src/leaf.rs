//! The leaves of the log tree: small texts (SEAL-FORMAT.md section 3).
//!
//! `audit-<kind>/v1`, then `key value` lines in a fixed order, each ended by a
//! newline. Only the exact form is accepted: what does not encode back to the
//! same bytes is no leaf.

use crate::base64;
use crate::layout::{check_incarnation, check_origin, is_field_key_id, is_plain_part};
use crate::merkle::Hash;
use crate::time::{digits, is_day};

/// A leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whose log it is.
    pub origin: String,
    /// Which incarnation.
    pub incarnation: String,
    /// What it says.
    pub body: Body,
}

/// What a leaf says. Times are RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The agent started.
    Start {
        /// When.
        time: String,
        /// The Ed25519 public key that signs from here on.
        key: [u8; 32],
        /// SHA-256 of the effective configuration.
        config: [u8; 32],
        /// The next record's number.
        next: u64,
        /// The incarnation before this one, where known.
        previous: Option<String>,
    },
    /// A sealed batch.
    Batch {
        /// The first record's number.
        first: u64,
        /// How many records.
        count: u64,
        /// Journal time of the first and of the last record.
        time: (String, String),
        /// Root of the record tree.
        records: Hash,
        /// The sealed object.
        object: Object,
    },
    /// Something is missing.
    Gap {
        /// When it was noticed.
        time: String,
        /// What is missing.
        missing: Missing,
    },
    /// A sealed field key.
    Key {
        /// Its id: 8 base64url characters.
        kid: String,
        /// The sealed object.
        object: Object,
    },
    /// Nothing happened, but the agent lives.
    Alive {
        /// When.
        time: String,
        /// The next record's number.
        next: u64,
    },
    /// The agent ended in order.
    End {
        /// When.
        time: String,
        /// The next record's number.
        next: u64,
    },
}

/// A sealed object, as its leaf names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// SHA-256 of the object's bytes.
    pub sha256: [u8; 32],
    /// Length in bytes.
    pub len: u64,
    /// Object key, relative to the archive's prefix.
    pub key: String,
}

/// What a gap is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Part of a source; the record with this number says which.
    Source {
        /// The gap record's number.
        seq: u64,
    },
    /// Records that had numbers and are lost (a damaged journal).
    Records {
        /// The first number.
        first: u64,
        /// How many.
        count: u64,
    },
}

/// Not a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a leaf of a sealtail log, or not in its one canonical form")]
pub struct NotALeaf;

impl Leaf {
    /// The leaf's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let head = |kind| {
            format!("audit-{kind}/v1\norigin {}\nincarnation {}\n", self.origin, self.incarnation)
        };
        match &self.body {
            Body::Start { time, key, config, next, previous } => {
                let previous =
                    previous.as_ref().map_or_else(String::new, |p| format!("previous {p}\n"));
                format!(
                    "{}time {time}\nkey {}\nconfig {}\nnext {next}\n{previous}",
                    head("start"),
                    base64::encode(key),
                    hex(config)
                )
            }
            Body::Batch { first, count, time: (from, to), records, object } => format!(
                "{}first {first}\ncount {count}\ntime {from} {to}\nrecords {}\n{}",
                head("batch"),
                base64::encode(records),
                object.line()
            ),
            Body::Gap { time, missing: Missing::Source { seq } } => {
                format!("{}time {time}\nsource {seq}\n", head("gap"))
            }
            Body::Gap { time, missing: Missing::Records { first, count } } => {
                format!("{}time {time}\nrecords {first} {count}\n", head("gap"))
            }
            Body::Key { kid, object } => format!("{}kid {kid}\n{}", head("key"), object.line()),
            Body::Alive { time, next } => format!("{}time {time}\nnext {next}\n", head("alive")),
            Body::End { time, next } => format!("{}time {time}\nnext {next}\n", head("end")),
        }
    }

    /// The leaf itself, if its text reads back: what is logged must be readable.
    ///
    /// # Errors
    /// [`NotALeaf`] for a leaf with a field that its text cannot hold.
    pub fn checked(self) -> Result<Self, NotALeaf> {
        Self::parse(&self.encode()).ok().filter(|leaf| *leaf == self).ok_or(NotALeaf)
    }

    /// Parses a leaf's text.
    ///
    /// # Errors
    /// [`NotALeaf`] for anything that [`Leaf::encode`] does not give.
    pub fn parse(text: &str) -> Result<Self, NotALeaf> {
        parse(text).filter(|leaf| leaf.encode() == text).ok_or(NotALeaf)
    }

    /// The kind's name, as in the first line.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::Start { .. } => "start",
            Body::Batch { .. } => "batch",
            Body::Gap { .. } => "gap",
            Body::Key { .. } => "key",
            Body::Alive { .. } => "alive",
            Body::End { .. } => "end",
        }
    }

    /// The sealed object, if it names one.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match &self.body {
            Body::Batch { object, .. } | Body::Key { object, .. } => Some(object),
            _ => None,
        }
    }
}

impl Object {
    fn line(&self) -> String {
        format!("object {} {} {}\n", hex(&self.sha256), self.len, self.key)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(3, ' ');
        let object = Self {
            sha256: unhex(parts.next()?)?,
            len: parts.next()?.parse().ok()?,
            key: parts.next()?.to_owned(),
        };
        // S3 takes keys of up to 1024 bytes; `=` stands in the folders of a batch.
        let part = |part: &str| is_plain_part(&part.replace('=', "-"));
        (object.key.len() <= 1024 && object.key.split('/').all(part)).then_some(object)
    }
}

fn parse(text: &str) -> Option<Leaf> {
    let mut lines = Lines(text.split('\n'));
    let kind = lines.0.next()?.strip_prefix("audit-")?.strip_suffix("/v1")?;
    let origin = lines.value("origin")?.to_owned();
    check_origin(&origin).ok()?;
    let incarnation = lines.value("incarnation")?.to_owned();
    check_incarnation(&incarnation).ok()?;
    let body = match kind {
        "start" => Body::Start {
            time: lines.time()?,
            key: base64::decode_array(lines.value("key")?)?,
            config: unhex(lines.value("config")?)?,
            next: lines.value("next")?.parse().ok()?,
            previous: match lines.value("previous") {
                Some(p) => Some(check_incarnation(p).ok().map(|()| p.to_owned())?),
                None => None,
            },
        },
        "batch" => {
            let (first, count) = range(lines.value("first")?, lines.value("count")?)?;
            let (from, to) = lines.value("time")?.split_once(' ')?;
            Body::Batch {
                first,
                count,
                time: (valid_time(from)?, valid_time(to)?),
                records: base64::decode_array(lines.value("records")?)?,
                object: Object::parse(lines.value("object")?)?,
            }
        }
        "gap" => {
            let time = lines.time()?;
            let missing = match lines.0.next()?.split_once(' ')? {
                ("source", seq) => Missing::Source { seq: seq.parse().ok()? },
                ("records", numbers) => {
                    let (first, count) = numbers.split_once(' ')?;
                    let (first, count) = range(first, count)?;
                    Missing::Records { first, count }
                }
                _ => return None,
            };
            Body::Gap { time, missing }
        }
        "key" => {
            let kid = lines.value("kid")?;
            is_field_key_id(kid).then_some(())?;
            Body::Key { kid: kid.to_owned(), object: Object::parse(lines.value("object")?)? }
        }
        "alive" => Body::Alive { time: lines.time()?, next: lines.value("next")?.parse().ok()? },
        "end" => Body::End { time: lines.time()?, next: lines.value("next")?.parse().ok()? },
        _ => return None,
    };
    Some(Leaf { origin, incarnation, body })
}

struct Lines<'a>(std::str::Split<'a, char>);

impl<'a> Lines<'a> {
    fn value(&mut self, key: &str) -> Option<&'a str> {
        self.0.next()?.strip_prefix(key)?.strip_prefix(' ')
    }

    fn time(&mut self) -> Option<String> {
        valid_time(self.value("time")?)
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, of an instant that is.
fn valid_time(text: &str) -> Option<String> {
    let form = "0000-00-00T00:00:00.000Z";
    let fits = |(c, f): (char, char)| if f == '0' { c.is_ascii_digit() } else { c == f };
    if text.len() != form.len() || !text.chars().zip(form.chars()).all(fits) {
        return None;
    }
    let part = |at: std::ops::Range<usize>| digits(text.get(at.clone())?, at.len());
    let exists = is_day(part(0..4)?, part(5..7)?, part(8..10)?)
        && part(11..13)? < 24
        && part(14..16)? < 60
        && part(17..19)? < 60;
    exists.then(|| text.to_owned())
}

/// A range of record numbers: not empty, and its end has a number too.
fn range(first: &str, count: &str) -> Option<(u64, u64)> {
    let (first, count): (u64, u64) = (first.parse().ok()?, count.parse().ok()?);
    (count > 0 && first.checked_add(count).is_some()).then_some((first, count))
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if text.len() != 64 || !text.bytes().all(|b| lower(&b)) {
        return None;
    }
    let mut out = [0; 32];
    for (to, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(body: Body) -> Leaf {
        Leaf {
            origin: "wa/prod/gateway-0".into(),
            incarnation: "20261122T095900Z-5f0c2a91".into(),
            body,
        }
    }

    fn all() -> Vec<Leaf> {
        let time = || "2026-11-22T09:59:30.000Z".to_owned();
        let object = || Object {
            sha256: [0xab; 32],
            len: 12,
            key: "wa/prod/gateway-0/i/batch/dt=2026-11-22/hour=09/1.ndjson.gz.esdk".into(),
        };
        [
            Body::Start { time: time(), key: [1; 32], config: [2; 32], next: 0, previous: None },
            Body::Start {
                time: time(),
                key: [1; 32],
                config: [2; 32],
                next: 5,
                previous: Some("20250101T000000Z-00000000".into()),
            },
            Body::Batch {
                first: 183_220,
                count: 3000,
                time: (time(), "2026-11-22T10:00:00.000Z".into()),
                records: [3; 32],
                object: object(),
            },
            Body::Gap { time: time(), missing: Missing::Source { seq: 9 } },
            Body::Gap { time: time(), missing: Missing::Records { first: 9, count: 2 } },
            Body::Key { kid: "abcDEF-_".into(), object: object() },
            Body::Alive { time: time(), next: 9 },
            Body::End { time: time(), next: 9 },
        ]
        .map(leaf)
        .to_vec()
    }

    #[test]
    fn the_batch_leaf_is_the_text_of_the_specification() {
        let text = all()[2].encode();
        let lines: Vec<_> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
        assert_eq!(
            lines,
            [
                "audit-batch/v1",
                "origin",
                "incarnation",
                "first",
                "count",
                "time",
                "records",
                "object"
            ]
        );
        assert!(text.contains(
            "\nfirst 183220\ncount 3000\ntime 2026-11-22T09:59:30.000Z 2026-11-22T10:00:00.000Z\n"
        ));
    }

    #[test]
    fn every_leaf_reads_back() {
        for leaf in all() {
            assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        for leaf in all() {
            let text = leaf.encode();
            for bad in [
                format!("{text}\n"),
                text.trim_end().to_owned(),
                text.replace("\norigin ", "\norigin  "),
                text.replace("/v1", "/v2"),
                text.replacen("next ", "next 0", 1)
                    .replace("count 3", "count +3")
                    .replace("kid a", "kid !"),
                text.replace("gateway-0", "../x"),
            ] {
                if bad != text {
                    assert_eq!(Leaf::parse(&bad), Err(NotALeaf), "{bad:?}");
                }
            }
        }
    }

    #[test]
    fn the_longest_origin_has_batch_leaves_that_read_back() {
        let mut leaf = all()[2].clone();
        leaf.origin = "o".repeat(200);
        let layout = crate::layout::Layout::new(&leaf.origin, &leaf.incarnation).unwrap();
        let Body::Batch { object, .. } = &mut leaf.body else { panic!() };
        object.key = layout.batch_key(u64::MAX, 1_795_341_570, "zstd");
        assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
    }

    #[test]
    fn times_and_ranges_that_cannot_be_are_refused() {
        let [start, _, batch, _, records, ..] = &all()[..] else { panic!() };
        for (leaf, good, bad) in [
            (start, "2026-11-22T", "2026-13-22T"),
            (start, "2026-11-22T", "2026-02-29T"),
            (start, "T09:59:30.", "T24:59:30."),
            (start, "T09:59:30.", "T09:59:60."),
            (batch, "count 3000", "count 0"),
            (batch, "first 183220", "first 18446744073709551615"),
            (records, "records 9 2", "records 9 0"),
            (records, "records 9 2", "records 18446744073709551615 2"),
            (start, "incarnation 2026", "incarnation x/2026"),
        ] {
            let text = leaf.encode().replacen(good, bad, 1);
            assert_ne!(text, leaf.encode());
            assert_eq!(Leaf::parse(&text), Err(NotALeaf), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in ".*", kind in "(start|batch|gap|key|alive|end)") {
            drop(Leaf::parse(&text));
            drop(Leaf::parse(&format!("audit-{kind}/v1\norigin a\nincarnation b\n{text}")));
        }
    }
}
