//! `seal`: how records become sealed, signed batches.

use super::aws::{RawAssumeRole, RawCredentials};
use super::convert::Check;
use super::journal::Journal;
use super::kms::{KMS_ONLY, Kms};
use super::origin::is_name_byte;
use super::quantity::{RawDuration, RawSize, Size};
use super::residency::Residency;
use super::secret::{RawSecret, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Sealing and signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Signs the checkpoints (Ed25519, PKCS#8 PEM).
    pub signing_key: SecretRef,
    /// Who can open the archive; at least one.
    pub recipients: Vec<Recipient>,
    /// When a batch is cut.
    pub batch: Batch,
    /// Compression of a batch.
    pub codec: Codec,
    /// A signed leaf at least this often, so that a cut tail shows. 10 s to 1 d.
    pub heartbeat: Duration,
}

/// Who can open the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// The holder of an RSA key; this is the public half (SPKI PEM). The agent
    /// cannot read back what it sealed.
    Rsa(PathBuf),
    /// Whoever has this AES-256 key (32 bytes, base64), the agent among them.
    Aes {
        /// The name that a reader's keyring is made with.
        name: String,
        /// The key.
        key: SecretRef,
    },
    /// Whoever may use this key of KMS. The agent needs no more than to wrap.
    Kms(Box<Kms>),
}

/// When a batch is cut: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Sealed bytes. 64 KiB to 256 MiB: it is one PUT.
    pub max_bytes: Size,
    /// Age. 1 s to 1 d.
    pub max_age: Duration,
    /// Records; 1 to 10,000,000.
    pub max_records: u64,
}

/// Compression, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// gzip, level 1 to 9: every auditor has a reader.
    Gzip(u32),
    /// zstd, level 1 to 19: as small at a fraction of the time.
    Zstd(u32),
}

/// How records become sealed, signed batches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSeal {
    /// Ed25519 key that signs the checkpoints, made by `sealtail keygen`.
    signing_key: Option<RawSecret>,
    /// Who can open the archive.
    #[schemars(extend("minItems" = 1))]
    recipients: Option<Vec<Option<RawRecipient>>>,
    /// When a batch is cut: whichever comes first.
    batch: Option<RawBatch>,
    /// Compression of a batch.
    codec: Option<RawCodec>,
    /// Level of the codec: 1 to 9 for gzip, 1 to 19 for zstd.
    #[schemars(extend("minimum" = 1, "maximum" = 19))]
    level: Option<u32>,
    /// A signed leaf at least this often, so that a cut tail shows. 10s to 1d.
    heartbeat: Option<RawDuration>,
}

/// Who can open the archive: exactly one of `rsa`, `aes` and `kms`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1, "examples" = ["{rsa: /etc/sealtail/archive.pub.pem}"]))]
pub(super) struct RawRecipient {
    /// Absolute path of an RSA public key (SPKI PEM).
    rsa: Option<String>,
    /// A shared AES-256 key (32 bytes, base64); for development.
    aes: Option<RawSecret>,
    /// Name of the AES key, as a reader's keyring has it. Default: `aes`.
    name: Option<String>,
    /// ARN of a key (or alias) of AWS KMS; its region is where it is asked.
    #[schemars(extend("examples" = ["arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]))]
    pub(super) kms: Option<String>,
    /// Another server than AWS: `https://host:port`. KMS only.
    pub(super) endpoint: Option<String>,
    /// Allows an `http://` endpoint that is not on this machine. KMS only.
    pub(super) allow_insecure: Option<bool>,
    /// Fixed credentials; otherwise the profile or the default AWS chain. KMS only.
    pub(super) credentials: Option<RawCredentials>,
    /// The profile that credentials come from. KMS only.
    pub(super) profile: Option<String>,
    /// A role that is taken on with the credentials at hand. KMS only.
    pub(super) assume_role: Option<RawAssumeRole>,
}

/// When a batch is cut.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RawBatch {
    /// Sealed bytes. 64KiB to 256MiB: it is one PUT.
    max_bytes: Option<RawSize>,
    /// Age. 1s to 1d.
    max_age: Option<RawDuration>,
    /// Records.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000_000))]
    max_records: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum RawCodec {
    /// Every auditor has a reader.
    Gzip,
    /// As small at a fraction of the time.
    Zstd,
}

const DAY: Duration = Duration::from_secs(86_400);
const BATCH_BYTES: (Size, Size) = (Size::from_bytes(64 << 10), Size::mib(256));

impl RawSeal {
    pub(super) fn convert(
        self,
        journal: Option<&Journal>,
        residency: Option<&Residency>,
        check: &mut Check<'_>,
    ) -> Option<Seal> {
        let signing_key = self.signing_key.and_then(|k| k.convert("seal.signing_key", check));
        let recipients = recipients(self.recipients, residency, check);
        let batch = self.batch.and_then(|b| b.convert(journal, check));
        let codec = self.codec.zip(self.level).and_then(|(c, l)| c.with(l, check));
        let bounds = (Duration::from_secs(10), DAY);
        let heartbeat = check.duration("seal.heartbeat", self.heartbeat, bounds);
        Some(Seal {
            signing_key: signing_key?,
            recipients: recipients?,
            batch: batch?,
            codec: codec?,
            heartbeat: heartbeat?,
        })
    }
}

impl RawBatch {
    fn convert(self, journal: Option<&Journal>, check: &mut Check<'_>) -> Option<Batch> {
        let path = "seal.batch.max_bytes";
        let max_bytes = check.size_within(path, self.max_bytes, BATCH_BYTES);
        if let (Some(bytes), Some(journal)) = (max_bytes, journal)
            && bytes > journal.outbox_bytes()
        {
            let outbox = journal.outbox_bytes();
            let what = format!("a batch of {bytes} does not fit in the outbox of {outbox}");
            let hint = "the outbox is a quarter of journal.max_bytes: make the batch smaller, or the \
                        journal larger";
            check.refuse(path, what, hint);
        }
        let bounds = (Duration::from_secs(1), DAY);
        let max_age = check.duration("seal.batch.max_age", self.max_age, bounds);
        Some(Batch { max_bytes: max_bytes?, max_age: max_age?, max_records: self.max_records? })
    }
}

impl RawCodec {
    fn with(self, level: u32, check: &mut Check<'_>) -> Option<Codec> {
        match self {
            Self::Gzip if (1..=9).contains(&level) => Some(Codec::Gzip(level)),
            Self::Zstd if (1..=19).contains(&level) => Some(Codec::Zstd(level)),
            Self::Gzip => {
                check.refuse("seal.level", format!("gzip has no level {level}"), "from 1 to 9");
                None
            }
            Self::Zstd => {
                check.refuse("seal.level", format!("zstd has no level {level}"), "from 1 to 19");
                None
            }
        }
    }
}

fn recipients(
    raw: Option<Vec<Option<RawRecipient>>>,
    residency: Option<&Residency>,
    check: &mut Check<'_>,
) -> Option<Vec<Recipient>> {
    let raw = raw?;
    if raw.is_empty() {
        let what = "there is no recipient: nobody could open the archive";
        check.refuse("seal.recipients", what, "- rsa: /etc/sealtail/archive.pub.pem");
        return None;
    }
    let recipients: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(n, recipient)| {
            recipient?.convert(&format!("seal.recipients[{n}]"), residency, check)
        })
        .collect();
    recipients.into_iter().collect()
}

impl RawRecipient {
    fn convert(
        self,
        path: &str,
        residency: Option<&Residency>,
        check: &mut Check<'_>,
    ) -> Option<Recipient> {
        // What was written, not what was sound: a key that was refused has been reported.
        let given = |check: &Check<'_>, key: &str| check.given(&format!("{path}.{key}"));
        let kinds = ["rsa", "aes", "kms"].iter().filter(|k| given(check, k)).count();
        if kinds != 1 {
            let what = "needs exactly one of `rsa`, `aes` and `kms`";
            check.refuse(path, what, "{rsa: /etc/sealtail/archive.pub.pem}");
            return None;
        }
        if given(check, "name") && !given(check, "aes") {
            check.refuse(
                &format!("{path}.name"),
                "only an `aes` recipient has a name",
                "delete it",
            );
        }
        if given(check, "kms") {
            return self.kms(path, residency, check).map(Box::new).map(Recipient::Kms);
        }
        for key in KMS_ONLY.iter().filter(|key| given(check, key)).collect::<Vec<_>>() {
            let what = "has a meaning for a `kms` recipient only";
            check.refuse(&format!("{path}.{key}"), what, "delete it");
        }
        if let Some(rsa) = self.rsa {
            return check.absolute(&format!("{path}.rsa"), &rsa).map(Recipient::Rsa);
        }
        let key = self.aes?.convert(&format!("{path}.aes"), check)?;
        let name = self.name.unwrap_or_else(|| "aes".into());
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name_byte) {
            let hint = "1 to 64 letters, digits, `.`, `_` and `-`";
            check.refuse(&format!("{path}.name"), "is no name for a key", hint);
            return None;
        }
        Some(Recipient::Aes { name, key })
    }
}
