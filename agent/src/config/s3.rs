//! The options of an archive in S3: how objects lie there.
//!
//! A key that is given has an effect on the requests, or is refused: an account
//! number that is none, more tags than S3 takes, a lock without an end.

use super::aws::is_account;
use super::convert::Check;
use super::governance::Governance;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most tags that an object can have (S3).
const MOST_TAGS: usize = 10;
/// Storage classes of AWS that an archive can lie in.
const CLASSES: [&str; 7] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// Encryption at rest by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms {
        /// Id, ARN or alias of the key; AWS's own otherwise.
        key_id: Option<String>,
        /// Whether a bucket key spares most calls to KMS.
        bucket_key: Option<bool>,
    },
}

/// Object Lock on what is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// For whom and for how many days.
    pub retention: Option<(LockMode, u32)>,
    /// Also until somebody takes the hold off.
    pub legal_hold: bool,
}

/// For whom an object is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LockMode {
    /// For all but those who may bypass it (s3:BypassGovernanceRetention).
    Governance,
    /// For everybody, the account's root included.
    Compliance,
}

impl LockMode {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum EncryptionType {
    /// With keys of S3's own (SSE-S3).
    S3,
    /// With a key of KMS (SSE-KMS).
    Kms,
}

/// Encryption at rest by the server, on top of the sealing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawEncryption {
    /// Whose keys.
    #[schemars(required)]
    r#type: Option<EncryptionType>,
    /// Id, ARN or alias of the KMS key; otherwise AWS's own for S3. KMS only.
    #[schemars(extend("examples" = ["alias/audit-logs"]))]
    key_id: Option<String>,
    /// Whether a key of the bucket's spares most calls to KMS. KMS only.
    bucket_key: Option<bool>,
}

/// Object Lock on what is written once: proofs and sealed batches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawObjectLock {
    /// For whom it is locked.
    mode: Option<LockMode>,
    /// Days from the upload on; default: message_storage_days of the governance document.
    #[schemars(extend("minimum" = 1, "maximum" = 36500))]
    retain_days: Option<u32>,
    /// Also until somebody takes the hold off.
    legal_hold: Option<bool>,
}

impl RawEncryption {
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    pub(super) fn convert(self, path: &str, check: &mut Check<'_>) -> Option<Encryption> {
        let at = |key: &str| format!("{path}.{key}");
        match self.r#type? {
            EncryptionType::S3 => {
                for key in ["key_id", "bucket_key"] {
                    if check.given(&at(key)) {
                        let what = "has no meaning for type: s3";
                        check.refuse(&at(key), what, "delete it, or write type: kms");
                    }
                }
                Some(Encryption::S3)
            }
            EncryptionType::Kms => {
                let key = |b: u8| b.is_ascii_alphanumeric() || b":/_-".contains(&b);
                let wrong = |id: &String| !(1..=2048).contains(&id.len()) || !id.bytes().all(key);
                if self.key_id.as_ref().is_some_and(wrong) {
                    let what = format!("`{}` is no KMS key", check.shown(&at("key_id")));
                    let hint = "an id, arn:aws:kms:…:key/… or alias/name";
                    check.refuse(&at("key_id"), what, hint);
                }
                Some(Encryption::Kms { key_id: self.key_id, bucket_key: self.bucket_key })
            }
        }
    }
}

impl RawObjectLock {
    pub(super) fn convert(
        self,
        path: &str,
        governance: Option<&Governance>,
        check: &mut Check<'_>,
    ) -> Option<ObjectLock> {
        let legal_hold = self.legal_hold.unwrap_or(false);
        let days = self.retain_days.or(governance.and_then(|g| g.message_storage_days));
        let given = |key: &str| check.given(&format!("{path}.{key}"));
        let (mode_given, days_given) = (given("mode"), given("retain_days"));
        let retention = match (self.mode, days) {
            (Some(mode), Some(days)) => Some((mode, days)),
            // A mode or a number that is none was refused already.
            (Some(_), None) if days_given => return None,
            (None, _) if mode_given => return None,
            (Some(_), None) => {
                let what = "has a mode and no days: such a lock would end at once";
                let hint = "retain_days: 365, or message_storage_days in a governance document";
                check.refuse(path, what, hint);
                return None;
            }
            (None, _) if days_given => {
                let what = "has an effect only beside a mode";
                let hint = "mode: governance, or mode: compliance";
                check.refuse(&format!("{path}.retain_days"), what, hint);
                return None;
            }
            (None, _) if legal_hold => None,
            (None, _) => {
                let hint = "{mode: compliance, retain_days: 365}, or {legal_hold: true}";
                check.refuse(path, "locks nothing", hint);
                return None;
            }
        };
        Some(ObjectLock { retention, legal_hold })
    }
}

pub(super) fn owner(text: &str, path: &str, check: &mut Check<'_>) {
    if !is_account(text) {
        let what = format!("`{}` is no account", check.shown(path));
        check.refuse(path, what, "the twelve digits of the bucket's account, in quotes");
    }
}

/// One of AWS's; of another server whatever it may be called there.
pub(super) fn storage_class(class: &str, amazon: bool, path: &str, check: &mut Check<'_>) {
    let name = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    let fits = match amazon {
        true => CLASSES.contains(&class),
        false => (1..=64).contains(&class.len()) && class.bytes().all(name),
    };
    if !fits {
        let what = format!("`{}` is no storage class", check.shown(path));
        let hint = match super::error::nearest(&class.to_lowercase(), LOWER_CLASSES) {
            Some(near) if amazon => format!("did you mean `{}`?", near.to_uppercase()),
            _ => format!("one of {}", CLASSES.join(", ")),
        };
        check.refuse(path, what, hint);
    }
}

const LOWER_CLASSES: [&str; 7] = [
    "standard",
    "standard_ia",
    "onezone_ia",
    "intelligent_tiering",
    "glacier_ir",
    "glacier",
    "deep_archive",
];

/// Tags that go beside those of the governance document.
pub(super) fn tags(
    raw: BTreeMap<String, String>,
    path: &str,
    governance: Option<&Governance>,
    check: &mut Check<'_>,
) -> Vec<(String, String)> {
    let theirs = governance.map(Governance::tags).unwrap_or_default();
    let fits = |text: &str, least, most| {
        let safe = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        (least..=most).contains(&text.chars().count()) && text.chars().all(safe)
    };
    for (key, value) in &raw {
        let wrong = if !fits(key, 1, 128) || key.starts_with("aws:") {
            Some("has a name that S3 does not take")
        } else if !fits(value, 0, 256) {
            Some("has a value that S3 does not take")
        } else {
            None
        };
        if let Some(what) = wrong {
            let hint = "names up to 128 and values up to 256 letters, digits, blanks and +-=._:/@, \
                        not beginning with aws:";
            check.refuse(&format!("{path}.{key}"), what, hint);
        }
        if theirs.iter().any(|(other, _)| other == key) {
            let what = "is a tag that the governance document gives";
            check.refuse(&format!("{path}.{key}"), what, "delete it here, or change it there");
        }
    }
    if raw.len() + theirs.len() > MOST_TAGS {
        let more = if theirs.is_empty() { "" } else { " with those of the governance document" };
        let what = format!("{} tags{more}", raw.len() + theirs.len());
        check.refuse(path, what, "an object in S3 has at most ten");
    }
    raw.into_iter().collect()
}
