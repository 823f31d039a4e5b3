//! Lines to events: JSON anywhere in them, known forms, text; what was cut.

use super::writer::{Doc, Writer};
use super::{Class, Event, Profile, emit, reason};
use crate::classify::access::Access;
use crate::classify::core::Core;
use crate::classify::db::{self, Db};
use crate::classify::{self, Form};
use crate::json::escape_into;
use crate::line::Cut;

/// What is removed at least on each side of a cut.
const SEAM: usize = 128;
/// How many documents a line is searched for.
const DOCUMENTS: usize = 64;

impl Writer {
    /// Writes the events of one line: at least one.
    pub(super) fn line(&mut self, text: &str, cut: Cut) {
        if !cut.is_cut() {
            self.whole(text);
        } else if self.strict() {
            self.begin(Event::Log);
            self.cut_fields(cut, text.len());
            self.end();
        } else {
            self.begin(Event::Log);
            self.cut_fields(cut, text.len());
            let left = off_the_seams(text, cut);
            let json = self.policy.profile != Profile::MaskOnly
                && !self.policy.include_payload
                && (classify::json_start(left, 0).is_some() || cut.before);
            // The middle of a webhook shows no brace: a later piece is content.
            if json {
                self.drop_field(Class::Content);
            } else {
                self.scanned("text", left);
            }
            self.end();
        }
    }

    fn cut_fields(&mut self, cut: Cut, len: usize) {
        emit::flag(&mut self.buf, "cut");
        if cut.before {
            emit::flag(&mut self.buf, "cut_before");
        }
        if let Some(after) = cut.after {
            emit::text(&mut self.buf, "cut_reason", reason(after).as_bytes());
        }
        emit::number(&mut self.buf, "text_len", len as u64);
    }

    fn whole(&mut self, text: &str) {
        if self.policy.profile == Profile::MaskOnly {
            self.masked(text);
            return;
        }
        let (service, text) = classify::compose(text);
        // A database's lines and an access line's path may hold braces.
        let form = Form::of(text);
        if matches!(form, Form::Text(_) | Form::Core(_))
            && let Some(at) = classify::json_start(text, 0)
        {
            self.mixed(text, at);
            return;
        }
        match form {
            Form::Access(access) => self.access(&access),
            Form::Core(core) => self.core(&core),
            Form::Db(db) => self.db(&db, text),
            Form::Header(path) => {
                self.begin(Event::Log);
                self.scanned("section", path);
            }
            Form::PhpFrame(frame) => {
                self.begin(Event::Log);
                self.text(frame);
                self.drop_field(Class::Content);
            }
            Form::Text(text) => {
                self.begin(Event::Log);
                self.text(text);
            }
        }
        if let Some(service) = service {
            self.scanned("service", service);
        }
        self.end();
    }

    /// The mask-only profile: everything stays, numbers and secrets masked.
    fn masked(&mut self, text: &str) {
        self.begin(Event::Log);
        let mut tape = self.borrow_tape();
        let json = text.starts_with(['{', '['])
            && tape
                .parse(text)
                .is_ok_and(|end| text.get(end..).is_some_and(|t| t.trim().is_empty()));
        if json {
            emit::key(&mut self.buf, "body");
            self.payload(&Doc { text, tape: &tape }, 0);
        } else {
            self.scanned("text", text);
        }
        self.give_back_tape(tape);
        self.end();
    }

    /// Free text that the policy may keep.
    fn text(&mut self, text: &str) {
        if self.audit_only() || db::is_sql(text) {
            emit::number(&mut self.buf, "text_len", text.len() as u64);
            if !self.audit_only() {
                self.tables(text);
                self.drop_field(Class::Content);
            }
        } else {
            self.scanned("text", text);
        }
    }

    /// A line with JSON in it, from `at` on; text before, between and after.
    fn mixed(&mut self, text: &str, mut at: usize) {
        let mut tape = self.borrow_tape();
        let prefix = text.get(..at).unwrap_or_default();
        let mut events = 0;
        let mut from = at;
        for _ in 0..DOCUMENTS {
            let rest = text.get(at..).unwrap_or_default();
            let Ok(len) = tape.parse(rest) else {
                self.broken(rest);
                from = text.len();
                break;
            };
            let doc = Doc { text: rest, tape: &tape };
            if !self.document(&doc, 0, 0) {
                self.unknown(&doc, rest.get(..len).unwrap_or_default());
            }
            events += 1;
            from = at + len;
            match classify::json_start(text, from) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.give_back_tape(tape);
        // What stands around the JSON is said once, in the last event.
        let suffix = text.get(from..).unwrap_or_default().trim();
        let prefix = prefix.trim();
        let around = !prefix.is_empty() || !suffix.is_empty();
        if around && !self.audit_only() {
            self.reopen();
            if !prefix.is_empty() {
                self.scanned("prefix", prefix);
            }
            if !suffix.is_empty() && events <= DOCUMENTS {
                // Behind JSON that is not content: text like any other, unless
                // it is more of what was not understood.
                if classify::json_start(suffix, 0).is_some() {
                    emit::number(&mut self.buf, "suffix_len", suffix.len() as u64);
                } else {
                    self.scanned("suffix", suffix);
                }
            }
            self.close();
        }
    }

    /// JSON that does not parse: content, whatever it is.
    fn broken(&mut self, text: &str) {
        self.begin(Event::Log);
        emit::text(&mut self.buf, "document", b"broken");
        emit::number(&mut self.buf, "text_len", text.len() as u64);
        if self.policy.include_payload && !self.strict() {
            self.scanned("text", text);
        } else {
            self.drop_field(Class::Content);
        }
        self.end();
    }

    /// A document of which nothing is known.
    fn unknown(&mut self, doc: &Doc<'_>, text: &str) {
        self.begin(Event::Log);
        emit::text(&mut self.buf, "document", b"unknown");
        emit::number(&mut self.buf, "bytes", text.len() as u64);
        if self.policy.include_payload {
            emit::key(&mut self.buf, "body");
            self.payload(doc, 0);
        } else {
            self.found(doc);
            self.drop_field(Class::Content);
        }
        self.end();
    }

    /// `"found":{"phone":2}`: what the detectors count in a document that goes.
    fn found(&mut self, doc: &Doc<'_>) {
        let before = self.scanner.stats;
        let start = self.buf.len();
        self.payload(doc, 0);
        self.buf.truncate(start);
        emit::key(&mut self.buf, "found");
        self.buf.push(b'{');
        for &class in Class::ALL {
            let count = self.scanner.stats.class(class) - before.class(class);
            if count > 0 {
                if !self.buf.ends_with(b"{") {
                    self.buf.push(b',');
                }
                self.buf.push(b'"');
                self.buf.extend_from_slice(class.name().as_bytes());
                self.buf.extend_from_slice(b"\":");
                emit::decimal(&mut self.buf, count);
            }
        }
        self.buf.push(b'}');
        if self.buf.ends_with(b":{}") {
            self.buf.truncate(start);
        }
    }

    fn access(&mut self, access: &Access<'_>) {
        self.begin(if access.is_login() { Event::Login } else { Event::ApiRequest });
        self.scanned("timestamp", access.time);
        self.scanned("client", access.client);
        if let Some(user) = access.user {
            self.scanner.stats.count(Class::Name);
            let token = self.scanner.tokens.token(Class::Name, user.as_bytes());
            emit::text(&mut self.buf, "user_token", &token);
        }
        emit::text(&mut self.buf, "method", access.method.as_bytes());
        emit::key(&mut self.buf, "path");
        self.buf.push(b'"');
        self.target(access.target);
        self.buf.push(b'"');
        emit::number(&mut self.buf, "status", access.status);
        if let Some(bytes) = access.bytes {
            emit::number(&mut self.buf, "bytes", bytes);
        }
        if !access.rest.is_empty() && !self.audit_only() {
            self.scanned("agent", access.rest);
        }
    }

    /// A request's path and query: what stands behind `contacts/`, `users/` and
    /// the like names somebody, whatever it looks like.
    fn target(&mut self, target: &str) {
        let end = target.find(['?', '#']).unwrap_or(target.len());
        let (path, query) = target.split_at(end);
        let mut class = None;
        let mut plain = 0;
        let mut at = 0;
        for segment in path.split_inclusive('/') {
            let name = segment.strip_suffix('/').unwrap_or(segment);
            let fixed = matches!(
                name,
                "" | "login" | "logout" | "account" | "settings" | "invite" | "participants"
            );
            if let Some(class) = class.take().filter(|_| !fixed) {
                self.scanner
                    .scan(path.as_bytes().get(plain..at).unwrap_or_default(), &mut self.buf);
                self.segment(class, name);
                plain = at + name.len();
            }
            class = match name {
                "contacts" | "profile" | "profiles" | "blocklist" => Some(Class::Phone),
                "users" | "username" => Some(Class::Name),
                "groups" => Some(Class::Group),
                "media" => Some(Class::Media),
                "messages" => Some(Class::Message),
                _ => None,
            };
            at += segment.len();
        }
        self.scanner.scan(target.as_bytes().get(plain..end).unwrap_or_default(), &mut self.buf);
        self.scanner.scan(query.as_bytes(), &mut self.buf);
    }

    fn segment(&mut self, class: Class, name: &str) {
        let mut plain = self.scanner.borrow();
        plain.extend_from_slice(name.as_bytes());
        if class == Class::Phone {
            // `%2B1555…`: the digits behind the escape are what counts.
            if let Some(rest) = name.strip_prefix("%2B").or_else(|| name.strip_prefix("%2b")) {
                plain.clear();
                plain.extend_from_slice(rest.as_bytes());
            }
            self.identity_marker(&plain);
        } else {
            self.scanner.marker(class, Some(&plain), &mut self.buf);
        }
        self.scanner.give_back(plain);
    }

    fn core(&mut self, core: &Core<'_>) {
        self.begin(Event::Log);
        for (name, value) in [
            ("level", core.level),
            ("timestamp", core.time),
            ("thread", core.thread),
            ("file", core.file),
        ] {
            // Their alphabets have been checked: nothing personal fits.
            if !value.is_empty() {
                emit::text(&mut self.buf, name, value.as_bytes());
            }
        }
        self.text(core.text);
        if !core.req_id.is_empty() {
            self.scanned("req_id", core.req_id);
        }
    }

    fn db(&mut self, db: &Db<'_>, text: &str) {
        match *db {
            Db::Deadlock(code) => {
                self.begin(Event::DbDeadlock);
                emit::text(&mut self.buf, "code", code.as_bytes());
                emit::text(
                    &mut self.buf,
                    "engine",
                    if code == "1213" { b"mysql" } else { b"postgresql" },
                );
                self.tables(text);
            }
            Db::Error(engine, message) => {
                self.begin(Event::DbError);
                emit::text(&mut self.buf, "engine", engine.as_bytes());
                self.message_of(message);
                if text.len() > message.len() {
                    self.tables(text);
                }
            }
            Db::Part(part) => {
                self.begin(Event::Log);
                emit::text(&mut self.buf, "db_part", part.as_bytes());
                self.tables(text);
                self.drop_field(Class::Content);
            }
            Db::Statement | Db::Row => {
                self.begin(Event::Log);
                let part: &[u8] = if matches!(db, Db::Row) { b"row" } else { b"statement" };
                emit::text(&mut self.buf, "db_part", part);
                emit::number(&mut self.buf, "text_len", text.len() as u64);
                self.tables(text);
                self.drop_field(Class::Content);
            }
        }
    }

    fn tables(&mut self, text: &str) {
        let mut any = false;
        for table in db::tables(text) {
            if any {
                self.buf.push(b',');
            } else {
                emit::key(&mut self.buf, "tables");
                self.buf.push(b'[');
            }
            any = true;
            self.buf.push(b'"');
            escape_into(table.as_bytes(), &mut self.buf);
            self.buf.push(b'"');
        }
        if any {
            self.buf.push(b']');
        }
    }

    /// A database's error message: what it quotes are values, unless it can only
    /// be a name (double quotes, one word without long numbers).
    fn message_of(&mut self, message: &str) {
        if self.audit_only() || db::is_sql(message) {
            emit::number(&mut self.buf, "text_len", message.len() as u64);
            return;
        }
        emit::key(&mut self.buf, "text");
        self.buf.push(b'"');
        let mut rest = message;
        while let Some(at) = rest.find(['\'', '"']) {
            let (plain, tail) = rest.split_at(at);
            self.scanner.scan(plain.as_bytes(), &mut self.buf);
            let quote = if tail.starts_with('"') { '"' } else { '\'' };
            let inner = tail.get(1..).unwrap_or_default();
            // Quoted up to the last such quote: values may hold quotes themselves.
            let end = if quote == '"' { inner.find(quote) } else { inner.rfind(quote) };
            let value = inner.get(..end.unwrap_or(inner.len())).unwrap_or_default();
            let name = quote == '"'
                && end.is_some()
                && !plain.trim_end().ends_with(':')
                && value.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
                && !classify::rules::has_digits(value.as_bytes(), 7);
            if name {
                escape_into(
                    tail.as_bytes().get(..value.len() + 2).unwrap_or_default(),
                    &mut self.buf,
                );
            } else {
                self.scanner.marker(Class::Content, None, &mut self.buf);
            }
            rest = end.and_then(|e| inner.get(e + 1..)).unwrap_or_default();
        }
        self.scanner.scan(rest.as_bytes(), &mut self.buf);
        self.buf.push(b'"');
    }
}

/// What is left of a cut line when each cut side has lost [`SEAM`] bytes and all
/// up to the next white space.
fn off_the_seams(text: &str, cut: Cut) -> &str {
    let mut left = text;
    if cut.after.is_some() {
        let end = floor(left, left.len().saturating_sub(SEAM));
        let kept = left.get(..end).unwrap_or_default();
        left = kept.rfind(char::is_whitespace).and_then(|i| kept.get(..i)).unwrap_or_default();
    }
    if cut.before {
        let start = floor(left, SEAM.min(left.len()));
        let kept = left.get(start..).unwrap_or_default();
        left = kept.find(char::is_whitespace).and_then(|i| kept.get(i..)).unwrap_or_default();
    }
    left.trim()
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::CutReason;

    #[test]
    fn a_seam_takes_its_neighbours_along() {
        let text = format!("keep this {}tail", "é".repeat(80));
        let cut = Cut { before: false, after: Some(CutReason::OverLong) };
        assert_eq!(off_the_seams(&text, cut), "keep this");
        let cut = Cut { before: true, after: None };
        assert_eq!(off_the_seams("short", cut), "");
    }
}
