//! From a configuration to an agent that can run: the one place where the
//! stages' own options are filled in.

use crate::config::{self, Config, JournalKey as KeySource, SecretRef};
use crate::decode;
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{self, Journal, JournalError, JournalKey};
use crate::pipeline::{self, Pipeline};
use crate::redact::{Policy, Profile, Redactor};
use crate::run::{Parts, now_ms};
use crate::sealer::outbox::Outbox;
use crate::sealer::{self, Codec, Sealer};
use crate::sink::archive::{ArchiveSink, Backup};
use crate::sink::cursor::Cursors;
use crate::store::{ObjectMeta, Store};
use crate::tail::{self, StartAt, SystemClock, TailOptions, Tailer};
use sealtail_seal::keys::{self, Secret, SigningKey};
use sealtail_seal::layout::Layout;
use sealtail_seal::message::Recipient;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Why the agent cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssembleError {
    /// Something that the configuration names is not usable: exit code 2.
    #[error("{0}")]
    Config(String),
    /// The state on disk or a destination: exit code 1.
    #[error("{0}")]
    Failed(String),
}

fn config_error(e: impl std::fmt::Display) -> AssembleError {
    AssembleError::Config(e.to_string())
}

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> AssembleError {
    let what = what.to_owned();
    move |e| AssembleError::Failed(format!("failed to {what}{e}"))
}

/// Opens everything, in the order in which it depends on each other.
pub(super) async fn assemble(config: &Config) -> Result<Parts, AssembleError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let now = now_ms();
    let token_key = secret(&config.redact.token_key)?;
    let recipients = config.seal.recipients.iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
    let signing_key = signing_key(config)?;
    let stores = open_stores(config, &disk).await?;

    let options = journal::Options {
        path: config.journal.path.clone(),
        max_bytes: config.journal.max_bytes.bytes(),
        segment_bytes: config.journal.segment_bytes().bytes(),
    };
    let journal_failed = failed("open the journal: ");
    disk.create_dir_all(&config.journal.path).map_err(|e| {
        journal_failed(&format!("cannot make {}: {e}", config.journal.path.display()))
    })?;
    let key = journal_key(config)?;
    let origin = config.origin.as_str();
    let journal = match Journal::open(Arc::clone(&disk), options.clone(), &key, origin, now) {
        Err(JournalError::OriginChanged { old, new }) => {
            succeed(&disk, options, &key, (&old, &new), now)?
        }
        other => other.map_err(|e| journal_failed(&e))?,
    };
    let id = journal.id().clone();
    let (outbox, cursors) = state(&disk, &journal)?;
    let layout = Layout::new(&id.origin, &id.incarnation).map_err(config_error)?;
    let sinks = sinks(config, stores, &outbox, &cursors, &layout)?;
    let sealer = Sealer::open(
        sealer_options(config, recipients, signing_key),
        id.clone(),
        Arc::clone(&outbox),
        journal.handle(),
        now,
    )
    .map_err(|e| failed("")(&e))?;

    let redactor = Redactor::new(policy(config), &token_key);
    let (tailer, tags) = tail(config, &journal, &file_id_key(&token_key), &id.incarnation)?;
    tracing::info!(
        origin = id.origin,
        incarnation = id.incarnation,
        next = journal.end().0,
        "sealtail {} starts",
        env!("CARGO_PKG_VERSION")
    );
    Ok(Parts { pipeline: Pipeline::new(tailer, tags, redactor, journal), sealer, outbox, sinks })
}

/// The outbox and the cursors of the journal's incarnation.
fn state(disk: &SharedDisk, journal: &Journal) -> Result<(Arc<Outbox>, Cursors), AssembleError> {
    let base = journal.base();
    let outbox = Outbox::open(Arc::clone(disk), base.join("outbox"), journal.handle())
        .map_err(|e| failed("")(&e))?;
    let cursors =
        Cursors::open(Arc::clone(disk), base.join("cursors")).map_err(|e| failed("")(&e))?;
    Ok((Arc::new(outbox), cursors))
}

/// The configuration has another origin: when all records of the old one have
/// been sealed and sent to every sink, a new incarnation follows it.
fn succeed(
    disk: &SharedDisk,
    options: journal::Options,
    key: &JournalKey,
    (old, new): (&str, &str),
    now: u64,
) -> Result<Journal, AssembleError> {
    let journal_failed = failed("open the journal: ");
    let journal =
        Journal::open(Arc::clone(disk), options, key, old, now).map_err(|e| journal_failed(&e))?;
    let (outbox, cursors) = state(disk, &journal)?;
    let newest = outbox.newest().map_err(|e| failed("")(&e))?;
    let mut sent = true;
    for sink in cursors.names().map_err(|e| failed("")(&e))? {
        let next = cursors.load(&sink).map_err(|e| failed("")(&e))?;
        sent &= next.unwrap_or(0) >= outbox.end();
    }
    if let Some(head) = newest.as_ref().filter(|_| sent) {
        journal.handle().set_floor(head.cursor);
    }
    let before = journal.id().incarnation.clone();
    let checkpoint = newest.map(|head| head.checkpoint);
    let journal = journal.succeed(key, new, checkpoint, now).map_err(|e| journal_failed(&e))?;
    tracing::info!(old, new, before, "the origin has changed: a new incarnation begins");
    Ok(journal)
}

/// Loads the journal's key; makes it when the configuration leaves that to us.
pub(super) fn journal_key(config: &Config) -> Result<JournalKey, AssembleError> {
    if let KeySource::Beside(path) = &config.journal.key
        && !path.exists()
    {
        let secret = keys::random_secret().map_err(config_error)?;
        crate::disk::replace(&RealDisk, path, keys::secret_to_text(&secret).as_bytes()).map_err(
            |e| AssembleError::Failed(format!("failed to write {}: {e}", path.display())),
        )?;
        tracing::warn!(
            path = %path.display(),
            "made a journal key beside the journal: it protects copies of the journal, not the volume \
             that holds both; give journal.key to keep it elsewhere"
        );
    }
    Ok(JournalKey::new(*secret(&config.journal.key.reference())?))
}

fn secret(reference: &SecretRef) -> Result<Secret, AssembleError> {
    let loaded = reference.load(&super::environment).map_err(config_error)?;
    let text =
        loaded.text().ok_or_else(|| AssembleError::Config(format!("{reference} is not text")))?;
    keys::secret_from_text(text).map_err(|e| AssembleError::Config(format!("{reference}: {e}")))
}

fn signing_key(config: &Config) -> Result<SigningKey, AssembleError> {
    let reference = &config.seal.signing_key;
    let loaded = reference.load(&super::environment).map_err(config_error)?;
    let text =
        loaded.text().ok_or_else(|| AssembleError::Config(format!("{reference} is not text")))?;
    SigningKey::from_pem(text).map_err(|e| AssembleError::Config(format!("{reference}: {e}")))
}

fn recipient(recipient: &config::Recipient) -> Result<Recipient, AssembleError> {
    match recipient {
        config::Recipient::Rsa(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| AssembleError::Config(format!("{}: {e}", path.display())))?;
            Recipient::rsa(&text)
                .map_err(|e| AssembleError::Config(format!("{}: {e}", path.display())))
        }
        config::Recipient::Aes { name, key } => Ok(Recipient::aes(name, *secret(key)?)),
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        profile: match config.redact.profile {
            config::Profile::Strict => Profile::Strict,
            config::Profile::Balanced => Profile::Balanced,
            config::Profile::AuditOnly => Profile::AuditOnly,
            config::Profile::MaskOnly => Profile::MaskOnly,
        },
        include_payload: config.redact.include_payload,
        mask: config.redact.mask,
    }
}

fn sealer_options(
    config: &Config,
    recipients: Vec<Recipient>,
    signing_key: SigningKey,
) -> sealer::Options {
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let seal = &config.seal;
    sealer::Options {
        max_bytes: seal.batch.max_bytes.bytes(),
        max_records: seal.batch.max_records,
        max_age_ms: ms(seal.batch.max_age),
        codec: match seal.codec {
            config::Codec::Gzip(level) => Codec::Gzip(level),
            config::Codec::Zstd(level) => Codec::Zstd(i32::try_from(level).unwrap_or(1)),
        },
        heartbeat_ms: ms(seal.heartbeat),
        outbox_bytes: config.journal.outbox_bytes().bytes(),
        recipients,
        signing_key,
        config_hash: config.config_sha256(),
    }
}

async fn open_stores(config: &Config, disk: &SharedDisk) -> Result<Vec<Store>, AssembleError> {
    let mut stores = Vec::new();
    for sink in &config.sinks {
        stores.push(super::archive::sink_store(&sink.archive, disk).await?);
    }
    Ok(stores)
}

fn sinks(
    config: &Config,
    stores: Vec<Store>,
    outbox: &Arc<Outbox>,
    cursors: &Cursors,
    layout: &Layout,
) -> Result<Vec<ArchiveSink>, AssembleError> {
    let cursor_failed = |e: &dyn std::fmt::Display| failed("")(e);
    let governance = config.governance.as_ref();
    let tags = governance.map(config::Governance::tags).unwrap_or_default();
    let meta = ObjectMeta { tags, ..ObjectMeta::default() };
    let backup = governance.and_then(|g| g.backup_every).map(|every| Backup {
        every_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
        folder: layout.backup_folder(),
        last: 0,
    });
    let mut sinks = Vec::new();
    let mut places = BTreeMap::new();
    for (sink, store) in config.sinks.iter().zip(stores) {
        let name = sink.name.as_str().to_owned();
        let sink = ArchiveSink::new(
            name,
            store,
            Arc::clone(outbox),
            cursors.clone(),
            meta.clone(),
            backup.clone(),
        )
        .map_err(|e| cursor_failed(&e))?;
        places.insert(sink.name().to_owned(), sink.next_leaf());
        sinks.push(sink);
    }
    for name in cursors.names().map_err(|e| cursor_failed(&e))? {
        if places.contains_key(&name) {
            continue;
        }
        let next = cursors.load(&name).map_err(|e| cursor_failed(&e))?.unwrap_or(0);
        tracing::warn!(
            sink = name,
            next,
            "this sink is not in the configuration any more and holds the outbox; \
             `sealtail forget-sink` lets it go"
        );
        places.insert(name, next);
    }
    // All places are known before anything may be removed.
    outbox.register(&places);
    Ok(sinks)
}

/// The tail of all sources, and the sources' tags.
fn tail(
    config: &Config,
    journal: &Journal,
    key: &[u8; 32],
    incarnation: &str,
) -> Result<(Tailer, Vec<u64>), AssembleError> {
    let mut own = Vec::new();
    for fd in ["/proc/self/fd/1", "/proc/self/fd/2"] {
        if let Ok(meta) = std::fs::metadata(fd)
            && meta.is_file()
        {
            own.push((meta.dev(), meta.ino()));
        }
    }
    let options = TailOptions {
        sources: config.sources.iter().map(source).collect(),
        max_held: usize::try_from(config.limits.joiners.bytes()).unwrap_or(usize::MAX),
        own,
        // The first line of our own log names the incarnation.
        own_marker: Some(incarnation.to_owned()),
        ..TailOptions::default()
    };
    let tags: Vec<_> = options.sources.iter().map(|s| pipeline::source_tag(&s.include)).collect();
    let resume = pipeline::positions(journal, &tags);
    let clock = Box::new(SystemClock::start());
    Ok((Tailer::new(options, key, resume, clock).map_err(config_error)?, tags))
}

fn source(source: &config::FileSource) -> tail::Source {
    let texts =
        |patterns: &[config::Pattern]| patterns.iter().map(|p| p.as_str().to_owned()).collect();
    tail::Source {
        include: texts(&source.include),
        exclude: texts(&source.exclude),
        format: match source.format {
            config::Format::Auto => None,
            config::Format::Docker => Some(decode::Format::Docker),
            config::Format::Cri => Some(decode::Format::Cri),
            config::Format::Text => Some(decode::Format::Text),
            config::Format::Json => Some(decode::Format::Json),
        },
        start_at: match source.start_at {
            config::StartAt::Beginning => StartAt::Beginning,
            config::StartAt::End => StartAt::End,
        },
        max_line: usize::try_from(source.max_line.bytes()).unwrap_or(usize::MAX),
        partial_wait: source.partial_wait,
        ..tail::Source::default()
    }
}

/// The key of file ids: from the token key, so that a file has the same id in
/// every incarnation.
fn file_id_key(token_key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let expanded = hkdf::Hkdf::<sha2::Sha256>::new(None, token_key)
        .expand(b"sealtail/file-id/v1", key.as_mut_slice());
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
    key
}
