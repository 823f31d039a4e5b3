//! The whole document: from text to a [`Config`], or all that is wrong with it.

use super::admin::{Admin, RawAdmin};
use super::convert::Check;
use super::effective::Effective;
use super::env::{self, Env};
use super::error::{ConfigErrors, Problems};
use super::feeds::Feed;
use super::governance::{self, Governance, RawGovernance};
use super::journal::{Journal, RawJournal};
use super::limits::{Limits, RawLimits};
use super::log::{Log, RawLog};
use super::merge;
use super::origin::{self, Origin};
use super::redact::{RawRedact, Redact};
use super::residency::{RawResidency, Residency};
use super::seal::{RawSeal, Seal};
use super::sinks::{self, Archive, Around, RawSink, Sink, Sinks};
use super::sources::{self, FileSource, RawSource};
use super::tree::{self, Source};
use super::{schema, structure};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// What every configuration lies on; see `config/defaults.yaml`.
pub(super) const DEFAULTS: &str = include_str!("../../../config/defaults.yaml");

/// A configuration that is valid by being there.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the log that this agent writes.
    pub origin: Origin,
    /// What is tailed; at least one.
    pub sources: Vec<FileSource>,
    /// What is taken out.
    pub redact: Redact,
    /// Where records wait.
    pub journal: Journal,
    /// How they are sealed.
    pub seal: Seal,
    /// The archives that they go to; at least one of these and the feeds.
    pub sinks: Vec<Sink>,
    /// Splunk and Datadog.
    pub feeds: Vec<Feed>,
    /// The port for metrics, probes and `sealtail status`.
    pub admin: Admin,
    /// How the memory is dealt out.
    pub limits: Limits,
    /// Where data may lie and go, if that is restricted.
    pub residency: Option<Residency>,
    /// The agent's own log.
    pub log: Log,
    /// What the governance document says, if there is one.
    pub governance: Option<Governance>,
    pub(super) effective: Effective,
}

impl Config {
    /// SHA-256 (64 hex digits) over the effective configuration: the same for
    /// two files that mean the same, whatever their layout. Secrets are in it
    /// by reference only.
    #[must_use]
    pub fn config_hash(&self) -> String {
        self.effective.hash().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The same as bytes, for the `start` leaf.
    #[must_use]
    pub fn config_sha256(&self) -> [u8; 32] {
        self.effective.hash()
    }
}

/// Configuration of sealtail, an audit-log shipping agent.
///
/// Values may hold `${NAME}` and `${NAME:-default}` from the environment; this
/// schema describes the document after substitution.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "sealtail")]
pub(super) struct RawConfig {
    /// Name of the log that this agent writes; default: the host's name.
    #[schemars(extend("examples" = ["wa/prod/gateway-0"]))]
    origin: Option<String>,
    /// Which files are tailed.
    #[schemars(extend("minItems" = 1))]
    sources: Option<Vec<Option<RawSource>>>,
    /// What is taken out of each line before anything is stored.
    redact: Option<RawRedact>,
    /// Where records are kept until they are delivered.
    journal: Option<RawJournal>,
    /// How records become sealed, signed batches.
    seal: Option<RawSeal>,
    /// Where records are delivered.
    #[schemars(extend("minItems" = 1))]
    sinks: Option<Vec<Option<RawSink>>>,
    /// The port for metrics, probes and `sealtail status`.
    admin: Option<RawAdmin>,
    /// Bounds of what the agent takes.
    limits: Option<RawLimits>,
    /// Where data may lie, and where it may go.
    residency: Option<RawResidency>,
    /// The agent's own log.
    log: Option<RawLog>,
    /// A governance document, as it is.
    governance: Option<RawGovernance>,
}

/// Reads a configuration from its text. `name` is what errors call the file.
///
/// # Errors
/// All that is wrong with it, at once.
pub fn parse(text: &str, name: &str, env: &Env<'_>) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::new(name);
    let config = read(text, env, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_errors()),
    }
}

fn read(text: &str, env: &Env<'_>, problems: &mut Problems) -> Option<Config> {
    let schema = schema::document();
    let mut yours = tree::read(text, Source::Yours, problems)?;
    let mut defaults = tree::read(DEFAULTS, Source::Defaults, problems)?;
    let host = |name: &str| env(name).or_else(|| (name == "HOSTNAME").then(host_name));
    env::substitute(&mut yours, "", &host, problems);
    env::substitute(&mut defaults, "", &host, problems);
    let yours = governance::wrap(yours, &schema::keys(&schema), problems);
    let overlay = governance::overlay(&yours, problems);
    let tree = merge::layers(defaults, overlay, yours);
    let value = structure::check(&tree, &schema, "", problems)?;
    let raw = match RawConfig::deserialize(&value) {
        Ok(raw) => raw,
        Err(e) => {
            // The structure was checked against the schema of these very types.
            problems.add(tree.pos, "", format!("cannot be read: {e}"), None);
            return None;
        }
    };
    raw.convert(value, &mut Check { tree: &tree, problems })
}

impl RawConfig {
    fn convert(self, effective: Value, check: &mut Check<'_>) -> Option<Config> {
        let governance = self.governance.map(RawGovernance::convert);
        let pii = governance.as_ref().and_then(|g| g.pii_redaction);
        let origin = origin::convert(self.origin, check);
        let sources = sources::convert(self.sources, check);
        let redact = self.redact.and_then(|r| r.convert(pii, check));
        let journal = self.journal.and_then(|j| j.convert(check));
        let residency = self.residency.map(|r| r.convert(check));
        let around = Around {
            governance: governance.as_ref(),
            residency: residency.as_ref().and_then(Option::as_ref),
            has_archive: false,
        };
        let seal = self.seal.and_then(|s| s.convert(journal.as_ref(), around.residency, check));
        let sinks = sinks::convert(self.sinks, around, check);
        if let (Some(journal), Some(sinks)) = (&journal, &sinks) {
            apart(journal, &sinks.archives, check);
        }
        let codec = seal.as_ref().map(|s| s.codec);
        let limits =
            self.limits.and_then(|l| l.convert(sources.as_deref(), codec, sinks.as_ref(), check));
        let admin = self.admin.and_then(|a| a.convert(check));
        let Sinks { archives, feeds } = sinks?;
        Some(Config {
            origin: origin?,
            sources: sources?,
            redact: redact?,
            journal: journal?,
            seal: seal?,
            sinks: archives,
            feeds,
            admin: admin?,
            limits: limits?,
            residency: match residency {
                Some(residency) => Some(residency?),
                None => None,
            },
            log: self.log?.convert()?,
            governance,
            effective: Effective::new(effective),
        })
    }
}

/// The archive is not in the journal's folder, nor the other way round.
fn apart(journal: &Journal, sinks: &[Sink], check: &mut Check<'_>) {
    for sink in sinks {
        let n = sink.index;
        if let Archive::Directory(folder) = &sink.archive
            && (folder.starts_with(&journal.path) || journal.path.starts_with(folder))
        {
            let what = "archive and journal cannot lie in each other";
            check.refuse(&format!("sinks[{n}].url"), what, "give the archive a folder of its own");
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
