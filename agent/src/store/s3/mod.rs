//! An archive in a bucket of S3, or of a store that speaks its protocol.
//!
//! One PUT an object, never multipart (its checksum would be composite), with
//! `If-None-Match: *`, the signed SHA-256 of the payload and
//! `x-amz-checksum-sha256`. An answer of 412 is looked into: the object that is
//! there is compared by length and by the checksum that the store computed, or
//! by reading it. The same is done when an answer was lost on the way.
//!
//! Refused: composite checksums as proof of anything, trailing checksums,
//! unsigned payloads, redirects to other regions.

mod body;
#[cfg(test)]
mod chain_tests;
mod classify;
mod client;
#[cfg(test)]
mod live_iam_tests;
#[cfg(test)]
mod live_tests;
mod options;
#[cfg(test)]
mod options_tests;
mod probe;
#[cfg(test)]
mod probe_tests;
mod read;
#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transport_tests;
mod write;

use super::{Body, Doing, ObjectInfo, ObjectMeta, PutOutcome, StoreError, key};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use body::LocalFault;
use bytes::Bytes;
use classify::Fault;
use client::SignKnownHash;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

pub use crate::aws::{AssumeRole, CredentialSource, Endpoint, EndpointError, FixedCredentials};
pub use options::{Checksums, S3Options};
pub use probe::{Answer, BucketLock, ReadBack, S3Probe};
pub use read::{ObjectReader, Pages};
pub use write::{Encryption, LockMode, ObjectLock, Retention, WriteOptions};

/// How long an answer may take, besides the time for the bytes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The slowest line that an upload is expected to go over, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// How long a transfer may stand still.
const STALL: Duration = Duration::from_secs(30);

/// A bucket, or a prefix in it. Clones share connections and credentials.
#[derive(Clone)]
pub struct S3Store(Arc<Inner>);

struct Inner {
    options: S3Options,
    /// `s3://bucket/` and the prefix with a slash at its end.
    place: String,
    http: SharedHttpClient,
    /// Replaced as a whole when the credentials have run out.
    client: RwLock<Client>,
}

/// Without credentials.
impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({})", self.0.place)
    }
}

impl S3Store {
    /// Makes a client. Sends nothing to the bucket yet; credentials are looked
    /// for when the first request needs them.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when no region is known.
    pub async fn open(options: S3Options) -> Result<Self, StoreError> {
        let place = match options.prefix.as_str() {
            "" => format!("s3://{}/", options.bucket),
            prefix => format!("s3://{}/{prefix}/", options.bucket),
        };
        let http = options.transport.client();
        let http = http.map_err(|why| StoreError::refused(Doing::Open, &place, why))?;
        let client = client::connect(&options, &http)
            .await
            .map_err(|why| StoreError::refused(Doing::Open, &place, why))?;
        Ok(Self(Arc::new(Inner { options, place, http, client: RwLock::new(client) })))
    }

    /// The root as text, with a slash at its end.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// As [`super::Store::put_new`].
    ///
    /// # Errors
    /// As there.
    pub async fn put_new(
        &self,
        key: &str,
        body: &Body,
        sha256: [u8; 32],
        meta: &ObjectMeta,
    ) -> Result<PutOutcome, StoreError> {
        key::check(Doing::Write, self.place(), key)?;
        let fault = match self.send(key, body, sha256, meta, Mode::New).await? {
            Ok(()) => return Ok(PutOutcome::Created),
            Err(fault) => fault,
        };
        match fault {
            Fault::Taken => match self.compare(key, body.len(), sha256).await? {
                true => Ok(PutOutcome::Same),
                // Somebody deleted it between two requests.
                false => Err(StoreError::unavailable(
                    Doing::Write,
                    &self.named(key),
                    "an object was in the way, and is gone again",
                )),
            },
            // The answer may have been lost, or a refusal cut off by a server
            // that did not wait for the body's end.
            Fault::Passing { doubt: true, .. } => {
                match self.compare(key, body.len(), sha256).await {
                    Ok(true) => Ok(PutOutcome::Same),
                    Err(conflict @ StoreError::Conflict { .. }) => Err(conflict),
                    _ => Err(self.settle(fault, Doing::Write, key).await),
                }
            }
            fault => Err(self.settle(fault, Doing::Write, key).await),
        }
    }

    /// As [`super::Store::put`].
    ///
    /// # Errors
    /// As there.
    pub async fn put(&self, key: &str, bytes: Bytes, meta: &ObjectMeta) -> Result<(), StoreError> {
        key::check(Doing::Write, self.place(), key)?;
        let sha256 = Sha256::digest(&bytes).into();
        match self.send(key, &Body::Bytes(bytes), sha256, meta, Mode::Replace).await? {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.settle(fault, Doing::Write, key).await),
        }
    }

    /// As [`super::Store::head`].
    ///
    /// # Errors
    /// As there.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        key::check(Doing::Read, self.place(), key)?;
        self.facts(Doing::Read, key).await
    }

    /// As [`super::Store::get`].
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, key: &str) -> Result<ObjectReader, StoreError> {
        key::check(Doing::Read, self.place(), key)?;
        self.read(Doing::Read, key).await
    }

    /// As [`super::Store::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, prefix: &str) -> Result<Pages, StoreError> {
        key::check_prefix(self.place(), prefix)?;
        Ok(Pages::new(self.clone(), prefix))
    }

    /// As [`super::Store::reload_credentials`]. Fixed ones stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when no region is known any more.
    pub async fn reload_credentials(&self) -> Result<(), StoreError> {
        let client = client::connect(&self.0.options, &self.0.http)
            .await
            .map_err(|why| StoreError::refused(Doing::Open, self.place(), why))?;
        *self.0.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    fn client(&self) -> Client {
        self.0.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn named(&self, key: &str) -> String {
        format!("{}{key}", self.place())
    }

    /// The key as the bucket knows it.
    fn full(&self, key: &str) -> String {
        match self.0.options.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn checksums(&self) -> bool {
        self.0.options.checksums == Checksums::WhenSupported
    }

    /// One PUT. The outer error is one of our own side.
    async fn send(
        &self,
        key: &str,
        body: &Body,
        sha256: [u8; 32],
        meta: &ObjectMeta,
        mode: Mode,
    ) -> Result<Result<(), Fault>, StoreError> {
        let local = LocalFault::default();
        let stream = body::stream(body, sha256, &self.named(key), &local).await?;
        let mut request = self
            .client()
            .put_object()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone())
            .key(self.full(key))
            .content_length(i64::try_from(body.len()).unwrap_or(i64::MAX))
            .set_content_type(meta.content_type.clone())
            .body(stream);
        let write = &self.0.options.write;
        request = write.apply(request, (body, meta, mode), SystemTime::now());
        for (name, value) in &meta.metadata {
            request = request.metadata(name, value);
        }
        // A bucket that locks cannot do without, not even for what we leave unlocked.
        if self.checksums() || write.lock.is_some() {
            request = request.checksum_sha256(BASE64.encode(sha256));
        }
        if mode == Mode::New {
            request = request.if_none_match("*");
        }
        let request = request.customize().interceptor(SignKnownHash(hex(&sha256)));
        let time = ANSWER_TIMEOUT + Duration::from_secs(body.len() / SLOWEST);
        let answer = within(time, request.send()).await;
        match (answer, local.take()) {
            (Ok(_), _) => Ok(Ok(())),
            (Err(_), Some(error)) => Err(error),
            (Err(fault), None) => Ok(Err(fault)),
        }
    }

    /// Whether an object is there; one of other length or hash is a conflict.
    async fn compare(&self, key: &str, len: u64, want: [u8; 32]) -> Result<bool, StoreError> {
        let differs = |found| Err(StoreError::Conflict { place: self.named(key), found });
        let Some(info) = self.facts(Doing::Compare, key).await? else {
            return Ok(false);
        };
        if info.len != len {
            return differs(format!("{} bytes instead of {len}", info.len));
        }
        let found = match info.sha256 {
            Some(sha256) => sha256,
            None => match self.hash(key).await {
                Err(StoreError::NotFound { .. }) => return Ok(false),
                found => found?,
            },
        };
        if found != want {
            return differs("the same length but other bytes".to_owned());
        }
        Ok(true)
    }

    async fn hash(&self, key: &str) -> Result<[u8; 32], StoreError> {
        let mut reader = self.read(Doing::Compare, key).await?;
        let mut hash = Sha256::new();
        while let Some(chunk) = reader.chunk().await? {
            hash.update(&chunk);
        }
        Ok(hash.finalize().into())
    }

    async fn facts(&self, doing: Doing, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let mut request = self
            .client()
            .head_object()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone())
            .key(self.full(key));
        if self.checksums() {
            request = request.checksum_mode(ChecksumMode::Enabled);
        }
        let head = match within(ANSWER_TIMEOUT, request.send()).await {
            Ok(head) => head,
            Err(Fault::NotFound) => return Ok(None),
            // A HEAD has no body to say why; a GET has.
            Err(Fault::Unexplained { .. }) => {
                return match self.read(doing, key).await {
                    Ok(reader) => Ok(Some(ObjectInfo { len: reader.len(), sha256: None })),
                    Err(StoreError::NotFound { .. }) => Ok(None),
                    Err(e) => Err(e),
                };
            }
            Err(fault) => return Err(self.settle(fault, doing, key).await),
        };
        let len =
            head.content_length().and_then(|len| u64::try_from(len).ok()).ok_or_else(|| {
                StoreError::unavailable(doing, &self.named(key), "the answer tells no length")
            })?;
        let whole = head.checksum_type() != Some(&ChecksumType::Composite);
        let sha256 = head.checksum_sha256().filter(|_| whole).and_then(checksum);
        Ok(Some(ObjectInfo { len, sha256 }))
    }

    async fn read(&self, doing: Doing, key: &str) -> Result<ObjectReader, StoreError> {
        let request = self
            .client()
            .get_object()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone())
            .key(self.full(key));
        match within(ANSWER_TIMEOUT, request.send()).await {
            Ok(object) => ObjectReader::new(object, doing, self.named(key)),
            Err(fault) => Err(self.settle(fault, doing, key).await),
        }
    }

    /// Turns a fault into an error. Credentials that have run out are read
    /// anew first, so that the next attempt has others.
    async fn settle(&self, fault: Fault, doing: Doing, key: &str) -> StoreError {
        let place = self.named(key);
        if fault == Fault::NotFound && matches!(doing, Doing::Write | Doing::List) {
            let reason = "the server says 404; is this the address of an S3 store?";
            return StoreError::refused(doing, &place, reason);
        }
        if let Fault::Forbidden { reason } = &fault {
            return StoreError::refused(doing, &place, self.forbidden(doing, reason));
        }
        if let Fault::Expired { reason } = &fault {
            let options = &self.0.options;
            let fixed = matches!(options.credentials, CredentialSource::Fixed(_));
            // A role's can be had anew with them.
            if fixed && options.assume_role.is_none() {
                let reason = format!("{reason}; give new ones");
                return StoreError::refused(doing, &place, reason);
            }
            if let Err(e) = self.reload_credentials().await {
                return e;
            }
        }
        fault.into_error(doing, &place)
    }

    /// What a refusal of the server's can mean here.
    fn forbidden(&self, doing: Doing, reason: &str) -> String {
        if doing == Doing::Compare {
            // Not taken for ours: a copy of this journal elsewhere would look the same.
            return format!(
                "an object is there already, and these credentials may not read it, so nobody can \
                 tell whether it is the same; give them s3:GetObject, at least for a while ({reason})"
            );
        }
        match &self.0.options.expected_owner {
            Some(owner) => format!("{reason}; or the bucket does not belong to account {owner}"),
            None => reason.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    New,
    Replace,
}

/// Waits for an answer, but not for ever.
async fn within<T, E>(
    time: Duration,
    answer: impl Future<Output = Result<T, aws_sdk_s3::error::SdkError<E>>>,
) -> Result<T, Fault>
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    match tokio::time::timeout(time, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::passing(&format!("no answer within {} s", time.as_secs()), true)),
    }
}

/// A full-object checksum as it stands in a header.
fn checksum(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
