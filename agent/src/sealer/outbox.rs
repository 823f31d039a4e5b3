//! The outbox: sealed, signed, durable, and not yet uploaded by every archive.
//!
//! It promises: an entry is there whole or not at all (temporary name, fsync,
//! rename, fsync of the folder: the rename is the only commit of a leaf); the
//! entries are dense; the newest one's header stays after the upload, because
//! tree state and journal cursor are read from it at the next start.

use super::entry::{BODY_OFFSET, EntryHead};
use crate::disk::{DiskFile, SharedDisk};
use crate::fault;
use crate::journal::Handle;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Space kept for the leaves that must be written even when the volume is full
/// (`gap`, `end`): a few header-only entries.
const RESERVE_BYTES: u64 = 64 * 1024;
const RESERVE: &str = "reserve";
/// Space kept so that sealing can go on, in small batches, on a volume that the
/// journal has filled: sealing is what makes room there. Less than a segment, so
/// that the journal cannot take it when it is let go.
const WORK_BYTES: u64 = 3 * 1024 * 1024;
const WORK: &str = "reserve.work";

/// Why the outbox cannot be used. The messages complete "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The system said no.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry is missing or damaged.
    #[error(
        "read the outbox entry {path}: {what}. Restore it from a backup, or move the whole journal \
         folder away and start a new incarnation"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

impl OutboxError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// Whether there is no space: backpressure, the same call may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if crate::disk::is_full(source))
    }
}

/// The outbox, shared by the sealer (which adds) and the archive sinks.
#[derive(Debug)]
pub struct Outbox {
    disk: SharedDisk,
    folder: PathBuf,
    journal: Handle,
    state: Mutex<State>,
    /// Index behind the newest entry.
    end: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes by index.
    entries: BTreeMap<u64, u64>,
    /// The next leaf that each sink has to upload.
    sinks: BTreeMap<String, u64>,
}

impl Outbox {
    /// Opens the outbox (or makes it) and removes what was never committed.
    ///
    /// # Errors
    /// When entries are missing or the system says no.
    pub fn open(disk: SharedDisk, folder: PathBuf, journal: Handle) -> Result<Self, OutboxError> {
        disk.create_dir_all(&folder).map_err(OutboxError::io("make", &folder))?;
        let mut entries = BTreeMap::new();
        for name in disk.list(&folder).map_err(OutboxError::io("list", &folder))? {
            let path = folder.join(&name);
            // A reserve that a crash left may be without its space.
            if name.ends_with(".tmp") || name == RESERVE || name == WORK {
                disk.remove(&path).map_err(OutboxError::io("remove", &path))?;
            } else if let Some(index) = name.strip_suffix(".entry").and_then(|n| n.parse().ok()) {
                let len = disk.open_read(&path).and_then(|f| f.len());
                entries.insert(index, len.map_err(OutboxError::io("open", &path))?);
            }
        }
        for (a, b) in entries.keys().zip(entries.keys().skip(1)) {
            if a + 1 != *b {
                let path = path(&folder, a + 1);
                return Err(OutboxError::Damaged { path, what: "it is not there, newer ones are" });
            }
        }
        let end = entries.last_key_value().map_or(0, |(i, _)| i + 1);
        let outbox = Self {
            disk,
            folder,
            journal,
            state: Mutex::new(State { entries, sinks: BTreeMap::new() }),
            end: watch::Sender::new(end),
        };
        outbox.count_bytes();
        Ok(outbox)
    }

    /// Keeps room for the leaves that have to be written on a full volume, and
    /// for small batches. What cannot be had now is tried for again later.
    /// Returns whether there is room for batches.
    pub fn reserve(&self) -> bool {
        let hold = |name: &str, bytes: u64| {
            let path = self.folder.join(name);
            match self.disk.create_new(&path) {
                Ok(file) => {
                    let held = file.allocate(bytes).is_ok();
                    if !held {
                        drop(self.disk.remove(&path));
                    }
                    held
                }
                Err(e) => e.kind() == io::ErrorKind::AlreadyExists,
            }
        };
        hold(RESERVE, RESERVE_BYTES) && hold(WORK, WORK_BYTES)
    }

    /// Lets the room for batches go, to be used now. `false`: it is gone already.
    pub fn release(&self) -> bool {
        self.disk.remove(&self.folder.join(WORK)).is_ok()
    }

    /// Index behind the newest entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Index of the oldest entry that is kept; the end if there is none.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.state().entries.first_key_value().map_or_else(|| self.end(), |(i, _)| *i)
    }

    /// Tells of new entries.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().entries.values().sum()
    }

    /// Entries that some sink has still to upload.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let state = self.state();
        let end = self.end();
        state.sinks.values().min().map_or(0, |next| end.saturating_sub(*next))
    }

    /// The header of the newest entry; `None` in a new incarnation.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest(&self) -> Result<Option<EntryHead>, OutboxError> {
        match self.end() {
            0 => Ok(None),
            end => self.head(end - 1).map(Some),
        }
    }

    /// The header of an entry.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn head(&self, index: u64) -> Result<EntryHead, OutboxError> {
        let path = path(&self.folder, index);
        let file = self.disk.open_read(&path).map_err(OutboxError::io("open", &path))?;
        let head = EntryHead::read(&*file).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => {
                OutboxError::Damaged { path: path.clone(), what: "its header is damaged" }
            }
            _ => OutboxError::io("read", &path)(e),
        })?;
        if head.index != index {
            return Err(OutboxError::Damaged { path, what: "it bears another leaf's index" });
        }
        Ok(head)
    }

    /// Where the sealed bytes of an entry are: file and offset.
    #[must_use]
    pub fn body(&self, index: u64) -> (SharedDisk, PathBuf, u64) {
        (self.disk.clone(), path(&self.folder, index), BODY_OFFSET)
    }

    /// Begins the entry of leaf `index`. Nothing counts before [`Outbox::commit`].
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn draft(&self, index: u64) -> Result<Draft, OutboxError> {
        let tmp = temporary(&self.folder, index);
        match self.disk.remove(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(OutboxError::io("remove", &tmp)(e));
            }
            _ => {}
        }
        let file = self.disk.create_new(&tmp).map_err(OutboxError::io("make", &tmp))?;
        file.allocate(BODY_OFFSET).map_err(OutboxError::io("reserve space in", &tmp))?;
        Ok(Draft { file, path: tmp, allocated: BODY_OFFSET, len: 0, pending: Vec::new() })
    }

    /// Makes a leaf without an object durable. Under a full volume the reserve is used.
    ///
    /// # Errors
    /// As [`Outbox::commit`].
    pub fn commit_leaf(&self, head: &EntryHead) -> Result<(), OutboxError> {
        let draft = match self.draft(head.index) {
            Err(e) if e.is_full() => {
                let path = self.folder.join(RESERVE);
                match self.disk.remove(&path) {
                    // Used up already: there is no room before some is made.
                    Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Err(e),
                    other => other.map_err(OutboxError::io("use", &path))?,
                }
                self.draft(head.index)?
            }
            other => other?,
        };
        self.commit(draft, head)
    }

    /// Makes the entry durable and visible: the commit of its leaf.
    ///
    /// # Errors
    /// Under [`OutboxError::is_full`] nothing has happened. After any other
    /// error the process has to end: whether the leaf is committed is found at
    /// the next start.
    pub fn commit(&self, mut draft: Draft, head: &EntryHead) -> Result<(), OutboxError> {
        draft.flush()?;
        let bytes = head.encode().map_err(OutboxError::io("write", &draft.path))?;
        fault::point("outbox.write");
        draft.file.write_at(&bytes, 0).map_err(OutboxError::io("write", &draft.path))?;
        let len = BODY_OFFSET + draft.len;
        if draft.allocated > len {
            draft.file.truncate(len).map_err(OutboxError::io("cut", &draft.path))?;
        }
        fault::point("outbox.sync");
        draft.file.sync().map_err(OutboxError::io("fsync", &draft.path))?;
        fault::point("outbox.rename");
        let path = path(&self.folder, head.index);
        self.disk.rename(&draft.path, &path).map_err(OutboxError::io("rename", &path))?;
        fault::point("outbox.sync_dir");
        self.disk.sync_dir(&self.folder).map_err(OutboxError::io("fsync", &self.folder))?;
        fault::point("outbox.done");
        self.state().entries.insert(head.index, len);
        self.count_bytes();
        self.end.send_replace(head.index + 1);
        Ok(())
    }

    /// Says where every sink stands, before anything may be removed.
    pub fn register(&self, places: &BTreeMap<String, u64>) {
        self.state().sinks.extend(places.iter().map(|(name, next)| (name.clone(), *next)));
    }

    /// Says which leaf a sink has to upload next; entries that no sink needs
    /// are removed. The newest keeps its header.
    ///
    /// # Errors
    /// When a file cannot be removed or replaced.
    pub fn uploaded(&self, sink: &str, next: u64) -> Result<(), OutboxError> {
        let done = {
            let mut state = self.state();
            state.sinks.insert(sink.to_owned(), next);
            state.sinks.values().copied().min().unwrap_or(0)
        };
        self.remove_below(done)
    }

    fn remove_below(&self, done: u64) -> Result<(), OutboxError> {
        let newest = self.end().saturating_sub(1);
        let gone: Vec<u64> =
            self.state().entries.range(..done.min(newest)).map(|(i, _)| *i).collect();
        for index in gone {
            let path = path(&self.folder, index);
            fault::point("outbox.remove");
            match self.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(OutboxError::io("remove", &path)(e));
                }
                _ => {}
            }
            // Oldest first, each durable before the next: no hole after a power cut.
            self.disk.sync_dir(&self.folder).map_err(OutboxError::io("fsync", &self.folder))?;
            self.state().entries.remove(&index);
        }
        self.count_bytes();
        Ok(())
    }

    fn count_bytes(&self) {
        self.journal.set_outbox_bytes(self.bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry that is being written.
#[derive(Debug)]
pub struct Draft {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    allocated: u64,
    /// Bytes of the body that are written.
    len: u64,
    /// Bytes of the body that are not: kept when there was no space.
    pending: Vec<u8>,
}

impl Draft {
    /// Steps in which space is reserved, and bytes that are gathered before a write.
    const STEP: u64 = 128 * 1024;
    const CHUNK: usize = 256 * 1024;

    /// Where sealed bytes are appended.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.len + self.pending.len() as u64
    }

    /// Writes when enough has gathered.
    ///
    /// # Errors
    /// As [`Draft::flush`].
    pub fn write_some(&mut self) -> Result<(), OutboxError> {
        if self.pending.len() >= Self::CHUNK { self.flush() } else { Ok(()) }
    }

    /// Reserves space for `more` bytes of body.
    ///
    /// # Errors
    /// Under [`OutboxError::is_full`] the call may be made again.
    pub fn reserve(&mut self, more: u64) -> Result<(), OutboxError> {
        let end = BODY_OFFSET + self.body_len() + more;
        if end > self.allocated {
            let want = end.next_multiple_of(Self::STEP);
            self.file.allocate(want).map_err(OutboxError::io("reserve space in", &self.path))?;
            self.allocated = want;
        }
        Ok(())
    }

    /// Writes what has gathered.
    ///
    /// # Errors
    /// Under [`OutboxError::is_full`] the bytes are kept and the call may be made again.
    pub fn flush(&mut self) -> Result<(), OutboxError> {
        self.reserve(0)?;
        self.file
            .write_at(&self.pending, BODY_OFFSET + self.len)
            .map_err(OutboxError::io("write", &self.path))?;
        self.len += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn path(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("{index:020}.entry"))
}

fn temporary(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("{index:020}.entry.tmp"))
}
