//! Who we are to AWS, and at which address.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use std::fmt;

/// Where credentials come from.
#[derive(Debug, Clone, Default)]
pub enum CredentialSource {
    /// The AWS chain: environment, profile, web identity, pod identity, ECS, IMDSv2.
    #[default]
    Chain,
    /// Given by the configuration.
    Fixed(FixedCredentials),
    /// Had from the program, for example by assuming a role; asked again when
    /// they have run out.
    Provider(SharedCredentialsProvider),
}

/// A role that is taken on (STS `AssumeRole`), again whenever its credentials
/// are about to run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// What the role's owner agreed on with us.
    pub external_id: Option<String>,
    /// How the session is called in the account's logs.
    pub session_name: String,
    /// Another STS than that of AWS. `None`: as the usual AWS environment says.
    pub endpoint: Option<Endpoint>,
}

/// Credentials out of the configuration. Not shown by `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct FixedCredentials(pub(super) Credentials);

impl FixedCredentials {
    /// Access key, secret and, for temporary ones, the session token.
    #[must_use]
    pub fn new(access_key: &str, secret: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::to_owned);
        Self(Credentials::new(access_key, secret, token, None, "configuration"))
    }
}

impl fmt::Debug for FixedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedCredentials(…)")
    }
}

/// The address of a server that speaks as one of AWS: `http(s)://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the endpoint: {0}")]
pub struct EndpointError(&'static str);

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// Without http(s) scheme or host; with credentials, query or fragment. The
    /// text is not repeated: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or(EndpointError("it begins with https:// or http://"))?;
        let host = rest.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return Err(EndpointError("credentials do not belong into it"));
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(EndpointError("it has no host"));
        }
        if text.contains(['?', '#', ' ', '"', '\\']) || text.chars().any(char::is_control) {
            return Err(EndpointError("it has no query, fragment or blanks"));
        }
        let port = match host.rsplit_once(':') {
            Some((before, port)) if !before.starts_with('[') || before.ends_with(']') => Some(port),
            _ => None,
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(EndpointError("its port is not a number up to 65535"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent there is readable on the way.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.0.starts_with("http://")
    }
}

/// Whether an endpoint is Amazon's own (which prefers bucket names in the host).
pub(crate) fn is_amazon(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Whether it is plain `http://` to another machine.
pub(crate) fn is_exposed(endpoint: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(endpoint) else { return true };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|a| a.is_loopback());
    url.scheme() != "https" && !is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, want) in [
            ("https://s3.example:9000/", "https://s3.example:9000"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("https://gate.example/s3", "https://gate.example/s3"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().as_str(), want);
        }
        for bad in [
            "s3.example",
            "ftp://x",
            "https://",
            "https://:80",
            "https://x:99999",
            "https://x y",
            "https://x?y",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let error = Endpoint::parse("https://user:hunter2@x").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn only_amazons_endpoints_put_buckets_into_the_host() {
        assert!(is_amazon("https://s3.eu-central-1.amazonaws.com"));
        assert!(is_amazon("https://s3.cn-north-1.amazonaws.com.cn:443/x"));
        assert!(!is_amazon("https://s3.example/amazonaws.com"));
        assert!(!is_amazon("http://127.0.0.1:9000"));
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for here in
            ["http://127.0.0.1:4566", "http://[::1]:1/x", "http://[::1]", "http://localhost"]
        {
            assert!(!is_exposed(here), "{here}");
        }
        assert!(!is_exposed("https://kms.example"));
        for there in [
            "http://10.0.0.1:4566",
            "http://kms.example",
            "http://127.0.0.1.example:80",
            "HTTP://kms.example",
            "http://127.0.0.1:80@kms.example/",
            "no url",
        ] {
            assert!(is_exposed(there), "{there}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let given = FixedCredentials::new("AKIAEXAMPLE", "s3cr3t", Some("t0ken"));
        let shown = format!("{:?}", CredentialSource::Fixed(given));
        for secret in ["AKIAEXAMPLE", "s3cr3t", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
