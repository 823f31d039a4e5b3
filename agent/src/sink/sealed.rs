//! Fields that leave sealed: `seal_fields` of Splunk and Datadog sinks
//! (SEAL-FORMAT.md section 2).
//!
//! It promises: of a field that is named, only its token leaves, and beside a
//! text a keyed token under which equal texts are equal (`<name>_token`, unless
//! the record has one of that name). Without a key whose sealed copy is on its
//! way to the archive, nothing of the record leaves at all.

use super::event::{Fields, Head, Log, push_json};
use crate::redact::ValueTokens;
use crate::sealer::ring::{NoKey, Ring};
use sealtail_seal::entropy::OsEntropy;
use sealtail_seal::field::{FieldKey, Place, SealError};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// What the agent says of each record itself: never sealed.
pub const CLEAR: [&str; 6] = ["seq", "journaled", "origin", "incarnation", "event", "time"];
/// Longest pointer, in bytes.
const MAX_POINTER: usize = 1000;

/// Why a record was not encoded: nothing of it may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// There is no key now.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// A value could not be sealed.
    #[error("a field could not be sealed: {0}")]
    Seal(SealError),
}

impl NotSealed {
    /// Whether a key was asked for, and is told of when it is there.
    #[must_use]
    pub fn is_waiting(self) -> bool {
        self == Self::NoKey(NoKey::Yet)
    }
}

impl From<SealError> for NotSealed {
    fn from(e: SealError) -> Self {
        match e {
            SealError::WornOut => Self::NoKey(NoKey::Yet),
            SealError::Random(_) | SealError::TooLong => Self::Seal(e),
        }
    }
}

/// A field of a record, as a JSON Pointer (RFC 6901) that names a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// In its one form: what tokens are bound to.
    text: String,
    /// At least one.
    parts: Vec<String>,
}

impl Pointer {
    /// Reads `/source/path`, or `text`, which is `/text`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<String> = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(unescape).collect::<Option<_>>(),
            None if text.contains(['/', '~']) => None,
            None => Some(vec![text.to_owned()]),
        }
        .ok_or("is no JSON Pointer: it begins with / and has ~ only as ~0 and ~1")?;
        if parts.iter().any(String::is_empty) {
            return Err("names no field: a part of it is empty");
        }
        let escape = |part: &String| format!("/{}", part.replace('~', "~0").replace('/', "~1"));
        let text: String = parts.iter().map(escape).collect();
        if text.len() > MAX_POINTER { Err("is too long") } else { Ok(Self { text, parts }) }
    }

    /// The name of the record's own member that it is, or lies in.
    #[must_use]
    pub fn first(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }

    /// Whether `other` is the same field, or lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.parts.starts_with(&self.parts)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `~1` is a slash, `~0` a tilde.
fn unescape(part: &str) -> Option<String> {
    let mut pieces = part.split('~');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (c, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', piece.get(1..)?),
            b'1' => ('/', piece.get(1..)?),
            _ => return None,
        };
        out.push(c);
        out.push_str(rest);
    }
    Some(out)
}

/// What sinks seal fields with.
#[derive(Debug, Clone)]
pub struct FieldKeys {
    ring: Arc<Ring>,
    tokens: ValueTokens,
}

impl FieldKeys {
    /// Keys come from `ring`; equality tokens are made with `tokens`.
    #[must_use]
    pub fn new(ring: Arc<Ring>, tokens: ValueTokens) -> Self {
        Self { ring, tokens }
    }

    /// Tells when there is a key.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.ring.subscribe()
    }
}

/// Seals what is named of one record.
pub(super) struct Sealing<'a> {
    fields: &'a [Pointer],
    key: Arc<FieldKey>,
    tokens: &'a ValueTokens,
    log: &'a Log,
    seq: u64,
}

impl<'a> Sealing<'a> {
    /// For record `seq`, at Unix ms `now`; `again`: it was encoded before.
    pub(super) fn new(
        fields: &'a [Pointer],
        keys: Option<&'a FieldKeys>,
        (log, seq): (&'a Log, u64),
        (now, again): (u64, bool),
    ) -> Result<Self, NotSealed> {
        let keys = keys.ok_or(NoKey::Ever)?;
        let key = if again { keys.ring.newest(now)? } else { keys.ring.key(now)? };
        Ok(Self { fields, key, tokens: &keys.tokens, log, seq })
    }

    /// Appends those of the record's members that `keep` names, a comma before
    /// each.
    pub(super) fn record(
        &self,
        members: &Fields<'_>,
        keep: impl Fn(&str) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSealed> {
        let all: Vec<&Pointer> = self.fields.iter().collect();
        for (name, value) in members.0.iter().filter(|(name, _)| keep(name)) {
            out.push(b',');
            self.member(&all, 0, (name.as_ref(), *value), members, out)?;
        }
        Ok(())
    }

    /// Appends a member of an object at this depth, sealed as far as it is named.
    fn member(
        &self,
        below: &[&Pointer],
        depth: usize,
        (name, value): (&str, &RawValue),
        siblings: &Fields<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), NotSealed> {
        push_json(out, name);
        out.push(b':');
        if !self.value(below, depth, name, value, out)? {
            return Ok(());
        }
        let token_name = format!("{name}_token");
        let has = siblings.0.iter().any(|(name, _)| *name == token_name);
        if has || name.ends_with("_token") {
            return Ok(());
        }
        if let Ok(text) = serde_json::from_str::<String>(value.get()) {
            out.push(b',');
            push_json(out, &token_name);
            out.extend_from_slice(b":\"");
            out.extend_from_slice(&self.tokens.token(&text));
            out.push(b'"');
        }
        Ok(())
    }

    /// Appends a value; returns whether it was sealed as a whole.
    fn value(
        &self,
        below: &[&Pointer],
        depth: usize,
        name: &str,
        value: &RawValue,
        out: &mut Vec<u8>,
    ) -> Result<bool, NotSealed> {
        let is_here = |p: &&&Pointer| p.parts.get(depth).is_some_and(|part| part == name);
        let here: Vec<&Pointer> = below.iter().filter(is_here).copied().collect();
        let depth = depth + 1;
        if let Some(pointer) = here.iter().find(|p| p.parts.len() == depth) {
            let place = Place {
                origin: &self.log.origin,
                incarnation: &self.log.incarnation,
                seq: self.seq,
                pointer: &pointer.text,
            };
            out.push(b'"');
            self.key.seal(&place, value.get().as_bytes(), &mut OsEntropy, out)?;
            out.push(b'"');
            return Ok(true);
        }
        match value.get().as_bytes().first() {
            Some(b'{') if !here.is_empty() => {
                let members: Fields<'_> = serde_json::from_str(value.get()).unwrap_or_default();
                out.push(b'{');
                for (n, (name, value)) in members.0.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    self.member(&here, depth, (name.as_ref(), *value), &members, out)?;
                }
                out.push(b'}');
            }
            Some(b'[') if !here.is_empty() => {
                let items: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    self.value(&here, depth, &n.to_string(), item, out)?;
                }
                out.push(b']');
            }
            _ => out.extend_from_slice(value.get().as_bytes()),
        }
        Ok(false)
    }
}

/// Takes what is sealed out of the head, from which others copy.
pub(super) fn hide(head: &mut Head<'_>, fields: &[Pointer]) {
    for field in fields {
        let parts: Vec<&str> = field.parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["text"] => head.text = None,
            ["level"] => head.level = None,
            ["source"] | ["source", "path"] => head.source = None,
            ["event"] => head.event = Cow::default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
