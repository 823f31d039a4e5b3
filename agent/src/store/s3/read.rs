//! Reading objects and listings of a bucket.

use super::{ANSWER_TIMEOUT, S3Store, STALL, within};
use crate::store::{Doing, Entry, PAGE, StoreError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

/// An object that is being downloaded.
#[derive(Debug)]
pub struct ObjectReader {
    body: ByteStream,
    len: u64,
    /// Bytes still to come.
    left: u64,
    doing: Doing,
    place: String,
}

impl ObjectReader {
    pub(super) fn new(
        object: GetObjectOutput,
        doing: Doing,
        place: String,
    ) -> Result<Self, StoreError> {
        match object.content_length().and_then(|len| u64::try_from(len).ok()) {
            Some(len) => Ok(Self { body: object.body, len, left: len, doing, place }),
            None => Err(StoreError::unavailable(doing, &place, "the answer tells no length")),
        }
    }

    /// Length of the whole object in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::store) fn place(&self) -> &str {
        &self.place
    }

    /// As [`crate::store::Reader::chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let broken =
            |reason: &str| Err(StoreError::unavailable(self.doing, &self.place, reason.to_owned()));
        match tokio::time::timeout(STALL, self.body.next()).await {
            Err(_) => broken("the download stands still"),
            Ok(Some(Err(e))) => broken(&format!("the download broke off: {e}")),
            Ok(Some(Ok(bytes))) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Ok(Some(bytes))
                }
                None => broken("the download is longer than it said"),
            },
            Ok(None) if self.left > 0 => broken("the download ended early"),
            Ok(None) => Ok(None),
        }
    }
}

/// A listing that is being read.
#[derive(Debug)]
pub struct Pages {
    store: S3Store,
    /// As the caller gave it, below the store's root.
    prefix: String,
    /// Where the next page begins; `None` at the first.
    token: Option<String>,
    done: bool,
}

impl Pages {
    pub(super) fn new(store: S3Store, prefix: &str) -> Self {
        Self { store, prefix: prefix.to_owned(), token: None, done: false }
    }

    /// As [`crate::store::Lister::page`].
    ///
    /// # Errors
    /// As there.
    pub async fn page(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        while !self.done {
            let entries = self.request().await?;
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    async fn request(&mut self) -> Result<Vec<Entry>, StoreError> {
        // With the root's slash: `whatsapp` must not list `whatsapp-old/…`.
        let root = self.store.full("");
        let request = self
            .store
            .client()
            .list_objects_v2()
            .bucket(&self.store.0.options.bucket)
            .set_expected_bucket_owner(self.store.0.options.expected_owner.clone())
            .prefix(format!("{root}{}", self.prefix))
            .max_keys(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .set_continuation_token(self.token.clone());
        let listing = match within(ANSWER_TIMEOUT, request.send()).await {
            Ok(listing) => listing,
            Err(fault) => return Err(self.store.settle(fault, Doing::List, &self.prefix).await),
        };
        let broken = |why| Err(StoreError::unavailable(Doing::List, self.store.place(), why));
        let mut entries = Vec::with_capacity(listing.contents().len());
        for object in listing.contents() {
            let key = object.key().and_then(|key| key.strip_prefix(&root));
            let len = object.size().and_then(|len| u64::try_from(len).ok());
            match (key, len) {
                (Some(key), Some(len)) => entries.push(Entry { key: key.to_owned(), len }),
                _ => return broken("the listing has an object without key or length"),
            }
        }
        let next = listing.next_continuation_token();
        match (listing.is_truncated(), next) {
            (Some(true), None) => return broken("the listing goes on but does not say where"),
            (Some(true), next) if next == self.token.as_deref() => {
                return broken("the listing goes in circles");
            }
            (Some(true), next) => self.token = next.map(str::to_owned),
            _ => self.done = true,
        }
        Ok(entries)
    }
}
