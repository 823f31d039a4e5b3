//! Which gateway's document a JSON value is.

use crate::json::{Kind, Tape};

/// A document that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// A webhook of the Cloud API: `{object, entry[]}`.
    Cloud,
    /// On-Premises webhooks and replies of the send API: no envelope.
    Value,
    /// A body for the send API: `{to, type, …}`.
    Send,
    /// WASender: `{event, data, …}`.
    Wasender,
    /// One message as Baileys has it: `{key: {remoteJid, …}, …}`.
    Baileys,
}

impl Document {
    /// What the value at `root` is, if it is known.
    #[must_use]
    pub fn of(tape: &Tape, text: &str, root: u32) -> Option<Self> {
        let mut seen = Seen::default();
        for (key, value) in tape.members(root) {
            let kind = tape.kind(value)?;
            let list = kind == Kind::Array;
            match tape.raw(text, key) {
                "object" => seen.object |= tape.raw(text, value) == "whatsapp_business_account",
                "entry" => seen.entry |= list,
                "messages" | "statuses" | "calls" => {
                    seen.lists |=
                        list && tape.items(value).all(|i| tape.kind(i) == Some(Kind::Object));
                }
                "contacts" | "errors" => seen.lesser |= list,
                "event" => seen.event |= tape.raw(text, value).contains('.'),
                "data" | "sessionId" => seen.data = true,
                "key" => seen.key |= tape.get(text, value, "remoteJid").is_some(),
                "to" | "recipient" => seen.to |= kind != Kind::Array,
                "messaging_product" | "recipient_type" => seen.product = true,
                "type" => seen.kind |= kind == Kind::Str,
                _ => {}
            }
        }
        Some(match seen {
            Seen { object: true, .. } | Seen { entry: true, .. } => Self::Cloud,
            Seen { event: true, data: true, .. } => Self::Wasender,
            Seen { key: true, .. } => Self::Baileys,
            Seen { lists: true, .. } => Self::Value,
            Seen { to: true, product: true, .. } => Self::Send,
            Seen { to: true, kind: true, .. } => Self::Send,
            Seen { lesser: true, .. } => Self::Value,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Seen {
    object: bool,
    entry: bool,
    lists: bool,
    lesser: bool,
    event: bool,
    data: bool,
    key: bool,
    to: bool,
    product: bool,
    kind: bool,
}
