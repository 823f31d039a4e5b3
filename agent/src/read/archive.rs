//! An archive as its readers see it: all keys, and whole objects.

use crate::store::{Class, Store, StoreError, is_probe};
use sealtail_seal::layout::split_proof_key;
use std::collections::BTreeMap;

/// Longest object that is read: one PUT of the largest batch allowed.
const MAX_OBJECT: u64 = 300 * 1024 * 1024;

/// An archive, listed once.
pub struct Archive {
    store: Store,
    /// Length by key.
    keys: BTreeMap<String, u64>,
}

/// Why reading an object failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing of ours is that long.
    #[error("{key} has {len} bytes, more than any object that sealtail writes")]
    TooLong {
        /// The object.
        key: String,
        /// Its length in bytes.
        len: u64,
    },
}

impl Archive {
    /// Lists the archive.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        let mut keys = BTreeMap::new();
        let mut pages = store.list("")?;
        while let Some(page) = pages.page().await? {
            // What trying the bucket left behind is no part of any log.
            let ours = page.into_iter().filter(|entry| !is_probe(&entry.key));
            keys.extend(ours.map(|entry| (entry.key, entry.len)));
        }
        Ok(Self { store, keys })
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Origin and incarnation of every log that has a proof here, in order.
    #[must_use]
    pub fn incarnations(&self) -> Vec<(String, String)> {
        let mut found: Vec<_> = self
            .keys()
            .filter_map(split_proof_key)
            .map(|(origin, incarnation)| (origin.to_owned(), incarnation.to_owned()))
            .collect();
        found.dedup();
        found
    }

    /// Whether there is such an object.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// A whole object; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than anything of ours.
    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(&len) = self.keys.get(key) else { return Ok(None) };
        if len > MAX_OBJECT {
            return Err(ReadError::TooLong { key: key.to_owned(), len });
        }
        let reader = match self.store.get(key).await {
            // Somebody may have put a thing there that is no object of ours.
            Err(e) if e.class() == Class::NotFound => return Ok(None),
            other => other?,
        };
        let limit = usize::try_from(MAX_OBJECT).unwrap_or(usize::MAX);
        let bytes = reader.read_all(limit).await?;
        Ok(Some(bytes))
    }

    /// A small text object; `None` if there is none or it is not text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn text(&self, key: &str) -> Result<Option<String>, ReadError> {
        Ok(self.bytes(key).await?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The whole name of an object, for messages.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.store.to_string().trim_end_matches('/'))
    }
}
