//! Splunk HTTP Event Collector: events, and indexer acknowledgement.
//!
//! Each event carries origin, incarnation and sequence number as indexed fields,
//! so that a search can drop what came twice. The whole table of codes is
//! [`judge`] (PROTOCOLS.md, "Splunk HTTP Event Collector").

use super::Counters;
use super::event::{Log, Notice, Selection, Shown, Template, push_json, push_seconds};
use super::sealed::{FieldKeys, NotSealed};
use crate::ship::answer::{Answer, Refusal, Trouble};
use crate::ship::batch::{Encode, How, Record};
use crate::ship::http::{HttpError, Reply, Request};
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Whether the indexers are asked if they keep what they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledgements {
    /// When a reply has an `ackId`.
    #[default]
    Auto,
    /// Always: a reply without one halts the sink.
    Required,
    /// Never.
    Ignored,
}

/// What is told to Splunk of each event. `None`: the token's own setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The index.
    pub index: Option<Template>,
    /// The source.
    pub source: Option<Template>,
    /// The sourcetype.
    pub sourcetype: Option<Template>,
    /// The host.
    pub host: Option<Template>,
}

/// The most bytes of a body, uncompressed: HEC's own default limit.
pub const MAX_BYTES: usize = 1_000_000;

/// Makes HEC events of records.
pub struct Encoder {
    log: Log,
    metadata: Metadata,
    wanted: Selection,
    max_bytes: usize,
    max_events: usize,
    shown: Shown,
    keys: Option<FieldKeys>,
}

impl Encoder {
    /// An encoder; `limits` are the most bytes and events of a body.
    #[must_use]
    pub fn new(log: Log, metadata: Metadata, wanted: Selection, limits: (usize, usize)) -> Self {
        let (max_bytes, max_events) = limits;
        let (shown, keys) = (Shown::new(), None);
        Self { log, metadata, wanted, max_bytes, max_events, shown, keys }
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
        let Self { log, metadata, wanted, shown, keys, .. } = self;
        let shown = shown.of(record, wanted, log, how, keys.as_ref())?;
        let Some((head, object)) = shown else { return Ok(0) };
        out.extend_from_slice(b"{\"time\":");
        push_seconds(out, head.time(record.journaled));
        let named = [
            ("host", &metadata.host),
            ("source", &metadata.source),
            ("sourcetype", &metadata.sourcetype),
            ("index", &metadata.index),
        ];
        for (name, template) in named {
            if let Some(template) = template {
                out.push(b',');
                push_json(out, name);
                out.push(b':');
                template.push(log, &head, out);
            }
        }
        out.extend_from_slice(b",\"event\":");
        out.extend_from_slice(object);
        out.extend_from_slice(b",\"fields\":{\"origin\":");
        push_json(out, &log.origin);
        out.extend_from_slice(b",\"incarnation\":");
        push_json(out, &log.incarnation);
        out.extend_from_slice(b",\"seq\":");
        crate::text::push_u64(out, record.seq.0);
        if how.repeated {
            out.extend_from_slice(b",\"possible_duplicate\":\"true\"");
        }
        out.extend_from_slice(b"}}");
        Ok(1)
    }

    fn keys(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.keys.as_ref().map(FieldKeys::subscribe)
    }

    fn frame(&self) -> [&'static [u8]; 3] {
        [b"", b"\n", b""]
    }

    fn limits(&self) -> (usize, usize) {
        (self.max_bytes, self.max_events)
    }
}

/// The agent's own word as an event.
#[must_use]
pub fn notice(log: &Log, metadata: &Metadata, notice: &Notice<'_>) -> Bytes {
    let mut out = b"{\"time\":".to_vec();
    push_seconds(&mut out, notice.time);
    let head = super::event::Head { event: notice.event.into(), ..Default::default() };
    for (name, template) in [
        ("host", &metadata.host),
        ("source", &metadata.source),
        ("sourcetype", &metadata.sourcetype),
        ("index", &metadata.index),
    ] {
        if let Some(template) = template {
            out.push(b',');
            push_json(&mut out, name);
            out.push(b':');
            template.push(log, &head, &mut out);
        }
    }
    out.extend_from_slice(b",\"event\":{\"event\":");
    push_json(&mut out, notice.event);
    out.push(b',');
    out.extend_from_slice(&notice.members);
    out.extend_from_slice(b"},\"fields\":{\"origin\":");
    push_json(&mut out, &log.origin);
    out.extend_from_slice(b",\"incarnation\":");
    push_json(&mut out, &log.incarnation);
    out.extend_from_slice(b"}}");
    Bytes::from(out)
}

/// The client's side of the protocol: URLs, token, channel.
pub struct Splunk {
    base: String,
    compressed: bool,
    acknowledgements: Acknowledgements,
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    token: zeroize::Zeroizing<String>,
    channel: String,
}

impl std::fmt::Debug for Splunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splunk").finish_non_exhaustive()
    }
}

impl Splunk {
    /// `base` is the URL without the API's path.
    #[must_use]
    pub fn new(
        base: &str,
        token: zeroize::Zeroizing<String>,
        acknowledgements: Acknowledgements,
        compressed: bool,
        counters: Arc<Counters>,
    ) -> Self {
        let state = State { token, channel: guid() };
        let base = base.trim_end_matches('/').to_owned();
        Self { base, compressed, acknowledgements, state: Mutex::new(state), counters }
    }

    /// The token as it is now in its file.
    pub fn set_token(&self, token: zeroize::Zeroizing<String>) {
        self.state().token = token;
    }

    /// What went before is asked for no more: acknowledgements are a channel's own.
    pub fn new_channel(&self) {
        self.state().channel = guid();
    }

    /// The request that delivers a body.
    #[must_use]
    pub fn request(&self, body: Bytes, compressed: bool) -> Request {
        let mut headers = self.headers();
        headers.push(("content-type", "application/json".to_owned()));
        if compressed && self.compressed {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        Request {
            body: Some(body),
            url: format!("{}/services/collector/event", self.base),
            headers,
        }
    }

    /// The request that asks whether the indexers keep these.
    #[must_use]
    pub fn ask(&self, acks: &[u64]) -> Request {
        let ids: Vec<_> = acks.iter().map(u64::to_string).collect();
        let body = format!("{{\"acks\":[{}]}}", ids.join(","));
        let mut headers = self.headers();
        headers.push(("content-type", "application/json".to_owned()));
        let channel = self.state().channel.clone();
        let url = format!("{}/services/collector/ack?channel={channel}", self.base);
        Request { body: Some(Bytes::from(body)), url, headers }
    }

    /// The request that finds out whether it is there, without a token.
    #[must_use]
    pub fn health(&self) -> Request {
        let url = format!("{}/services/collector/health", self.base);
        Request { body: None, url, headers: Vec::new() }
    }

    /// What a reply to [`Splunk::request`] means.
    #[must_use]
    pub fn judge(&self, reply: Result<Reply, HttpError>) -> Answer {
        let answer = judge(reply);
        match (answer, self.acknowledgements) {
            (Answer::Accepted { pressed, .. }, Acknowledgements::Ignored) => {
                Answer::Delivered { pressed }
            }
            (Answer::Delivered { .. }, Acknowledgements::Required) => Answer::Halt {
                reason: "the reply has no ackId: indexer acknowledgement is not enabled for this token; \
                         enable it there, or set acknowledgements: auto"
                    .to_owned(),
            },
            (answer, _) => answer,
        }
    }

    /// Counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let state = self.state();
        vec![
            ("authorization", format!("Splunk {}", *state.token)),
            ("x-splunk-request-channel", state.channel.clone()),
        ]
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply of HEC.
#[derive(Debug, Deserialize)]
struct Said {
    code: i64,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
    #[serde(rename = "invalid-event-number")]
    invalid: Option<usize>,
}

/// What the codes mean, in our words: the reply's text could quote an event.
const CODES: [(i64, &str); 27] = [
    (1, "the token is disabled"),
    (2, "a token is required"),
    (3, "the authorization is invalid"),
    (4, "the token is invalid"),
    (5, "it saw no data"),
    (6, "invalid data format"),
    (7, "the index is incorrect"),
    (8, "internal server error"),
    (9, "the server is busy"),
    (10, "the data channel is missing"),
    (11, "the data channel is invalid"),
    (12, "an event field is required"),
    (13, "an event field is blank"),
    (14, "indexer acknowledgement is disabled"),
    (15, "error in handling indexed fields"),
    (16, "query-string authorization is not enabled"),
    (17, "it is healthy"),
    (18, "its queues are full"),
    (19, "its acknowledgement service is not available"),
    (20, "its queues are full and acknowledgements not available"),
    (21, "the token is invalid"),
    (22, "the token is disabled"),
    (23, "the server is shutting down"),
    (24, "its queue is near capacity"),
    (25, "its acknowledgement channel is near capacity"),
    (26, "its queue is at capacity"),
    (27, "its acknowledgement channel is at capacity"),
];

fn meaning(code: i64) -> &'static str {
    CODES.iter().find(|(known, _)| *known == code).map_or("an unknown code", |(_, text)| text)
}

/// What a reply means, by code where there is one, otherwise by status.
#[must_use]
pub fn judge(reply: Result<Reply, HttpError>) -> Answer {
    let reply = match reply {
        Ok(reply) => reply,
        Err(e) => return super::no_reply(&e),
    };
    let said: Option<Said> = serde_json::from_slice(&reply.body).ok();
    let status = reply.status;
    let Some(said) = said else { return by_status(&reply) };
    let reason = format!("HTTP {status}, code {}: {}", said.code, meaning(said.code));
    let refusal = |entry| Refusal { status, code: Some(said.code), reason: reason.clone(), entry };
    match (status, said.code) {
        (413, _) => Answer::TooLarge(refusal(None)),
        (200, 0 | 24 | 25) => {
            let pressed = said.code != 0;
            match said.ack_id {
                Some(ack) => Answer::Accepted { ack, pressed },
                None => Answer::Delivered { pressed },
            }
        }
        (_, 1..=5 | 7 | 14..=16 | 21 | 22) => Answer::Halt { reason },
        (_, 6 | 12 | 13) => Answer::Refused(refusal(said.invalid)),
        (_, 10 | 11) => Answer::Retry { reason, after: reply.retry_after, trouble: Trouble::Again },
        (_, 8 | 9 | 18..=20 | 23 | 26 | 27) => {
            Answer::Retry { reason, after: reply.retry_after, trouble: Trouble::Pressed }
        }
        _ => by_status(&reply),
    }
}

/// Of a reply that HEC did not write, or with a code that nobody knows.
fn by_status(reply: &Reply) -> Answer {
    let status = reply.status;
    let refusal =
        |reason: &str| Refusal { status, code: None, reason: reason.to_owned(), entry: None };
    match status {
        200..=299 => Answer::Retry {
            reason: format!("HTTP {status}, but not an answer of HEC: it acknowledges nothing"),
            after: reply.retry_after,
            trouble: Trouble::Pressed,
        },
        400 => Answer::Refused(refusal("HTTP 400 without a code of HEC")),
        413 => Answer::TooLarge(refusal("HTTP 413: too large")),
        _ => super::by_status(reply, "services/collector"),
    }
}

/// What a reply to [`Splunk::health`] means. A balancer may not know the question:
/// then the first body finds out.
///
/// # Errors
/// What speaks against it.
pub fn healthy(reply: Result<Reply, HttpError>) -> Result<(), Answer> {
    match reply {
        Ok(Reply { status: 500..=599 | 429, .. }) => Err(judge(reply)),
        Ok(_) => Ok(()),
        Err(e) => Err(super::no_reply(&e)),
    }
}

/// The ids that the indexers keep, out of a reply to [`Splunk::ask`].
///
/// # Errors
/// What it was instead: nothing is acknowledged then.
pub fn acknowledged(reply: Result<Reply, HttpError>) -> Result<Vec<u64>, Answer> {
    #[derive(Deserialize)]
    struct Acks {
        acks: BTreeMap<String, bool>,
    }
    match reply {
        Ok(Reply { status: 200, ref body, .. }) => {
            if let Ok(Acks { acks }) = serde_json::from_slice(body) {
                let kept = acks.into_iter().filter(|(_, kept)| *kept);
                return Ok(kept.filter_map(|(id, _)| id.parse().ok()).collect());
            }
            Err(Answer::Retry {
                reason: "an answer about acknowledgements that cannot be understood".to_owned(),
                after: None,
                trouble: Trouble::Pressed,
            })
        }
        other => Err(judge(other)),
    }
}

/// The pause between two questions for acknowledgements: from 2 s to 10 s.
pub const ASK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// After so long without one a batch is sent again, marked.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(300);

/// A random GUID (RFC 9562, version 4).
fn guid() -> String {
    let mut bytes = [0; 16];
    // Without randomness channels of two agents could meet: the time parts them.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u128::from(crate::run::now_ms()).to_be_bytes();
    }
    let number = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Seq;

    fn reply(status: u16, body: &str) -> Result<Reply, HttpError> {
        let body = body.as_bytes().to_vec();
        Ok(Reply { status, retry_after: None, date: None, body, certificate: None })
    }

    #[test]
    fn every_code_has_its_class() {
        let class = |status, code: i64| match judge(reply(
            status,
            &format!("{{\"text\":\"x\",\"code\":{code},\"invalid-event-number\":3}}"),
        )) {
            Answer::Delivered { pressed: false } => "delivered",
            Answer::Delivered { pressed: true } => "slow",
            Answer::Retry { trouble: Trouble::Again, .. } => "channel",
            Answer::Retry { .. } => "retry",
            Answer::Refused(r) if r.entry == Some(3) => "poison",
            Answer::Halt { .. } => "halt",
            other => panic!("{other:?}"),
        };
        for (status, codes, want) in [
            (200, &[0][..], "delivered"),
            (200, &[24, 25], "slow"),
            (400, &[5, 7, 14, 15, 16, 21, 22], "halt"),
            (400, &[6, 12, 13], "poison"),
            (400, &[10, 11], "channel"),
            (401, &[2, 3], "halt"),
            (403, &[1, 4], "halt"),
            (429, &[26, 27], "retry"),
            (500, &[8], "retry"),
            (503, &[9, 18, 19, 20, 23], "retry"),
        ] {
            for code in codes {
                assert_eq!(class(status, *code), want, "{status} {code}");
            }
        }
    }

    #[test]
    fn what_hec_did_not_write_is_judged_by_status() {
        for (status, body) in [(200, "<html>"), (200, ""), (204, ""), (200, "{\"code\":17}")] {
            assert!(matches!(judge(reply(status, body)), Answer::Retry { .. }), "{status} {body}");
        }
        let with_ack = judge(reply(200, r#"{"text":"Success","code":0,"ackId":9}"#));
        assert_eq!(with_ack, Answer::Accepted { ack: 9, pressed: false });
        assert!(matches!(judge(reply(413, "")), Answer::TooLarge(_)));
        assert!(matches!(judge(reply(404, "<html>not found</html>")), Answer::Halt { .. }));
        assert!(matches!(judge(reply(302, "")), Answer::Halt { .. }));
        assert!(matches!(judge(reply(502, "<html>")), Answer::Retry { .. }));
        assert!(matches!(judge(reply(408, "")), Answer::Retry { .. }));
        assert!(matches!(judge(reply(400, "bad request")), Answer::Refused(_)));
        // Their words may quote an event: they are never repeated.
        let said = judge(reply(400, r#"{"text":"in event 491555","code":7}"#));
        assert!(!format!("{said:?}").contains("491555"));
    }

    #[test]
    fn acknowledgements_are_understood_or_nothing() {
        let kept = |body| acknowledged(reply(200, body));
        assert_eq!(kept(r#"{"acks":{"0":true,"1":false,"12":true}}"#), Ok(vec![0, 12]));
        for bad in ["", "{}", "{\"acks\":[0]}", "<html>", "{\"acks\":{\"0\":1}}"] {
            assert!(kept(bad).is_err(), "{bad}");
        }
        assert!(matches!(
            acknowledged(reply(400, r#"{"text":"ACK is disabled","code":14}"#)),
            Err(Answer::Halt { .. })
        ));
    }

    #[test]
    fn an_event_carries_origin_and_number() {
        let log = Log { origin: "wa/a".into(), incarnation: "i-1".into() };
        let metadata = Metadata {
            index: Some(Template::parse("wa-{event}").unwrap()),
            host: Some(Template::parse("{origin}").unwrap()),
            ..Metadata::default()
        };
        let mut encoder = Encoder::new(log, metadata, Selection::default(), (MAX_BYTES, 1000));
        let body = br#""event":"log","text":"x","time":"2026-11-22T10:06:08.249Z"}"#;
        let record = Record { seq: Seq(5), journaled: 1000, body };
        let mut out = Vec::new();
        let how = How { repeated: true, ..How::default() };
        assert_eq!(encoder.encode(&record, how, &mut out), Ok(1));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"time":1795341968.249,"host":"wa/a","index":"wa-log","event":{"seq":5,"journaled":"1970-01-01T00:00:01.000Z","event":"log","text":"x","time":"2026-11-22T10:06:08.249Z"},"fields":{"origin":"wa/a","incarnation":"i-1","seq":5,"possible_duplicate":"true"}}"#
        );
    }

    #[test]
    fn guids_are_guids() {
        let id = guid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(id, guid());
    }
}
