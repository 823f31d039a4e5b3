//! The only writer of the journal.

use super::block::{OpenBlock, Positions};
use super::crypt::JournalKey;
use super::incarnation::{FILE_ID_KEY, FILE_ID_KEY_LEN, Incarnation};
use super::recover::Beginning;
use super::segment::{self, Draft, Place, Segment, Start};
use super::{JournalError, Kind, Seq, recover};
use crate::disk::{DiskLock, SharedDisk};
use crate::fault;
use crate::source::FileId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The journal folder.
    pub path: PathBuf,
    /// Bound in bytes for segments and outbox together.
    pub max_bytes: u64,
    /// Length of a segment file in bytes; a block that is longer gets a longer one.
    pub segment_bytes: u64,
}

/// Why records could not be made durable. Completes "failed to append to the journal: ".
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// `max_bytes` is reached: the sinks are behind. Nothing is lost; stop
    /// reading and commit again later.
    #[error("it holds {used} of {max} bytes (journal.max_bytes); the sinks are behind")]
    Full {
        /// Bytes in use.
        used: u64,
        /// The bound.
        max: u64,
    },
    /// The volume has no space. Nothing is lost; stop reading and commit again later.
    #[error("no space left on the volume of {0}; free some, nothing is lost meanwhile")]
    NoSpace(PathBuf),
    /// A write or fsync inside allocated space failed: what the disk holds is
    /// in doubt, and the process has to end and recover.
    #[error("{path}: {source}; the process has to end, recovery will sort out what is durable")]
    Fatal {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier append failed for good.
    #[error("an earlier write failed; the process has to end")]
    Poisoned,
}

impl AppendError {
    /// Whether the same commit may succeed later.
    #[must_use]
    pub fn is_backpressure(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoSpace(_))
    }
}

/// How far the journal is durable: what readers may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The sequence number behind the last durable record.
    pub end: Seq,
    pub(super) place: Place,
}

/// One segment as the writer and the readers know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) first: Seq,
    pub(super) bytes: u64,
}

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: SharedDisk,
    pub(super) folder: PathBuf,
    pub(super) key: JournalKey,
    pub(super) incarnation: String,
    pub(super) segments: Mutex<VecDeque<Known>>,
    /// Bytes that the outbox holds; counted against `max_bytes`.
    pub(super) outbox_bytes: AtomicU64,
    /// The writer waits for room.
    pub(super) starved: watch::Sender<bool>,
    /// By whom, and from which record on, the journal is still needed.
    pub(super) holds: Mutex<BTreeMap<String, Hold>>,
    /// Records below this are needed by nobody any more.
    pub(super) floor: AtomicU64,
    pub(super) used: AtomicU64,
}

/// What somebody needs of the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// The first record that is needed.
    from: u64,
    /// Whether the holder lets go when the writer waits for room.
    yields: bool,
}

impl Shared {
    fn holds(&self) -> MutexGuard<'_, BTreeMap<String, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segments(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal, open for writing. Holds the exclusive lock while it lives.
pub struct Journal {
    shared: Arc<Shared>,
    options: Options,
    id: Incarnation,
    segment: Segment,
    /// Where the next block goes.
    offset: u64,
    /// The number (and nonce) of the next block in the segment.
    number: u64,
    /// The sequence number of the next record.
    next: Seq,
    open: OpenBlock,
    /// All positions as of the last durable block.
    positions: BTreeMap<FileId, Vec<u8>>,
    sealed: Vec<u8>,
    durable: watch::Sender<Durable>,
    last_time: u64,
    poisoned: bool,
    _lock: Box<dyn DiskLock>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.options.path)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal, or makes it. When this returns, everything that is
    /// served from it is durable: recovery has copied the live tail.
    ///
    /// `now` is Unix time in milliseconds.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(
        disk: SharedDisk,
        options: Options,
        key: &JournalKey,
        origin: &str,
        now: u64,
    ) -> Result<Self, JournalError> {
        Self::open_as(disk, options, key, Beginning { origin, copy: None }, now)
    }

    /// Opens the copy of a part of another log, or begins it: its records have the
    /// numbers that they have there, from `first` on, and its id is the other's.
    /// Times go with [`Journal::commit`]. What `sealtail replay` sends from.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open_copy(
        disk: SharedDisk,
        options: Options,
        key: &JournalKey,
        (origin, incarnation): (&str, &str),
        first: Seq,
    ) -> Result<Self, JournalError> {
        let beginning = Beginning { origin, copy: Some((incarnation, first)) };
        Self::open_as(disk, options, key, beginning, 0)
    }

    fn open_as(
        disk: SharedDisk,
        options: Options,
        key: &JournalKey,
        beginning: Beginning<'_>,
        now: u64,
    ) -> Result<Self, JournalError> {
        disk.create_dir_all(&options.path).map_err(JournalError::io("make", &options.path))?;
        let lock_path = options.path.join("lock");
        let lock = disk.lock(&lock_path).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => JournalError::Locked(options.path.clone()),
            _ => JournalError::io("lock", lock_path)(e),
        })?;
        let recovered = recover::recover(&disk, &options, key, beginning, now)?;
        let path = &options.path;
        recovered.id.clear_former(&*disk, path).map_err(JournalError::io("clear", path))?;
        Ok(Self::serve(disk, options, key, recovered, lock))
    }

    /// Ends this incarnation and begins one for another origin, which goes on
    /// from the same positions. `checkpoint` is the last one of the old log.
    ///
    /// Crash points: the new incarnation's folder is made and fsynced first; the
    /// incarnation file, replaced, is the commit. Before it the old one stands,
    /// and what was made is made anew; after it the old folder is no longer read.
    ///
    /// # Errors
    /// [`JournalError::OriginChanged`] while records are not below the floor; see
    /// [`JournalError`].
    pub fn succeed(
        self,
        key: &JournalKey,
        origin: &str,
        checkpoint: Option<String>,
        now: u64,
    ) -> Result<Self, JournalError> {
        let floor = self.shared.floor.load(Ordering::Acquire);
        if self.is_pending() || floor < self.next.0 {
            return Err(JournalError::OriginChanged {
                old: self.id.origin.clone(),
                new: origin.to_owned(),
            });
        }
        let Self { shared, options, id, positions, _lock: lock, .. } = self;
        let disk = Arc::clone(&shared.disk);
        let id = id.successor(origin, now, checkpoint)?;
        let base = id.base(&options.path);
        let folder = segment::folder(&base);
        let io = |doing| JournalError::io(doing, &folder);
        disk.create_dir_all(&folder).map_err(io("make"))?;
        // Left over from a try that a crash ended.
        for name in disk.list(&folder).map_err(io("list"))? {
            disk.remove(&folder.join(name)).map_err(io("clear"))?;
        }
        disk.sync_dir(&options.path).map_err(io("sync"))?;
        disk.sync_dir(&base).map_err(io("sync"))?;
        let begun = recover::begin(&*disk, &options, key, id, (Seq(0), now), positions)?;
        begun.id.save(&*disk, &options.path)?;
        let path = &options.path;
        begun.id.clear_former(&*disk, path).map_err(JournalError::io("clear", path))?;
        Ok(Self::serve(disk, options, key, begun, lock))
    }

    fn serve(
        disk: SharedDisk,
        options: Options,
        key: &JournalKey,
        recovered: recover::Recovered,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        let used = recovered.known.iter().map(|k| k.bytes).sum();
        let shared = Arc::new(Shared {
            disk,
            folder: segment::folder(&recovered.id.base(&options.path)),
            key: key.clone(),
            incarnation: recovered.id.incarnation.clone(),
            segments: Mutex::new(recovered.known),
            outbox_bytes: AtomicU64::new(0),
            starved: watch::Sender::new(false),
            holds: Mutex::default(),
            floor: AtomicU64::new(0),
            used: AtomicU64::new(used),
        });
        let place = Place { segment: recovered.segment.start.number, offset: recovered.offset };
        Self {
            shared,
            options,
            id: recovered.id,
            segment: recovered.segment,
            offset: recovered.offset,
            number: recovered.number,
            next: recovered.next,
            open: OpenBlock::default(),
            positions: recovered.positions,
            sealed: Vec::new(),
            durable: watch::Sender::new(Durable { end: recovered.next, place }),
            last_time: recovered.last_time,
            poisoned: false,
            _lock: lock,
        }
    }

    /// Where this incarnation's outbox and cursors belong.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.id.base(&self.options.path)
    }

    /// The key of the file ids in this journal's positions. It stays the same
    /// when the configuration's keys change: `first` is taken if there is none
    /// yet, and kept, encrypted, with the incarnation. Durable when this returns.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn file_id_key(
        &mut self,
        key: &JournalKey,
        first: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, JournalError> {
        if let Some(text) = &self.id.file_id_key {
            let plain = crate::text::unhex::<FILE_ID_KEY_LEN>(text)
                .and_then(|b| key.unwrap(FILE_ID_KEY, &b));
            let plain = plain.and_then(|p| <[u8; 32]>::try_from(p.as_slice()).ok());
            return plain.map(Zeroizing::new).ok_or_else(|| JournalError::Incarnation {
                path: self.options.path.join(super::incarnation::FILE),
                what: "the key of file ids in it is not readable with this journal.key".to_owned(),
            });
        }
        let wrapped = key.wrap(FILE_ID_KEY, first).map_err(JournalError::Random)?;
        self.id.file_id_key = Some(crate::text::hex(&wrapped));
        self.id.save(&*self.shared.disk, &self.options.path)?;
        Ok(Zeroizing::new(*first))
    }

    /// Origin and incarnation.
    #[must_use]
    pub fn id(&self) -> &Incarnation {
        &self.id
    }

    /// The sequence number behind the last durable record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.next
    }

    /// The oldest sequence number that is still here.
    #[must_use]
    pub fn begin(&self) -> Seq {
        self.shared.segments().front().map_or(self.next, |k| k.first)
    }

    /// All positions as of the last durable block, in the form given to [`Journal::set_position`].
    pub fn positions(&self) -> impl Iterator<Item = (FileId, &[u8])> {
        self.positions.iter().map(|(id, p)| (*id, p.as_slice()))
    }

    /// Adds a record to the open block. Not durable until [`Journal::commit`];
    /// the record has no number before that.
    pub fn append(&mut self, kind: Kind, body: &[u8]) {
        self.open.push(kind, body);
    }

    /// Notes the position of a file after the records appended so far. Becomes
    /// durable with them, in the same block.
    pub fn set_position(&mut self, file: FileId, position: &[u8]) {
        self.open.set_position(file, Some(position));
    }

    /// Notes that a file is let go. Becomes durable with the records before it.
    pub fn forget(&mut self, file: FileId) {
        self.open.set_position(file, None);
    }

    /// Bytes of records in the open block.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.open.bytes()
    }

    /// Whether anything waits for a commit.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.open.is_empty()
    }

    /// Makes the open block durable and visible, and gives its records their
    /// numbers, which are returned. `now` is Unix time in milliseconds.
    ///
    /// # Errors
    /// [`AppendError::is_backpressure`]: the open block is kept whole, commit
    /// again later. Otherwise the process has to end.
    pub fn commit(&mut self, now: u64) -> Result<Range<Seq>, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.open.is_empty() {
            return Ok(self.next..self.next);
        }
        self.last_time = now.max(self.last_time);
        let first = self.next;
        let mut sealed = std::mem::take(&mut self.sealed);
        let written = self.write_block(&mut sealed);
        self.sealed = sealed;
        let starved = written.as_ref().is_err_and(AppendError::is_backpressure);
        self.shared.starved.send_if_modified(|was| std::mem::replace(was, starved) != starved);
        let (end, place) = written?;
        for (file, position) in self.open.positions() {
            match position {
                Some(position) => {
                    let old = self.positions.entry(*file).or_default();
                    old.clear();
                    old.extend_from_slice(position);
                }
                None => {
                    self.positions.remove(file);
                }
            }
        }
        self.open.clear();
        self.next = end;
        self.durable.send_replace(Durable { end, place });
        Ok(first..end)
    }

    /// Appends one record and waits until it is durable: when this returns
    /// `Ok`, the record has its number and survives a power cut.
    ///
    /// # Errors
    /// As [`Journal::commit`]. Under backpressure the record stays in the open
    /// block: do not append it again, commit.
    pub fn append_durable(
        &mut self,
        kind: Kind,
        body: &[u8],
        now: u64,
    ) -> Result<Seq, AppendError> {
        self.append(kind, body);
        let range = self.commit(now)?;
        Ok(Seq(range.end.0.saturating_sub(1)))
    }

    /// Removes the segments that nobody needs: those whose records are all
    /// below the floor (see [`Handle::set_floor`]). The last one stays.
    ///
    /// # Errors
    /// When a file cannot be removed; it is tried again at the next call.
    pub fn trim(&mut self) -> Result<(), JournalError> {
        let floor = Seq(self.shared.floor.load(Ordering::Acquire));
        loop {
            let oldest = {
                let segments = self.shared.segments();
                match (segments.front(), segments.get(1)) {
                    (Some(oldest), Some(second)) if second.first <= floor => *oldest,
                    _ => return Ok(()),
                }
            };
            // One at a time, each removal durable before the next: after a
            // power cut the segments that are left are the newest, without a hole.
            let path = segment::path(&self.shared.folder, oldest.number);
            fault::point("journal.trim");
            match self.shared.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::io("remove", path)(e));
                }
                _ => {}
            }
            fault::point("journal.trim.dir");
            self.shared
                .disk
                .sync_dir(&self.shared.folder)
                .map_err(JournalError::io("sync", &self.shared.folder))?;
            self.shared.segments().pop_front();
            self.shared.used.fetch_sub(oldest.bytes, Ordering::AcqRel);
            // Nobody has to let go of more before the writer has tried again.
            self.shared.starved.send_if_modified(|was| std::mem::replace(was, false));
        }
    }

    /// For readers and for whoever moves the floor.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
            durable: self.durable.subscribe(),
            max_bytes: self.options.max_bytes,
        }
    }

    /// Seals the open block and writes it; rolls the segment if need be.
    fn write_block(&mut self, sealed: &mut Vec<u8>) -> Result<(Seq, Place), AppendError> {
        for fresh in [false, true] {
            let header = self
                .open
                .seal(&self.segment.cipher, self.number, self.next, self.last_time, sealed)
                .ok_or_else(|| self.fatal(io::ErrorKind::InvalidInput.into()))?;
            let next = header.next_offset(self.offset);
            if next > self.segment.len {
                if fresh {
                    break;
                }
                self.roll(header.len())?;
                continue;
            }
            fault::point("journal.append");
            if let Err(e) = self.segment.write(sealed, self.offset) {
                return Err(self.fatal(e));
            }
            fault::point("journal.append.sync");
            if let Err(e) = self.segment.sync() {
                return Err(self.fatal(e));
            }
            fault::point("journal.append.done");
            self.offset = next;
            self.number += 1;
            return Ok((header.end(), Place { segment: self.segment.start.number, offset: next }));
        }
        Err(self.fatal(io::ErrorKind::InvalidInput.into()))
    }

    /// Opens a new segment with room for a block of `block_len` bytes.
    fn roll(&mut self, block_len: u64) -> Result<(), AppendError> {
        let snapshot: Positions =
            self.positions.iter().map(|(id, p)| (*id, Some(p.clone()))).collect();
        let snapshot_len: u64 = snapshot.values().flatten().map(|p| p.len() as u64 + 20).sum();
        let needed = segment::FIRST_BLOCK + snapshot_len + block_len + 4 * super::block::ALIGN;
        let len = self.options.segment_bytes.max(needed);
        let used = self.shared.used.load(Ordering::Acquire)
            + self.shared.outbox_bytes.load(Ordering::Acquire);
        if used + len > self.options.max_bytes {
            return Err(AppendError::Full { used, max: self.options.max_bytes });
        }
        let start = Start { number: self.segment.start.number + 1, first: self.next, replaces: 0 };
        fault::point("journal.roll");
        let drafted = Draft::new(
            &*self.shared.disk,
            &self.shared.folder,
            &self.shared.key,
            &self.shared.incarnation,
            start,
            len,
        )
        .and_then(|mut draft| {
            draft.snapshot(self.next, self.last_time, &snapshot)?;
            fault::point("journal.roll.publish");
            draft.publish(&*self.shared.disk)
        });
        let (segment, offset, number) = match drafted {
            Ok(published) => published,
            Err(e) if e.is_full() => return Err(AppendError::NoSpace(self.options.path.clone())),
            Err(e) => {
                self.poisoned = true;
                let path = segment::path(&self.shared.folder, start.number);
                let source = match e {
                    segment::DraftError::Io(e) => e,
                    segment::DraftError::Random(e) => io::Error::other(e.to_string()),
                };
                return Err(AppendError::Fatal { path, source });
            }
        };
        let known = Known { number: start.number, first: self.next, bytes: segment.len };
        self.shared.segments().push_back(known);
        self.shared.used.fetch_add(known.bytes, Ordering::AcqRel);
        self.segment = segment;
        self.offset = offset;
        self.number = number;
        Ok(())
    }

    fn fatal(&mut self, source: io::Error) -> AppendError {
        self.poisoned = true;
        AppendError::Fatal { path: self.segment.path.clone(), source }
    }
}

/// The sealer's name among those who hold the journal; no sink has it.
const SEALER: &str = "";

/// A view of the journal for readers: how far it reaches, and the floor.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) durable: watch::Receiver<Durable>,
    max_bytes: u64,
}

impl Handle {
    /// The sequence number behind the last durable record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.durable.borrow().end
    }

    /// The oldest sequence number that is still here.
    #[must_use]
    pub fn begin(&self) -> Seq {
        self.shared.segments().front().map_or(self.end(), |k| k.first)
    }

    /// Waits until more is durable than when this was last called.
    /// Returns `false` when the journal is closed.
    pub async fn changed(&mut self) -> bool {
        self.durable.changed().await.is_ok()
    }

    /// Says that `who` needs the records from `from` on. The writer may remove
    /// the segments of records that nobody needs; so all who read the journal
    /// have to be known before the first of them moves on.
    pub fn hold(&self, who: &str, from: Seq) {
        self.set_hold(who, Hold { from: from.0, yields: false });
    }

    /// As [`Handle::hold`], by one who lets go when the writer waits for room that
    /// nobody else keeps: see [`Handle::asked_to_yield`].
    pub fn hold_loosely(&self, who: &str, from: Seq) {
        self.set_hold(who, Hold { from: from.0, yields: true });
    }

    fn set_hold(&self, who: &str, hold: Hold) {
        let mut holds = self.shared.holds();
        match holds.get_mut(who) {
            Some(held) => *held = hold,
            None => {
                holds.insert(who.to_owned(), hold);
            }
        }
        // It may sink: at a start those who need older records come later than others.
        let floor = holds.values().map(|hold| hold.from).min().unwrap_or(0);
        self.shared.floor.store(floor, Ordering::Release);
    }

    /// The record up to which `who`, who holds loosely, has to let go: the writer
    /// waits for room, and giving up the records before it frees whole segments
    /// that nobody who holds firmly needs. An eighth of the bound at a time, so
    /// that a long outage is a few large gaps and not a crowd of small ones.
    #[must_use]
    pub fn asked_to_yield(&self, who: &str) -> Option<Seq> {
        if !self.is_starved() {
            return None;
        }
        let (mine, firm) = {
            let holds = self.shared.holds();
            let firm = holds.values().filter(|hold| !hold.yields).map(|hold| hold.from).min();
            (holds.get(who).filter(|hold| hold.yields)?.from, firm.unwrap_or(u64::MAX))
        };
        let segments = self.shared.segments();
        let floor = self.shared.floor.load(Ordering::Acquire);
        if segments.get(1).is_some_and(|second| second.first.0 <= floor) {
            return None; // there is room for the taking
        }
        let (mut freed, mut upto) = (0, None);
        for (oldest, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.first.0 > firm || freed >= self.max_bytes / 8 {
                break;
            }
            freed += oldest.bytes;
            upto = Some(next.first);
        }
        upto.filter(|upto| upto.0 > mine)
    }

    /// Tells when the writer begins or ceases to wait for room.
    #[must_use]
    pub fn starving(&self) -> watch::Receiver<bool> {
        self.shared.starved.subscribe()
    }

    /// As [`Handle::hold`], by the sealer.
    pub fn set_floor(&self, floor: Seq) {
        self.hold(SEALER, floor);
    }

    /// Says how many bytes the outbox holds.
    pub fn set_outbox_bytes(&self, bytes: u64) {
        self.shared.outbox_bytes.store(bytes, Ordering::Release);
    }

    /// Bytes in use (segments and outbox), and the bound.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        let used = self.shared.used.load(Ordering::Acquire)
            + self.shared.outbox_bytes.load(Ordering::Acquire);
        (used, self.max_bytes)
    }

    /// Whether the writer waits for room: for the volume's, or the bound's.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        *self.shared.starved.borrow()
    }

    /// The folder of the segments.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}
