//! `sinks`: where records are delivered.

use super::convert::Check;
use super::origin::is_name_byte;
use super::secret::{RawSecret, SecretRef};
use super::tree::Kind;
use super::url::{self, ArchiveUrl};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name; no other sink has it.
    pub name: SinkName,
    /// The archive that it uploads to.
    pub archive: Archive,
}

/// A sink's name: its cursor belongs to it. 1 to 64 letters, digits, `.`, `_`
/// and `-`, the first a letter or digit; so it is safe as a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkName(String);

impl SinkName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where sealed batches are archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archive {
    /// In a folder.
    Directory(PathBuf),
    /// In an S3 bucket.
    S3(S3),
}

impl Archive {
    /// The URL, as it may be shown.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::S3(s3) if s3.prefix.is_empty() => format!("s3://{}/", s3.bucket),
            Self::S3(s3) => format!("s3://{}/{}/", s3.bucket, s3.prefix),
        }
    }
}

/// An S3 bucket, or one that speaks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region; otherwise from the usual AWS environment.
    pub region: Option<String>,
    /// Another server than AWS: `https://host[:port]`, no path.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path instead of the host's name.
    pub path_style: bool,
    /// When the client adds checksums of its own.
    pub checksums: Checksums,
    /// Fixed credentials; otherwise the default AWS chain.
    pub credentials: Option<Credentials>,
}

/// When the S3 client adds checksums of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Checksums {
    /// Whenever the server may know them.
    WhenSupported,
    /// Only where the protocol demands them (Ceph).
    WhenRequired,
}

/// Fixed S3 credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key: SecretRef,
    /// The secret access key.
    pub secret_key: SecretRef,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Type {
    /// Sealed batches in S3 or in a folder.
    Archive,
}

/// One destination.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSink {
    /// Its name, unlike any other's; its progress belongs to the name.
    #[schemars(required, extend("examples" = ["archive"]))]
    name: Option<String>,
    /// What kind of destination this is.
    #[schemars(required)]
    r#type: Option<Type>,
    /// `s3://bucket/prefix/`, or `file:///folder` (absolute).
    #[schemars(required, extend("examples" = ["s3://audit-logs/whatsapp/"]))]
    url: Option<String>,
    /// Region of the bucket; otherwise from the usual AWS environment. S3 only.
    region: Option<String>,
    /// Another server than AWS: `https://host:port`. S3 only.
    #[schemars(extend("examples" = ["https://ceph.example:8080"]))]
    endpoint: Option<String>,
    /// Allows an `http://` endpoint that is not on this machine. S3 only.
    allow_insecure: Option<bool>,
    /// Whether the bucket stands in the path instead of the host's name. S3 only.
    path_style: Option<bool>,
    /// When the client adds checksums of its own; Ceph needs `when_required`. S3 only.
    checksums: Option<Checksums>,
    /// Fixed credentials; otherwise the default AWS chain. S3 only.
    credentials: Option<RawCredentials>,
}

/// Fixed S3 credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RawCredentials {
    /// Access key id.
    #[schemars(required)]
    access_key: Option<RawSecret>,
    /// Secret access key.
    #[schemars(required)]
    secret_key: Option<RawSecret>,
}

/// The keys that only an S3 archive has.
const S3_ONLY: [&str; 6] =
    ["region", "endpoint", "allow_insecure", "path_style", "checksums", "credentials"];

pub(super) fn convert(
    raw: Option<Vec<Option<RawSink>>>,
    check: &mut Check<'_>,
) -> Option<Vec<Sink>> {
    let Some(raw) = raw.filter(|sinks| !sinks.is_empty()) else {
        // A destination in the governance document was judged there.
        let named = check.given("governance.compliance_logging.destination");
        let empty = check.node("sinks").map_or(!named, |n| matches!(&n.kind, Kind::List(_)));
        if empty {
            let hint = "sinks: [{name: archive, type: archive, url: s3://bucket/prefix/}]";
            check.refuse("sinks", "there is no sink, so nothing could be delivered", hint);
        }
        return None;
    };
    let sinks: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(n, sink)| sink?.convert(&format!("sinks[{n}]"), check))
        .collect();
    unique(&sinks, check);
    sinks.into_iter().collect()
}

/// No two sinks share a name (cursors) or a destination (claims).
fn unique(sinks: &[Option<Sink>], check: &mut Check<'_>) {
    for (n, sink) in sinks.iter().enumerate() {
        let Some(sink) = sink else { continue };
        for (m, other) in sinks.iter().enumerate().take(n) {
            let Some(other) = other else { continue };
            if sink.name == other.name {
                let what = format!("`{}` is the name of sinks[{m}] already", sink.name);
                check.refuse(
                    &format!("sinks[{n}].name"),
                    what,
                    "its progress is kept under it: take another",
                );
            }
            if sink.archive == other.archive {
                let what = format!("sinks[{m}] delivers to the same place");
                check.refuse(&format!("sinks[{n}].url"), what, "delete one of the two");
            }
        }
    }
}

impl RawSink {
    fn convert(self, path: &str, check: &mut Check<'_>) -> Option<Sink> {
        let at = |key: &str| format!("{path}.{key}");
        let name = self.name.as_deref().and_then(|n| sink_name(n, &at("name"), check));
        let url = self.url.as_deref().and_then(|u| archive_url(u, &at("url"), check));
        let Type::Archive = self.r#type?;
        let archive = match url? {
            ArchiveUrl::Directory(folder) => {
                for key in S3_ONLY.iter().filter(|k| check.given(&at(k))).collect::<Vec<_>>() {
                    let what = "has no meaning for a file:// archive";
                    check.refuse(&at(key), what, "delete it, or write an s3:// url");
                }
                Archive::Directory(folder)
            }
            ArchiveUrl::S3 { bucket, prefix } => Archive::S3(self.s3(bucket, prefix, path, check)?),
        };
        Some(Sink { name: name?, archive })
    }

    fn s3(self, bucket: String, prefix: String, path: &str, check: &mut Check<'_>) -> Option<S3> {
        let at = |key: &str| format!("{path}.{key}");
        let insecure = self.allow_insecure.unwrap_or(false);
        if let Some(Err(wrong)) = self.endpoint.as_deref().map(|e| url::endpoint(e, insecure)) {
            check.refuse(&at("endpoint"), wrong.what, wrong.hint);
        }
        if insecure && self.endpoint.is_none() {
            let what = "has an effect only beside an http:// endpoint";
            check.refuse(&at("allow_insecure"), what, "delete it");
        }
        if self.region.as_ref().is_some_and(|r| r.is_empty() || !r.bytes().all(is_name_byte)) {
            let what = format!("`{}` is no region", check.shown(&at("region")));
            check.refuse(&at("region"), what, "eu-central-1");
        }
        let credentials = match self.credentials {
            Some(raw) => Some(raw.convert(&at("credentials"), check)?),
            None if check.given(&at("credentials")) => return None,
            None => None,
        };
        Some(S3 {
            bucket,
            prefix,
            region: self.region,
            endpoint: self.endpoint.map(|e| e.trim_end_matches('/').to_owned()),
            path_style: self.path_style?,
            checksums: self.checksums?,
            credentials,
        })
    }
}

impl RawCredentials {
    fn convert(self, path: &str, check: &mut Check<'_>) -> Option<Credentials> {
        let access_key =
            self.access_key.and_then(|k| k.convert(&format!("{path}.access_key"), check));
        let secret_key =
            self.secret_key.and_then(|k| k.convert(&format!("{path}.secret_key"), check));
        Some(Credentials { access_key: access_key?, secret_key: secret_key? })
    }
}

fn sink_name(name: &str, path: &str, check: &mut Check<'_>) -> Option<SinkName> {
    let valid = name.len() <= 64
        && name.bytes().all(is_name_byte)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !valid {
        let what = format!("`{}` is no name for a sink", check.shown(path));
        check.refuse(path, what, "1 to 64 letters, digits, `.`, `_` and `-`");
    }
    valid.then(|| SinkName(name.to_owned()))
}

fn archive_url(text: &str, path: &str, check: &mut Check<'_>) -> Option<ArchiveUrl> {
    match ArchiveUrl::parse(text) {
        Ok(url) => Some(url),
        Err(wrong) => {
            check.refuse(path, wrong.what, wrong.hint);
            None
        }
    }
}
