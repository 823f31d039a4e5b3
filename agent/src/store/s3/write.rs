//! What is asked of the bucket for each object that is written: encryption,
//! storage class, tags, Object Lock.
//!
//! Encryption and tags go with everything. Object Lock goes with what is
//! written once ([`put_new`](super::S3Store::put_new)): what is replaced (the
//! `checkpoint`, of which every value also stands in a locked proof) would
//! leave a locked version behind each time. The storage class goes with what is
//! sent out of a file, the sealed batches: proofs and checkpoints are small, and
//! `verify` reads them all, so they are neither billed as 128 KiB nor frozen.

use super::Mode;
use crate::store::{Body, ObjectMeta};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass,
};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 3600;

/// What is asked of the bucket for each object that is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// How the server encrypts at rest, on top of our own sealing. `None`: as
    /// the bucket says.
    pub encryption: Option<Encryption>,
    /// The storage class of what is sent out of a file. `None`: the standard one.
    pub storage_class: Option<String>,
    /// Tags besides those of [`ObjectMeta`]; at most ten together.
    pub tags: Vec<(String, String)>,
    /// Object Lock on what is written once.
    pub lock: Option<ObjectLock>,
}

/// Encryption at rest by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of S3's own (SSE-S3).
    S3,
    /// With a key of KMS (SSE-KMS).
    Kms {
        /// The key's id, ARN or alias. `None`: AWS's own for S3.
        key_id: Option<String>,
        /// Whether a key of the bucket's spares most calls to KMS. `None`: as
        /// the bucket says.
        bucket_key: Option<bool>,
    },
}

/// Object Lock: the version cannot be deleted or overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// For how long, and for whom.
    pub retention: Option<Retention>,
    /// Also until somebody takes the hold off.
    pub legal_hold: bool,
}

/// How long an object is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For whom.
    pub mode: LockMode,
    /// At least this many days from the upload on.
    pub days: u32,
}

/// For whom an object is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// For all but those with `s3:BypassGovernanceRetention`.
    Governance,
    /// For everybody, the account's root included.
    Compliance,
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}

impl Retention {
    /// The first midnight (UTC) that is at least so many days away: all uploads
    /// of a day say the same, so a resend does, too.
    fn until(self, now: SystemTime) -> DateTime {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let until = (now + u64::from(self.days) * DAY).div_ceil(DAY) * DAY;
        DateTime::from_secs(i64::try_from(until).unwrap_or(i64::MAX))
    }
}

impl WriteOptions {
    /// Puts everything that goes with this object into its request.
    pub(super) fn apply(
        &self,
        mut request: PutObjectFluentBuilder,
        (body, meta, mode): (&Body, &ObjectMeta, Mode),
        now: SystemTime,
    ) -> PutObjectFluentBuilder {
        request = request.set_tagging(tagging(meta.tags.iter().chain(&self.tags)));
        match &self.encryption {
            None => {}
            Some(Encryption::S3) => {
                request = request.server_side_encryption(ServerSideEncryption::Aes256);
            }
            Some(Encryption::Kms { key_id, bucket_key }) => {
                request = request
                    .server_side_encryption(ServerSideEncryption::AwsKms)
                    .set_ssekms_key_id(key_id.clone())
                    .set_bucket_key_enabled(*bucket_key);
            }
        }
        if let (Some(class), Body::File { .. }) = (&self.storage_class, body) {
            request = request.storage_class(StorageClass::from(class.as_str()));
        }
        if let (Some(lock), Mode::New) = (self.lock, mode) {
            if let Some(retention) = lock.retention {
                request = request
                    .object_lock_mode(match retention.mode {
                        LockMode::Governance => ObjectLockMode::Governance,
                        LockMode::Compliance => ObjectLockMode::Compliance,
                    })
                    .object_lock_retain_until_date(retention.until(now));
            }
            if lock.legal_hold {
                request = request.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On);
            }
        }
        request
    }
}

/// Tags as the header wants them: a query string.
fn tagging<'a>(tags: impl Iterator<Item = &'a (String, String)>) -> Option<String> {
    let pairs: Vec<_> =
        tags.map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    Some(pairs.join("&")).filter(|text| !text.is_empty())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lock_ends_at_a_midnight_and_never_too_early() {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let retention = Retention { mode: LockMode::Compliance, days: 30 };
        // 2026-11-22T00:00:00Z.
        let day = 1_795_305_600;
        for (now, days) in [(day, 30), (day + 1, 31), (day + DAY - 1, 31), (day + DAY, 31)] {
            let until = retention.until(at(now));
            assert_eq!(until, DateTime::from_secs((day + days * DAY) as i64), "{now}");
        }
        assert_eq!(retention.until(at(day + 1)).to_string(), "2026-12-23T00:00:00Z");
        assert_eq!(retention.until(UNIX_EPOCH - Duration::from_secs(1)).secs(), 30 * DAY as i64);
    }
}
