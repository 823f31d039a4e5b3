//! The field table of the webhooks: what each field is, by where it stands.
//!
//! A field that is not here is content: unknown fields fail closed. The classes
//! are those of the project's field table (direct identifier, pseudonym, content,
//! secret, kept), from Meta's and the gateways' documentation.

use crate::redact::Class;

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A change's value, outside its lists.
    Value,
    /// `metadata`.
    Metadata,
    /// `contacts[]` of an envelope, and its `profile`.
    Contact,
    /// A message.
    Message,
    /// A message's `context`.
    Context,
    /// Image, video, audio, document, sticker.
    Media,
    /// A reaction.
    Reaction,
    /// A system message.
    System,
    /// `identity`.
    Identity,
    /// Interactive, button and other content of which the kind may be told.
    Typed,
    /// An error.
    Error,
    /// A status.
    Status,
    /// A status's `conversation`.
    Conversation,
    /// A call.
    Call,
    /// A preference.
    Preference,
    /// Template and account changes.
    Account,
    /// A group, its participants.
    Group,
    /// A Baileys message and its `key`.
    Baileys,
    /// A WASender event's `data`, outside its messages.
    Session,
}

/// What a kept value must look like; if it does not, it is content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A word of a fixed vocabulary: letters, `_`, `.`, `-`, `/`, no long number.
    Word,
    /// A Graph id: digits.
    Id,
    /// Seconds or milliseconds since the epoch, or an ISO date.
    Time,
    /// A small number.
    Number,
    /// A MIME type.
    Mime,
    /// `true` or `false`.
    Bool,
}

/// What to do with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Keep it if it looks as it should.
    Keep(Shape),
    /// Text to send through the detectors.
    Scan,
    /// A phone number or JID: token and mask.
    Phone,
    /// The business's own number.
    Business,
    /// A token in its place.
    Token(Class),
    /// Dropped unless the policy keeps payload.
    Content,
    /// Always dropped.
    Secret,
    /// An object, or a list of them, with rules of its own.
    Into(Place),
}

/// The rule for `key` at `place`.
#[must_use]
pub fn rule(place: Place, key: &str) -> Rule {
    use Rule::{Content, Into, Keep, Scan, Secret, Token};
    use Shape::{Bool, Id, Mime, Number, Time, Word};
    match key {
        "invite_link" | "qr" | "qrCode" | "qrcode" | "mediaKey" | "messageSecret" | "apikey"
        | "api_key" | "Authorization" | "authorization" | "password" | "token" | "access_token"
        | "secret" | "hub.verify_token" | "verify_token" | "fileEncSha256" | "directPath" => {
            return Secret;
        }
        "user_id"
        | "parent_user_id"
        | "from_user_id"
        | "to_user_id"
        | "recipient_user_id"
        | "previous_user_id"
        | "from_parent_user_id"
        | "to_parent_user_id"
        | "recipient_parent_user_id"
        | "recipient_participant_user_id"
        | "recipient_participant_parent_user_id"
        | "participant_user_id"
        | "system_user_id"
        | "parent_bsuid"
        | "bsuid" => return Token(Class::User),
        "wa_id" | "new_wa_id" | "recipient_participant_id" | "customer" => return Rule::Phone,
        "messaging_product" => return Keep(Word),
        "timestamp" | "created_timestamp" | "expiration_timestamp" => return Keep(Time),
        "errors" | "error" => return Into(Place::Error),
        "metadata" => return Into(Place::Metadata),
        "identity_key_hash" => return Token(Class::Hash),
        "group_id" => return Token(Class::Group),
        "signup_id" | "request_id" | "flow_token" => return Token(Class::Id),
        _ => {}
    }
    match (place, key) {
        (Place::Metadata, "phone_number_id") => Keep(Id),
        (Place::Metadata, "display_phone_number") | (Place::Account, "display_phone_number") => {
            Rule::Business
        }

        (Place::Contact, "profile") => Into(Place::Contact),
        (Place::Contact, "name" | "username") => Token(Class::Name),
        (Place::Contact, "input") => Rule::Phone,
        (Place::Contact, "status") => Keep(Word),

        (Place::Message, "from" | "to" | "recipient" | "recipient_id") => Rule::Phone,
        (Place::Message, "id") => Token(Class::Message),
        (Place::Message, "type" | "recipient_type" | "status" | "message_status") => Keep(Word),
        (Place::Message, "context") => Into(Place::Context),
        (Place::Message, "image" | "video" | "audio" | "voice" | "document" | "sticker") => {
            Into(Place::Media)
        }
        (Place::Message, "reaction") => Into(Place::Reaction),
        (Place::Message, "system") => Into(Place::System),
        (Place::Message, "identity") => Into(Place::Identity),
        (Place::Message, "interactive" | "unsupported" | "edit" | "revoke") => Into(Place::Typed),
        (Place::Message, "conversation") => Into(Place::Conversation),

        (Place::Context, "from") => Rule::Phone,
        (Place::Context, "id" | "gif_id") => Token(Class::Message),
        (Place::Context, "forwarded" | "frequently_forwarded") => Keep(Bool),

        (Place::Media, "mime_type") => Keep(Mime),
        (Place::Media, "voice" | "animated") => Keep(Bool),
        (Place::Media, "sha256") => Token(Class::Hash),
        (Place::Media, "id") => Token(Class::Media),
        (Place::Media, "url" | "link") => Secret,

        (Place::Reaction, "message_id") => Token(Class::Message),

        (Place::System, "type") => Keep(Word),
        (Place::System, "identity") => Token(Class::Hash),

        (Place::Identity, "acknowledged") => Keep(Bool),
        (Place::Identity, "hash") => Token(Class::Hash),

        (Place::Typed, "type") => Keep(Word),
        (Place::Typed, "original_message_id" | "message_id") => Token(Class::Message),

        (Place::Error, "code" | "error_subcode") => Keep(Number),
        (Place::Error, "title" | "message" | "details") => Scan,
        (Place::Error, "type") => Keep(Word),
        (Place::Error, "error_data") => Into(Place::Error),
        (Place::Error, "fbtrace_id") => Token(Class::Id),

        (Place::Status, "id" | "original_message_id" | "message_id") => Token(Class::Message),
        (Place::Status, "recipient_id") => Rule::Phone,
        (Place::Status, "status" | "type" | "recipient_type") => Keep(Word),
        (Place::Status, "conversation") => Into(Place::Conversation),
        (Place::Status, "pricing") => Into(Place::Conversation),
        (Place::Status, "message") => Into(Place::Status),

        (Place::Conversation, "id") => Token(Class::Id),
        (Place::Conversation, "origin") => Into(Place::Conversation),
        (Place::Conversation, "type" | "pricing_model" | "category") => Keep(Word),
        (Place::Conversation, "billable") => Keep(Bool),

        (Place::Call, "id") => Token(Class::Message),
        (Place::Call, "from" | "to" | "recipient_id") => Rule::Phone,
        (Place::Call, "event" | "direction" | "status" | "type") => Keep(Word),
        (Place::Call, "start_time" | "end_time") => Keep(Time),
        (Place::Call, "duration") => Keep(Number),
        (Place::Call, "session") => Content,

        (Place::Preference, "category" | "value") => Keep(Word),
        (Place::Preference, "detail") => Scan,

        (
            Place::Account,
            "event"
            | "reason"
            | "message_template_language"
            | "message_template_category"
            | "previous_category"
            | "new_category"
            | "previous_quality_score"
            | "new_quality_score"
            | "current_limit"
            | "old_limit"
            | "decision"
            | "violation_type"
            | "restriction_type"
            | "max_daily_conversation_per_phone"
            | "quality_score"
            | "type"
            | "alert_severity"
            | "alert_status"
            | "alert_type"
            | "entity_type"
            | "account_type"
            | "ban_state",
        ) => Keep(Word),
        (
            Place::Account,
            "message_template_id"
            | "waba_id"
            | "owner_business_id"
            | "entity_id"
            | "ad_account_id"
            | "phone_number_id"
            | "solution_id"
            | "partner_app_id",
        ) => Keep(Id),
        (Place::Account, "message_template_name") => Keep(Word),
        (Place::Account, "expiration" | "ban_date" | "disable_date" | "date") => Keep(Time),
        (
            Place::Account,
            "max_phone_numbers_per_business"
            | "max_phone_numbers_per_waba"
            | "max_daily_conversations_per_business"
            | "api_calls",
        ) => Keep(Number),
        (
            Place::Account,
            "waba_info" | "ban_info" | "violation_info" | "restriction_info" | "disable_info"
            | "alert_info",
        ) => Into(Place::Account),

        (Place::Group, "type" | "event" | "reason" | "join_approval_mode") => Keep(Word),
        (
            Place::Group,
            "added_participants"
            | "removed_participants"
            | "failed_participants"
            | "participants"
            | "join_requests"
            | "initiated_by",
        ) => Into(Place::Contact),

        (Place::Baileys, "key") => Into(Place::Baileys),
        (Place::Baileys, "id") => Token(Class::Message),
        (
            Place::Baileys,
            "remoteJid"
            | "participant"
            | "senderPn"
            | "cleanedSenderPn"
            | "participantPn"
            | "cleanedParticipantPn"
            | "senderLid"
            | "participantLid"
            | "remoteJidAlt"
            | "participantAlt"
            | "from"
            | "to"
            | "sender"
            | "recipient",
        ) => Rule::Phone,
        (
            Place::Baileys,
            "pushName" | "notifyName" | "verifiedName" | "verifiedBizName" | "chatName" | "notify",
        ) => Token(Class::Name),
        (Place::Baileys, "fromMe" | "broadcast") => Keep(Bool),
        (Place::Baileys, "addressingMode" | "messageType" | "type" | "ack") => Keep(Word),
        (Place::Baileys, "status") => Keep(Word),
        (Place::Baileys, "messageTimestamp" | "t") => Keep(Time),

        (Place::Session, "status" | "type" | "action") => Keep(Word),
        (Place::Session, "session_id" | "sessionId") => Token(Class::Id),
        (Place::Session, "id" | "jid" | "phone" | "phone_number" | "groupJid") => Rule::Phone,
        _ => Content,
    }
}

impl Shape {
    /// Whether `raw` (a string's body, or a number or word as written) fits.
    #[must_use]
    pub fn fits(self, raw: &str) -> bool {
        let bytes = raw.as_bytes();
        let digits =
            |max: usize| (1..=max).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
        match self {
            Self::Word => {
                let shape =
                    |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b'/');
                bytes.len() <= 64 && bytes.iter().all(shape) && !has_digits(bytes, 6)
            }
            Self::Id => digits(20),
            Self::Time => digits(13) || (bytes.len() <= 35 && iso(bytes)),
            Self::Number => digits(9),
            Self::Mime => {
                let shape = |c: &u8| {
                    c.is_ascii_alphanumeric()
                        || matches!(c, b'/' | b'.' | b'-' | b'+' | b';' | b' ' | b'=' | b'_')
                };
                bytes.len() <= 80
                    && raw.contains('/')
                    && bytes.iter().all(shape)
                    && !has_digits(bytes, 6)
            }
            Self::Bool => raw == "true" || raw == "false",
        }
    }
}

fn iso(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&b'-')
        && bytes.iter().all(|c| {
            c.is_ascii_digit() || matches!(c, b'-' | b':' | b'.' | b'+' | b'T' | b'Z' | b' ')
        })
        && !has_digits(bytes, 10)
}

/// Whether `bytes` hold `n` digits or more in a row, separators left out.
#[must_use]
pub fn has_digits(bytes: &[u8], n: usize) -> bool {
    let mut run = 0;
    bytes.iter().any(|c| {
        match c {
            b'0'..=b'9' => run += 1,
            b' ' | b'-' | b'.' | b'+' if run > 0 => {}
            _ => run = 0,
        }
        run >= n
    })
}
