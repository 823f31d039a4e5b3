//! An archive sink: uploads the sealer's entries, in order, each once.
//!
//! First the leaf's proof under its index with "only if absent": the claim. A
//! second writer is refused there, before any data leaves. Then the object,
//! also only if absent. Then the `checkpoint`, which is mutable. Then the
//! sink's own cursor. A crash anywhere in between repeats the same bytes, which
//! the archive compares and accepts (SEAL-FORMAT.md section 3).
//!
//! Nothing is skipped and nothing is given up: on trouble the same entry is
//! tried again for ever, with backoff. Bytes that differ from ours under our
//! key are an alarm and a halt for good.

use super::cursor::{Cursor, CursorError, Cursors, Next};
use super::{Counters, State, Stop};
use crate::fault;
use crate::sealer::entry::EntryHead;
use crate::sealer::outbox::{Outbox, OutboxError};
use crate::ship::backoff::Backoff;
use crate::store::{Body, Class, Mark, ObjectMeta, Place, Store, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How long a halted sink waits before it tries again.
const HALT_PAUSE: Duration = Duration::from_secs(30);

/// What an archive sink is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name from the configuration.
    pub name: String,
    /// Where the archive is.
    pub place: Place,
    /// The folder of this incarnation in it, ending in `/`.
    pub folder: String,
    /// The folder of all incarnations of this agent, without a slash at its end.
    pub origin: String,
    /// What is told to the store of each object.
    pub meta: ObjectMeta,
    /// The regular copy of checkpoint and proof, if there is to be one.
    pub backup: Option<Backup>,
}

/// One archive destination.
pub struct ArchiveSink {
    name: String,
    place: Place,
    folder: String,
    origin: String,
    /// Opened when there is something to upload, for as long as it takes.
    store: Option<Store>,
    outbox: Arc<Outbox>,
    cursors: Cursors,
    next: u64,
    meta: ObjectMeta,
    backup: Option<Backup>,
    counters: Arc<Counters>,
    state: watch::Sender<State>,
    /// The last attempt ended in a halt.
    halted: bool,
}

/// The regular copy of the newest checkpoint and proof (`backup_frequency_hours`).
#[derive(Debug, Clone)]
pub struct Backup {
    /// At least this often, in ms.
    pub every_ms: u64,
    /// Where, relative to the sink's prefix, ending in `/`.
    pub folder: String,
    /// When the last one was made, Unix ms; 0: none yet.
    pub last: u64,
}

impl std::fmt::Debug for ArchiveSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveSink")
            .field("name", &self.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Why an upload did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The destination.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outbox.
    #[error("failed to {0}")]
    Outbox(#[from] OutboxError),
    /// The cursor.
    #[error("failed to {0}")]
    Cursor(#[from] CursorError),
    /// An entry whose header names no valid hash.
    #[error("failed to read outbox entry {0}: its object hash is not valid")]
    BadHash(u64),
}

impl ArchiveError {
    fn class(&self) -> Class {
        match self {
            Self::Store(e) => e.class(),
            Self::Outbox(e) if e.is_full() => Class::Retry { after: None },
            Self::Cursor(e) if e.is_full() => Class::Retry { after: None },
            Self::Outbox(_) | Self::Cursor(_) | Self::BadHash(_) => Class::Halt,
        }
    }
}

impl ArchiveSink {
    /// A sink that goes on where its cursor is; a new one starts at the oldest
    /// entry that the outbox keeps. From here on it is known: the cursor is
    /// durable, as far as the volume has room for it.
    ///
    /// # Errors
    /// When the cursor cannot be read, or does not fit the outbox.
    pub fn new(
        options: Options,
        outbox: Arc<Outbox>,
        cursors: Cursors,
    ) -> Result<Self, CursorError> {
        let Options { name, place, folder, origin, meta, backup } = options;
        let known = cursors.load(&name)?;
        let range = outbox.begin()..=outbox.end();
        let next = match &known {
            None => outbox.begin(),
            Some(Cursor { next: Next::Leaf(leaf), .. }) if range.contains(leaf) => *leaf,
            Some(cursor) => return Err(CursorError::outside(&name, cursor, &range)),
        };
        let cursor =
            Cursor { next: Next::Leaf(next), place: Some(place.to_string()), gave_up: None };
        if known.as_ref() != Some(&cursor) {
            match cursors.save(&name, &cursor) {
                Err(e) if e.is_full() => tracing::warn!(sink = name, "failed to {e}"),
                other => other?,
            }
        }
        let counters = Arc::new(Counters::default());
        counters.next.store(next, Ordering::Relaxed);
        Ok(Self {
            name,
            place,
            folder,
            origin,
            store: None,
            outbox,
            cursors,
            next,
            meta,
            backup,
            counters,
            state: watch::Sender::new(State::Ok),
            halted: false,
        })
    }

    /// The name from the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next leaf to upload.
    #[must_use]
    pub fn next_leaf(&self) -> u64 {
        self.next
    }

    /// Its counters, shared.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Its state, as it changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Uploads the next entry, if there is one. When this returns `true`, the
    /// entry is in the archive and the cursor behind it is durable.
    ///
    /// # Errors
    /// Nothing is lost: call again.
    pub async fn step(&mut self, now_ms: u64) -> Result<bool, ArchiveError> {
        if self.next >= self.outbox.end() {
            self.counters.oldest.store(0, Ordering::Relaxed);
            return Ok(false);
        }
        let head = self.outbox.head(self.next)?;
        self.counters.oldest.store(head.time, Ordering::Relaxed);
        let store = self.store().await?;
        let sent = self.upload(&store, &head).await?;
        self.back_up(&store, &head, now_ms).await?;
        let next = Next::Leaf(self.next + 1);
        let cursor = Cursor { next, place: Some(self.place.to_string()), gave_up: None };
        self.cursors.save(&self.name, &cursor)?;
        self.next += 1;
        self.counters.next.store(self.next, Ordering::Relaxed);
        self.outbox.uploaded(&self.name, self.next)?;
        self.counters.leaves.fetch_add(1, Ordering::Relaxed);
        self.counters.objects.fetch_add(u64::from(head.object.is_some()), Ordering::Relaxed);
        self.counters.bytes.fetch_add(sent, Ordering::Relaxed);
        Ok(true)
    }

    /// The store, opened and tried when it is first needed; then what an earlier
    /// life of this process left unfinished there is removed.
    async fn store(&mut self) -> Result<Store, StoreError> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let store = self.place.open().await?;
        let found = store.probe(&self.origin).await?;
        for row in found.rows().iter().filter(|row| row.mark != Mark::Good) {
            tracing::warn!(sink = self.name, "{}: {}", row.what, row.answer);
        }
        // What is promised in its name it can keep, or nothing is sent there.
        found.verdict()?;
        store.sweep(&self.folder).await?;
        self.store = Some(store.clone());
        Ok(store)
    }

    /// Claim, object, checkpoint. Returns the bytes sent.
    async fn upload(&self, store: &Store, head: &EntryHead) -> Result<u64, ArchiveError> {
        let sha256 = crate::text::sha256(head.proof.as_bytes());
        let proof = Body::Bytes(Bytes::from(head.proof.clone()));
        let mut sent = proof.len();
        fault::point("archive.claim");
        store.put_new(&head.proof_key, &proof, sha256, &self.meta).await?;
        if let Some(object) = &head.object {
            let sha256 =
                crate::text::unhex(&object.sha256).ok_or(ArchiveError::BadHash(head.index))?;
            let (disk, path, offset) = self.outbox.body(head.index);
            let body = Body::File { disk, path, offset, len: object.len };
            fault::point("archive.object");
            store.put_new(&object.key, &body, sha256, &self.meta).await?;
            sent += object.len;
        }
        fault::point("archive.checkpoint");
        let checkpoint = Bytes::from(head.checkpoint.clone());
        store.put(&head.checkpoint_key, checkpoint, &self.meta).await?;
        Ok(sent)
    }

    async fn back_up(
        &mut self,
        store: &Store,
        head: &EntryHead,
        now_ms: u64,
    ) -> Result<(), ArchiveError> {
        let Some(backup) = &mut self.backup else { return Ok(()) };
        if now_ms.saturating_sub(backup.last) < backup.every_ms {
            return Ok(());
        }
        let stem = format!("{}{:020}", backup.folder, head.index);
        let copies = [("checkpoint", &head.checkpoint), ("tlog-proof", &head.proof)];
        for (ending, text) in copies {
            let copy = Bytes::from(text.clone());
            store.put(&format!("{stem}.{ending}"), copy, &self.meta).await?;
        }
        backup.last = now_ms;
        Ok(())
    }

    /// Works until `stop` says [`Stop::Now`], or [`Stop::WhenDone`] and nothing is left.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>, clock: impl Fn() -> u64) -> State {
        let mut entries = self.outbox.subscribe();
        let mut backoff: Backoff = Backoff::new();
        loop {
            if *stop.borrow() == Stop::Now {
                break;
            }
            if self.halted {
                self.halted = false;
                // Credentials may have been changed since.
                if let Some(store) = &self.store
                    && let Err(e) = store.reload_credentials().await
                {
                    tracing::warn!(sink = self.name, "{e}");
                }
            }
            let pause = match self.step(clock()).await {
                Ok(true) => {
                    backoff.succeeded();
                    self.set_state(State::Ok);
                    continue;
                }
                Ok(false) if *stop.borrow() == Stop::WhenDone => break,
                Ok(false) => None,
                Err(e) => match self.failed(&e, &mut backoff) {
                    Some(pause) => Some(pause),
                    None => break,
                },
            };
            // Each branch only waits: nothing is lost when another one wins.
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                changed = entries.changed(), if pause.is_none() => if changed.is_err() { break },
                () = tokio::time::sleep(pause.unwrap_or(Duration::from_secs(3600))), if pause.is_some() => {}
            }
        }
        self.state.borrow().clone()
    }

    /// Notes and logs a failure. How long to wait, or `None` to give up for good.
    fn failed(&mut self, error: &ArchiveError, backoff: &mut Backoff) -> Option<Duration> {
        let said = error.to_string();
        self.counters.failed(&said);
        self.halted = matches!(error.class(), Class::Halt | Class::NotFound);
        let (sink, leaf) = (self.name.as_str(), self.next);
        match error.class() {
            Class::Retry { after } => {
                let pause = backoff.failed(after);
                tracing::warn!(sink, leaf, "{said}; trying again in {:.1} s", pause.as_secs_f32());
                self.set_state(State::Retrying(said));
                Some(pause)
            }
            Class::Conflict => {
                tracing::error!(
                    sink,
                    leaf,
                    "ALARM: {said} -- another writer uses this origin and incarnation, the archive was altered, \
                     or this journal is an older copy of one that went on: this sink stops; nothing is \
                     overwritten, everything is kept in the journal. If the journal was restored from a \
                     backup, put back the newer one, or move its folder away: a new incarnation begins, \
                     and reads the log files that are there from their beginning"
                );
                self.set_state(State::Conflict(said));
                None
            }
            Class::Halt | Class::NotFound => {
                // Slowly: somebody has to act first.
                let pause = backoff.failed(Some(HALT_PAUSE));
                tracing::error!(
                    sink,
                    leaf,
                    "{said}; everything is kept, trying again in {:.0} s",
                    pause.as_secs_f32()
                );
                self.counters.halts.fetch_add(1, Ordering::Relaxed);
                self.set_state(State::Halted(said));
                Some(pause)
            }
        }
    }

    fn set_state(&self, state: State) {
        state.set(&self.state);
    }
}
