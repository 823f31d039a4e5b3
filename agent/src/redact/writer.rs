//! Collects the events of one line, then puts them into the arena with their
//! source. Holds all scratch memory.

use super::detect::Scanner;
use super::{Event, Kind, Policy, Profile, Redacted, emit};
use crate::json::Tape;
use crate::line::Line;
use crate::source::SourceTag;

/// One parsed document, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Doc<'a> {
    pub(super) text: &'a str,
    pub(super) tape: &'a Tape,
}

impl<'a> Doc<'a> {
    /// The value of `key` in `object`.
    pub(super) fn get(&self, object: u32, key: &str) -> Option<u32> {
        self.tape.get(self.text, object, key)
    }

    /// The raw text of a node.
    pub(super) fn raw(&self, node: u32) -> &'a str {
        self.tape.raw(self.text, node)
    }
}

/// The events of the line at hand, and scratch.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) policy: Policy,
    pub(super) scanner: Scanner,
    /// Bodies of this line's events, without their ends.
    pub(super) buf: Vec<u8>,
    ends: Vec<usize>,
    /// Fields of the event at hand that were left out.
    pub(super) dropped: u64,
    tapes: Vec<Tape>,
}

impl Writer {
    pub(super) fn new(policy: Policy, scanner: Scanner) -> Self {
        Self { policy, scanner, buf: Vec::new(), ends: Vec::new(), dropped: 0, tapes: Vec::new() }
    }

    /// Whether free text goes.
    pub(super) fn audit_only(&self) -> bool {
        self.policy.profile == Profile::AuditOnly
    }

    /// Whether the profile fails closed.
    pub(super) fn strict(&self) -> bool {
        matches!(self.policy.profile, Profile::Strict | Profile::AuditOnly)
    }

    pub(super) fn clear(&mut self) {
        self.buf.clear();
        self.ends.clear();
    }

    /// Begins an event.
    pub(super) fn begin(&mut self, event: Event) {
        self.scanner.stats.count_event(event);
        self.dropped = 0;
        self.buf.extend_from_slice(b"\"event\":\"");
        self.buf.extend_from_slice(event.name().as_bytes());
        self.buf.push(b'"');
    }

    /// Ends the event that was begun.
    pub(super) fn end(&mut self) {
        if self.dropped > 0 {
            emit::number(&mut self.buf, "dropped", self.dropped);
        }
        self.ends.push(self.buf.len());
    }

    /// How many events the line has given.
    pub(super) fn events(&self) -> usize {
        self.ends.len()
    }

    /// Opens the last event again, to add fields; [`Writer::close`] must follow.
    pub(super) fn reopen(&mut self) {
        self.ends.pop();
    }

    /// Closes the event that was opened again.
    pub(super) fn close(&mut self) {
        self.ends.push(self.buf.len());
    }

    /// A field whose text goes through the detectors.
    pub(super) fn scanned(&mut self, key: &str, text: &str) {
        emit::key(&mut self.buf, key);
        self.buf.push(b'"');
        self.scanner.scan(text.as_bytes(), &mut self.buf);
        self.buf.push(b'"');
    }

    /// A tape that has been used before.
    pub(super) fn borrow_tape(&mut self) -> Tape {
        self.tapes.pop().unwrap_or_default()
    }

    /// Gives a tape back, to be used again.
    pub(super) fn give_back_tape(&mut self, tape: Tape) {
        self.tapes.push(tape);
    }

    /// Puts the line's events into the arena, each with its source.
    pub(super) fn finish(&mut self, tag: &SourceTag, line: &Line<'_>, out: &mut Redacted) {
        let of = self.ends.len() as u64;
        let mut start = 0;
        for (n, &end) in (1u64..).zip(&self.ends) {
            let body = out.body();
            body.extend_from_slice(self.buf.get(start..end).unwrap_or_default());
            start = end;
            source(tag, line, body);
            if of > 1 {
                emit::number(body, "n", n);
                emit::number(body, "of", of);
            }
            body.push(b'}');
            out.end(Kind::Line);
        }
    }
}

fn source(tag: &SourceTag, line: &Line<'_>, body: &mut Vec<u8>) {
    body.extend_from_slice(b",\"source\":{\"file\":\"");
    emit::hex(body, &tag.file.0);
    body.extend_from_slice(b"\",\"path\":\"");
    body.extend_from_slice(tag.path_json.as_bytes());
    body.push(b'"');
    if let Some(stream) = line.stream.name() {
        emit::text(body, "stream", stream.as_bytes());
    }
    emit::number(body, "offset", line.span.start);
    emit::number(body, "len", line.span.end.saturating_sub(line.span.start));
    body.push(b'}');
    // Only what looks like RFC 3339: the decoder passes on what the file said.
    let clock = |c: u8| c.is_ascii_digit() || matches!(c, b'-' | b':' | b'.' | b'+' | b'T' | b'Z');
    if let Some(time) = line.time.filter(|t| {
        t.len() <= 40
            && t.as_bytes().get(4) == Some(&b'-')
            && t.contains('T')
            && t.bytes().all(clock)
    }) {
        emit::text(body, "time", time.as_bytes());
    }
}
