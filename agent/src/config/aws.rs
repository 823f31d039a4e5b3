//! Who we are to AWS: the same wherever a service of it is named.

use super::convert::Check;
use super::secret::{RawSecret, SecretRef};
use super::url;
use schemars::JsonSchema;
use serde::Deserialize;

/// Fixed credentials.
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

/// Fixed credentials.
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

/// Whether this is the number of an AWS account.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn profile(text: &str, path: &str, check: &mut Check<'_>) {
    if text.is_empty() || text.chars().any(|c| c.is_control() || "[]".contains(c)) {
        let what = format!("`{}` is no profile", check.shown(path));
        check.refuse(path, what, "its name in ~/.aws/config or ~/.aws/credentials");
    }
}
