//! The leaves of the log tree: small texts (SEAL-FORMAT.md section 3).
//!
//! `audit-<kind>/v1`, then `key value` lines in a fixed order, each ended by a
//! newline. Only the exact form is accepted: what does not encode back to the
//! same bytes is no leaf.

use crate::base64;
use crate::layout::{check_incarnation, check_origin, is_field_key_id, is_plain_part};
use crate::merkle::Hash;
use crate::note::Checkpoint;
use crate::time::{digits, is_day};

/// Longest previous checkpoint in a `start`: ours have a few hundred bytes.
const MAX_PREVIOUS_CHECKPOINT: usize = 4096;

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
        /// The last checkpoint of that incarnation, where known: its signed note.
        /// Only beside `previous`, at most 4 KiB, and of a log of that name.
        previous_checkpoint: Option<String>,
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
    /// Part of a source; the record with this number says which. What is missing
    /// cannot be read from such a leaf alone: [`Missing::Span`] can.
    Source {
        /// The gap record's number.
        seq: u64,
    },
    /// A range of a source. The leaf is the truth, and says it all; the record is
    /// its copy for sinks that get no leaves.
    Span {
        /// The gap record's number.
        seq: u64,
        /// The file's id, if it is known.
        file: Option<[u8; 16]>,
        /// First byte that is missing.
        from: u64,
        /// Byte behind the last that is missing; `None` when nobody can know.
        to: Option<u64>,
        /// Why, as a short token of lower-case letters, digits and `-`: never
        /// text that came from outside.
        why: String,
    },
    /// Records that a sink did not get, because the journal was full while it was
    /// away (`on_full: gap`). The archive has them: `sealtail replay` reads them there.
    Sink {
        /// The sink's name: letters, digits, `.`, `_` and `-`.
        sink: String,
        /// The first record's number.
        first: u64,
        /// How many.
        count: u64,
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
            Body::Start { time, key, config, next, previous, previous_checkpoint } => {
                let line = |name, value: Option<&str>| {
                    value.map_or_else(String::new, |value| format!("{name} {value}\n"))
                };
                let previous = line("previous", previous.as_deref());
                let note = previous_checkpoint.as_ref().map(|n| base64::encode(n.as_bytes()));
                let note = line("previous-checkpoint", note.as_deref());
                format!(
                    "{}time {time}\nkey {}\nconfig {}\nnext {next}\n{previous}{note}",
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
            Body::Gap { time, missing: Missing::Span { seq, file, from, to, why } } => {
                let file = file.as_ref().map_or_else(|| "-".to_owned(), |id| hex(id));
                let to = to.map_or_else(|| "unknown".to_owned(), |to| to.to_string());
                format!(
                    "{}time {time}\nseq {seq}\nfile {file}\nfrom {from}\nto {to}\nwhy {why}\n",
                    head("gap")
                )
            }
            Body::Gap { time, missing: Missing::Sink { sink, first, count } } => {
                format!("{}time {time}\nsink {sink}\nrecords {first} {count}\n", head("gap"))
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
        "start" => {
            let time = lines.time()?;
            let key = base64::decode_array(lines.value("key")?)?;
            let config = unhex(lines.value("config")?)?;
            let next = lines.value("next")?.parse().ok()?;
            let (previous, previous_checkpoint) = lines.previous()?;
            Body::Start { time, key, config, next, previous, previous_checkpoint }
        }
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
                ("seq", seq) => lines.span(seq.parse().ok()?)?,
                ("sink", sink) => {
                    (sink.len() <= 64 && is_plain_part(sink)).then_some(())?;
                    let (first, count) = lines.value("records")?.split_once(' ')?;
                    let (first, count) = range(first, count)?;
                    Missing::Sink { sink: sink.to_owned(), first, count }
                }
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

    /// The two last lines of a `start`, either or both of which may be absent;
    /// what is left over does not encode back.
    fn previous(&mut self) -> Option<(Option<String>, Option<String>)> {
        let Some(previous) = self.value("previous") else { return Some((None, None)) };
        check_incarnation(previous).ok()?;
        let Some(note) = self.value("previous-checkpoint") else {
            return Some((Some(previous.to_owned()), None));
        };
        let note = base64::decode(note).filter(|note| note.len() <= MAX_PREVIOUS_CHECKPOINT)?;
        let note = String::from_utf8(note).ok()?;
        let log = Checkpoint::parse_unverified(&note).ok()?.origin;
        // The origin may have changed between the two, the incarnation is named.
        (log.rsplit_once('/')?.1 == previous).then_some(())?;
        Some((Some(previous.to_owned()), Some(note)))
    }

    /// The rest of a [`Missing::Span`].
    fn span(&mut self, seq: u64) -> Option<Missing> {
        let file = match self.value("file")? {
            "-" => None,
            id => Some(unhex(id)?),
        };
        let from = self.value("from")?.parse().ok()?;
        let to = match self.value("to")? {
            "unknown" => None,
            to => Some(to.parse().ok().filter(|to| *to >= from)?),
        };
        let why = self.value("why")?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=64).contains(&why.len()) && why.bytes().all(plain)).then_some(())?;
        Some(Missing::Span { seq, file, from, to, why: why.to_owned() })
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if text.len() != 2 * N || !text.bytes().all(|b| lower(&b)) {
        return None;
    }
    let mut out = [0; N];
    for (to, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests;
