//! The encryption context: authenticated, readable without a key.

use std::collections::BTreeMap;

/// Longest context, serialized, that is read or written (the format has room for
/// 65,535 bytes).
pub(super) const MAX_CONTEXT: usize = 16 * 1024;

/// Key-value pairs; no personal data belongs here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, String>);

/// A context that the format cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encryption context is longer than 16 KiB, or repeats a key")]
pub struct ContextError;

impl Context {
    /// A context of these pairs.
    ///
    /// # Errors
    /// When a key comes twice, or it is longer than 16 KiB.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Self, ContextError> {
        let mut map = BTreeMap::new();
        for (key, value) in pairs {
            if map.insert(key.to_owned(), value).is_some() {
                return Err(ContextError);
            }
        }
        let context = Self(map);
        if context.serialize().len() > MAX_CONTEXT {
            return Err(ContextError);
        }
        Ok(context)
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, sorted by key.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// u16 n, then n × (u16 len, key, u16 len, value), sorted by the keys'
    /// UTF-8 bytes; nothing at all when empty.
    pub(super) fn serialize(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        // MAX_CONTEXT is far below what 16 bits hold; before that check a longer
        // one only needs to stay too long.
        let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        out.extend_from_slice(&short(self.0.len()));
        for (key, value) in &self.0 {
            for text in [key, value] {
                out.extend_from_slice(&short(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut map = BTreeMap::new();
        if !bytes.is_empty() {
            let mut input = super::header::Input(bytes);
            let n = input.u16()?;
            for _ in 0..n {
                let key = String::from_utf8(input.prefixed()?.to_vec()).ok()?;
                let value = String::from_utf8(input.prefixed()?.to_vec()).ok()?;
                map.insert(key, value);
            }
            if !input.0.is_empty() || map.is_empty() {
                return None;
            }
        }
        let context = Self(map);
        // Sorted and without repeats, or it would not serialize back.
        (context.serialize() == bytes).then_some(context)
    }
}
