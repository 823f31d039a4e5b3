//! Records as other systems' events: which are wanted, which fields of them, and
//! what stands around them.

use super::sealed::{self, FieldKeys, NotSealed, Pointer, Sealing};
use crate::ship::batch::{How, Record};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Which records a sink wants, and what of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these events; empty: all.
    pub events: Vec<String>,
    /// Only lines of this level or above; lines without a level are wanted.
    pub min_level: Option<Level>,
    /// Only these fields, besides `seq`, `journaled`, `event` and `time`; empty: all.
    pub fields: Vec<String>,
    /// What leaves sealed of that. No two are, or lie in, the same field, and none
    /// is what the agent says itself ([`sealed::CLEAR`]).
    pub sealed: Vec<Pointer>,
}

/// How grave a log line says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// D, debug, trace.
    Debug,
    /// I, info, notice.
    Info,
    /// W, warn, warning.
    Warning,
    /// E, error, and all above.
    Error,
}

impl Level {
    /// Reads a level as logs write it: by its first letter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.bytes().next()?.to_ascii_lowercase() {
            b'd' | b't' | b'v' => Some(Self::Debug),
            b'i' | b'n' => Some(Self::Info),
            b'w' => Some(Self::Warning),
            b'e' | b'f' | b'c' | b'p' | b'a' => Some(Self::Error),
            _ => None,
        }
    }
}

/// What is read of a record to place it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    pub(crate) event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) level: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) source: Option<Source<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Source<'a> {
    #[serde(borrow, default)]
    pub(crate) path: Option<Cow<'a, str>>,
}

impl Head<'_> {
    /// When the line was written, Unix ms; otherwise when it became durable.
    pub(crate) fn time(&self, journaled: u64) -> u64 {
        self.time.as_deref().and_then(crate::text::parse_rfc3339).unwrap_or(journaled)
    }
}

/// A record with its numbers, as an object of JSON.
pub(crate) struct Shown {
    /// The object, with its braces.
    json: Vec<u8>,
    /// The whole record, for reading: reused.
    whole: Vec<u8>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        Self { json: Vec::new(), whole: Vec::new() }
    }

    /// The record as far as it is wanted: its head, and the object to send. What
    /// is sealed is in neither.
    ///
    /// # Errors
    /// When a field has to be sealed and cannot be.
    pub(crate) fn of<'a>(
        &'a mut self,
        record: &Record<'_>,
        wanted: &Selection,
        log: &Log,
        how: How,
        keys: Option<&FieldKeys>,
    ) -> Result<Option<(Head<'a>, &'a [u8])>, NotSealed> {
        let Self { json, whole } = self;
        whole.clear();
        whole.push(b'{');
        whole.extend_from_slice(record.body);
        let whole: &'a [u8] = whole;
        // What the journal holds is JSON of our own making.
        let mut head: Head<'a> = serde_json::from_slice(whole).unwrap_or_default();
        let out = !wanted.events.is_empty() && !wanted.events.iter().any(|e| *e == head.event);
        let low = wanted.min_level.is_some_and(|least| {
            head.level.as_deref().and_then(Level::parse).is_some_and(|level| level < least)
        });
        if out || low {
            return Ok(None);
        }
        json.clear();
        json.extend_from_slice(b"{\"seq\":");
        crate::text::push_u64(json, record.seq.0);
        json.extend_from_slice(b",\"journaled\":\"");
        json.extend_from_slice(crate::text::rfc3339(record.journaled).as_bytes());
        json.push(b'"');
        let keep = |name: &str| {
            wanted.fields.is_empty()
                || matches!(name, "event" | "time")
                || wanted.fields.iter().any(|f| f == name)
        };
        if !wanted.sealed.is_empty() {
            // Whoever opens a token has to know of which record it is, also when
            // nothing but the record was exported.
            json.extend_from_slice(b",\"origin\":");
            push_json(json, &log.origin);
            json.extend_from_slice(b",\"incarnation\":");
            push_json(json, &log.incarnation);
            let members: Fields<'_> = serde_json::from_slice(whole).unwrap_or_default();
            let place = (log, record.seq.0);
            let sealing = Sealing::new(&wanted.sealed, keys, place, (how.now, how.again))?;
            sealing.record(&members, keep, json)?;
            json.push(b'}');
            sealed::hide(&mut head, &wanted.sealed);
        } else if wanted.fields.is_empty() {
            json.push(b',');
            json.extend_from_slice(record.body);
        } else {
            let fields: Fields<'_> = serde_json::from_slice(whole).unwrap_or_default();
            for (name, value) in fields.0.iter().filter(|(name, _)| keep(name)) {
                json.push(b',');
                push_json(json, name);
                json.push(b':');
                json.extend_from_slice(value.get().as_bytes());
            }
            json.push(b'}');
        }
        if !keep("text") {
            // Datadog would have it as its message.
            head.text = None;
        }
        Ok(Some((head, json)))
    }
}

/// Fields of an object, in their order.
#[derive(Default)]
pub(crate) struct Fields<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &RawValue>()? {
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Collect).map(Fields)
    }
}

/// A text with places for what differs from record to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Origin,
    Incarnation,
    Event,
    Level,
    Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// The names that may stand in braces.
const PLACES: [(&str, Place); 5] = [
    ("origin", Place::Origin),
    ("incarnation", Place::Incarnation),
    ("event", Place::Event),
    ("level", Place::Level),
    ("path", Place::Path),
];

impl Template {
    /// Reads a template: `{origin}`, `{incarnation}`, `{event}`, `{level}`,
    /// `{path}` are filled in; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "only {origin}, {incarnation}, {event}, {level} and {path} are known; write {{ for a brace";
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    plain.push(c);
                }
                '{' => {
                    let mut closed = false;
                    let inside = chars.by_ref().take_while(|c| {
                        closed = *c == '}';
                        !closed
                    });
                    let name: String = inside.collect();
                    if !closed {
                        return Err(UNKNOWN);
                    }
                    let place = PLACES.iter().find(|(known, _)| *known == name).ok_or(UNKNOWN)?;
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Place(place.1));
                }
                '}' => return Err(UNKNOWN),
                c if c.is_control() => return Err("it has control characters"),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// What it copies out of a record besides its event.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Copied> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(Place::Level) => Some(Copied { place: "level", field: "/level" }),
            Part::Place(Place::Path) => Some(Copied { place: "path", field: "/source/path" }),
            Part::Place(Place::Origin | Place::Incarnation | Place::Event) | Part::Text(_) => None,
        })
    }

    /// Appends it, filled in, as a string of JSON with its quotes.
    pub(crate) fn push(&self, log: &Log, head: &Head<'_>, out: &mut Vec<u8>) {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(Place::Origin) => log.origin.clone(),
            Part::Place(Place::Incarnation) => log.incarnation.clone(),
            Part::Place(Place::Event) => head.event.to_string(),
            Part::Place(Place::Level) => head.level.as_deref().unwrap_or_default().to_owned(),
            Part::Place(Place::Path) => {
                let path = head.source.as_ref().and_then(|s| s.path.as_deref());
                path.unwrap_or_default().to_owned()
            }
        };
        match self.0.as_slice() {
            [Part::Text(text)] => push_json(out, text),
            parts => push_json(out, &parts.iter().map(text).collect::<String>()),
        }
    }
}

/// Something that the agent itself has to tell and that is no record: it has no
/// number, so no search takes it for one.
#[derive(Debug)]
pub struct Notice<'a> {
    /// What kind of event it is.
    pub event: &'static str,
    /// When, Unix ms.
    pub time: u64,
    /// What it says, as members of a JSON object.
    pub members: Vec<u8>,
    /// The same as a text, for destinations that show one.
    pub text: std::borrow::Cow<'a, str>,
}

impl<'a> Notice<'a> {
    /// How far the signed log reaches: `note` signs `size` leaves.
    #[must_use]
    pub fn checkpoint(time: u64, size: u64, note: &'a str) -> Self {
        let mut members = format!("\"size\":{size},\"checkpoint\":").into_bytes();
        push_json(&mut members, note);
        Self { event: "checkpoint", time, members, text: note.into() }
    }

    /// This sink did not get `count` records from `first` on: the copy of a `gap`
    /// leaf, which is the truth.
    #[must_use]
    pub fn gap(time: u64, sink: &str, first: u64, count: u64) -> Self {
        let mut members = b"\"sink\":".to_vec();
        push_json(&mut members, sink);
        let range = format!(",\"first\":{first},\"records\":{count},\"why\":\"journal-full\"");
        members.extend_from_slice(range.as_bytes());
        let text = format!(
            "{count} records from number {first} on were given up for sink {sink}: the journal was full. They are \
             in the archive; sealtail replay sends them"
        );
        Self { event: "gap", time, members, text: text.into() }
    }
}

/// A field that a template copies.
pub(crate) struct Copied {
    /// As it stands in braces.
    pub(crate) place: &'static str,
    /// Where it is in a record.
    pub(crate) field: &'static str,
}

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The agent's name.
    pub origin: String,
    /// The log's incarnation.
    pub incarnation: String,
}

/// Appends a string of JSON with its quotes.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &str) {
    // Writing a str to a Vec cannot fail.
    drop(serde_json::to_writer(out, text));
}

/// Appends Unix ms as seconds with three decimals.
pub(crate) fn push_seconds(out: &mut Vec<u8>, ms: u64) {
    crate::text::push_u64(out, ms / 1000);
    let rest = ms % 1000;
    let digit = |n: u64| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Seq;

    const BODY: &[u8] = br#""event":"log","level":"W","text":"a \"b\"","source":{"path":"/l\/x","n":[1, 2]},"time":"2026-11-22T10:06:08.249Z"}"#;

    fn shown(selection: &Selection) -> Option<String> {
        let mut shown = Shown::new();
        let record = Record { seq: Seq(7), journaled: 0, body: BODY };
        let log = Log { origin: "wa/a".into(), incarnation: "i".into() };
        let shown = shown.of(&record, selection, &log, How::default(), None).unwrap();
        shown.map(|(_, json)| String::from_utf8(json.to_vec()).unwrap())
    }

    #[test]
    fn fields_and_events_are_chosen() {
        let all = shown(&Selection::default()).unwrap();
        assert!(
            all.starts_with(r#"{"seq":7,"journaled":"1970-01-01T00:00:00.000Z","event":"log","#)
        );
        assert!(all.ends_with("249Z\"}"));
        let wanted = Selection { fields: vec!["source".into()], ..Selection::default() };
        assert_eq!(
            shown(&wanted).unwrap(),
            r#"{"seq":7,"journaled":"1970-01-01T00:00:00.000Z","event":"log","source":{"path":"/l\/x","n":[1, 2]},"time":"2026-11-22T10:06:08.249Z"}"#
        );
        let events = |name: &str| Selection { events: vec![name.into()], ..Selection::default() };
        assert!(shown(&events("log")).is_some());
        assert!(shown(&events("login")).is_none());
        let level = |level| Selection { min_level: Some(level), ..Selection::default() };
        assert!(shown(&level(Level::Warning)).is_some());
        assert!(shown(&level(Level::Error)).is_none());
    }

    #[test]
    fn templates() {
        let log = Log { origin: "wa/a".into(), incarnation: "i".into() };
        let whole = [b"{", BODY].concat();
        let head: Head<'_> = serde_json::from_slice(&whole).unwrap();
        let filled = |text| {
            let mut out = Vec::new();
            Template::parse(text).unwrap().push(&log, &head, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(filled("plain \"x\""), r#""plain \"x\"""#);
        assert_eq!(filled("{origin}:{event}-{level}{{}}"), r#""wa/a:log-W{}""#);
        assert_eq!(filled("{path}"), "\"/l/x\"");
        assert_eq!(filled(""), "\"\"");
        for bad in ["{nothing}", "{origin", "a}b", "a\nb"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(head.time(5), 1_795_341_968_249);
        let mut out = Vec::new();
        push_seconds(&mut out, 1_795_341_968_049);
        assert_eq!(out, b"1795341968.049");
    }
}
