//! What `sealtail check` prints: what is in force, what it is bounded by, what
//! the governance document does, and which keys are missing.

use super::admin::Admin;
use super::aws::{AssumeRole, Credentials};
use super::document::Config;
use super::env::Env;
use super::governance::Governance;
use super::journal::JournalKey;
use super::keys::{KeyState, KeyUse};
use super::quantity::{about, spoken};
use super::residency::Residency;
use super::s3::{Encryption, ObjectLock};
use super::seal::{Codec, Recipient};
use super::sinks::{Archive, S3};
use crate::ship::on_full::OnFull;
use std::fmt::Write as _;
use std::path::Path;

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
    for sink in &config.sinks {
        if let Archive::S3(s3) = &sink.archive {
            section(
                &mut out,
                &format!("Archive `{}` ({})", sink.name, sink.archive.url()),
                bucket(s3),
            );
        }
    }
    let kms = config.seal.recipients.iter().any(|r| matches!(r, Recipient::Kms(_)));
    if kms && !config.sinks.is_empty() {
        section(&mut out, "Recipients of the archive", recipients(&config.seal.recipients));
    }
    if !config.feeds.is_empty() {
        section(&mut out, "Splunk and Datadog", feeds(config));
    }
    if let Some(residency) = &config.residency {
        section(&mut out, "Residency", places(residency, config));
    }
    section(&mut out, "Admin port", admin(config.admin));
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
        format!("{} to read (a chunk of 256KiB and the longest line),", about(l.read_buffer)),
        format!("{} for partial and multi-line lines of all files together,", about(l.joiners)),
        format!("{} for the journal block that is being filled,", about(l.journal_block)),
        format!("{} to compress and seal (batches are streamed to disk, not held),", about(l.seal)),
        format!("{} to upload (objects are streamed from disk),", about(l.upload)),
        format!("{} for batches of events (Splunk, Datadog),", about(l.feeds)),
        format!("{} to spare.", about(l.spare())),
    ]
}

fn disk(config: &Config) -> Vec<String> {
    let journal = &config.journal;
    let mut lines = vec![
        format!(
            "At most {} under {} (journal.max_bytes), and 4MiB kept for a full disk:",
            journal.max_bytes,
            journal.path.display()
        ),
        format!(
            "the journal in segments of {}, and sealed batches that wait for upload, at most {}.",
            journal.segment_bytes(),
            journal.outbox_bytes()
        ),
        "When it is full, reading stops; the log files themselves are the queue then.".into(),
        format!(
            "Records that a destination refused: at most {} (limits.dead_letters).",
            config.limits.dead_letters
        ),
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

/// Where data may lie and go, and how that is known.
fn places(residency: &Residency, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(regions) = &residency.regions {
        lines.push(format!("Buckets and KMS keys may be in {} only.", regions.join(", ")));
        for recipient in &config.seal.recipients {
            if let Recipient::Kms(kms) = recipient {
                lines.push(format!("The KMS key {} is in {}.", kms.key, kms.key.region()));
            }
        }
        for sink in &config.sinks {
            if let Archive::S3(s3) = &sink.archive {
                lines.push(match &s3.region {
                    Some(region) => format!(
                        "`{}` is in {region}, by its configuration; the bucket's own word is asked for at the start.",
                        sink.name
                    ),
                    None => format!(
                        "`{}`: its region is known at the start, which is refused when it is another one.",
                        sink.name
                    ),
                });
            }
        }
    }
    if let Some(sites) = &residency.sites {
        lines.push(format!("Datadog sites: {} only.", sites.join(", ")));
    }
    lines
}

/// What is asked of a bucket, in words.
fn bucket(s3: &S3) -> Vec<String> {
    let mut lines =
        identity(s3.credentials.as_ref(), s3.profile.as_deref(), s3.assume_role.as_ref());
    if let Some(owner) = &s3.expected_owner {
        lines.push(format!(
            "Every request names the account {owner}: a bucket of anybody else's is refused."
        ));
    }
    lines.push(match &s3.encryption {
        None => "Encryption at rest: as the bucket says (what is stored is sealed in any case)."
            .to_owned(),
        Some(Encryption::S3) => {
            "Encryption at rest: with keys of S3's (SSE-S3), of everything.".to_owned()
        }
        Some(Encryption::Kms { key_id, bucket_key }) => format!(
            "Encryption at rest: with the KMS key {} (SSE-KMS{}), of everything.",
            key_id.as_deref().unwrap_or("of AWS for S3"),
            if *bucket_key == Some(true) { ", through a bucket key" } else { "" }
        ),
    });
    if let Some(class) = &s3.storage_class {
        lines.push(format!(
            "Sealed batches lie in the storage class {class}; proofs and checkpoints in the standard one."
        ));
        if matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE") {
            lines.push("What lies there has to be restored before `open` and `verify --identity` can read it.".to_owned());
        }
    }
    if !s3.tags.is_empty() {
        let tags: Vec<_> = s3.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        lines.push(format!("Every object carries the tags {}.", tags.join(", ")));
    }
    lines.push(lock(s3.object_lock));
    lines
}

/// Who we are to AWS, in words.
fn identity(
    credentials: Option<&Credentials>,
    profile: Option<&str>,
    role: Option<&AssumeRole>,
) -> Vec<String> {
    let mut lines = vec![match (credentials, profile) {
        (Some(_), _) => "Credentials: those given here.".to_owned(),
        (None, Some(profile)) => format!("Credentials: of the profile {profile}."),
        (None, None) => {
            "Credentials: the first of environment, profile, web identity, container and instance."
                .to_owned()
        }
    }];
    if let Some(role) = role {
        let id = if role.external_id.is_some() { ", with an external id" } else { "" };
        lines.push(format!(
            "With them the role {} is taken on{id}, and renewed before it runs out.",
            role.role_arn
        ));
    }
    lines
}

/// Who can open the archive, when a key of KMS is among them.
fn recipients(recipients: &[Recipient]) -> Vec<String> {
    let mut lines = vec![
        "Each of these opens every batch; a batch is sealed to all of them or not at all:"
            .to_owned(),
    ];
    let mut first = true;
    for recipient in recipients {
        match recipient {
            Recipient::Rsa(path) => {
                lines.push(format!("whoever holds the private key to {},", path.display()));
            }
            Recipient::Aes { name, .. } => {
                lines
                    .push(format!("whoever holds the shared key `{name}`, this agent among them,"));
            }
            Recipient::Kms(kms) => {
                let action = match std::mem::take(&mut first) {
                    true => "GenerateDataKey",
                    false => "Encrypt",
                };
                let place = match &kms.endpoint {
                    Some(endpoint) => format!("at {endpoint}"),
                    None => format!("in {}", kms.key.region()),
                };
                lines.push(format!(
                    "whoever may use {} {place}: one kms:{action} a batch, bound to its context.",
                    kms.key
                ));
                let role = kms.assume_role.as_ref();
                lines.extend(identity(kms.credentials.as_ref(), kms.profile.as_deref(), role));
            }
        }
    }
    lines.push(
        "While KMS is away or refuses, records wait in the journal; when it is full, reading stops.".into(),
    );
    if let [Recipient::Kms(_)] = recipients {
        lines.push(
            "The KMS key is the only one: when it is destroyed, nobody can open the archive again."
                .into(),
        );
    }
    lines
}

fn lock(lock: Option<ObjectLock>) -> String {
    let Some(lock) = lock else {
        return "Object Lock: not asked for. Who may delete in the bucket can delete evidence, unless the \
                bucket locks by itself."
            .to_owned();
    };
    let hold = if lock.legal_hold { " and until the legal hold is taken off" } else { "" };
    let kept = match lock.retention {
        Some((mode, days)) => format!(
            "for {days} days from the upload on (rounded up to the next midnight UTC, mode {}){hold}",
            mode.name()
        ),
        None => "until the legal hold is taken off".to_owned(),
    };
    format!(
        "Object Lock: proofs and sealed batches are locked {kept}. The checkpoint and backups, which \
         repeat what is in the proofs, are not. The start is refused where the bucket cannot lock."
    )
}

/// What goes to the sinks that follow the journal, in words.
fn feeds(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for feed in &config.feeds {
        let b = &feed.batch;
        lines.push(format!(
            "{}: {}, batches of at most {} bytes, {} events or {}, {} requests under way at most.",
            feed.name,
            feed.place(),
            b.max_bytes,
            b.max_events,
            spoken(b.max_age),
            feed.max_in_flight
        ));
        let w = &feed.wanted;
        if !w.events.is_empty() {
            lines.push(format!("{}: only the events {}.", feed.name, w.events.join(", ")));
        }
        if !w.fields.is_empty() {
            let fields = w.fields.join(", ");
            lines.push(format!(
                "{}: only the fields {fields}, the numbers, event and time.",
                feed.name
            ));
        }
        if feed.is_sealing() {
            let fields: Vec<_> = w.sealed.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "{}: {} leave sealed (enc1.…), each text with a keyed token beside it (<name>_token), under \
                 which equal texts can be searched. `sealtail open --fields` opens an export with the \
                 archive and its identity. The keys, one a start and day, go to the archive.",
                feed.name,
                fields.join(", ")
            ));
        }
        if feed.max_in_flight > 1 {
            lines.push(format!(
                "{}: events can arrive in another order than the journal's; each has its number (seq).",
                feed.name
            ));
        }
    }
    if config.sinks.is_empty() {
        lines.push(
            "There is no archive: nothing is sealed, and nothing can be verified later.".into(),
        );
    }
    for feed in &config.feeds {
        lines.push(match feed.on_full {
            OnFull::Block => format!(
                "{}: while it is away the journal keeps its records; when the journal is full, reading stops \
                 for all, nothing is given up.",
                feed.name
            ),
            OnFull::Gap => format!(
                "{}: while it is away the journal keeps its records; when the journal is full of them, the \
                 oldest are given up under a signed gap. The archive has them: `sealtail replay`.",
                feed.name
            ),
        });
    }
    lines
}

/// Who can ask the running agent, and what they learn.
fn admin(admin: Admin) -> Vec<String> {
    let Some(address) = admin.listen else {
        return vec!["There is none: no metrics, no probes, no `sealtail status`.".to_owned()];
    };
    let who = if admin.is_open() {
        "It is OPEN TO THE NETWORK: whoever reaches the address can ask. There is no authentication \
         and no TLS; restrict it by a network policy or a firewall."
    } else {
        "Whoever is on this machine (in this pod) can ask; there is no authentication."
    };
    vec![
        format!("http://{address} answers /metrics, /status, /live and /ready; nothing can be changed there."),
        who.to_owned(),
        "It tells counts, the sinks' names and what a destination said when it failed; nothing of what is \
         in the logs, and no secret."
            .to_owned(),
        "With --once no port is opened; one that is taken is warned of, and the agent goes on.".to_owned(),
    ]
}

/// What each value of the document does, in words.
fn effects(g: &Governance, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(days) = g.message_storage_days {
        lines.push(format!(
            "message_storage_days: {days}: every object carries the tag message-storage-days={days}.{} Audit \
             records are never deleted by this.",
            locks(days, config)
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
        let archives = config.sinks.iter().map(|s| format!("`{}` ({})", s.name, s.archive.url()));
        let archives: Vec<_> = archives.collect();
        let feeds = config.feeds.iter().map(|f| format!("`{}` ({}), as events", f.name, f.place()));
        let feeds: Vec<_> = feeds.collect();
        if !archives.is_empty() {
            let archives = archives.join(", ");
            lines.push(format!("destination: sealed batches are delivered to {archives}."));
        }
        if !feeds.is_empty() {
            lines.push(format!("destination: records are delivered to {}.", feeds.join(", ")));
        }
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

/// What the days of the document do to Object Lock.
fn locks(days: u32, config: &Config) -> String {
    let locked = config.sinks.iter().filter_map(|sink| match &sink.archive {
        Archive::S3(s3) => s3.object_lock?.retention.map(|(_, own)| (&sink.name, own)),
        Archive::Directory(_) => None,
    });
    let words = locked.map(|(name, own)| match own {
        own if own > days && config.redact.include_payload => format!(
            " `{name}` locks for {own} days, so message content in it cannot be deleted in time: lower \
             retain_days, or destroy the batches' keys."
        ),
        own => format!(" `{name}` locks its objects for {own} days."),
    });
    let words: String = words.collect();
    if words.is_empty() { " No sink has an object_lock with a mode.".to_owned() } else { words }
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
        KeyState::MadeAtStart => "is made at the first start".into(),
        KeyState::Unusable(why) => format!("is UNUSABLE: {why}"),
    };
    format!("{}: {} {state}", key.path, key.reference)
}
