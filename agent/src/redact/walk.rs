//! Walks a document by the field table, and writes what may be kept.

use super::detect::{self, KeyClass};
use super::token::Digits;
use super::writer::{Doc, Writer};
use super::{Class, emit};
use crate::classify::rules::{self, Place, Rule, Shape};
use crate::json::{Kind, escape_into, unescape_into};

/// Who a JID or number names.
pub(super) struct Identity<'a> {
    pub(super) class: Class,
    pub(super) canonical: &'a [u8],
    /// For phones: the digits, which are canonical.
    pub(super) digits: Digits,
}

impl<'a> Identity<'a> {
    /// Reads `15550001111`, `+1 555…`, `1555…:12@s.whatsapp.net`, `…@g.us`, `…@lid`.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let at = memchr::memchr(b'@', text).unwrap_or(text.len());
        let (user, domain) = text.split_at(at);
        let device = user.iter().position(|c| matches!(c, b':' | b'_')).unwrap_or(user.len());
        let plain = user.get(..device).unwrap_or(user);
        let number = plain
            .iter()
            .all(|c| c.is_ascii_digit() || matches!(c, b' ' | b'+' | b'-' | b'(' | b')' | b'.'));
        let digits = Digits::of(plain);
        let (class, canonical) = match domain {
            b"@g.us" => (Class::Group, user),
            b"" | b"@s.whatsapp.net" | b"@c.us" if number && digits.len() > 0 => {
                (Class::Phone, plain)
            }
            _ => (Class::User, plain),
        };
        Self { class, canonical, digits }
    }
}

impl Writer {
    /// Appends the text of a string or number to `out`, escapes taken off.
    /// False for anything else.
    pub(super) fn plain(doc: &Doc<'_>, node: u32, out: &mut Vec<u8>) -> bool {
        match doc.tape.kind(node) {
            Some(Kind::Str | Kind::Number) => out.extend_from_slice(doc.raw(node).as_bytes()),
            Some(Kind::EscStr) => unescape_into(doc.raw(node).as_bytes(), out),
            _ => return false,
        }
        true
    }

    /// `,"name":"t1.…"` over a string or number; nothing for an empty one.
    pub(super) fn token_field(
        &mut self,
        doc: &Doc<'_>,
        name: &str,
        class: Class,
        node: Option<u32>,
    ) {
        let Some(node) = node else { return };
        let mut text = self.scanner.borrow();
        if Self::plain(doc, node, &mut text) && !text.is_empty() {
            self.scanner.stats.count(class);
            let token = self.scanner.tokens.token(class, &text);
            emit::text(&mut self.buf, name, &token);
        }
        self.scanner.give_back(text);
    }

    /// `,"masked_<who>":"…"`, if there is a mask to show.
    pub(super) fn mask_field(&mut self, doc: &Doc<'_>, name: &str, node: Option<u32>) {
        let Some(node) = node.filter(|_| self.policy.mask) else {
            return;
        };
        let mut text = self.scanner.borrow();
        if Self::plain(doc, node, &mut text) {
            let who = Identity::of(&text);
            if who.class == Class::Phone {
                emit::key(&mut self.buf, name);
                self.buf.push(b'"');
                who.digits.mask(&mut self.buf);
                self.buf.push(b'"');
            }
        }
        self.scanner.give_back(text);
    }

    /// `,"<who>_token":"…"` of a number or JID.
    pub(super) fn identity_field(&mut self, doc: &Doc<'_>, name: &str, node: Option<u32>) {
        let Some(node) = node else { return };
        let mut text = self.scanner.borrow();
        if Self::plain(doc, node, &mut text) && !text.is_empty() {
            let who = Identity::of(&text);
            self.scanner.stats.count(who.class);
            let canonical =
                if who.class == Class::Phone { who.digits.as_slice() } else { who.canonical };
            let token = self.scanner.tokens.token(who.class, canonical);
            emit::text(&mut self.buf, name, &token);
        }
        self.scanner.give_back(text);
    }

    /// `,"name":"value"` if the value has the shape; whether it did.
    pub(super) fn kept_field(
        &mut self,
        doc: &Doc<'_>,
        name: &str,
        shape: Shape,
        node: Option<u32>,
    ) -> bool {
        let Some(node) = node else { return false };
        let kind = doc.tape.kind(node);
        let raw = doc.raw(node);
        let fits = matches!(kind, Some(Kind::Str | Kind::Number)) && shape.fits(raw);
        if fits {
            emit::text(&mut self.buf, name, raw.as_bytes());
        } else {
            self.drop_field(Class::Content);
        }
        fits
    }

    pub(super) fn drop_field(&mut self, class: Class) {
        self.dropped += 1;
        self.scanner.stats.count(class);
    }

    /// `,"detail":{…}`: the rest of `object`, by the table. Nothing if all went.
    pub(super) fn detail(
        &mut self,
        doc: &Doc<'_>,
        place: Place,
        object: u32,
        skip: &[Option<u32>],
    ) {
        let start = self.buf.len();
        emit::key(&mut self.buf, "detail");
        self.object(doc, place, object, skip);
        if self.buf.ends_with(b"{}") {
            self.buf.truncate(start);
        }
    }

    /// Writes `object` by the rules of `place`, members in `skip` left out.
    fn object(&mut self, doc: &Doc<'_>, place: Place, object: u32, skip: &[Option<u32>]) {
        self.buf.push(b'{');
        for (key, value) in doc.tape.members(object) {
            if skip.contains(&Some(value)) {
                continue;
            }
            self.member(doc, place, key, value);
        }
        self.buf.push(b'}');
    }

    fn member(&mut self, doc: &Doc<'_>, place: Place, key: u32, value: u32) {
        // A key that is written with escapes is read like any other.
        if doc.tape.kind(key) == Some(Kind::EscStr) {
            let mut plain = self.scanner.borrow();
            unescape_into(doc.raw(key).as_bytes(), &mut plain);
            let rule = str::from_utf8(&plain).map_or(Rule::Content, |k| rules::rule(place, k));
            self.scanner.give_back(plain);
            // Its spelling is not worth keeping: only secrets and content remain.
            match rule {
                Rule::Secret => self.drop_field(Class::Secret),
                _ => self.content(doc, key, value),
            }
            return;
        }
        let name = doc.raw(key);
        let start = self.buf.len();
        let written = match rules::rule(place, name) {
            Rule::Secret => {
                self.drop_field(Class::Secret);
                return;
            }
            Rule::Keep(shape) => self.kept(doc, name, shape, value),
            Rule::Scan => self.scan_value(doc, name, value),
            Rule::Phone => self.phone_value(doc, name, value),
            Rule::Business if self.strict() => self.phone_value(doc, name, value),
            Rule::Business => self.kept(doc, name, Shape::Id, value),
            Rule::Token(class) => self.token_value(doc, name, class, value),
            Rule::Into(place) => self.nested(doc, place, name, value),
            Rule::Content => false,
        };
        if !written {
            self.buf.truncate(start);
            self.content(doc, key, value);
        }
    }

    fn kept(&mut self, doc: &Doc<'_>, name: &str, shape: Shape, value: u32) -> bool {
        let raw = doc.raw(value);
        let kind = doc.tape.kind(value);
        if kind == Some(Kind::Word) && matches!(raw, "true" | "false" | "null") {
            key_here(&mut self.buf, name);
            self.buf.extend_from_slice(raw.as_bytes());
            return true;
        }
        if !matches!(kind, Some(Kind::Str | Kind::Number)) || !shape.fits(raw) {
            return false;
        }
        key_here(&mut self.buf, name);
        let quote = kind == Some(Kind::Str);
        self.buf.extend_from_slice(if quote { b"\"" } else { b"" });
        escape_into(raw.as_bytes(), &mut self.buf);
        self.buf.extend_from_slice(if quote { b"\"" } else { b"" });
        true
    }

    fn scan_value(&mut self, doc: &Doc<'_>, name: &str, value: u32) -> bool {
        let mut text = self.scanner.borrow();
        let ok = Self::plain(doc, value, &mut text);
        if ok {
            key_here(&mut self.buf, name);
            self.buf.push(b'"');
            self.scanner.scan(&text, &mut self.buf);
            self.buf.push(b'"');
        }
        self.scanner.give_back(text);
        ok
    }

    fn phone_value(&mut self, doc: &Doc<'_>, name: &str, value: u32) -> bool {
        let mut text = self.scanner.borrow();
        let ok = Self::plain(doc, value, &mut text);
        if ok {
            key_here(&mut self.buf, name);
            self.buf.push(b'"');
            self.identity_marker(&text);
            self.buf.push(b'"');
        }
        self.scanner.give_back(text);
        ok
    }

    /// A marker for a number or JID.
    pub(super) fn identity_marker(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let who = Identity::of(text);
        if who.class == Class::Phone {
            self.scanner.phone_marker(&who.digits, &mut self.buf);
        } else {
            self.scanner.marker(who.class, Some(who.canonical), &mut self.buf);
        }
    }

    fn token_value(&mut self, doc: &Doc<'_>, name: &str, class: Class, value: u32) -> bool {
        let mut text = self.scanner.borrow();
        let ok = Self::plain(doc, value, &mut text);
        if ok {
            key_here(&mut self.buf, name);
            self.buf.push(b'"');
            if !text.is_empty() {
                self.scanner.marker(class, Some(&text), &mut self.buf);
            }
            self.buf.push(b'"');
        }
        self.scanner.give_back(text);
        ok
    }

    fn nested(&mut self, doc: &Doc<'_>, place: Place, name: &str, value: u32) -> bool {
        let start = self.buf.len();
        match doc.tape.kind(value) {
            Some(Kind::Object) => {
                key_here(&mut self.buf, name);
                self.object(doc, place, value, &[]);
            }
            Some(Kind::Array) => {
                key_here(&mut self.buf, name);
                self.buf.push(b'[');
                for item in doc.tape.items(value) {
                    if doc.tape.kind(item) != Some(Kind::Object) {
                        self.drop_field(Class::Content);
                        continue;
                    }
                    if !self.buf.ends_with(b"[") {
                        self.buf.push(b',');
                    }
                    self.object(doc, place, item, &[]);
                }
                self.buf.push(b']');
            }
            _ => return false,
        }
        if self.buf.ends_with(b":{}") || self.buf.ends_with(b":[]") {
            // All of it was dropped (and counted).
            self.buf.truncate(start);
        }
        true
    }

    /// A field that is content: dropped, or kept through the detectors.
    fn content(&mut self, doc: &Doc<'_>, key: u32, value: u32) {
        if !self.policy.include_payload {
            self.drop_field(Class::Content);
            return;
        }
        if !self.buf.ends_with(b"{") {
            self.buf.push(b',');
        }
        self.payload_member(doc, key, value);
    }

    /// `"key":value`, both through the detectors.
    fn payload_member(&mut self, doc: &Doc<'_>, key: u32, value: u32) {
        let mut name = self.scanner.borrow();
        Self::plain(doc, key, &mut name);
        self.buf.push(b'"');
        self.scanner.scan(&name, &mut self.buf);
        self.buf.extend_from_slice(b"\":");
        let class = detect::classify_key(&name);
        let scalar = !matches!(doc.tape.kind(value), Some(Kind::Object | Kind::Array));
        let word = doc.tape.kind(value) == Some(Kind::Word);
        match class {
            Some(KeyClass::Secret) if !word => {
                self.buf.push(b'"');
                self.scanner.marker(Class::Secret, None, &mut self.buf);
                self.buf.push(b'"');
            }
            Some(KeyClass::Phone) if scalar && !word => {
                name.clear();
                Self::plain(doc, value, &mut name);
                let who = Identity::of(&name);
                self.buf.push(b'"');
                if who.class == Class::Phone && who.digits.len() >= 5 && who.digits.len() <= 20 {
                    self.scanner.phone_marker(&who.digits, &mut self.buf);
                } else {
                    self.scanner.scan(&name, &mut self.buf);
                }
                self.buf.push(b'"');
            }
            Some(KeyClass::Kept) if doc.tape.kind(value) == Some(Kind::Number) => {
                self.buf.extend_from_slice(doc.raw(value).as_bytes());
            }
            _ => self.payload(doc, value),
        }
        self.scanner.give_back(name);
    }

    /// A value that is kept whole, every string and number through the detectors.
    ///
    /// Depth is bounded by the parser.
    pub(super) fn payload(&mut self, doc: &Doc<'_>, value: u32) {
        match doc.tape.kind(value) {
            Some(Kind::Object) => {
                self.buf.push(b'{');
                for (i, (key, value)) in doc.tape.members(value).enumerate() {
                    if i > 0 {
                        self.buf.push(b',');
                    }
                    self.payload_member(doc, key, value);
                }
                self.buf.push(b'}');
            }
            Some(Kind::Array) => {
                self.buf.push(b'[');
                for (i, item) in doc.tape.items(value).enumerate() {
                    if i > 0 {
                        self.buf.push(b',');
                    }
                    self.payload(doc, item);
                }
                self.buf.push(b']');
            }
            Some(Kind::Word) => self.buf.extend_from_slice(doc.raw(value).as_bytes()),
            Some(Kind::Number) => self.payload_number(doc.raw(value)),
            _ => {
                let mut text = self.scanner.borrow();
                Self::plain(doc, value, &mut text);
                self.buf.push(b'"');
                self.scanner.scan(&text, &mut self.buf);
                self.buf.push(b'"');
                self.scanner.give_back(text);
            }
        }
    }

    fn payload_number(&mut self, raw: &str) {
        let digits = raw.strip_prefix('-').unwrap_or(raw).as_bytes();
        let plain = digits.iter().all(u8::is_ascii_digit);
        let found = if plain {
            !detect::is_clock(digits) && (detect::is_phone(digits) || self.scanner.finds(digits))
        } else {
            self.scanner.finds(digits)
        };
        if found && plain && detect::is_phone(digits) {
            self.buf.push(b'"');
            self.scanner.phone_marker(&Digits::of(digits), &mut self.buf);
            self.buf.push(b'"');
        } else if found {
            self.buf.push(b'"');
            self.scanner.scan(digits, &mut self.buf);
            self.buf.push(b'"');
        } else {
            self.buf.extend_from_slice(raw.as_bytes());
        }
    }
}

/// `"name":`, with a comma unless it is the first in its object.
fn key_here(out: &mut Vec<u8>, name: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    out.push(b'"');
    // Names come from the table: nothing in them needs an escape.
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
