//! `sinks`: where records are delivered.

use super::aws::{self, AssumeRole, Credentials, RawAssumeRole, RawCredentials};
use super::convert::{Check, whole};
use super::feeds;
use super::feeds::{
    Feed, FeedTo, RawAcknowledgements, RawBatch as RawFeedBatch, RawCompression, RawFeed, RawLevel,
    RawOnFull, RawRate, RawTls,
};
use super::governance::Governance;
use super::origin::is_name_byte;
use super::quantity::RawDuration;
use super::residency::Residency;
use super::s3::{self, Encryption, ObjectLock, RawEncryption, RawObjectLock};
use super::secret::RawSecret;
use super::tree::Kind;
use super::url::{self, ArchiveUrl};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name; no other sink has it.
    pub name: SinkName,
    /// Its place in the list of sinks.
    pub index: usize,
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
    S3(Box<S3>),
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
    /// Fixed credentials; otherwise the profile or the default AWS chain.
    pub credentials: Option<Credentials>,
    /// The profile that credentials and region come from.
    pub profile: Option<String>,
    /// A role to take on.
    pub assume_role: Option<AssumeRole>,
    /// The account that the bucket has to belong to.
    pub expected_owner: Option<String>,
    /// Encryption at rest by the server; otherwise as the bucket says.
    pub encryption: Option<Encryption>,
    /// Storage class of sealed batches; otherwise the standard one.
    pub storage_class: Option<String>,
    /// Tags besides those of the governance document, by name.
    pub tags: Vec<(String, String)>,
    /// Object Lock on what is written once.
    pub object_lock: Option<ObjectLock>,
    /// The regions that the bucket may be in (`residency.regions`); the region
    /// that is written here is one of them.
    pub regions: Option<Vec<String>>,
    /// Only these certificate authorities are believed (PEM).
    pub ca: Option<PathBuf>,
    /// A proxy; otherwise as the environment says.
    pub proxy: Option<String>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Type {
    /// Sealed batches in S3 or in a folder.
    Archive,
    /// Events to Splunk's HTTP Event Collector.
    SplunkHec,
    /// Log entries to Datadog.
    Datadog,
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
    /// Archive: `s3://bucket/prefix/`, or `file:///folder` (absolute). Splunk: the base of
    /// HEC, `https://splunk.example:8088`. Datadog: a base that beats `site`.
    #[schemars(extend("examples" = ["s3://audit-logs/whatsapp/"]))]
    url: Option<String>,
    /// Region of the bucket; otherwise from the usual AWS environment. S3 only.
    region: Option<String>,
    /// Another server than AWS: `https://host:port`. S3 only.
    #[schemars(extend("examples" = ["https://ceph.example:8080"]))]
    endpoint: Option<String>,
    /// Allows an `http://` endpoint that is not on this machine.
    allow_insecure: Option<bool>,
    /// Whether the bucket stands in the path instead of the host's name. S3 only.
    path_style: Option<bool>,
    /// When the client adds checksums of its own; Ceph needs `when_required`. S3 only.
    checksums: Option<Checksums>,
    /// Fixed credentials; otherwise the profile or the default AWS chain. S3 only.
    credentials: Option<RawCredentials>,
    /// The profile that credentials and region come from. S3 only.
    profile: Option<String>,
    /// A role that is taken on with the credentials at hand. S3 only.
    assume_role: Option<RawAssumeRole>,
    /// The account that the bucket has to belong to, twelve digits. S3 only.
    #[schemars(extend("examples" = ["\"123456789012\""]))]
    expected_owner: Option<String>,
    /// Encryption at rest by the server; otherwise as the bucket says. S3 only.
    server_side_encryption: Option<RawEncryption>,
    /// Storage class of sealed batches; proofs and checkpoints stay in the standard one. S3 only.
    #[schemars(extend("examples" = ["STANDARD_IA"]))]
    storage_class: Option<String>,
    /// Tags of every object, besides those of the governance document; ten together. S3 only.
    tags: Option<BTreeMap<String, String>>,
    /// Object Lock on what is written once: proofs and sealed batches. S3 only.
    object_lock: Option<RawObjectLock>,
    /// The HEC token. Splunk only.
    token: Option<RawSecret>,
    /// The index of each event; `{origin}`, `{event}`, `{level}`, `{path}` are filled in. Splunk only.
    #[schemars(extend("examples" = ["wa-{event}"]))]
    index: Option<String>,
    /// The source, as `index`. Splunk only.
    source: Option<String>,
    /// The sourcetype, as `index`. Splunk only.
    sourcetype: Option<String>,
    /// The host, as `index`. Splunk only.
    host: Option<String>,
    /// Whether the indexers are asked if they keep what they took. Splunk only.
    acknowledgements: Option<RawAcknowledgements>,
    /// After so long without an acknowledgement a batch is sent again, marked. Splunk only.
    ack_timeout: Option<RawDuration>,
    /// The site: datadoghq.com, datadoghq.eu, us3.datadoghq.com … Datadog only.
    #[schemars(extend("examples" = ["datadoghq.eu"]))]
    site: Option<String>,
    /// The API key. Datadog only.
    api_key: Option<RawSecret>,
    /// The service; `{origin}`, `{event}`, `{level}`, `{path}` are filled in. Datadog only.
    service: Option<String>,
    /// The host name, as `service`. Datadog only.
    hostname: Option<String>,
    /// The source that Datadog picks its pipeline by, as `service`. Datadog only.
    ddsource: Option<String>,
    /// Tags of every entry, `name:value`. Datadog only.
    ddtags: Option<Vec<Option<String>>>,
    /// Trust and identity in TLS; S3 takes `ca` alone.
    tls: Option<RawTls>,
    /// A proxy, `http://host:port`; otherwise as the environment says.
    proxy: Option<String>,
    /// How long a whole request may take. Splunk and Datadog.
    timeout: Option<RawDuration>,
    /// How long a connection may take to stand. Splunk and Datadog.
    connect_timeout: Option<RawDuration>,
    /// When a batch of events is cut. Splunk and Datadog.
    batch: Option<RawFeedBatch>,
    /// The most requests under way; with 1 events arrive in the journal's order. Splunk and Datadog.
    max_in_flight: Option<u64>,
    /// The operator's limits, a second. Splunk and Datadog.
    rate_limit: Option<RawRate>,
    /// How bodies are compressed. Splunk and Datadog.
    compression: Option<RawCompression>,
    /// Only these events. Splunk and Datadog; an archive has everything.
    events: Option<Vec<Option<String>>>,
    /// Only lines of this level or above. Splunk and Datadog; an archive has everything.
    min_level: Option<RawLevel>,
    /// Only these fields, besides the numbers, `event` and `time`. Splunk and Datadog.
    fields: Option<Vec<Option<String>>>,
    /// When the journal is full and this sink is behind. An archive always blocks; Splunk and
    /// Datadog give up their oldest records where there is an archive, and block otherwise.
    on_full: Option<RawOnFull>,
    /// Fields that leave sealed, by name or JSON Pointer; `sealtail open --fields` opens them.
    /// Needs an archive. Splunk and Datadog.
    #[schemars(extend("examples" = [["text", "/source/path"]]))]
    seal_fields: Option<Vec<Option<String>>>,
}

/// The keys that only a Splunk sink has, that only a Datadog sink has, and that
/// both have.
const SPLUNK_ONLY: [&str; 7] =
    ["token", "index", "source", "sourcetype", "host", "acknowledgements", "ack_timeout"];
const DATADOG_ONLY: [&str; 6] = ["site", "api_key", "service", "hostname", "ddsource", "ddtags"];
const FEED_ONLY: [&str; 10] = [
    "timeout",
    "connect_timeout",
    "batch",
    "max_in_flight",
    "rate_limit",
    "compression",
    "events",
    "min_level",
    "fields",
    "seal_fields",
];

/// All sinks of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sinks {
    pub(super) archives: Vec<Sink>,
    pub(super) feeds: Vec<Feed>,
}

enum Made {
    Archive(Sink),
    Feed(Box<Feed>),
}

impl Made {
    fn name(&self) -> &SinkName {
        match self {
            Self::Archive(sink) => &sink.name,
            Self::Feed(feed) => &feed.name,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Archive(sink) => format!("{:?}", sink.archive),
            Self::Feed(feed) => feed.place(),
        }
    }
}

/// The keys that only an S3 archive has.
const S3_ONLY: [&str; 13] = [
    "region",
    "endpoint",
    "allow_insecure",
    "path_style",
    "checksums",
    "credentials",
    "profile",
    "assume_role",
    "expected_owner",
    "server_side_encryption",
    "storage_class",
    "tags",
    "object_lock",
];

pub(super) fn convert(
    raw: Option<Vec<Option<RawSink>>>,
    around: Around<'_>,
    check: &mut Check<'_>,
) -> Option<Sinks> {
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
    let is_archive = |sink: &RawSink| matches!(sink.r#type, Some(Type::Archive));
    let has_archive = raw.iter().flatten().any(is_archive);
    let around = Around { has_archive, ..around };
    let sinks: Vec<_> =
        raw.into_iter().enumerate().map(|(n, sink)| sink?.convert(n, around, check)).collect();
    unique(&sinks, check);
    let mut all = Sinks::default();
    for sink in sinks.into_iter().collect::<Option<Vec<_>>>()? {
        match sink {
            Made::Archive(sink) => all.archives.push(sink),
            Made::Feed(feed) => all.feeds.push(*feed),
        }
    }
    for feed in all.feeds.iter().filter(|f| all.archives.is_empty() && f.is_sealing()) {
        let what =
            "needs an archive: the keys of sealed fields are kept there, or nobody could open them";
        let hint = "sinks: [{name: archive, type: archive, url: s3://bucket/prefix/}]";
        check.refuse(&format!("sinks[{}].seal_fields", feed.index), what, hint);
    }
    Some(all)
}

/// What else the configuration says about sinks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) governance: Option<&'a Governance>,
    pub(super) residency: Option<&'a Residency>,
    /// Whether one of the sinks is an archive.
    pub(super) has_archive: bool,
}

/// No two sinks share a name (cursors) or a destination (claims).
fn unique(sinks: &[Option<Made>], check: &mut Check<'_>) {
    for (n, sink) in sinks.iter().enumerate() {
        let Some(sink) = sink else { continue };
        for (m, other) in sinks.iter().enumerate().take(n) {
            let Some(other) = other else { continue };
            if sink.name() == other.name() {
                let what = format!("`{}` is the name of sinks[{m}] already", sink.name());
                check.refuse(
                    &format!("sinks[{n}].name"),
                    what,
                    "its progress is kept under it: take another",
                );
            }
            let archives = matches!((sink, other), (Made::Archive(_), Made::Archive(_)));
            if archives && sink.place() == other.place() {
                let what = format!("sinks[{m}] delivers to the same place");
                check.refuse(&format!("sinks[{n}].url"), what, "delete one of the two");
            }
        }
    }
}

impl RawSink {
    fn convert(self, index: usize, around: Around<'_>, check: &mut Check<'_>) -> Option<Made> {
        let path = &format!("sinks[{index}]");
        let at = |key: &str| format!("{path}.{key}");
        let name = self.name.as_deref().and_then(|n| sink_name(n, &at("name"), check));
        let kind = self.r#type?;
        let strangers: &[&[&str]] = match kind {
            Type::Archive => &[&SPLUNK_ONLY, &DATADOG_ONLY, &FEED_ONLY],
            Type::SplunkHec => &[&S3_ONLY, &DATADOG_ONLY],
            Type::Datadog => &[&S3_ONLY, &SPLUNK_ONLY],
        };
        let word = check.shown(&at("type"));
        for key in strangers.concat() {
            // Where it goes is every sink's own affair.
            if key != "allow_insecure" && check.given(&at(key)) {
                let what = format!("has no meaning for a sink of type {word}");
                let hint = match (kind, key) {
                    (Type::Archive, "events" | "min_level" | "fields") => {
                        "delete it: an archive has everything, or it would prove nothing"
                    }
                    (Type::Archive, "seal_fields") => {
                        "delete it: in an archive everything is sealed"
                    }
                    _ => "delete it",
                };
                check.refuse(&at(key), what, hint);
            }
        }
        if kind != Type::Archive {
            let is_splunk = kind == Type::SplunkHec;
            let has_archive = around.has_archive;
            let feed = self.feed().convert((name, index), is_splunk, has_archive, path, check)?;
            let host = |url: &str| {
                let url = reqwest::Url::parse(url).ok();
                url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
            };
            let (key, site) = match &feed.to {
                FeedTo::Splunk { url, .. } | FeedTo::Datadog { url: Some(url), .. } => {
                    ("url", host(url))
                }
                FeedTo::Datadog { site, .. } => ("site", site.clone()),
            };
            if let Some(residency) = around.residency
                && let Err(outside) = residency.site(&site)
            {
                let hint = "one of those, or change residency";
                check.refuse(&at(key), outside.to_string(), hint);
            }
            return Some(Made::Feed(Box::new(feed)));
        }
        if self.url.is_none() && !check.given(&at("url")) {
            check.refuse(&at("url"), "is missing", "s3://bucket/prefix/ or file:///folder");
        }
        if self.on_full == Some(RawOnFull::Gap) {
            let what = "an archive gives up nothing: a gap in it could not be refilled";
            check.refuse(&at("on_full"), what, "on_full: block, or delete it");
        }
        let url = self.url.as_deref().and_then(|u| archive_url(u, &at("url"), check));
        let archive = match url? {
            ArchiveUrl::Directory(folder) => {
                let keys = S3_ONLY.iter().chain(&["tls", "proxy"]);
                for key in keys.filter(|k| check.given(&at(k))).collect::<Vec<_>>() {
                    let what = "has no meaning for a file:// archive";
                    check.refuse(&at(key), what, "delete it, or write an s3:// url");
                }
                Archive::Directory(folder)
            }
            ArchiveUrl::S3 { bucket, prefix } => {
                Archive::S3(Box::new(self.s3((bucket, prefix), path, around, check)?))
            }
        };
        Some(Made::Archive(Sink { name: name?, index, archive }))
    }

    /// What of it is for Splunk and Datadog.
    fn feed(self) -> RawFeed {
        RawFeed {
            url: self.url,
            allow_insecure: self.allow_insecure.unwrap_or(false),
            token: self.token,
            api_key: self.api_key,
            site: self.site,
            index: self.index,
            source: self.source,
            sourcetype: self.sourcetype,
            host: self.host,
            acknowledgements: self.acknowledgements,
            ack_timeout: self.ack_timeout,
            service: self.service,
            hostname: self.hostname,
            ddsource: self.ddsource,
            ddtags: self.ddtags,
            tls: self.tls,
            proxy: self.proxy,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            batch: self.batch,
            max_in_flight: self.max_in_flight,
            rate_limit: self.rate_limit,
            compression: self.compression,
            events: self.events,
            min_level: self.min_level,
            fields: self.fields,
            on_full: self.on_full,
            seal_fields: self.seal_fields,
        }
    }

    fn s3(
        self,
        (bucket, prefix): (String, String),
        path: &str,
        around: Around<'_>,
        check: &mut Check<'_>,
    ) -> Option<S3> {
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
        let regions = around.residency.filter(|r| r.regions.is_some());
        if let (Some(residency), Some(region)) = (regions, &self.region)
            && let Err(outside) = residency.region(region)
        {
            let hint = "a bucket in one of those, or change residency";
            check.refuse(&at("region"), outside.to_string(), hint);
        }
        if let Some(profile) = &self.profile {
            aws::profile(profile, &at("profile"), check);
            if check.given(&at("credentials")) {
                let what = "has no effect beside `credentials`";
                check.refuse(&at("profile"), what, "keep one of the two");
            }
        }
        if let Some(account) = &self.expected_owner {
            s3::owner(account, &at("expected_owner"), check);
        }
        if let Some(class) = &self.storage_class {
            let amazon = self.endpoint.is_none();
            s3::storage_class(class, amazon, &at("storage_class"), check);
        }
        let tags = s3::tags(self.tags.unwrap_or_default(), &at("tags"), around.governance, check);
        // A key by its id or alias is where the bucket is.
        let key = self.server_side_encryption.as_ref().and_then(RawEncryption::key_id);
        if let (Some(residency), Some(key)) = (regions, key.filter(|key| key.starts_with("arn:")))
            && let Err(outside) = residency.arn(key)
        {
            let path = at("server_side_encryption.key_id");
            check.refuse(&path, outside.to_string(), "a key in one of those, or change residency");
        }
        for key in ["certificate", "key"].map(|key| at(&format!("tls.{key}"))) {
            if check.given(&key) {
                let what = "has no meaning for S3, which knows its clients by their signatures";
                check.refuse(&key, what, "delete it; only tls.ca is taken");
            }
        }
        // All of them are judged before any is missed.
        let ca = self.tls.and_then(|tls| tls.ca).map(|ca| check.absolute(&at("tls.ca"), &ca));
        let proxy = self.proxy.map(|text| feeds::proxy(text, &at("proxy"), check));
        let credentials = self.credentials.map(|raw| raw.convert(&at("credentials"), check));
        let assume_role =
            self.assume_role.map(|raw| raw.convert(&at("assume_role"), insecure, check));
        let encryption = self
            .server_side_encryption
            .map(|raw| raw.convert(&at("server_side_encryption"), check));
        let object_lock =
            self.object_lock.map(|raw| raw.convert(&at("object_lock"), around.governance, check));
        Some(S3 {
            bucket,
            prefix,
            region: self.region,
            endpoint: self.endpoint.map(|e| e.trim_end_matches('/').to_owned()),
            path_style: self.path_style?,
            checksums: self.checksums?,
            credentials: whole(credentials, &at("credentials"), check)?,
            profile: self.profile,
            assume_role: whole(assume_role, &at("assume_role"), check)?,
            expected_owner: self.expected_owner,
            encryption: whole(encryption, &at("server_side_encryption"), check)?,
            storage_class: self.storage_class,
            tags,
            object_lock: whole(object_lock, &at("object_lock"), check)?,
            regions: regions.and_then(|r| r.regions.clone()),
            ca: whole(ca, &at("tls"), check)?,
            proxy: whole(proxy, &at("proxy"), check)?,
        })
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
