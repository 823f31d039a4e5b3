//! What a bucket can do: see [`Store::probe`](crate::store::Store::probe).
//!
//! Whether a condition is honoured shows only by writing twice. The object for
//! that has a fixed name and fixed bytes, and is written like any other, lock
//! included: so it is there once, needs no right to delete, and shows that the
//! credentials and the bucket take what is configured.

use super::classify::Fault;
use super::write::{LockMode, ObjectLock};
use super::{ANSWER_TIMEOUT, Mode, S3Store};
use crate::store::probe::{Mark, PROBE, Row};
use crate::store::{Body, Doing, ObjectMeta, StoreError, key};
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumMode, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockRetentionMode,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

const BODY: &[u8] = b"sealtail tries here whether a second write is refused. No part of any log.\n";
/// From here on a clock is worth a word; S3 refuses requests at 15 minutes.
const SKEWED: u64 = 60;

/// What was found out about a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Probe {
    /// `s3://bucket/prefix/`.
    pub place: String,
    /// Where the bucket is, by its own word; otherwise where we were told.
    pub region: Option<String>,
    /// Seconds that the server's clock is before ours.
    pub skew: Option<i64>,
    /// Whether old versions are kept.
    pub versioned: Answer<bool>,
    /// Whether the bucket can lock objects, and does so by itself.
    pub lock: Answer<BucketLock>,
    /// Whether a second write was refused.
    pub conditional: bool,
    /// Whether what was written may be read back.
    pub read_back: ReadBack,
    /// What is configured.
    pub wanted: Option<ObjectLock>,
    /// Why nothing may lie in that region.
    pub outside: Option<String>,
}

/// An answer, unless asking is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<T> {
    /// This is it.
    Known(T),
    /// The credentials do not allow to ask.
    Forbidden,
}

/// What a bucket says of Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketLock {
    /// It cannot lock.
    No,
    /// It locks what is asked to be locked.
    OnRequest,
    /// It locks everything for at least so many days.
    Always(LockMode, u32),
}

/// Whether the writer may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// Yes, and the store keeps checksums: comparing needs one HEAD.
    Checksum,
    /// Yes; comparing reads the whole object.
    Whole,
    /// No: what is there already cannot be compared.
    No,
}

impl S3Store {
    pub(in crate::store) async fn probe(&self, folder: &str) -> Result<S3Probe, StoreError> {
        let name = match folder.trim_end_matches('/') {
            "" => PROBE.to_owned(),
            folder => format!("{folder}/{PROBE}"),
        };
        key::check(Doing::Write, self.place(), &name)?;
        let heard = Hear::default();
        self.reach(&heard).await?;
        let versioned = self.versioned(&heard).await?;
        let lock = self.bucket_lock().await?;
        let (region, skew) = heard.taken();
        let told = || self.client().config().region().map(|r| r.as_ref().to_owned());
        let region = region.or_else(told);
        let outside = region.as_deref().and_then(|r| self.0.options.admit(r).err());
        // Nothing is written where nothing may lie; and a lock that the bucket
        // cannot keep would be refused in worse words.
        let conditional = match (self.0.options.write.lock, lock) {
            _ if outside.is_some() => true,
            (Some(_), Answer::Known(BucketLock::No)) => true,
            _ => self.twice(&name).await?,
        };
        let read_back = self.read_back(&name).await?;
        Ok(S3Probe {
            place: self.place().to_owned(),
            outside,
            region,
            skew,
            versioned,
            lock,
            conditional,
            read_back,
            wanted: self.0.options.write.lock,
        })
    }

    /// Whether there is a bucket. A HEAD of it may be forbidden to a writer: the
    /// answer still says where it is.
    async fn reach(&self, heard: &Hear) -> Result<(), StoreError> {
        let request = self
            .client()
            .head_bucket()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone());
        let answer = asked(request.customize().interceptor(heard.clone()).send()).await;
        match answer {
            Ok(_) | Err((_, Fault::Forbidden { .. } | Fault::Unexplained { status: 403 })) => {
                Ok(())
            }
            Err((_, Fault::NotFound)) => {
                let reason = "the bucket does not exist; make it or correct the url";
                Err(StoreError::refused(Doing::Open, self.place(), reason))
            }
            Err((_, Fault::Unexplained { status })) => match heard.taken().0 {
                Some(region) if Some(&region) != self.0.options.region.as_ref() => {
                    let reason =
                        format!("the bucket is in region {region}; set region to that ({status})");
                    Err(StoreError::refused(Doing::Open, self.place(), reason))
                }
                // The next question has an answer with a body.
                _ => Ok(()),
            },
            Err((_, fault)) => Err(self.settle(fault, Doing::Open, "").await),
        }
    }

    async fn versioned(&self, heard: &Hear) -> Result<Answer<bool>, StoreError> {
        let request = self
            .client()
            .get_bucket_versioning()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone());
        match asked(request.customize().interceptor(heard.clone()).send()).await {
            Ok(found) => {
                Ok(Answer::Known(found.status() == Some(&BucketVersioningStatus::Enabled)))
            }
            Err((code, _)) if unknown(&code) => Ok(Answer::Known(false)),
            Err((_, Fault::Forbidden { .. })) => Ok(Answer::Forbidden),
            Err((_, fault)) => Err(self.settle(fault, Doing::Open, "").await),
        }
    }

    async fn bucket_lock(&self) -> Result<Answer<BucketLock>, StoreError> {
        let request = self
            .client()
            .get_object_lock_configuration()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone());
        match asked(request.send()).await {
            Ok(found) => Ok(Answer::Known(bucket_lock(found.object_lock_configuration()))),
            Err((code, _)) if unknown(&code) => Ok(Answer::Known(BucketLock::No)),
            Err((Some(code), _)) if code == "ObjectLockConfigurationNotFoundError" => {
                Ok(Answer::Known(BucketLock::No))
            }
            Err((_, Fault::Forbidden { .. })) => Ok(Answer::Forbidden),
            Err((_, fault)) => Err(self.settle(fault, Doing::Open, "").await),
        }
    }

    /// Writes the same object twice, at most: whether the second is refused.
    async fn twice(&self, name: &str) -> Result<bool, StoreError> {
        let body = Body::Bytes(Bytes::from_static(BODY));
        let sha256 = Sha256::digest(BODY).into();
        for _ in 0..2 {
            match self.send(name, &body, sha256, &ObjectMeta::default(), Mode::New).await? {
                Ok(()) => {}
                Err(Fault::Taken) => return Ok(true),
                Err(fault) => return Err(self.settle(fault, Doing::Write, name).await),
            }
        }
        Ok(false)
    }

    async fn read_back(&self, name: &str) -> Result<ReadBack, StoreError> {
        let mut request = self
            .client()
            .head_object()
            .bucket(&self.0.options.bucket)
            .set_expected_bucket_owner(self.0.options.expected_owner.clone())
            .key(self.full(name));
        if self.checksums() {
            request = request.checksum_mode(ChecksumMode::Enabled);
        }
        match asked(request.send()).await {
            Ok(head) if head.checksum_sha256().is_some() => Ok(ReadBack::Checksum),
            // Not there: nothing was written, because the verdict is a refusal anyway.
            Ok(_) | Err((_, Fault::NotFound)) => Ok(ReadBack::Whole),
            Err((_, Fault::Forbidden { .. } | Fault::Unexplained { status: 403 })) => {
                Ok(ReadBack::No)
            }
            Err((_, Fault::Unexplained { .. })) => match self.read(Doing::Read, name).await {
                Ok(_) => Ok(ReadBack::Whole),
                Err(e) => Err(e),
            },
            Err((_, fault)) => Err(self.settle(fault, Doing::Read, name).await),
        }
    }
}

/// A server that does not know the question does not have the thing.
fn unknown(code: &Option<String>) -> bool {
    matches!(code.as_deref(), Some("NotImplemented" | "MethodNotAllowed"))
}

fn bucket_lock(found: Option<&ObjectLockConfiguration>) -> BucketLock {
    let Some(found) = found else { return BucketLock::No };
    if found.object_lock_enabled() != Some(&ObjectLockEnabled::Enabled) {
        return BucketLock::No;
    }
    let Some(rule) = found.rule().and_then(|rule| rule.default_retention()) else {
        return BucketLock::OnRequest;
    };
    let mode = match rule.mode() {
        Some(ObjectLockRetentionMode::Compliance) => LockMode::Compliance,
        Some(ObjectLockRetentionMode::Governance) => LockMode::Governance,
        _ => return BucketLock::OnRequest,
    };
    let days = rule.days().unwrap_or(0).max(0).unsigned_abs();
    let years = rule.years().unwrap_or(0).max(0).unsigned_abs();
    BucketLock::Always(mode, days.saturating_add(years.saturating_mul(365)))
}

/// An answer within the usual time; with the error's code, which says more than
/// its class.
async fn asked<T, E>(
    answer: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<T, (Option<String>, Fault)>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err((error.code().map(str::to_owned), Fault::of(&error))),
        Err(_) => {
            let reason = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
            Err((None, Fault::passing(&reason, true)))
        }
    }
}

impl S3Probe {
    pub(in crate::store) fn verdict(&self) -> Result<(), StoreError> {
        let refuse = |reason: String| Err(StoreError::refused(Doing::Open, &self.place, reason));
        if let Some(why) = &self.outside {
            return refuse(format!("the bucket is where it may not be: {why}"));
        }
        if let Some(why) = self.unlockable() {
            return refuse(format!("object_lock is configured, but {why}"));
        }
        if !self.conditional {
            let why = match self.versioned {
                Answer::Known(true) => "; some (Ceph 16) honour it only where no versions are kept",
                _ => "",
            };
            return refuse(format!(
                "the store writes over what is there in spite of If-None-Match: nothing would keep \
                 a second writer out; use a store that honours it{why}"
            ));
        }
        Ok(())
    }

    /// Why the lock that is configured cannot be promised.
    fn unlockable(&self) -> Option<&'static str> {
        match (self.wanted?, self.lock) {
            (_, Answer::Known(BucketLock::No)) => Some(
                "the bucket has no Object Lock: turn it on for the bucket (with versioning), or \
                 take another bucket",
            ),
            (_, Answer::Forbidden) => Some(
                "whether the bucket has Object Lock may not be asked: give the credentials \
                 s3:GetBucketObjectLockConfiguration",
            ),
            (_, Answer::Known(_)) => None,
        }
    }

    pub(in crate::store) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            Row::new("writable", Mark::Good, format!("yes, {}", self.place)),
            match &self.outside {
                Some(why) => Row::new("region", Mark::Bad, why),
                None => {
                    Row::new("region", Mark::Good, self.region.as_deref().unwrap_or("not told"))
                }
            },
            match self.conditional {
                true => Row::new("written once", Mark::Good, "yes, a second write is refused"),
                false => Row::new("written once", Mark::Bad, "NO: If-None-Match is not honoured"),
            },
            match self.versioned {
                Answer::Known(true) => Row::new("versioned", Mark::Good, "yes"),
                Answer::Known(false) => {
                    Row::new("versioned", Mark::Warning, "no: what is deleted or replaced is gone")
                }
                Answer::Forbidden => Row::new(
                    "versioned",
                    Mark::Warning,
                    "may not be asked (s3:GetBucketVersioning)",
                ),
            },
            self.lock_row(),
            match self.read_back {
                ReadBack::Checksum => Row::new("read back", Mark::Good, "yes, by checksum"),
                ReadBack::Whole => Row::new("read back", Mark::Good, "yes, whole"),
                ReadBack::No => Row::new(
                    "read back",
                    Mark::Warning,
                    "no: an upload whose answer is lost will halt until s3:GetObject is given",
                ),
            },
        ];
        rows.push(match self.skew {
            Some(skew) if skew.unsigned_abs() >= SKEWED => Row::new(
                "clock",
                Mark::Warning,
                format!("{skew} s off the server's: S3 refuses requests from 900 s on"),
            ),
            Some(skew) => Row::new("clock", Mark::Good, format!("{skew} s off the server's")),
            None => Row::new("clock", Mark::Warning, "the server does not tell the time"),
        });
        rows
    }

    fn lock_row(&self) -> Row {
        let row = |mark, answer: String| Row::new("locked (WORM)", mark, answer);
        if let Some(why) = self.unlockable() {
            return row(Mark::Bad, format!("NO: {why}"));
        }
        let ours = self.wanted.map(|lock| match (lock.retention, lock.legal_hold) {
            (Some(kept), hold) => format!(
                "{} days, mode {}{}",
                kept.days,
                kept.mode,
                if hold { ", and a legal hold" } else { "" }
            ),
            (None, _) => "a legal hold".to_owned(),
        });
        match (ours, self.lock) {
            (Some(ours), Answer::Known(BucketLock::Always(mode, days))) => row(
                Mark::Good,
                format!(
                    "yes: proofs and batches {ours}; all else {days} days, mode {mode}, by the bucket"
                ),
            ),
            (Some(ours), _) => row(Mark::Good, format!("yes: proofs and batches {ours}")),
            (None, Answer::Known(BucketLock::Always(mode, days))) => {
                row(Mark::Good, format!("yes, by the bucket: {days} days, mode {mode}"))
            }
            (None, Answer::Known(BucketLock::OnRequest)) => row(
                Mark::Warning,
                "no: the bucket could, but object_lock is not configured".to_owned(),
            ),
            (None, Answer::Known(BucketLock::No)) => row(
                Mark::Warning,
                "no: who may delete in the bucket can delete evidence".to_owned(),
            ),
            (None, Answer::Forbidden) => row(
                Mark::Warning,
                "not by us; the bucket may not be asked (s3:GetBucketObjectLockConfiguration)"
                    .to_owned(),
            ),
        }
    }
}

/// Keeps what the headers of answers say beside the matter.
#[derive(Debug, Clone, Default)]
struct Hear(Arc<Mutex<(Option<String>, Option<i64>)>>);

impl Hear {
    /// Region, and seconds that the server's clock is before ours.
    fn taken(&self) -> (Option<String>, Option<i64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Intercept for Hear {
    fn name(&self) -> &'static str {
        "Hear"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(region) = headers.get("x-amz-bucket-region") {
            // Shown to people: nothing but what a region can be.
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if region.len() <= 64 && region.bytes().all(plain) {
                heard.0 = Some(region.to_owned());
            }
        }
        if let Some(date) = headers.get("date")
            && let Ok(date) = DateTime::from_str(date, Format::HttpDate)
        {
            heard.1 = Some(date.secs() - DateTime::from(SystemTime::now()).secs());
        }
        Ok(())
    }
}
