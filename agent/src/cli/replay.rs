//! `sealtail replay`: sends a sink what it gave up, out of the archive.
//!
//! What was given up stands in the signed log; what has been sent again stands
//! beside the journal, so that the next call goes on. The records go through a
//! journal of their own and the same engine as ever, each marked as a possible
//! duplicate.
//!
//! Crash points: the spool is a journal with a cursor, and goes on like one; a
//! range is noted as done before its spool is removed.

use super::assemble::{self, feeds};
use super::{
    ConfigFile, Failure, Outcome, archive as archives, complain, load, log, runtime, tell,
};
use crate::config::{Config, Feed};
use crate::disk::{self, DiskLock, RealDisk, SharedDisk};
use crate::journal::{Journal, JournalKey, Options, Seq};
use crate::read::given_up::{self, Log, Wanted};
use crate::read::{Archive, Identities, field_keys};
use crate::redact::ValueTokens;
use crate::sealer::Waivers;
use crate::sealer::ring::Ring;
use crate::ship::on_full::OnFull;
use crate::ship::spool::Spool;
use crate::sink::cursor::{Cursors, Next};
use crate::sink::sealed::FieldKeys;
use crate::sink::{State, Stop};
use clap::Args;
use sealtail_seal::keys::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// A directory, file:///… or s3://bucket/prefix (endpoint and region from the AWS environment).
    archive: String,
    /// The sink that is to get the records: one of the configuration's, Splunk or Datadog.
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// A private key that opens the archive, or a key of KMS by its ARN (repeatable).
    #[arg(long, value_name = "archive.pem|ARN", required = true)]
    identity: Vec<String>,
    /// The public signing key (repeatable): without it nobody vouches for what is sent.
    #[arg(long, value_name = "signing.pub")]
    key: Vec<PathBuf>,
    /// Instead of what was given up: records of this incarnation.
    #[arg(long, value_name = "NAME", requires = "from_seq", requires = "to_seq")]
    incarnation: Option<String>,
    /// The first of them.
    #[arg(long, value_name = "N", requires = "incarnation")]
    from_seq: Option<u64>,
    /// The last of them.
    #[arg(long, value_name = "N", requires = "incarnation")]
    to_seq: Option<u64>,
    /// Send again also what an earlier replay has sent.
    #[arg(long)]
    again: bool,
}

/// Bounds of the spool, in bytes.
const SPOOL: u64 = 64 << 20;
const SEGMENT: u64 = 4 << 20;
/// How often it is looked how the sink stands.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn replay(arguments: &Arguments) -> Outcome {
    let config = load(&arguments.file)?;
    log::init(config.log);
    let work = Work::open(&config, &arguments.sink)?;
    let keys = archives::public_keys(&arguments.key)?;
    if keys.is_empty() && work.feed.is_sealing() {
        return Err(Failure::Usage(format!(
            "sink {} seals fields: --key is needed, or its fields could be sealed under a key that somebody put \
             into the archive",
            arguments.sink
        )));
    }
    if keys.is_empty() {
        complain(
            "warning: without --key nobody vouches for what is sent: anyone can seal to a public key",
        );
    }
    let mut identities = archives::identities(&arguments.identity)?;
    let wanted = match (&arguments.incarnation, arguments.from_seq, arguments.to_seq) {
        (Some(incarnation), Some(from), Some(to)) => {
            if to < from {
                return Err(Failure::Usage("--to-seq is before --from-seq".to_owned()));
            }
            Wanted::Records(incarnation.clone(), from..to.saturating_add(1))
        }
        _ => Wanted::GivenUpBy(arguments.sink.clone()),
    };
    let runtime = runtime()?;
    let (archive, logs) = runtime.block_on(async {
        let store = archives::read_store(&arguments.archive).await?;
        let archive = Archive::open(store).await.map_err(Failure::failed)?;
        let logs = given_up::logs(&archive, &keys, config.origin.as_str(), &wanted).await;
        Ok::<_, Failure>((archive, logs.map_err(Failure::failed)?))
    })?;
    if !archive.incarnations().iter().any(|(of, _)| *of == config.origin.as_str()) {
        return Err(Failure::Failed(format!(
            "failed to replay: there is no log of origin {} in {}",
            config.origin.as_str(),
            arguments.archive
        )));
    }
    if let (Wanted::Records(incarnation, _), true) = (&wanted, logs.is_empty()) {
        return Err(Failure::Failed(format!(
            "failed to replay: there is no incarnation {incarnation} of {} in {}",
            config.origin.as_str(),
            arguments.archive
        )));
    }
    let mut done = work.done()?;
    let (mut records, mut absent) = (0, 0);
    for log in &logs {
        for range in &log.absent {
            absent += 1;
            complain(&format!(
                "records {} to {} of {} are not in this archive (yet), and are not sent",
                range.start,
                range.end - 1,
                log.incarnation
            ));
        }
        let sent = done.of(&log.incarnation);
        let rest = given_up::without(&log.ranges, if arguments.again { &[] } else { &sent });
        for range in rest {
            // What an earlier call has finished, and could not remove.
            if given_up::without(std::slice::from_ref(&range), &sent).is_empty() {
                work.clear(&log.incarnation, &range)?;
            }
            let seal = work.field_keys(&runtime, &archive, log, &mut identities, &keys)?;
            work.send(&runtime, &archive, log, &range, &mut identities, seal)?;
            done.add(&log.incarnation, &range);
            work.note(&done)?;
            work.clear(&log.incarnation, &range)?;
            records += range.end - range.start;
        }
    }
    tell(&match (records, logs.is_empty()) {
        (0, true) => format!("nothing was given up for sink {}", arguments.sink),
        (0, false) if absent > 0 => "nothing was sent".to_owned(),
        (0, false) => {
            "all that was given up has been sent by an earlier replay (--again sends it anew)"
                .to_owned()
        }
        _ => format!(
            "{records} records were sent to {}, marked as possible duplicates",
            arguments.sink
        ),
    });
    Ok(ExitCode::from(u8::from(absent > 0)))
}

/// Ranges that have been sent, by incarnation.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    v: u32,
    sent: Vec<Sent>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    incarnation: String,
    first: u64,
    /// Behind the last.
    end: u64,
}

impl Done {
    fn of(&self, incarnation: &str) -> Vec<Range<u64>> {
        let of = self.sent.iter().filter(|sent| sent.incarnation == incarnation);
        given_up::joined(of.map(|sent| sent.first..sent.end).collect())
    }

    fn add(&mut self, incarnation: &str, range: &Range<u64>) {
        self.v = 1;
        let (incarnation, first, end) = (incarnation.to_owned(), range.start, range.end);
        self.sent.push(Sent { incarnation, first, end });
    }
}

/// Where replay keeps what it needs, and what it works with.
struct Work<'a> {
    config: &'a Config,
    feed: Feed,
    disk: SharedDisk,
    key: JournalKey,
    folder: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl<'a> Work<'a> {
    fn open(config: &'a Config, sink: &str) -> Result<Self, Failure> {
        let feed = config.feeds.iter().find(|feed| feed.name.as_str() == sink);
        let feed = feed.ok_or_else(|| {
            let names: Vec<_> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
            Failure::Usage(format!(
                "there is no Splunk or Datadog sink {sink:?} in the configuration; there are: {}",
                names.join(", ")
            ))
        })?;
        let disk: SharedDisk = Arc::new(RealDisk);
        let journal = &config.journal.path;
        let folder = journal.join("replay");
        let failed = |what: &'static str, path: &Path| {
            let path = path.display().to_string();
            move |e: io::Error| Failure::Failed(format!("failed to {what} {path}: {e}"))
        };
        disk.create_dir_all(&folder).map_err(failed("make", &folder))?;
        let lock = journal.join("lock");
        let lock = disk.lock(&lock).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Failure::Failed(format!(
                "failed to lock the journal in {}: an agent runs with it. Stop it for the time of the replay, or \
                 replay with a configuration that has the same sink and another journal.path",
                journal.display()
            )),
            _ => failed("lock", &lock)(e),
        })?;
        let key = assemble::journal_key(config).map_err(Failure::usage)?;
        // What is sent again holds nobody up but this call.
        let feed = Feed { on_full: OnFull::Block, ..feed.clone() };
        Ok(Self { config, feed, disk, key, folder, _lock: lock })
    }

    fn list(&self) -> PathBuf {
        self.folder.join(format!("{}.sent", self.feed.name))
    }

    fn done(&self) -> Result<Done, Failure> {
        let path = self.list();
        let bytes = match self.disk.read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Done::default()),
            other => other
                .map_err(|e| Failure::Failed(format!("failed to read {}: {e}", path.display())))?,
        };
        let done = serde_json::from_slice(&bytes).ok().filter(|done: &Done| done.v == 1);
        done.ok_or_else(|| {
            Failure::Failed(format!(
                "failed to read {}: it is damaged; remove it, then all that was given up is sent again",
                path.display()
            ))
        })
    }

    /// Durable when this returns.
    fn note(&self, done: &Done) -> Result<(), Failure> {
        let path = self.list();
        let json = serde_json::to_vec(done).map_err(Failure::failed)?;
        disk::replace(&*self.disk, &path, &json)
            .map_err(|e| Failure::Failed(format!("failed to write {}: {e}", path.display())))
    }

    fn spool(&self, incarnation: &str, range: &Range<u64>) -> PathBuf {
        self.folder.join(format!("{}.{incarnation}.{}", self.feed.name, range.start))
    }

    fn clear(&self, incarnation: &str, range: &Range<u64>) -> Result<(), Failure> {
        let path = self.spool(incarnation, range);
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Failure::Failed(format!("failed to remove {}: {e}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What fields are sealed with: no sealer runs, so it is a key that the agent
    /// archived before, of the same log.
    fn field_keys(
        &self,
        runtime: &Runtime,
        archive: &Archive,
        log: &Log,
        identities: &mut Identities,
        signers: &[VerifyingKey],
    ) -> Result<FieldKeys, Failure> {
        let of = (self.config.origin.as_str(), log.incarnation.as_str());
        let key = match self.feed.is_sealing() {
            true => runtime.block_on(field_keys::any(archive, identities, signers, of)),
            false => Ok(None),
        };
        let key = key.map_err(Failure::failed)?;
        if key.is_none() && self.feed.is_sealing() {
            return Err(Failure::Failed(format!(
                "failed to replay to {}: it seals fields (seal_fields), and the archive has no key for that \
                 of {} which opens. Take seal_fields out for the replay only if the fields may leave in clear",
                self.feed.name, log.incarnation
            )));
        }
        let token_key = assemble::secret(&self.config.redact.token_key).map_err(super::failure)?;
        Ok(FieldKeys::new(Ring::closed(key), ValueTokens::new(&token_key)))
    }

    /// Sends one range; returns when the sink has all of it.
    fn send(
        &self,
        runtime: &Runtime,
        archive: &Archive,
        log: &Log,
        range: &Range<u64>,
        identities: &mut Identities,
        field_keys: FieldKeys,
    ) -> Result<(), Failure> {
        let path = self.spool(&log.incarnation, range);
        let options = Options { path: path.clone(), max_bytes: SPOOL, segment_bytes: SEGMENT };
        let of = (self.config.origin.as_str(), log.incarnation.as_str());
        let journal =
            Journal::open_copy(Arc::clone(&self.disk), options, &self.key, of, Seq(range.start))
                .map_err(|e| Failure::Failed(format!("failed to open the spool: {e}")))?;
        let cursors = Cursors::open(Arc::clone(&self.disk), path.join("cursors"))
            .map_err(|e| Failure::Failed(format!("failed to {e}")))?;
        let from = feeds::Log {
            journal: &journal,
            key: &self.key,
            cursors: &cursors,
            outbox: None,
            waivers: Waivers::default(),
            repeated: true,
            field_keys,
        };
        let engine =
            feeds::one(self.config, &self.feed, &self.disk, &from).map_err(super::failure)?;
        let (stop, stopped) = watch::channel(Stop::No);
        let (states, counters) = (engine.subscribe(), engine.counters());
        let halted = || match &*states.borrow() {
            State::Halted(reason) | State::Conflict(reason) => Some(reason.clone()),
            State::Ok | State::Retrying(_) => None,
        };
        let task = runtime.spawn(engine.run(stopped, crate::run::now_ms));
        let go_on = || halted().is_none() && !task.is_finished();
        let mut spool = Spool::new(journal);
        tracing::info!(first = range.start, end = range.end, next = spool.next().0, "replaying");
        let read = runtime.block_on(
            log.read(archive, range, identities, |seq, line| spool.take(seq, line, &go_on)),
        );
        let read = read.map_err(|e| e.to_string());
        let read = read.and_then(|()| spool.commit(&go_on).map_err(|e| e.to_string()));
        if read.is_ok() {
            stop.send_replace(Stop::WhenDone);
            runtime.block_on(async {
                while go_on() {
                    tokio::time::sleep(LOOK).await;
                }
            });
        }
        let reason = halted();
        stop.send_replace(Stop::Now);
        drop(runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), task).await }));
        let condemned = counters.condemned.load(Relaxed);
        if condemned > 0 {
            complain(&format!("{condemned} records were refused: `sealtail dead-letter list`"));
        }
        // What the sink has is what its cursor says, not that its task has ended.
        let cursor = cursors.load(self.feed.name.as_str());
        let cursor = cursor.map_err(|e| Failure::Failed(format!("failed to {e}")))?;
        let has_all = cursor.is_some_and(|cursor| cursor.next == Next::Record(range.end));
        match (reason, read) {
            (_, Ok(())) if has_all => Ok(()),
            (Some(reason), _) => Err(Failure::Failed(format!(
                "failed to replay to {}: {reason}; what was sent is noted, the next call goes on",
                self.feed.name
            ))),
            (None, Err(e)) => Err(Failure::Failed(e)),
            (None, Ok(())) => {
                Err(Failure::Failed("failed to replay: the sink ended early (a bug)".to_owned()))
            }
        }
    }
}
