//! From a configuration to an agent that can run: the one place where the
//! stages' own options are filled in.

pub(super) mod feeds;
pub(super) mod keys;
mod succession;

use crate::config::{self, Config, JournalKey as KeySource, SecretRef};
use crate::decode;
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{self, Journal, JournalError, JournalKey, Seq};
use crate::pipeline::{self, Pipeline};
use crate::redact::{Policy, Profile, Redactor, ValueTokens};
use crate::run::{Parts, now_ms};
use crate::sealer::datakey::Supply;
use crate::sealer::outbox::{Outbox, OutboxError};
use crate::sealer::ring::Ring;
use crate::sealer::{self, Codec, SealError, Sealer, Waivers};
use crate::sink::archive::{self, ArchiveSink, Backup};
use crate::sink::cursor::{CursorError, Cursors, Next};
use crate::sink::sealed::FieldKeys;
use crate::store::{ObjectMeta, Place};
use crate::tail::{self, StartAt, SystemClock, TailOptions, Tailer};
use sealtail_seal::keys::{Secret, SigningKey, random_secret, secret_from_text, secret_to_text};
use sealtail_seal::layout::Layout;
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
    /// The state on disk: exit code 1.
    #[error("failed to {0}")]
    Failed(String),
    /// The volume has no room for what a start needs: it may have later.
    #[error("failed to {0}")]
    NoSpace(String),
}

fn config_error(e: impl std::fmt::Display) -> AssembleError {
    AssembleError::Config(e.to_string())
}

impl AssembleError {
    /// `what` completes "failed to …".
    fn of(what: String, is_full: bool) -> Self {
        if is_full { Self::NoSpace(what) } else { Self::Failed(what) }
    }
}

impl From<JournalError> for AssembleError {
    fn from(e: JournalError) -> Self {
        Self::of(format!("open the journal: {e}"), e.is_full())
    }
}

impl From<OutboxError> for AssembleError {
    fn from(e: OutboxError) -> Self {
        Self::of(e.to_string(), e.is_full())
    }
}

impl From<CursorError> for AssembleError {
    fn from(e: CursorError) -> Self {
        Self::of(e.to_string(), e.is_full())
    }
}

impl From<SealError> for AssembleError {
    fn from(e: SealError) -> Self {
        Self::of(e.to_string(), e.is_full())
    }
}

/// Opens everything, in the order in which it depends on each other.
pub(super) fn assemble(config: &Config) -> Result<Parts, AssembleError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let now = now_ms();
    let token_key = secret(&config.redact.token_key)?;
    let is_sealed = !config.sinks.is_empty();
    let recipients = config.seal.recipients.iter().filter(|_| is_sealed);
    let data_keys = Supply::new(keys::source(recipients)?);
    // Without an archive nothing is signed, and no key is asked for.
    let signing_key =
        if is_sealed { signing_key(config)? } else { SigningKey::from_seed(&[0; 32]) };
    let mut places = BTreeMap::new();
    for sink in &config.sinks {
        let place = super::archive::sink_place(&sink.archive, &disk)?;
        places.insert(sink.name.as_str().to_owned(), place);
    }

    let options = journal::Options {
        path: config.journal.path.clone(),
        max_bytes: config.journal.max_bytes.bytes(),
        segment_bytes: config.journal.segment_bytes().bytes(),
    };
    let path = &config.journal.path;
    disk.create_dir_all(path).map_err(JournalError::io("make", path))?;
    let key = journal_key(config)?;
    let wanted = succession::Wanted {
        disk: Arc::clone(&disk),
        options,
        key: &key,
        origin: config.origin.as_str(),
        signed_by: signing_key.public(),
        archives: places.iter().map(|(name, place)| (name.clone(), place.to_string())).collect(),
        feeds: config.feeds.iter().map(|feed| feed.name.to_string()).collect(),
    };
    let succession::Log { mut journal, outbox, cursors } = succession::open(&wanted, now)?;
    let id = journal.id().clone();
    let layout = Layout::new(&id.origin, &id.incarnation).map_err(config_error)?;
    let sinks = sinks(config, places, &outbox, &cursors, &layout)?;
    // Whoever reads the journal is known before the sealer lets anything go.
    let sealed = (!sinks.is_empty()).then(|| Arc::clone(&outbox));
    let (ring, maker) = Ring::new();
    let field_keys = FieldKeys::new(ring, ValueTokens::new(&token_key));
    let waivers = Waivers::default();
    let log = feeds::Log {
        journal: &journal,
        key: &key,
        cursors: &cursors,
        outbox: sealed,
        waivers: waivers.clone(),
        repeated: false,
        field_keys,
    };
    let engines = feeds::open(config, &disk, &log)?;
    let sealer = if sinks.is_empty() {
        // An archive that is gone from the configuration still wants what is not sealed.
        if cursors.all()?.iter().any(|(_, cursor)| cursor.is_leaf()) {
            let sealed = outbox.newest()?.map_or(Seq(0), |head| head.cursor);
            journal.handle().set_floor(sealed);
        }
        None
    } else {
        let mut sealer = Sealer::open(
            sealer_options(config, data_keys, signing_key, waivers),
            id.clone(),
            Arc::clone(&outbox),
            journal.handle(),
            now,
        )?;
        // No key is made where nobody seals.
        if config.feeds.iter().any(config::Feed::is_sealing) {
            sealer.serve(maker);
        }
        Some(sealer)
    };

    let redactor = Redactor::new(policy(config), &token_key);
    let file_key = journal.file_id_key(&key, &file_id_key(&token_key))?;
    let (tailer, tags) = tail(config, &journal, &file_key, &id.incarnation)?;
    tracing::info!(
        origin = id.origin,
        incarnation = id.incarnation,
        next = journal.end().0,
        "sealtail {} starts",
        env!("CARGO_PKG_VERSION")
    );
    Ok(Parts {
        pipeline: Pipeline::new(tailer, tags, redactor, journal),
        sealer,
        outbox,
        sinks,
        engines,
        dead: feeds::dead_letters(config, &disk, &key),
        admin: config.admin.listen,
    })
}

/// The place of an archive, without its secrets.
pub(super) fn place_of(archive: &config::Archive) -> Result<Place, AssembleError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    super::archive::sink_place(archive, &disk)
}

/// Loads the journal's key; makes it when the configuration leaves that to us.
pub(super) fn journal_key(config: &Config) -> Result<JournalKey, AssembleError> {
    if let KeySource::Beside(path) = &config.journal.key
        && !path.exists()
    {
        let secret = random_secret().map_err(config_error)?;
        crate::disk::replace(&RealDisk, path, secret_to_text(&secret).as_bytes())
            .map_err(JournalError::io("write", path))?;
        tracing::warn!(
            path = %path.display(),
            "made a journal key beside the journal: it protects copies of the journal, not the volume \
             that holds both; give journal.key to keep it elsewhere"
        );
    }
    Ok(JournalKey::new(*secret(&config.journal.key.reference())?))
}

/// The journal's key, which must be there.
pub(super) fn existing_journal_key(config: &Config) -> Result<JournalKey, AssembleError> {
    Ok(JournalKey::new(*secret(&config.journal.key.reference())?))
}

pub(super) fn secret(reference: &SecretRef) -> Result<Secret, AssembleError> {
    let loaded = reference.load(&super::environment).map_err(config_error)?;
    let text =
        loaded.text().ok_or_else(|| AssembleError::Config(format!("{reference} is not text")))?;
    secret_from_text(text).map_err(|e| AssembleError::Config(format!("{reference}: {e}")))
}

fn signing_key(config: &Config) -> Result<SigningKey, AssembleError> {
    let reference = &config.seal.signing_key;
    let loaded = reference.load(&super::environment).map_err(config_error)?;
    let text =
        loaded.text().ok_or_else(|| AssembleError::Config(format!("{reference} is not text")))?;
    SigningKey::from_pem(text).map_err(|e| AssembleError::Config(format!("{reference}: {e}")))
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
    keys: Supply,
    signing_key: SigningKey,
    waivers: Waivers,
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
        keys,
        signing_key,
        config_hash: config.config_sha256(),
        waivers,
    }
}

fn sinks(
    config: &Config,
    mut archives: BTreeMap<String, Place>,
    outbox: &Arc<Outbox>,
    cursors: &Cursors,
    layout: &Layout,
) -> Result<Vec<ArchiveSink>, AssembleError> {
    let governance = config.governance.as_ref();
    let tags = governance.map(config::Governance::tags).unwrap_or_default();
    let meta = ObjectMeta { tags, ..ObjectMeta::default() };
    let backup = governance.and_then(|g| g.backup_every).map(|every| Backup {
        every_ms: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
        folder: layout.backup_folder(),
        last: 0,
    });
    let mut sinks = Vec::new();
    let mut next = BTreeMap::new();
    // In the order of the configuration.
    for sink in &config.sinks {
        let name = sink.name.as_str().to_owned();
        let Some(place) = archives.remove(&name) else { continue };
        let (meta, backup) = (meta.clone(), backup.clone());
        let folder = layout.base().to_owned();
        let origin = config.origin.to_string();
        let options = archive::Options { name, place, folder, origin, meta, backup };
        let sink = ArchiveSink::new(options, Arc::clone(outbox), cursors.clone())?;
        next.insert(sink.name().to_owned(), sink.next_leaf());
        sinks.push(sink);
    }
    for (name, cursor) in cursors.all()? {
        let Next::Leaf(leaf) = cursor.next else { continue };
        if next.contains_key(&name) {
            continue;
        }
        tracing::warn!(
            sink = name,
            next = leaf,
            "this sink is not in the configuration any more and holds outbox and journal; \
             `sealtail forget-sink` lets it go"
        );
        next.insert(name, leaf);
    }
    // All places are known before anything may be removed.
    outbox.register(&next);
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

/// The key of file ids in a new journal: from the token key, so that a file has
/// the same id in every incarnation. A journal keeps the one that it began with.
fn file_id_key(token_key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let expanded = hkdf::Hkdf::<sha2::Sha256>::new(None, token_key)
        .expand(b"sealtail/file-id/v1", key.as_mut_slice());
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
    key
}
