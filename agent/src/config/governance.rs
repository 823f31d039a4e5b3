//! The governance document that operators already have, taken as it is.
//!
//! Alone it is a whole configuration; under the key `governance` it joins one.
//! Each of its values has an effect or is refused. What the operator wrote
//! beside it wins where it asks for no less (a stricter `include_payload`, a
//! log level of its own); where it would undo what the document promises, that
//! is an error, not a silent choice.

use super::error::Problems;
use super::log::LogLevel;
use super::tree::{Entry, Kind, Node, Scalar};
use super::url::{ArchiveUrl, Wrong};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What the document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governance {
    /// How long message content may be kept, in days. It never deletes audit records.
    pub message_storage_days: Option<u32>,
    /// Age limit of media files, in days.
    pub media_storage_days: Option<u32>,
    /// Whether personal data is taken out.
    pub pii_redaction: Option<bool>,
    /// Whether the algorithm is named; it is AES-256-GCM then, as always.
    pub names_algorithm: bool,
    /// At least this often the newest checkpoint and proof are copied under
    /// `<origin>/<incarnation>/backup/`.
    pub backup_every: Option<Duration>,
    /// Level of the agent's own log.
    pub log_level: Option<LogLevel>,
    /// Where the archive is.
    pub destination: Option<String>,
    /// Whether message content is kept.
    pub include_payload: Option<bool>,
}

impl Governance {
    /// Tags that every object carries: key and value, both safe in S3 tags.
    #[must_use]
    pub fn tags(&self) -> Vec<(String, String)> {
        [
            ("message-storage-days", self.message_storage_days),
            ("media-storage-days", self.media_storage_days),
        ]
        .into_iter()
        .filter_map(|(key, days)| Some((key.to_owned(), days?.to_string())))
        .collect()
    }
}

/// The governance document.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawGovernance {
    /// How long what is kept, and how it is protected.
    retention_policy: Option<RawRetention>,
    /// Where the records go.
    compliance_logging: Option<RawLogging>,
}

/// How long what is kept, and how it is protected.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RawRetention {
    /// Days that message content may be kept; a tag on every object. Never deletes audit records.
    #[schemars(extend("minimum" = 1, "maximum" = 36500))]
    message_storage_days: Option<u32>,
    /// Days that media files may be kept; a tag on every object.
    #[schemars(extend("minimum" = 1, "maximum" = 36500))]
    media_storage_days: Option<u32>,
    /// Whether personal data is taken out; `false` needs redact.allow_clear.
    pii_redaction: Option<bool>,
    /// The only algorithm there is.
    encryption_algorithm: Option<Algorithm>,
    /// At least this often the newest checkpoint and proof are copied.
    #[schemars(extend("minimum" = 1, "maximum" = 8760))]
    backup_frequency_hours: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
enum Algorithm {
    /// AES-256 in Galois/counter mode.
    #[serde(rename = "AES-256-GCM")]
    Aes256Gcm,
}

/// Where the records go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RawLogging {
    /// Level of the agent's own log; never a filter on records.
    log_level: Option<LogLevel>,
    /// Where the archive is: s3://bucket/prefix/ or file:///folder.
    #[schemars(extend("examples" = ["s3://bucket/prefix/"]))]
    destination: Option<String>,
    /// Whether message content is kept.
    include_payload: Option<bool>,
}

impl RawGovernance {
    pub(super) fn convert(self) -> Governance {
        let retention = self.retention_policy.unwrap_or_default();
        let logging = self.compliance_logging.unwrap_or_default();
        let hours = |h: u32| Duration::from_secs(u64::from(h) * 3600);
        Governance {
            message_storage_days: retention.message_storage_days,
            media_storage_days: retention.media_storage_days,
            pii_redaction: retention.pii_redaction,
            names_algorithm: retention.encryption_algorithm.is_some(),
            backup_every: retention.backup_frequency_hours.map(hours),
            log_level: logging.log_level,
            destination: logging.destination,
            include_payload: logging.include_payload,
        }
    }
}

const OWN_KEYS: [&str; 2] = ["retention_policy", "compliance_logging"];

/// Puts a document that stands alone under `governance`, where it belongs.
/// `known` are the keys that a configuration has.
pub(super) fn wrap(tree: Node, known: &[&str], problems: &mut Problems) -> Node {
    let Some(own) = tree.entries().iter().find(|e| OWN_KEYS.contains(&e.key.as_str())) else {
        return tree;
    };
    let place = own.pos;
    let pos = tree.pos;
    let Kind::Map(entries) = tree.kind else {
        return tree;
    };
    let (mut outer, document): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|e| known.contains(&e.key.as_str()));
    problems.alone = outer.is_empty();
    if let Some(other) = outer.first() {
        let what = format!("a governance document stands beside `{}`", other.key);
        let hint = "put it under the key `governance`".to_owned();
        problems.add(place, "", what, Some(hint));
    }
    if !outer.iter().any(|e| e.key == "governance") {
        outer.push(Entry { key: "governance".into(), pos, value: Node::map(pos, document) });
    }
    Node::map(pos, outer)
}

/// What the document means in terms of the configuration, as a tree that lies
/// between the defaults and what the operator wrote. Values keep the places
/// that they have in the document.
pub(super) fn overlay(tree: &Node, problems: &mut Problems) -> Node {
    let mut sections = Vec::new();
    let said = |key: &str| tree.find(&format!("governance.compliance_logging.{key}"));
    if let Some(level) = said("log_level")
        && level.scalar().is_some_and(|s| LogLevel::from_name(&s.text).is_some())
    {
        sections.push(section("log", entry("level", level.clone())));
    }
    if let Some(payload) = said("include_payload")
        && let Some(keeps) = payload.scalar().and_then(Scalar::as_bool)
    {
        match tree.find("redact.include_payload") {
            Some(own) if !keeps && own.scalar().and_then(Scalar::as_bool) == Some(true) => {
                let line = payload.pos.line;
                let what = format!("`true`, but the governance document forbids it on line {line}");
                problems.add(own.pos, "redact.include_payload", what, Some(EITHER.into()));
            }
            Some(_) => {}
            None => sections.push(section("redact", entry("include_payload", payload.clone()))),
        }
    }
    if let Some(destination) = said("destination")
        && let Some(text) = destination.scalar().and_then(Scalar::as_text)
    {
        sections.extend(sink(tree, destination, text, problems));
    }
    Node::map(tree.pos, sections)
}

const EITHER: &str = "change one of the two, so that both say the same";

/// Where a governance document wants the records.
enum Destination {
    Archive(ArchiveUrl),
    /// The base of HEC.
    Splunk(String),
    /// The site.
    Datadog(String),
}

/// Where the token and the key are when the document stands alone.
const SPLUNK_TOKEN: &str = "/etc/sealtail/splunk.token";
const DATADOG_KEY: &str = "/etc/sealtail/datadog.key";

impl Destination {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.split_once("://") {
            Some(("splunk+https", rest)) if !rest.is_empty() => {
                Ok(Self::Splunk(format!("https://{}", rest.trim_end_matches('/'))))
            }
            Some(("datadog", site)) if !site.is_empty() => {
                Ok(Self::Datadog(site.trim_end_matches('/').to_owned()))
            }
            _ => ArchiveUrl::parse(text).map(Self::Archive),
        }
    }

    /// Whether this sink of the operator's delivers there.
    fn is(&self, sink: &Node) -> bool {
        let text = |key: &str| sink.get(key).and_then(Node::scalar).and_then(Scalar::as_text);
        let kind = text("type");
        match self {
            Self::Archive(url) => {
                text("url").and_then(|u| ArchiveUrl::parse(u).ok()).as_ref() == Some(url)
            }
            Self::Splunk(url) => {
                kind == Some("splunk_hec")
                    && text("url").is_some_and(|u| u.trim_end_matches('/') == url)
            }
            Self::Datadog(site) => kind == Some("datadog") && text("site") == Some(site),
        }
    }

    /// The sink that it is when nothing else is said: keys and words.
    fn sink(&self, written: &str) -> Vec<(&'static str, String)> {
        let own =
            |name: &str, kind: &str| vec![("name", name.to_owned()), ("type", kind.to_owned())];
        match self {
            Self::Archive(_) => {
                [own("archive", "archive"), vec![("url", written.to_owned())]].concat()
            }
            Self::Splunk(url) => {
                let rest = vec![("url", url.clone()), ("token", SPLUNK_TOKEN.to_owned())];
                [own("splunk", "splunk_hec"), rest].concat()
            }
            Self::Datadog(site) => {
                let rest = vec![("site", site.clone()), ("api_key", DATADOG_KEY.to_owned())];
                [own("datadog", "datadog"), rest].concat()
            }
        }
    }
}

/// The destination as a sink, unless the operator's sinks hold it already.
fn sink(tree: &Node, destination: &Node, text: &str, problems: &mut Problems) -> Option<Entry> {
    let path = "governance.compliance_logging.destination";
    let wanted = match Destination::parse(text) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            problems.add(destination.pos, path, wrong.what, Some(wrong.hint.into()));
            return None;
        }
    };
    if let Some(own) = tree.get("sinks") {
        if !own.items().iter().any(|sink| wanted.is(sink)) {
            let what = "none of the `sinks` delivers there";
            let hint = "add a sink with this url (or site) to `sinks`, or delete one of the two";
            problems.add(destination.pos, path, what, Some(hint.into()));
        }
        return None;
    }
    let word = |text: String| {
        let scalar = Scalar { text, written: None, plain: false };
        Node { pos: destination.pos, kind: Kind::Scalar(scalar) }
    };
    let entries = wanted.sink(text).into_iter().map(|(key, text)| match key {
        "url" if matches!(wanted, Destination::Archive(_)) => entry(key, destination.clone()),
        "token" | "api_key" => {
            entry(key, Node::map(destination.pos, vec![entry("file", word(text))]))
        }
        _ => entry(key, word(text)),
    });
    let item = Node::map(destination.pos, entries.collect());
    Some(entry("sinks", Node { pos: destination.pos, kind: Kind::List(vec![item]) }))
}

fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.into(), pos: value.pos, value }
}

fn section(key: &str, inner: Entry) -> Entry {
    entry(key, Node::map(inner.pos, vec![inner]))
}
