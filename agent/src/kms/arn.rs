//! The name of a KMS key.

use std::fmt;

/// The ARN of a key, `arn:aws:kms:REGION:ACCOUNT:key/ID`, or of an alias,
/// `arn:aws:kms:REGION:ACCOUNT:alias/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyArn(String);

/// Longest ARN that KMS takes.
const LONGEST: usize = 2048;

impl KeyArn {
    /// `None`: it is something else, such as a bare id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let ["arn", partition, "kms", region, account, resource] = *parts else { return None };
        let word = |text: &str, extra: &str| {
            let byte = |b: u8| b.is_ascii_alphanumeric() || extra.as_bytes().contains(&b);
            !text.is_empty() && text.bytes().all(byte)
        };
        let named = match resource.split_once('/') {
            Some(("key", id)) => word(id, "-"),
            Some(("alias", name)) => word(name, "/_-"),
            _ => false,
        };
        let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let fits = partition.starts_with("aws") && word(partition, "-") && word(region, "-");
        (fits && account && named && text.len() <= LONGEST).then(|| Self(text.to_owned()))
    }

    /// The whole ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region that the key is in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    /// Whether it names an alias, which may point to another key tomorrow.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        self.0.split(':').nth(5).is_some_and(|r| r.starts_with("alias/"))
    }

    /// Whether KMS may name `key` when it was asked for this: the same key, or
    /// one of the alias's region and account.
    #[must_use]
    pub fn may_be(&self, key: &Self) -> bool {
        let place = |arn: &Self| arn.0.rsplit_once(':').map(|(place, _)| place.to_owned());
        !key.is_alias() && (self == key || self.is_alias() && place(self) == place(key))
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_aliases() {
        let of = |text| KeyArn::parse(text).unwrap();
        let key = of("arn:aws:kms:eu-central-1:123456789012:key/mrk-1234abcd");
        assert_eq!((key.region(), key.is_alias()), ("eu-central-1", false));
        let alias = of("arn:aws-cn:kms:cn-north-1:123456789012:alias/audit/prod_1");
        assert_eq!((alias.region(), alias.is_alias()), ("cn-north-1", true));
        for bad in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "alias/audit",
            "arn:aws:s3:::bucket",
            "arn:aws:kms:eu-central-1:123456789012:key/",
            "arn:aws:kms:eu-central-1:123456789012:key/a b",
            "arn:aws:kms:eu-central-1:123456789012:key/a:b",
            "arn:aws:kms:eu-central-1:123456789012:grant/a",
            "arn:aws:kms:eu-central-1:12345678901:key/a",
            "arn:aws:kms::123456789012:key/a",
            "arn:gcp:kms:eu-central-1:123456789012:key/a",
        ] {
            assert_eq!(KeyArn::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn which_key_may_stand_behind_a_name() {
        let of = |text: &str| KeyArn::parse(&format!("arn:aws:kms:{text}")).unwrap();
        let (a, b) = (of("eu-west-1:123456789012:key/a"), of("eu-west-1:123456789012:key/b"));
        let alias = of("eu-west-1:123456789012:alias/x");
        assert!(a.may_be(&a) && !a.may_be(&b));
        assert!(alias.may_be(&a) && alias.may_be(&b) && !alias.may_be(&alias));
        assert!(!alias.may_be(&of("us-east-1:123456789012:key/a")));
        assert!(!alias.may_be(&of("eu-west-1:210987654321:key/a")));
    }
}
