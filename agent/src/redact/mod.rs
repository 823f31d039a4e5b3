//! Takes personal data out of lines. Its output, [`Redacted`], is the only thing
//! that the journal accepts, and only this module can fill one.
//!
//! Promise: what the policy does not allow is not in the output, in clear or
//! encoded. Unknown fields, unknown documents, broken JSON and (under `strict`)
//! cut lines fail closed: their text goes, their length stays. Every line gives
//! at least one record, none gives a panic, and in steady state nothing
//! allocates.
//!
//! # Records
//! A body is a JSON object without its opening brace. It begins with `"event"`
//! and ends with where it comes from:
//! ```json
//! "event":"message_received","timestamp":"1700000000","masked_sender":"1555****67",
//! "message_type":"text","sender_token":"t1.…","sender_name_token":"t1.…",
//! "sender_user_token":"t1.…","message_token":"t1.…","group_token":"t1.…",
//! "phone_number_id":"…","business_number":"1555****01","business_token":"t1.…",
//! "waba_id":"…","detail":{…},"dropped":2,
//! "source":{"file":"<hex>","path":"…","stream":"stdout","offset":0,"len":9},
//! "time":"<the container's clock>","n":1,"of":3}
//! ```
//! `message_sent` and `message_status` have `masked_recipient`, `recipient_token`
//! and so on in place of the sender's; `detail` is the rest of the message in its
//! own shape, by the field table ([`crate::classify::rules`]), with markers in
//! the place of identifiers; `dropped` counts the fields that were left out; `n`
//! and `of` stand there when a line gave several events.
//!
//! Markers in text are `[class]`, `[class:token]` and `[phone:mask:token]`.

mod arena;
mod detect;
mod emit;
mod lines;
mod stats;
mod token;
mod walk;
mod webhook;
mod writer;

pub use arena::{Kind, Record, Redacted};
pub use stats::{Class, Event, Stats};
pub use token::{TOKEN_LEN, ValueTokens};

use crate::line::{CutReason, Line};
use crate::source::{Gap, SourceTag};
use detect::Scanner;
use token::Tokens;
use writer::Writer;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fails closed everywhere; cut lines lose their text, IP addresses become
    /// tokens, the business's own number is masked.
    Strict,
    /// Keeps IP addresses, the business's number, and what is left of cut lines.
    Balanced,
    /// As strict, and free text of log lines goes too: audit facts alone.
    AuditOnly,
    /// Masks phone numbers and secrets, keeps all else.
    MaskOnly,
}

/// What may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How much is kept.
    pub profile: Profile,
    /// Whether message content is kept (detectors still run over it).
    pub include_payload: bool,
    /// Whether masks (`1555****67`) are written beside tokens.
    pub mask: bool,
}

/// Turns lines into redacted records. One a thread; it owns its scratch memory.
#[derive(Debug)]
pub struct Redactor {
    writer: Writer,
    /// Lines that were not UTF-8, with U+FFFD in place of what was not.
    lossy: String,
}

impl Redactor {
    /// A redactor for `policy`, whose tokens are made under `token_key`.
    #[must_use]
    pub fn new(policy: Policy, token_key: &[u8; 32]) -> Self {
        let bare = policy.profile == Profile::MaskOnly;
        let ips = matches!(policy.profile, Profile::Strict | Profile::AuditOnly);
        let scanner = Scanner::new(Tokens::new(token_key), policy.mask, bare, ips);
        Self { writer: Writer::new(policy, scanner), lossy: String::new() }
    }

    /// Appends the records of one line: one at least, one an event.
    pub fn line(&mut self, tag: &SourceTag, line: &Line<'_>, out: &mut Redacted) {
        let Self { writer, lossy } = self;
        writer.scanner.stats.lines += 1;
        writer.scanner.stats.bytes += line.text.len() as u64;
        let text = match str::from_utf8(line.text) {
            Ok(text) => text,
            Err(_) => {
                lossy.clear();
                for chunk in line.text.utf8_chunks() {
                    lossy.push_str(chunk.valid());
                    if !chunk.invalid().is_empty() {
                        lossy.push('\u{fffd}');
                    }
                }
                lossy
            }
        };
        writer.clear();
        writer.line(text, line.cut);
        writer.finish(tag, line, out);
    }

    /// A path, through the detectors, as a JSON string body (no quotes).
    #[must_use]
    pub fn path(&mut self, path: &str) -> String {
        let mut out = Vec::new();
        self.writer.scanner.scan(path.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends the record of a gap. `path_json` comes from [`Redactor::path`],
    /// `time` is RFC 3339.
    pub fn gap(&mut self, gap: &Gap, path_json: Option<&str>, time: &str, out: &mut Redacted) {
        let body = out.body();
        self.begin(Event::Gap, body);
        if let Some(file) = gap.file {
            emit::key(body, "file");
            body.push(b'"');
            emit::hex(body, &file.0);
            body.push(b'"');
        }
        if let Some(path) = path_json {
            emit::key(body, "path");
            body.push(b'"');
            body.extend_from_slice(path.as_bytes());
            body.push(b'"');
        }
        emit::number(body, "from", gap.from);
        match gap.to {
            Some(to) => emit::number(body, "to", to),
            None => {
                emit::key(body, "to");
                body.extend_from_slice(b"null");
            }
        }
        emit::text(body, "why", gap.why.as_bytes());
        emit::text(body, "time", time.as_bytes());
        body.push(b'}');
        out.end(Kind::Gap);
    }

    /// Appends the record that the agent began. `details` are names and values of
    /// the agent's own (version, configuration hash): never text from outside.
    pub fn agent_start(&mut self, time: &str, details: &[(&str, &str)], out: &mut Redacted) {
        self.agent(Event::AgentStart, Kind::Start, time, details, out);
    }

    /// Appends the record that the agent ended in order. `details` as above.
    pub fn agent_end(&mut self, time: &str, details: &[(&str, &str)], out: &mut Redacted) {
        self.agent(Event::AgentEnd, Kind::End, time, details, out);
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.writer.scanner.stats
    }

    fn agent(
        &mut self,
        event: Event,
        kind: Kind,
        time: &str,
        details: &[(&str, &str)],
        out: &mut Redacted,
    ) {
        let body = out.body();
        self.begin(event, body);
        emit::text(body, "time", time.as_bytes());
        for (name, value) in details {
            body.extend_from_slice(b",\"");
            crate::json::escape_into(name.as_bytes(), body);
            body.extend_from_slice(b"\":\"");
            crate::json::escape_into(value.as_bytes(), body);
            body.push(b'"');
        }
        body.push(b'}');
        out.end(kind);
    }

    fn begin(&mut self, event: Event, body: &mut Vec<u8>) {
        self.writer.scanner.stats.count_event(event);
        body.extend_from_slice(b"\"event\":\"");
        body.extend_from_slice(event.name().as_bytes());
        body.push(b'"');
    }
}

/// The name of a reason in records.
fn reason(cut: CutReason) -> &'static str {
    match cut {
        CutReason::OverLong => "over-long",
        CutReason::TimedOut => "timed-out",
        CutReason::FileEnded => "file-ended",
    }
}

#[cfg(test)]
mod tests;
