//! `sinks` of type `splunk_hec` and `datadog`: what follows the journal directly.

use super::convert::Check;
use super::quantity::{RawDuration, RawSize, Size};
use super::seal_fields;
use super::secret::{RawSecret, SecretRef};
use super::sinks::SinkName;
use super::url;
use crate::ship::http::HttpOptions;
use crate::ship::on_full::OnFull;
use crate::ship::rate;
use crate::sink::event::{Level, Selection, Template};
use crate::sink::{datadog, splunk};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// A sink that delivers records as events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its name; no other sink has it.
    pub name: SinkName,
    /// Its place in the list of sinks.
    pub index: usize,
    /// What is spoken, and where.
    pub to: FeedTo,
    /// The token or key.
    pub secret: SecretRef,
    /// How it is reached.
    pub http: HttpOptions,
    /// The most bytes (uncompressed), entries and age of a batch.
    pub batch: FeedBatch,
    /// Whether bodies are compressed.
    pub compressed: bool,
    /// The most requests under way.
    pub max_in_flight: usize,
    /// The operator's limits.
    pub rate: rate::Limits,
    /// Which records, and what of them.
    pub wanted: Selection,
    /// What happens when the journal is full and this sink is behind.
    pub on_full: OnFull,
}

/// When a batch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedBatch {
    /// Bytes, uncompressed.
    pub max_bytes: usize,
    /// Entries.
    pub max_events: usize,
    /// Age of its oldest record.
    pub max_age: Duration,
}

/// What is spoken, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedTo {
    /// Splunk HTTP Event Collector.
    Splunk {
        /// The base to which the API's path is added.
        url: String,
        /// What is told of each event.
        metadata: splunk::Metadata,
        /// Whether the indexers are asked.
        acknowledgements: splunk::Acknowledgements,
        /// After so long without an answer a batch is sent again.
        ack_timeout: Duration,
    },
    /// Datadog logs.
    Datadog {
        /// The site, such as `datadoghq.eu`.
        site: String,
        /// The base to which the API's paths are added; beats the site.
        url: Option<String>,
        /// What is told of each entry.
        metadata: datadog::Metadata,
    },
}

impl Feed {
    /// Whether fields leave sealed.
    #[must_use]
    pub fn is_sealing(&self) -> bool {
        !self.wanted.sealed.is_empty()
    }

    /// Where it delivers, as it may be shown; the cursor keeps it.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.to {
            FeedTo::Splunk { url, .. } => format!("splunk {url}"),
            FeedTo::Datadog { url: Some(url), .. } => format!("datadog {url}"),
            FeedTo::Datadog { site, .. } => format!("datadog {site}"),
        }
    }
}

/// Sites of Datadog (PROTOCOLS.md).
const SITES: [&str; 9] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "datadoghq.eu",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];

/// Whether the indexers are asked if they keep what they took.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawAcknowledgements {
    /// When a reply has an `ackId`.
    Auto,
    /// Always; a reply without an `ackId` halts the sink.
    True,
    /// Never.
    False,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawCompression {
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}

/// What happens when the journal is full and the sink is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawOnFull {
    /// Reading stops; the log files are then the queue.
    Block,
    /// The sink's oldest records are given up, under a signed gap; the archive has them.
    Gap,
}

/// The least grave level that is wanted.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawLevel {
    /// All.
    Debug,
    /// Information and above.
    Info,
    /// Warnings and errors.
    Warning,
    /// Errors.
    Error,
}

/// Trust and identity in TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawTls {
    /// Certificate authorities to believe (PEM), instead of the system's.
    pub(super) ca: Option<String>,
    /// Our certificate (PEM); read again when the file changes. Splunk and Datadog.
    certificate: Option<String>,
    /// Its private key (PEM). Splunk and Datadog.
    key: Option<String>,
}

/// When a batch of events is cut.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawBatch {
    /// Bytes before compression.
    max_bytes: Option<RawSize>,
    /// Events or entries.
    max_events: Option<u64>,
    /// Age of its oldest record.
    max_age: Option<RawDuration>,
}

/// The operator's limits of one sink, a second.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawRate {
    /// Bytes a second, as sent.
    bytes: Option<RawSize>,
    /// Requests a second.
    requests: Option<u64>,
}

/// What only Splunk and Datadog sinks have; all of it optional here.
#[derive(Debug, Default)]
pub(super) struct RawFeed {
    pub(super) url: Option<String>,
    pub(super) allow_insecure: bool,
    pub(super) token: Option<RawSecret>,
    pub(super) api_key: Option<RawSecret>,
    pub(super) site: Option<String>,
    pub(super) index: Option<String>,
    pub(super) source: Option<String>,
    pub(super) sourcetype: Option<String>,
    pub(super) host: Option<String>,
    pub(super) acknowledgements: Option<RawAcknowledgements>,
    pub(super) ack_timeout: Option<RawDuration>,
    pub(super) service: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) ddsource: Option<String>,
    pub(super) ddtags: Option<Vec<Option<String>>>,
    pub(super) tls: Option<RawTls>,
    pub(super) proxy: Option<String>,
    pub(super) timeout: Option<RawDuration>,
    pub(super) connect_timeout: Option<RawDuration>,
    pub(super) batch: Option<RawBatch>,
    pub(super) max_in_flight: Option<u64>,
    pub(super) rate_limit: Option<RawRate>,
    pub(super) compression: Option<RawCompression>,
    pub(super) events: Option<Vec<Option<String>>>,
    pub(super) min_level: Option<RawLevel>,
    pub(super) fields: Option<Vec<Option<String>>>,
    pub(super) on_full: Option<RawOnFull>,
    pub(super) seal_fields: Option<Vec<Option<String>>>,
}

const SECOND: Duration = Duration::from_secs(1);

impl RawFeed {
    pub(super) fn splunk(
        mut self,
        path: &str,
        check: &mut Check<'_>,
    ) -> Option<(FeedTo, SecretRef)> {
        let at = |key: &str| format!("{path}.{key}");
        let url = required(self.url.take(), &at("url"), "https://splunk.example:8088", check);
        let url = url.filter(|url| base(url, self.allow_insecure, &at("url"), check));
        let secret = secret(self.token.take(), &at("token"), check);
        let mut template = |text: &Option<String>, key: &str| template(text, &at(key), check);
        let metadata = splunk::Metadata {
            index: template(&self.index, "index")?,
            source: template(&self.source, "source")?,
            sourcetype: template(&self.sourcetype, "sourcetype")?,
            host: template(&self.host, "host")?,
        };
        let bounds = (10 * SECOND, 3600 * SECOND);
        let ack_timeout = match self.ack_timeout.take() {
            Some(raw) => check.duration(&at("ack_timeout"), Some(raw), bounds)?,
            None => splunk::ACK_TIMEOUT,
        };
        let acknowledgements = match self.acknowledgements {
            None | Some(RawAcknowledgements::Auto) => splunk::Acknowledgements::Auto,
            Some(RawAcknowledgements::True) => splunk::Acknowledgements::Required,
            Some(RawAcknowledgements::False) => splunk::Acknowledgements::Ignored,
        };
        let url = url?.trim_end_matches('/').to_owned();
        Some((FeedTo::Splunk { url, metadata, acknowledgements, ack_timeout }, secret?))
    }

    pub(super) fn datadog(
        mut self,
        path: &str,
        check: &mut Check<'_>,
    ) -> Option<(FeedTo, SecretRef)> {
        let at = |key: &str| format!("{path}.{key}");
        let url = self.url.take().filter(|url| base(url, self.allow_insecure, &at("url"), check));
        let site = match (&self.site, &url) {
            (Some(site), _) if SITES.contains(&site.as_str()) => site.clone(),
            (Some(_), _) => {
                let what = format!("`{}` is no site of Datadog", check.shown(&at("site")));
                let hint =
                    format!("one of {}; another address is named by `url`", SITES.join(", "));
                check.refuse(&at("site"), what, hint);
                return None;
            }
            (None, Some(_)) => String::new(),
            (None, None) => {
                if !check.given(&at("url")) {
                    check.refuse(path, "needs a `site` or a `url`", "site: datadoghq.eu");
                }
                return None;
            }
        };
        let secret = secret(self.api_key.take(), &at("api_key"), check);
        let mut template = |text: &Option<String>, key: &str| template(text, &at(key), check);
        let metadata = datadog::Metadata {
            source: template(&self.ddsource, "ddsource")?,
            service: template(&self.service, "service")?,
            hostname: template(&self.hostname, "hostname")?,
            tags: tags(self.ddtags.take(), &at("ddtags"), check)?,
        };
        let url = url.map(|url| url.trim_end_matches('/').to_owned());
        Some((FeedTo::Datadog { site, url, metadata }, secret?))
    }

    /// What both have in common.
    pub(super) fn convert(
        mut self,
        (name, index): (Option<SinkName>, usize),
        is_splunk: bool,
        has_archive: bool,
        path: &str,
        check: &mut Check<'_>,
    ) -> Option<Feed> {
        let at = |key: &str| format!("{path}.{key}");
        let batch = self.batch_of(is_splunk, path, check);
        let http = self.http(path, check);
        let rate = match self.rate_limit.take() {
            None => Some(rate::Limits::default()),
            Some(raw) => Some(rate::Limits {
                bytes: match raw.bytes {
                    Some(raw) => {
                        let bounds = (Size::from_bytes(1024), Size::mib(1 << 20));
                        let size = check.size_within(&at("rate_limit.bytes"), Some(raw), bounds)?;
                        Some(size.bytes())
                    }
                    None => None,
                },
                requests: within(raw.requests, 1..=100_000, &at("rate_limit.requests"), check)?,
            }),
        };
        let in_flight = within(self.max_in_flight, 1..=64, &at("max_in_flight"), check)?;
        let seal_fields = self.seal_fields.take();
        let mut wanted = Selection {
            events: self.events.take().unwrap_or_default().into_iter().flatten().collect(),
            min_level: self.min_level.map(|level| match level {
                RawLevel::Debug => Level::Debug,
                RawLevel::Info => Level::Info,
                RawLevel::Warning => Level::Warning,
                RawLevel::Error => Level::Error,
            }),
            fields: self.fields.take().unwrap_or_default().into_iter().flatten().collect(),
            sealed: Vec::new(),
        };
        wanted.sealed = seal_fields::convert(seal_fields, &wanted.fields, path, check)?;
        for (n, event) in wanted.events.iter().enumerate() {
            if !crate::redact::Event::ALL.iter().any(|known| known.name() == event) {
                let names: Vec<_> = crate::redact::Event::ALL.iter().map(|e| e.name()).collect();
                let what = format!("`{}` is no event", check.shown(&format!("{path}.events[{n}]")));
                check.refuse(&format!("{path}.events[{n}]"), what, names.join(", "));
                return None;
            }
        }
        let on_full = match self.on_full {
            Some(RawOnFull::Block) => OnFull::Block,
            None if !has_archive => OnFull::Block,
            Some(RawOnFull::Gap) if !has_archive => {
                let what = "a gap is signed in an archive's log, and refilled from it: there is no archive";
                check.refuse(&at("on_full"), what, "add an archive sink, or write on_full: block");
                return None;
            }
            None | Some(RawOnFull::Gap) => OnFull::Gap,
        };
        let compressed = !matches!(self.compression, Some(RawCompression::None));
        let max_in_flight = usize::try_from(in_flight.unwrap_or(4)).unwrap_or(4);
        let to = if is_splunk { self.splunk(path, check) } else { self.datadog(path, check) };
        let (to, secret) = to?;
        seal_fields::templates(&to, &wanted.sealed, path, check)?;
        let mut http = http?;
        http.connections = max_in_flight;
        Some(Feed {
            name: name?,
            index,
            to,
            secret,
            http,
            batch: batch?,
            compressed,
            max_in_flight,
            rate: rate?,
            wanted,
            on_full,
        })
    }

    fn batch_of(
        &mut self,
        is_splunk: bool,
        path: &str,
        check: &mut Check<'_>,
    ) -> Option<FeedBatch> {
        let at = |key: &str| format!("{path}.batch.{key}");
        let (bytes, most, events, age) = if is_splunk {
            (splunk::MAX_BYTES, 16 << 20, 5000, SECOND)
        } else {
            (datadog::MAX_BYTES, 5_000_000, datadog::MAX_ENTRIES, 2 * SECOND)
        };
        let mut batch = FeedBatch { max_bytes: bytes, max_events: events, max_age: age };
        let Some(raw) = self.batch.take() else { return Some(batch) };
        if raw.max_bytes.is_some() {
            let bounds = (Size::from_bytes(64 << 10), Size::from_bytes(most));
            let size = check.size_within(&at("max_bytes"), raw.max_bytes, bounds)?;
            batch.max_bytes = usize::try_from(size.bytes()).unwrap_or(bytes);
        }
        let most = if is_splunk { 100_000 } else { datadog::MAX_ENTRIES as u64 };
        if let Some(events) = within(raw.max_events, 1..=most, &at("max_events"), check)? {
            batch.max_events = usize::try_from(events).unwrap_or(batch.max_events);
        }
        if raw.max_age.is_some() {
            let bounds = (Duration::from_millis(10), 600 * SECOND);
            batch.max_age = check.duration(&at("max_age"), raw.max_age, bounds)?;
        }
        Some(batch)
    }

    fn http(&mut self, path: &str, check: &mut Check<'_>) -> Option<HttpOptions> {
        let at = |key: &str| format!("{path}.{key}");
        let mut http = HttpOptions::default();
        if self.timeout.is_some() {
            let bounds = (SECOND, 600 * SECOND);
            http.timeout = check.duration(&at("timeout"), self.timeout.take(), bounds)?;
        }
        if self.connect_timeout.is_some() {
            let bounds = (Duration::from_millis(100), 120 * SECOND);
            let raw = self.connect_timeout.take();
            http.connect_timeout = check.duration(&at("connect_timeout"), raw, bounds)?;
        }
        if let Some(text) = self.proxy.take() {
            http.proxy = Some(proxy(text, &at("proxy"), check)?);
        }
        if let Some(tls) = self.tls.take() {
            let mut file = |text: Option<String>, key: &str| match text {
                Some(text) => check.absolute(&at(key), &text).map(Some),
                None => Some(None),
            };
            http.ca = file(tls.ca, "tls.ca")?;
            let certificate = file(tls.certificate, "tls.certificate")?;
            let key = file(tls.key, "tls.key")?;
            http.identity = match (certificate, key) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    let what = "needs both `certificate` and `key`, or none";
                    check.refuse(&at("tls"), what, "{certificate: /path.pem, key: /path.key}");
                    return None;
                }
            };
        }
        Some(http)
    }
}

/// The URL of a proxy.
pub(super) fn proxy(text: String, path: &str, check: &mut Check<'_>) -> Option<String> {
    let known = text.starts_with("http://") || text.starts_with("https://");
    if !known || reqwest::Url::parse(&text).is_err() {
        check.refuse(path, "is no URL of a proxy", "http://proxy.example:3128");
        return None;
    }
    Some(text)
}

fn required(
    text: Option<String>,
    path: &str,
    example: &str,
    check: &mut Check<'_>,
) -> Option<String> {
    if text.is_none() && !check.given(path) {
        check.refuse(path, "is missing", example);
    }
    text
}

fn secret(raw: Option<RawSecret>, path: &str, check: &mut Check<'_>) -> Option<SecretRef> {
    match raw {
        Some(raw) => raw.convert(path, check),
        None => {
            if !check.given(path) {
                check.refuse(path, "is missing", "{file: /run/secrets/…} or {env: NAME}");
            }
            None
        }
    }
}

/// Whether this is the base URL of an API: `https://host[:port][/path]`.
fn base(text: &str, allow_insecure: bool, path: &str, check: &mut Check<'_>) -> bool {
    let (server, rest) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{host}"), rest)
        }
        None => (text.to_owned(), ""),
    };
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-~".contains(&b));
    match url::endpoint(&server, allow_insecure) {
        Err(wrong) => check.refuse(path, wrong.what, wrong.hint),
        Ok(()) if !plain || rest.contains("services/collector") || rest.contains("api/v2") => {
            let what = "is not the base of the API: its path is added here";
            check.refuse(path, what, "https://host:port");
        }
        Ok(()) => return true,
    }
    false
}

/// What was left out stays out; what is given and wrong is nothing at all.
#[expect(clippy::option_option, reason = "left out, wrong, and good are three things")]
fn template(text: &Option<String>, path: &str, check: &mut Check<'_>) -> Option<Option<Template>> {
    let Some(text) = text else { return (!check.given(path)).then_some(None) };
    match Template::parse(text) {
        Ok(template) => Some(Some(template)),
        Err(what) => {
            check.refuse(path, format!("is no template: {what}"), "wa-{event}");
            None
        }
    }
}

/// Tags as Datadog has them: `name:value`, no commas.
fn tags(
    raw: Option<Vec<Option<String>>>,
    path: &str,
    check: &mut Check<'_>,
) -> Option<Vec<String>> {
    let tags: Vec<_> = raw.unwrap_or_default().into_iter().flatten().collect();
    for (n, tag) in tags.iter().enumerate() {
        let valid = tag.len() <= 200
            && tag.starts_with(|c: char| c.is_alphabetic())
            && tag.chars().all(|c| c.is_alphanumeric() || "_-:./".contains(c));
        if !valid {
            let path = format!("{path}[{n}]");
            let what = format!("`{}` is no tag", check.shown(&path));
            check.refuse(&path, what, "name:value, of letters, digits and _-:./");
            return None;
        }
    }
    Some(tags)
}

/// A number within bounds, if it is given.
#[expect(clippy::option_option, reason = "left out, wrong, and good are three things")]
fn within(
    value: Option<u64>,
    bounds: std::ops::RangeInclusive<u64>,
    path: &str,
    check: &mut Check<'_>,
) -> Option<Option<u64>> {
    match value {
        Some(n) if !bounds.contains(&n) => {
            let hint = format!("from {} to {}", bounds.start(), bounds.end());
            check.refuse(path, format!("{n} is out of range"), hint);
            None
        }
        None if check.given(path) => None,
        other => Some(other),
    }
}
