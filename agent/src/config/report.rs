//! What `sealtail check` prints: what is in force, what it is bounded by, what
//! the governance document does, and which keys are missing.

use super::document::Config;
use super::env::Env;
use super::governance::Governance;
use super::journal::JournalKey;
use super::quantity::spoken;
use super::seal::{Codec, Recipient};
use super::secret::SecretRef;
use super::sinks::Archive;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A key that the configuration needs, and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Which value names it, such as `seal.signing_key`.
    pub path: String,
    /// Where it is.
    pub reference: SecretRef,
    /// Whether nobody else may read it.
    pub private: bool,
    /// Whether it is there.
    pub state: KeyState,
}

/// Whether a key is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It is there.
    Present,
    /// It is private, and others than its owner and group can read it; with its mode.
    Open(u32),
    /// It is not there.
    Missing,
    /// It cannot be read; what the system said.
    Unreadable(String),
    /// It will be made at the first start.
    MadeAtStart,
}

impl Config {
    /// The keys that this configuration needs, as they are now. `run` refuses
    /// to start when one is [`KeyState::Missing`]. Credentials of sinks included.
    #[must_use]
    pub fn keys(&self, env: &Env<'_>) -> Vec<KeyUse> {
        let mut keys = Vec::new();
        let mut key = |path: String, reference: SecretRef, private: bool| {
            let state = state(&reference, private, env);
            keys.push(KeyUse { path, reference, private, state });
        };
        key("redact.token_key".into(), self.redact.token_key.clone(), true);
        key("journal.key".into(), self.journal.key.reference(), true);
        key("seal.signing_key".into(), self.seal.signing_key.clone(), true);
        for (n, recipient) in self.seal.recipients.iter().enumerate() {
            let path = format!("seal.recipients[{n}]");
            match recipient {
                Recipient::Rsa(file) => {
                    key(format!("{path}.rsa"), SecretRef::File(file.clone()), false);
                }
                Recipient::Aes { key: reference, .. } => {
                    key(format!("{path}.aes"), reference.clone(), true);
                }
            }
        }
        for (n, sink) in self.sinks.iter().enumerate() {
            if let Archive::S3(s3) = &sink.archive
                && let Some(c) = &s3.credentials
            {
                key(format!("sinks[{n}].credentials.access_key"), c.access_key.clone(), true);
                key(format!("sinks[{n}].credentials.secret_key"), c.secret_key.clone(), true);
            }
        }
        if matches!(self.journal.key, JournalKey::Beside(_)) {
            for key in keys.iter_mut().filter(|k| k.path == "journal.key") {
                if key.state == KeyState::Missing {
                    key.state = KeyState::MadeAtStart;
                }
            }
        }
        keys
    }
}

fn state(reference: &SecretRef, private: bool, env: &Env<'_>) -> KeyState {
    let path = match reference {
        SecretRef::File(path) => path,
        SecretRef::Env(name) => {
            return if env(name).is_some() { KeyState::Present } else { KeyState::Missing };
        }
    };
    match std::fs::File::open(path).and_then(|f| f.metadata()) {
        Ok(data) if data.is_dir() => KeyState::Unreadable("it is a folder".into()),
        Ok(data) if private && data.permissions().mode() & 0o007 != 0 => {
            KeyState::Open(data.permissions().mode() & 0o777)
        }
        Ok(_) => KeyState::Present,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => KeyState::Missing,
        Err(e) => KeyState::Unreadable(e.to_string()),
    }
}

/// What `sealtail check` prints. The text before the first comment after the
/// document is YAML that means the same when it is read again; all that follows
/// stands in comments, so the whole is a configuration.
#[must_use]
pub fn render_check(config: &Config, env: &Env<'_>) -> String {
    let mut out = format!(
        "# The effective configuration. Secrets are named, not shown.\n{}",
        config.effective
    );
    section(&mut out, "Memory", memory(config));
    section(&mut out, "Disk", disk(config));
    if config.redact.clear {
        section(&mut out, "Redaction", vec![
            "OFF: pii_redaction is false and allow_clear is true. Personal data is shipped in clear; secrets are still taken out.".into(),
        ]);
    }
    if let Some(governance) = &config.governance {
        section(&mut out, "Governance document", effects(governance, config));
    }
    section(&mut out, "Keys", keys(config, env));
    out
}

fn section(out: &mut String, title: &str, lines: Vec<String>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n# {title}");
    for line in lines {
        let _ = writeln!(out, "#   {line}");
    }
}

fn memory(config: &Config) -> Vec<String> {
    let l = &config.limits;
    vec![
        format!(
            "At most {} in buffers (limits.memory), and the program itself (at most 16MiB):",
            l.memory
        ),
        format!("{} to read (a chunk of 256KiB and the longest line),", l.read_buffer),
        format!("{} for partial and multi-line lines of all files together,", l.joiners),
        format!("{} for the journal block that is being filled,", l.journal_block),
        format!("{} to compress and seal (batches are streamed to disk, not held),", l.seal),
        format!("{} to upload (objects are streamed from disk),", l.upload),
        format!("{} to spare.", l.spare()),
    ]
}

fn disk(config: &Config) -> Vec<String> {
    let journal = &config.journal;
    let mut lines = vec![
        format!(
            "At most {} under {} (journal.max_bytes):",
            journal.max_bytes,
            journal.path.display()
        ),
        format!(
            "the journal in segments of {}, and sealed batches that wait for upload, at most {}.",
            journal.segment_bytes(),
            journal.outbox_bytes()
        ),
        "When it is full, reading stops; the log files themselves are the queue then.".into(),
    ];
    for sink in &config.sinks {
        if let Archive::Directory(folder) = &sink.archive {
            lines.push(format!("The archive in {} grows without bound.", folder.display()));
        }
    }
    let codec = match config.seal.codec {
        Codec::Gzip(level) => format!("gzip level {level}"),
        Codec::Zstd(level) => format!("zstd level {level}"),
    };
    let b = &config.seal.batch;
    lines.push(format!(
        "A batch is cut at {} sealed ({codec}), {} or {} records, whichever comes first.",
        b.max_bytes,
        spoken(b.max_age),
        b.max_records
    ));
    lines
}

/// What each value of the document does, in words.
fn effects(g: &Governance, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(days) = g.message_storage_days {
        lines.push(format!(
            "message_storage_days: {days}: every object carries the tag message-storage-days={days}. Object Lock \
             is not available yet: lock the bucket itself. Audit records are never deleted by this."
        ));
    }
    if let Some(days) = g.media_storage_days {
        lines.push(format!(
            "media_storage_days: {days}: every object carries the tag media-storage-days={days}. There are no \
             media.roots, so there is nothing to purge (purging is not available yet)."
        ));
    }
    match g.pii_redaction {
        Some(true) => lines.push(format!(
            "pii_redaction: true: personal data is taken out before anything is stored (profile {}).",
            config.redact.profile.name()
        )),
        Some(false) => lines.push(
            "pii_redaction: false: personal data is shipped in clear (redact.allow_clear is true).".into(),
        ),
        None => {}
    }
    if g.names_algorithm {
        lines.push("encryption_algorithm: AES-256-GCM: journal and archive are encrypted with it, and with nothing else.".into());
    }
    if let Some(every) = g.backup_every {
        lines.push(format!(
            "backup_frequency_hours: {}: at least that often the newest checkpoint and proof are copied under \
             {}/<incarnation>/backup/ in the archive; never keys or journal.",
            every.as_secs() / 3600,
            config.origin
        ));
    }
    if let Some(level) = g.log_level {
        let own = config.log.level;
        lines.push(if own == level {
            format!("log_level: {}: the agent's own log; never a filter on records.", level.name())
        } else {
            format!(
                "log_level: {}: log.level: {} beside it wins; never a filter on records.",
                level.name(),
                own.name()
            )
        });
    }
    if g.destination.is_some() {
        let urls: Vec<_> =
            config.sinks.iter().map(|s| format!("`{}` ({})", s.name, s.archive.url())).collect();
        lines.push(format!("destination: sealed batches are delivered to {}.", urls.join(", ")));
    }
    if let Some(payload) = g.include_payload {
        lines.push(match (payload, config.redact.include_payload) {
            (false, _) => "include_payload: false: message content never leaves.".into(),
            (true, true) => "include_payload: true: message content is kept, redacted as the profile says.".into(),
            (true, false) => "include_payload: true: redact.include_payload: false beside it is stricter and wins.".into(),
        });
    }
    lines
}

fn keys(config: &Config, env: &Env<'_>) -> Vec<String> {
    let keys = config.keys(env);
    let mut lines: Vec<_> = keys.iter().map(key_line).collect();
    if let JournalKey::Beside(path) = &config.journal.key {
        lines.push(format!(
            "The journal's key lies beside the journal ({}): it protects a copy of the journal's folder, not a \
             stolen volume that holds both.",
            path.display()
        ));
    }
    let missing = keys.iter().filter(|k| k.state == KeyState::Missing);
    let mut folders: Vec<&Path> = missing.filter_map(|k| k.reference.path()?.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        lines.push(format!(
            "Keys are missing; `sealtail run` will not start without them. Make a set: sealtail keygen {}",
            folder.display()
        ));
    }
    lines
}

fn key_line(key: &KeyUse) -> String {
    let state = match &key.state {
        KeyState::Present => "is there".into(),
        KeyState::Open(mode) => {
            format!("is there, but anybody can read it (mode {mode:04o}): chmod 0600")
        }
        KeyState::Missing => "is MISSING".into(),
        KeyState::Unreadable(why) => format!("cannot be read: {why}"),
        KeyState::MadeAtStart => "is made at the first start".into(),
    };
    format!("{}: {} {state}", key.path, key.reference)
}
