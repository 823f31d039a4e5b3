//! Documents to events: one for each message, status, call, preference or change.

use super::writer::{Doc, Writer};
use super::{Class, Event, emit};
use crate::classify::document::Document;
use crate::classify::rules::{Place, Shape};
use crate::json::{Kind, unescape_into};

/// How many documents within documents are looked into.
const NESTING: u8 = 3;

/// What surrounds a message: the change's value, the entry's id.
#[derive(Clone, Copy, Default)]
struct Envelope {
    waba: Option<u32>,
    time: Option<u32>,
    field: Option<u32>,
    metadata: Option<u32>,
    contacts: Option<u32>,
    /// The contact of the sender (or recipient) at hand.
    contact: Option<u32>,
}

impl Writer {
    /// Writes the events of the document at `root`. False if it is not known: the
    /// caller then says so in a record of its own.
    pub(super) fn document(&mut self, doc: &Doc<'_>, root: u32, depth: u8) -> bool {
        match Document::of(doc.tape, doc.text, root) {
            Some(Document::Cloud) => self.cloud(doc, root),
            Some(Document::Value) => self.value(doc, root, Envelope::default()),
            Some(Document::Send) => {
                self.message(doc, root, Envelope::default(), Event::MessageSent);
            }
            Some(Document::Wasender) => self.wasender(doc, root),
            Some(Document::Baileys) => self.baileys(doc, root, None, Event::MessageReceived),
            None => return depth < NESTING && self.inside(doc, root, depth),
        }
        true
    }

    /// Looks for known documents inside one that is not: a handler's log object
    /// with the webhook as a member, as an object or as a string.
    fn inside(&mut self, doc: &Doc<'_>, root: u32, depth: u8) -> bool {
        let mut found = false;
        for (_, value) in doc.tape.members(root) {
            found |= self.inner(doc, value, depth);
        }
        for value in doc.tape.items(root) {
            found |= self.inner(doc, value, depth);
        }
        found
    }

    fn inner(&mut self, doc: &Doc<'_>, value: u32, depth: u8) -> bool {
        match doc.tape.kind(value) {
            Some(Kind::Object | Kind::Array) => self.document(doc, value, depth + 1),
            Some(Kind::EscStr) if doc.raw(value).starts_with(['{', '[']) => {
                let mut text = self.scanner.borrow();
                unescape_into(doc.raw(value).as_bytes(), &mut text);
                let mut tape = self.borrow_tape();
                let found = str::from_utf8(&text).is_ok_and(|text| {
                    tape.parse(text).is_ok()
                        && self.document(&Doc { text, tape: &tape }, 0, depth + 1)
                });
                self.give_back_tape(tape);
                self.scanner.give_back(text);
                found
            }
            _ => false,
        }
    }

    fn cloud(&mut self, doc: &Doc<'_>, root: u32) {
        let before = self.events();
        for (_, entries) in members(doc, root, "entry") {
            for entry in doc.tape.items(entries) {
                let (waba, time) = (doc.get(entry, "id"), doc.get(entry, "time"));
                for (_, changes) in members(doc, entry, "changes") {
                    for change in doc.tape.items(changes) {
                        let field = doc.get(change, "field");
                        for (_, value) in members(doc, change, "value") {
                            self.value(
                                doc,
                                value,
                                Envelope { waba, time, field, ..Envelope::default() },
                            );
                        }
                    }
                }
            }
        }
        if self.events() == before {
            self.summary("cloud_api", doc.raw(root).len());
        }
    }

    /// A change's value, or an On-Premises body: lists of things that happened.
    fn value(&mut self, doc: &Doc<'_>, value: u32, envelope: Envelope) {
        let before = self.events();
        let mut envelope = envelope;
        envelope.metadata = doc.get(value, "metadata");
        envelope.contacts = doc.get(value, "contacts");
        let mut errors = None;
        for (key, list) in doc.tape.members(value) {
            let name = doc.raw(key);
            if name == "errors" {
                errors = Some(list);
            }
            for item in doc.tape.items(list) {
                if doc.tape.kind(item) != Some(Kind::Object) {
                    continue;
                }
                match name {
                    "messages" => {
                        let event = if doc.get(item, "from").is_some()
                            || doc.get(item, "from_user_id").is_some()
                        {
                            Event::MessageReceived
                        } else {
                            Event::MessageSent
                        };
                        self.message(doc, item, envelope, event);
                    }
                    "message_echoes" => self.message(doc, item, envelope, Event::MessageSent),
                    "statuses" => self.status(doc, item, envelope),
                    "calls" => self.call(doc, item, envelope),
                    "user_preferences" => self.change(doc, item, Place::Preference, envelope),
                    "groups" => self.change(doc, item, Place::Group, envelope),
                    _ => {}
                }
            }
        }
        if self.events() > before {
            return;
        }
        if doc.tape.kind(value) != Some(Kind::Object) {
            self.summary("cloud_api", doc.raw(value).len());
        } else if errors.is_some() || envelope.field.is_none() {
            self.begin(Event::Log);
            emit::text(&mut self.buf, "document", b"webhook");
            self.head(doc, envelope);
            self.detail(doc, Place::Value, value, &[envelope.metadata, envelope.contacts]);
            self.end();
        } else {
            self.change(doc, value, Place::Account, envelope);
        }
    }

    fn message(&mut self, doc: &Doc<'_>, message: u32, mut envelope: Envelope, event: Event) {
        let get = |key: &str| doc.get(message, key);
        let (from, id, time, kind) = (get("from"), get("id"), get("timestamp"), get("type"));
        let to = get("to").or_else(|| get("recipient_id"));
        let group = get("group_id");
        let sent = event == Event::MessageSent;
        let person = if sent { to } else { from };
        envelope.contact = contact(doc, envelope.contacts, person);
        let person = person.or_else(|| envelope.contact.and_then(|c| doc.get(c, "wa_id")));
        let user = get(if sent { "to_user_id" } else { "from_user_id" })
            .or_else(|| envelope.contact.and_then(|c| doc.get(c, "user_id")));

        self.begin(event);
        self.timestamp(doc, time.or(envelope.time));
        self.mask_field(doc, if sent { "masked_recipient" } else { "masked_sender" }, person);
        self.kept_field(doc, "message_type", Shape::Word, kind);
        self.identity_field(doc, if sent { "recipient_token" } else { "sender_token" }, person);
        self.person(doc, envelope.contact, if sent { "recipient" } else { "sender" }, user);
        self.token_field(doc, "message_token", Class::Message, id);
        self.token_field(doc, "group_token", Class::Group, group);
        self.head(doc, envelope);
        self.detail(doc, Place::Message, message, &[from, id, time, kind, group, to]);
        self.end();
    }

    fn status(&mut self, doc: &Doc<'_>, status: u32, mut envelope: Envelope) {
        let get = |key: &str| doc.get(status, key);
        let (id, time, state, kind) = (get("id"), get("timestamp"), get("status"), get("type"));
        let person =
            get("recipient_id").or_else(|| get("message").and_then(|m| doc.get(m, "recipient_id")));
        envelope.contact = contact(doc, envelope.contacts, person);
        let user = get("recipient_user_id")
            .or_else(|| envelope.contact.and_then(|c| doc.get(c, "user_id")));
        let call = kind.is_some_and(|k| doc.raw(k) == "call");

        self.begin(if call { Event::Call } else { Event::MessageStatus });
        self.timestamp(doc, time.or(envelope.time));
        self.kept_field(doc, "status", Shape::Word, state);
        self.mask_field(doc, "masked_recipient", person);
        self.identity_field(doc, "recipient_token", person);
        self.person(doc, envelope.contact, "recipient", user);
        self.token_field(
            doc,
            if call { "call_token" } else { "message_token" },
            Class::Message,
            id,
        );
        self.head(doc, envelope);
        self.detail(doc, Place::Status, status, &[id, time, state, get("recipient_id")]);
        self.end();
    }

    fn call(&mut self, doc: &Doc<'_>, call: u32, mut envelope: Envelope) {
        let get = |key: &str| doc.get(call, key);
        let (id, time, from, to) = (get("id"), get("timestamp"), get("from"), get("to"));
        let state = get("event").or_else(|| get("status"));
        envelope.contact = contact(doc, envelope.contacts, from);
        self.begin(Event::Call);
        self.timestamp(doc, time.or(envelope.time));
        self.kept_field(doc, "status", Shape::Word, state);
        self.mask_field(doc, "masked_sender", from);
        self.identity_field(doc, "sender_token", from);
        self.mask_field(doc, "masked_recipient", to);
        self.identity_field(doc, "recipient_token", to);
        self.person(doc, envelope.contact, "sender", None);
        self.token_field(doc, "call_token", Class::Message, id);
        self.head(doc, envelope);
        self.detail(doc, Place::Call, call, &[id, time, from, to, state]);
        self.end();
    }

    /// A change of account, template, preference or group.
    fn change(&mut self, doc: &Doc<'_>, change: u32, place: Place, envelope: Envelope) {
        let template = envelope.field.is_some_and(|f| {
            let raw = doc.raw(f);
            raw.starts_with("message_template") || raw.starts_with("template")
        });
        let person = doc.get(change, "wa_id").filter(|_| place == Place::Preference);
        let time = doc.get(change, "timestamp");
        self.begin(if template { Event::TemplateStatus } else { Event::AccountEvent });
        self.timestamp(doc, time.or(envelope.time));
        self.mask_field(doc, "masked_sender", person);
        self.identity_field(doc, "sender_token", person);
        self.head(doc, envelope);
        self.detail(doc, place, change, &[time, person, envelope.metadata, envelope.contacts]);
        self.end();
    }

    /// What the envelope says: account, the business's number, the kind of change.
    fn head(&mut self, doc: &Doc<'_>, envelope: Envelope) {
        let meta = |key: &str| envelope.metadata.and_then(|m| doc.get(m, key));
        self.kept_field(doc, "phone_number_id", Shape::Id, meta("phone_number_id"));
        let business = meta("display_phone_number");
        if self.strict() {
            self.mask_field(doc, "business_number", business);
            self.identity_field(doc, "business_token", business);
        } else {
            self.kept_field(doc, "business_number", Shape::Id, business);
        }
        self.kept_field(doc, "waba_id", Shape::Id, envelope.waba);
        self.kept_field(doc, "field", Shape::Word, envelope.field);
    }

    /// The name and user-id tokens of a contact.
    fn person(&mut self, doc: &Doc<'_>, contact: Option<u32>, who: &str, user: Option<u32>) {
        let profile = contact.and_then(|c| doc.get(c, "profile"));
        let sender = who == "sender";
        let name = profile.and_then(|p| doc.get(p, "name"));
        let handle = profile.and_then(|p| doc.get(p, "username"));
        let parent = contact.and_then(|c| doc.get(c, "parent_user_id"));
        let pick = |a, b| if sender { a } else { b };
        self.token_field(doc, pick("sender_name_token", "recipient_name_token"), Class::Name, name);
        self.token_field(
            doc,
            pick("sender_username_token", "recipient_username_token"),
            Class::Name,
            handle,
        );
        self.token_field(doc, pick("sender_user_token", "recipient_user_token"), Class::User, user);
        self.token_field(
            doc,
            pick("sender_parent_token", "recipient_parent_token"),
            Class::User,
            parent,
        );
    }

    /// `"timestamp":"1700000000"`, always as a string.
    fn timestamp(&mut self, doc: &Doc<'_>, time: Option<u32>) {
        self.kept_field(doc, "timestamp", Shape::Time, time);
    }

    fn wasender(&mut self, doc: &Doc<'_>, root: u32) {
        let before = self.events();
        let (event, time) = (doc.get(root, "event"), doc.get(root, "timestamp"));
        let name = event.map_or("", |e| doc.raw(e));
        let of_messages = name.starts_with("message");
        let updates =
            name.ends_with(".update") || name.contains("receipt") || name.contains("reaction");
        let kind = if of_messages && updates {
            Event::MessageStatus
        } else if of_messages && name.ends_with(".sent") {
            Event::MessageSent
        } else {
            Event::MessageReceived
        };
        for (_, data) in members(doc, root, "data") {
            if !of_messages {
                break;
            }
            let envelope = Envelope { field: event, time, ..Envelope::default() };
            let mut any = false;
            for (_, messages) in members(doc, data, "messages") {
                any = true;
                if doc.tape.kind(messages) == Some(Kind::Object) {
                    self.baileys(doc, messages, Some(envelope), kind);
                }
                for message in doc.tape.items(messages) {
                    self.baileys(doc, message, Some(envelope), kind);
                }
            }
            if !any && doc.tape.kind(data) == Some(Kind::Object) {
                self.baileys(doc, data, Some(envelope), kind);
            }
            for item in doc.tape.items(data) {
                self.baileys(doc, item, Some(envelope), kind);
            }
        }
        if self.events() > before {
            return;
        }
        self.begin(Event::AccountEvent);
        self.timestamp(doc, time);
        self.kept_field(doc, "gateway_event", Shape::Word, event);
        self.token_field(doc, "session_token", Class::Id, doc.get(root, "sessionId"));
        if let Some(data) = doc.get(root, "data") {
            if doc.tape.kind(data) == Some(Kind::Object) {
                self.detail(doc, Place::Session, data, &[]);
            } else {
                let class = if name.starts_with("qr") { Class::Secret } else { Class::Content };
                self.drop_field(class);
            }
        }
        self.end();
    }

    /// A message as Baileys has it: who is in `key`, what in `message`.
    fn baileys(&mut self, doc: &Doc<'_>, message: u32, envelope: Option<Envelope>, event: Event) {
        let get = |key: &str| doc.get(message, key);
        let key = get("key");
        let of_key = |name: &str| key.and_then(|k| doc.get(k, name));
        let mine = of_key("fromMe").or_else(|| get("fromMe")).is_some_and(|v| doc.raw(v) == "true");
        let sent = mine || event == Event::MessageSent;
        let event =
            if sent && event == Event::MessageReceived { Event::MessageSent } else { event };
        let other = sent || event == Event::MessageStatus;
        let chat = of_key("remoteJid").or_else(|| get("remoteJid"));
        // The number if there is one; a participant before the group; a lid last.
        let person =
            ["cleanedSenderPn", "senderPn", "cleanedParticipantPn", "participantPn", "participant"]
                .iter()
                .find_map(|n| of_key(n))
                .filter(|_| !sent)
                .or(chat);
        let group = chat.filter(|c| doc.raw(*c).ends_with("@g.us"));
        let time = get("messageTimestamp").or(envelope.and_then(|e| e.time));
        let id = of_key("id").or_else(|| get("id"));
        let name = get("pushName").or_else(|| get("notifyName"));

        self.begin(event);
        self.timestamp(doc, time);
        self.mask_field(doc, if other { "masked_recipient" } else { "masked_sender" }, person);
        emit::text(&mut self.buf, "message_type", message_type(doc, get("message")).as_bytes());
        self.identity_field(doc, if other { "recipient_token" } else { "sender_token" }, person);
        self.token_field(
            doc,
            if other { "recipient_name_token" } else { "sender_name_token" },
            Class::Name,
            name,
        );
        self.token_field(doc, "message_token", Class::Message, id);
        self.identity_field(doc, "group_token", group);
        self.kept_field(doc, "gateway_event", Shape::Word, envelope.and_then(|e| e.field));
        self.detail(doc, Place::Baileys, message, &[time, name, get("id")]);
        self.end();
    }

    /// A known kind of document with nothing in it that is an event.
    pub(super) fn summary(&mut self, document: &str, bytes: usize) {
        self.begin(Event::Log);
        emit::text(&mut self.buf, "document", document.as_bytes());
        emit::number(&mut self.buf, "bytes", bytes as u64);
        self.end();
    }
}

/// The members of `object` with that key: all of them, should there be several.
fn members<'d>(
    doc: &Doc<'d>,
    object: u32,
    key: &'static str,
) -> impl Iterator<Item = (u32, u32)> + use<'d> {
    let doc = *doc;
    doc.tape.members(object).filter(move |&(k, _)| doc.raw(k) == key)
}

/// The contact that goes with `person`: of that number, or the only one.
fn contact(doc: &Doc<'_>, contacts: Option<u32>, person: Option<u32>) -> Option<u32> {
    let contacts = contacts?;
    let same = |c: u32| {
        let wa_id = doc.get(c, "wa_id")?;
        (doc.raw(wa_id) == doc.raw(person?)).then_some(c)
    };
    let mut all = doc.tape.items(contacts);
    let first = all.next();
    let only = first.filter(|_| all.next().is_none());
    doc.tape.items(contacts).find_map(same).or(only)
}

/// What kind of message a Baileys `message` object holds, in the Cloud API's words.
fn message_type(doc: &Doc<'_>, message: Option<u32>) -> &'static str {
    const TYPES: &[(&str, &str)] = &[
        ("conversation", "text"),
        ("extendedTextMessage", "text"),
        ("imageMessage", "image"),
        ("videoMessage", "video"),
        ("audioMessage", "audio"),
        ("documentMessage", "document"),
        ("documentWithCaptionMessage", "document"),
        ("stickerMessage", "sticker"),
        ("locationMessage", "location"),
        ("liveLocationMessage", "location"),
        ("contactMessage", "contacts"),
        ("contactsArrayMessage", "contacts"),
        ("reactionMessage", "reaction"),
        ("buttonsResponseMessage", "interactive"),
        ("listResponseMessage", "interactive"),
        ("templateButtonReplyMessage", "button"),
        ("orderMessage", "order"),
        ("pollCreationMessage", "poll"),
        ("protocolMessage", "protocol"),
    ];
    message
        .and_then(|m| {
            doc.tape.members(m).find_map(|(k, _)| {
                TYPES.iter().find(|(name, _)| *name == doc.raw(k)).map(|(_, t)| *t)
            })
        })
        .unwrap_or("unknown")
}
