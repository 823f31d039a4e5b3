//! A recipient that is a key of AWS KMS.

use super::aws::{self, AssumeRole, Credentials};
use super::convert::{Check, whole};
use super::residency::Residency;
use super::seal::RawRecipient;
use super::url;
use crate::kms::KeyArn;

/// A key of AWS KMS that wraps data keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kms {
    /// Its ARN, or that of an alias; the region is in it.
    pub key: KeyArn,
    /// Another server than AWS: `https://host[:port]`, no path.
    pub endpoint: Option<String>,
    /// Fixed credentials; otherwise the profile or the default AWS chain.
    pub credentials: Option<Credentials>,
    /// The profile that credentials come from.
    pub profile: Option<String>,
    /// A role to take on.
    pub assume_role: Option<AssumeRole>,
}

/// The keys that have a meaning beside `kms` only.
pub(super) const KMS_ONLY: [&str; 5] =
    ["endpoint", "allow_insecure", "credentials", "profile", "assume_role"];

impl RawRecipient {
    pub(super) fn kms(
        self,
        path: &str,
        residency: Option<&Residency>,
        check: &mut Check<'_>,
    ) -> Option<Kms> {
        let at = |key: &str| format!("{path}.{key}");
        let arn = self.kms?;
        let key = KeyArn::parse(&arn);
        if key.is_none() {
            let what = format!("`{}` is no ARN of a KMS key", check.shown(&at("kms")));
            let hint = "arn:aws:kms:REGION:ACCOUNT:key/ID, or …:alias/NAME";
            check.refuse(&at("kms"), what, hint);
        } else if let Some(Err(outside)) = residency.map(|residency| residency.arn(&arn)) {
            let hint = "a key in one of those, or change residency";
            check.refuse(&at("kms"), outside.to_string(), hint);
        }
        let insecure = self.allow_insecure.unwrap_or(false);
        if let Some(Err(wrong)) = self.endpoint.as_deref().map(|e| url::endpoint(e, insecure)) {
            check.refuse(&at("endpoint"), wrong.what, wrong.hint);
        }
        if insecure && self.endpoint.is_none() {
            let what = "has an effect only beside an http:// endpoint";
            check.refuse(&at("allow_insecure"), what, "delete it");
        }
        if let Some(profile) = &self.profile {
            aws::profile(profile, &at("profile"), check);
            if check.given(&at("credentials")) {
                let what = "has no effect beside `credentials`";
                check.refuse(&at("profile"), what, "keep one of the two");
            }
        }
        // All of them are judged before any is missed.
        let credentials = self.credentials.map(|raw| raw.convert(&at("credentials"), check));
        let assume_role =
            self.assume_role.map(|raw| raw.convert(&at("assume_role"), insecure, check));
        Some(Kms {
            key: key?,
            endpoint: self.endpoint.map(|e| e.trim_end_matches('/').to_owned()),
            credentials: whole(credentials, &at("credentials"), check)?,
            profile: self.profile,
            assume_role: whole(assume_role, &at("assume_role"), check)?,
        })
    }
}
