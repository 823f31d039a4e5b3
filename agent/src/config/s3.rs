//! The options of an archive in S3: who we are there, and how objects lie.
//!
//! A key that is given has an effect on the requests, or is refused: an account
//! number that is none, more tags than S3 takes, a lock without an end.

use super::convert::Check;
use super::governance::Governance;
use super::secret::{RawSecret, SecretRef};
use super::url;
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

/// Fixed S3 credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key: SecretRef,
    /// The secret access key.
    pub secret_key: SecretRef,
}

/// A role that is taken on with the credentials at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// What the role's owner agreed on with us.
    pub external_id: Option<String>,
    /// How the session is called in the account's logs.
    pub session_name: Option<String>,
    /// Another STS than that of AWS.
    pub endpoint: Option<String>,
}

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

/// Fixed S3 credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawCredentials {
    /// Access key id.
    #[schemars(required)]
    access_key: Option<RawSecret>,
    /// Secret access key.
    #[schemars(required)]
    secret_key: Option<RawSecret>,
}

/// A role that is taken on with the credentials at hand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawAssumeRole {
    /// The role.
    #[schemars(required, extend("examples" = ["arn:aws:iam::123456789012:role/audit-writer"]))]
    role_arn: Option<String>,
    /// What the role's owner agreed on with us.
    external_id: Option<String>,
    /// How the session is called in the account's logs; default: sealtail.
    session_name: Option<String>,
    /// Another STS than that of AWS: `https://host:port`.
    #[schemars(extend("examples" = ["https://sts.example"]))]
    endpoint: Option<String>,
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

impl RawCredentials {
    pub(super) fn convert(self, path: &str, check: &mut Check<'_>) -> Option<Credentials> {
        let access_key =
            self.access_key.and_then(|k| k.convert(&format!("{path}.access_key"), check));
        let secret_key =
            self.secret_key.and_then(|k| k.convert(&format!("{path}.secret_key"), check));
        Some(Credentials { access_key: access_key?, secret_key: secret_key? })
    }
}

impl RawAssumeRole {
    pub(super) fn convert(
        self,
        path: &str,
        insecure: bool,
        check: &mut Check<'_>,
    ) -> Option<AssumeRole> {
        let at = |key: &str| format!("{path}.{key}");
        let role_arn = self.role_arn.filter(|arn| {
            let parts: Vec<_> = arn.splitn(6, ':').collect();
            let fits = matches!(*parts, ["arn", _, "iam", "", account, role]
                if is_account(account) && role.strip_prefix("role/").is_some_and(|r| !r.is_empty()));
            if !fits {
                let what = format!("`{}` is no role", check.shown(&at("role_arn")));
                check.refuse(&at("role_arn"), what, "arn:aws:iam::123456789012:role/audit-writer");
            }
            fits
        });
        // The characters and lengths that STS takes.
        let word = |key: &str, text: &Option<String>, (least, most), extra: &str| {
            let byte = |b: u8| b.is_ascii_alphanumeric() || extra.as_bytes().contains(&b);
            let fits = |t: &String| (least..=most).contains(&t.len()) && t.bytes().all(byte);
            let wrong = text.as_ref().is_some_and(|t| !fits(t));
            wrong.then(|| (at(key), format!("{least} to {most} letters, digits and {extra}")))
        };
        for (path, hint) in [
            word("external_id", &self.external_id, (2, 1224), "_+=,.@:/-"),
            word("session_name", &self.session_name, (2, 64), "_+=,.@-"),
        ]
        .into_iter()
        .flatten()
        {
            let what = format!("`{}` is not what STS takes", check.shown(&path));
            check.refuse(&path, what, hint);
        }
        if let Some(Err(wrong)) = self.endpoint.as_deref().map(|e| url::endpoint(e, insecure)) {
            check.refuse(&at("endpoint"), wrong.what, wrong.hint);
        }
        Some(AssumeRole {
            role_arn: role_arn?,
            external_id: self.external_id,
            session_name: self.session_name,
            endpoint: self.endpoint.map(|e| e.trim_end_matches('/').to_owned()),
        })
    }
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

/// Whether this is the number of an AWS account.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn owner(text: &str, path: &str, check: &mut Check<'_>) {
    if !is_account(text) {
        let what = format!("`{}` is no account", check.shown(path));
        check.refuse(path, what, "the twelve digits of the bucket's account, in quotes");
    }
}

pub(super) fn profile(text: &str, path: &str, check: &mut Check<'_>) {
    if text.is_empty() || text.chars().any(|c| c.is_control() || "[]".contains(c)) {
        let what = format!("`{}` is no profile", check.shown(path));
        check.refuse(path, what, "its name in ~/.aws/config or ~/.aws/credentials");
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
