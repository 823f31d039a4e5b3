//! Datadog logs, v2 intake (PROTOCOLS.md, "Datadog logs v2").
//!
//! Nothing is cut by the other side: a longer entry is split here, and marked.
//! What is older (or newer) than the intake takes goes with the time of sending,
//! its own in an attribute, and is counted.

use super::Counters;
use super::event::{Log, Notice, Selection, Shown, Template, push_json};
use super::sealed::{FieldKeys, NotSealed};
use crate::ship::answer::{Answer, Refusal};
use crate::ship::batch::{Encode, How, Record};
use crate::ship::http::{HttpError, Reply, Request};
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of a body, uncompressed: the intake takes 5 MB.
pub const MAX_BYTES: usize = 4_500_000;
/// The most entries of a body.
pub const MAX_ENTRIES: usize = 1000;
/// The most bytes of an entry: the intake cuts at 1 MB.
const MAX_ENTRY: usize = 950_000;
/// The text of one part of an entry that is split, in bytes before JSON's escapes,
/// which may double it.
const PART: usize = 400_000;
/// The intake takes what is up to 18 hours old; what waits here and is on its
/// way needs some of that.
const OLDEST_MS: u64 = 17 * 3_600_000;
/// What is further ahead of us is dropped by the intake without a word.
const NEWEST_MS: u64 = 3_600_000;

/// What is told to Datadog of each entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `ddsource`.
    pub source: Option<Template>,
    /// `service`.
    pub service: Option<Template>,
    /// `hostname`.
    pub hostname: Option<Template>,
    /// `ddtags`, joined by commas.
    pub tags: Vec<String>,
}

/// Makes entries of records.
pub struct Encoder {
    log: Log,
    metadata: Metadata,
    wanted: Selection,
    limits: (usize, usize),
    shown: Shown,
    counters: Arc<Counters>,
    keys: Option<FieldKeys>,
}

impl Encoder {
    /// An encoder; `limits` are the most bytes and entries of a body.
    #[must_use]
    pub fn new(
        log: Log,
        metadata: Metadata,
        wanted: Selection,
        limits: (usize, usize),
        counters: Arc<Counters>,
    ) -> Self {
        Self { log, metadata, wanted, limits, shown: Shown::new(), counters, keys: None }
    }

    /// The same, with the keys for what has to be sealed.
    #[must_use]
    pub fn sealing(self, keys: Option<FieldKeys>) -> Self {
        Self { keys, ..self }
    }
}

impl Encode for Encoder {
    fn encode(
        &mut self,
        record: &Record<'_>,
        how: How,
        out: &mut Vec<u8>,
    ) -> Result<usize, NotSealed> {
        let Self { log, metadata, wanted, shown, counters, keys, .. } = self;
        let shown = shown.of(record, wanted, log, how, keys.as_ref())?;
        let Some((head, object)) = shown else { return Ok(0) };
        let time = head.time(record.journaled);
        let late =
            time.saturating_add(OLDEST_MS) < how.now || time > how.now.saturating_add(NEWEST_MS);
        if late {
            counters.late.fetch_add(1, Relaxed);
        }
        let mut common = Vec::with_capacity(256);
        for (name, template) in [
            ("ddsource", &metadata.source),
            ("service", &metadata.service),
            ("hostname", &metadata.hostname),
        ] {
            if let Some(template) = template {
                push_json(&mut common, name);
                common.push(b':');
                template.push(log, &head, &mut common);
                common.push(b',');
            }
        }
        if !metadata.tags.is_empty() {
            common.extend_from_slice(b"\"ddtags\":");
            push_json(&mut common, &metadata.tags.join(","));
            common.push(b',');
        }
        common.extend_from_slice(b"\"timestamp\":");
        crate::text::push_u64(&mut common, if late { how.now } else { time });
        if late {
            common.extend_from_slice(b",\"original_timestamp\":");
            crate::text::push_u64(&mut common, time);
        }
        common.extend_from_slice(b",\"origin\":");
        push_json(&mut common, &log.origin);
        common.extend_from_slice(b",\"incarnation\":");
        push_json(&mut common, &log.incarnation);
        common.extend_from_slice(b",\"seq\":");
        crate::text::push_u64(&mut common, record.seq.0);
        if how.repeated {
            common.extend_from_slice(b",\"possible_duplicate\":true");
        }
        // A blank message is none, and one that is sealed is not copied.
        let text = head.text.as_deref().filter(|text| !text.trim().is_empty());
        let message = text.unwrap_or(&head.event);
        if common.len() + message.len() + object.len() <= MAX_ENTRY / 2 {
            let start = out.len();
            out.push(b'{');
            out.extend_from_slice(&common);
            out.extend_from_slice(b",\"message\":");
            push_json(out, message);
            out.extend_from_slice(b",\"record\":");
            out.extend_from_slice(object);
            out.push(b'}');
            debug_assert!(out.len() - start <= MAX_ENTRY * 2, "an entry that is split is smaller");
            return Ok(1);
        }
        // The record itself, as text, in parts.
        let parts = split(object, PART);
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.push(b'{');
            out.extend_from_slice(&common);
            let place = format!(",\"part\":{},\"parts\":{},\"message\":", n + 1, parts.len());
            out.extend_from_slice(place.as_bytes());
            push_json(out, part);
            out.push(b'}');
        }
        Ok(parts.len())
    }

    fn keys(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.keys.as_ref().map(FieldKeys::subscribe)
    }

    fn frame(&self) -> [&'static [u8]; 3] {
        [b"[", b",", b"]"]
    }

    fn limits(&self) -> (usize, usize) {
        self.limits
    }
}

/// Text in parts of at most `most` bytes, none ending inside a character.
fn split(text: &[u8], most: usize) -> Vec<&str> {
    let mut rest = std::str::from_utf8(text).unwrap_or_default();
    let mut parts = Vec::new();
    while rest.len() > most {
        let mut at = most;
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// The agent's own word as an entry.
#[must_use]
pub fn notice(log: &Log, metadata: &Metadata, notice: &Notice<'_>) -> Bytes {
    let mut out = b"[{".to_vec();
    let head = super::event::Head { event: notice.event.into(), ..Default::default() };
    for (name, template) in [
        ("ddsource", &metadata.source),
        ("service", &metadata.service),
        ("hostname", &metadata.hostname),
    ] {
        if let Some(template) = template {
            push_json(&mut out, name);
            out.push(b':');
            template.push(log, &head, &mut out);
            out.push(b',');
        }
    }
    if !metadata.tags.is_empty() {
        out.extend_from_slice(b"\"ddtags\":");
        push_json(&mut out, &metadata.tags.join(","));
        out.push(b',');
    }
    out.extend_from_slice(b"\"timestamp\":");
    crate::text::push_u64(&mut out, notice.time);
    out.extend_from_slice(b",\"origin\":");
    push_json(&mut out, &log.origin);
    out.extend_from_slice(b",\"incarnation\":");
    push_json(&mut out, &log.incarnation);
    out.extend_from_slice(b",\"event\":");
    push_json(&mut out, notice.event);
    out.push(b',');
    out.extend_from_slice(&notice.members);
    out.extend_from_slice(b",\"message\":");
    push_json(&mut out, &notice.text);
    out.extend_from_slice(b"}]");
    Bytes::from(out)
}

/// The client's side of the protocol.
pub struct Datadog {
    /// `https://http-intake.logs.<site>` or what the configuration says instead.
    intake: String,
    /// `https://api.<site>`, or the same as `intake` for a URL of one's own.
    api: String,
    compressed: bool,
    key: Mutex<zeroize::Zeroizing<String>>,
}

impl std::fmt::Debug for Datadog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datadog").finish_non_exhaustive()
    }
}

impl Datadog {
    /// `url` is a base to which the API's path is added, and beats `site`.
    #[must_use]
    pub fn new(
        site: &str,
        url: Option<&str>,
        key: zeroize::Zeroizing<String>,
        compressed: bool,
    ) -> Self {
        let own = url.map(|url| url.trim_end_matches('/').to_owned());
        let intake = own.clone().unwrap_or_else(|| format!("https://http-intake.logs.{site}"));
        let api = own.unwrap_or_else(|| format!("https://api.{site}"));
        Self { intake, api, compressed, key: Mutex::new(key) }
    }

    /// The key as it is now in its file.
    pub fn set_key(&self, key: zeroize::Zeroizing<String>) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The request that delivers a body.
    #[must_use]
    pub fn request(&self, body: Bytes, compressed: bool) -> Request {
        let mut headers =
            vec![("dd-api-key", self.key()), ("content-type", "application/json".to_owned())];
        if compressed && self.compressed {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        Request { body: Some(body), url: format!("{}/api/v2/logs", self.intake), headers }
    }

    /// The request that asks whether the key is valid.
    #[must_use]
    pub fn validate(&self) -> Request {
        let headers = vec![("dd-api-key", self.key())];
        Request { body: None, url: format!("{}/api/v1/validate", self.api), headers }
    }

    fn key(&self) -> String {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).to_string()
    }
}

/// What a reply means.
#[must_use]
pub fn judge(reply: Result<Reply, HttpError>) -> Answer {
    let reply = match reply {
        Ok(reply) => reply,
        Err(e) => return super::no_reply(&e),
    };
    let status = reply.status;
    let refusal = |reason: &str| Refusal {
        status,
        code: None,
        reason: format!("HTTP {status}: {reason}"),
        entry: None,
    };
    match status {
        200 | 202 if is_object(&reply.body) || status == 202 && reply.body.is_empty() => {
            Answer::Delivered { pressed: false }
        }
        200..=299 => Answer::Retry {
            reason: format!(
                "HTTP {status}, but not an answer of the intake: it acknowledges nothing"
            ),
            after: reply.retry_after,
            trouble: crate::ship::answer::Trouble::Pressed,
        },
        400 => Answer::Refused(refusal("the intake refuses an entry")),
        413 => Answer::TooLarge(refusal("too large")),
        _ => super::by_status(&reply, "api/v2/logs"),
    }
}

/// What a reply to [`Datadog::validate`] means. A proxy of one's own may not know
/// the question: then the first body finds out.
///
/// # Errors
/// What speaks against it.
pub fn valid(reply: Result<Reply, HttpError>) -> Result<(), Answer> {
    match reply {
        Ok(Reply { status: 401 | 403, .. }) => {
            Err(Answer::Halt { reason: "the API key is refused".to_owned() })
        }
        Ok(Reply { status: 500..=599 | 429, .. }) => Err(judge(reply)),
        Ok(_) => Ok(()),
        Err(e) => Err(super::no_reply(&e)),
    }
}

fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Seq;

    fn entries(text: &str, now: u64) -> (Vec<serde_json::Value>, Arc<Counters>) {
        let log = Log { origin: "wa/a".into(), incarnation: "i".into() };
        let metadata = Metadata {
            service: Some(Template::parse("wa").unwrap()),
            tags: vec!["env:prod".into(), "team:a".into()],
            ..Metadata::default()
        };
        let counters = Arc::new(Counters::default());
        let limits = (MAX_BYTES, MAX_ENTRIES);
        let mut encoder =
            Encoder::new(log, metadata, Selection::default(), limits, Arc::clone(&counters));
        let mut body = b"\"event\":\"log\",\"text\":".to_vec();
        push_json(&mut body, text);
        body.extend_from_slice(b",\"time\":\"2026-11-22T10:06:08.249Z\"}");
        let mut out = b"[".to_vec();
        let record = Record { seq: Seq(5), journaled: 0, body: &body };
        let n = encoder.encode(&record, How { now, ..How::default() }, &mut out).unwrap();
        out.push(b']');
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        assert_eq!(entries.len(), n);
        (entries, counters)
    }

    #[test]
    fn an_entry_and_one_that_is_too_old() {
        let time = 1_795_341_968_249;
        let (fresh, counters) = entries("hello", time + 1000);
        assert_eq!(fresh[0]["timestamp"], time);
        assert_eq!(fresh[0]["message"], "hello");
        assert_eq!(fresh[0]["ddtags"], "env:prod,team:a");
        assert_eq!(fresh[0]["record"]["seq"], 5);
        assert_eq!(counters.late.load(Relaxed), 0);
        let (old, counters) = entries("hello", time + 18 * 3_600_000);
        assert_eq!(old[0]["timestamp"], time + 18 * 3_600_000);
        assert_eq!(old[0]["original_timestamp"], time);
        assert_eq!(counters.late.load(Relaxed), 1);
        assert_eq!(entries("hello", time - 3 * 3_600_000).0[0]["original_timestamp"], time);
        assert_eq!(entries(" ", time).0[0]["message"], "log");
    }

    #[test]
    fn a_long_entry_is_split_and_marked() {
        for filler in ["x", "\"", "ü", "\u{1}"] {
            let text = filler.repeat(1_500_000 / filler.len());
            let (parts, _) = entries(&text, 1_795_341_968_249);
            assert!(parts.len() > 1);
            let mut whole = String::new();
            for (n, part) in parts.iter().enumerate() {
                assert_eq!(part["part"], n + 1);
                assert_eq!(part["parts"], parts.len());
                assert_eq!(part["seq"], 5);
                assert!(part.to_string().len() <= 1_000_000, "{}", part.to_string().len());
                whole.push_str(part["message"].as_str().unwrap());
            }
            let record: serde_json::Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(record["text"], text);
        }
    }

    #[test]
    fn every_status_has_its_class() {
        let of = |status, body: &str| {
            let body = body.as_bytes().to_vec();
            judge(Ok(Reply { status, retry_after: None, date: None, body, certificate: None }))
        };
        assert_eq!(of(202, "{}"), Answer::Delivered { pressed: false });
        assert_eq!(of(202, ""), Answer::Delivered { pressed: false });
        for (status, body) in [(200, "<html>"), (202, "<html>"), (204, ""), (200, "")] {
            assert!(matches!(of(status, body), Answer::Retry { .. }), "{status} {body}");
        }
        assert!(matches!(of(400, "{}"), Answer::Refused(_)));
        assert!(matches!(of(413, "{}"), Answer::TooLarge(_)));
        for status in [401, 403, 404, 301, 307, 405, 407] {
            assert!(matches!(of(status, "{}"), Answer::Halt { .. }), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(of(status, "{}"), Answer::Retry { .. }), "{status}");
        }
    }
}
