//! Reads files that grow, rotate, shrink and vanish, and loses none of their lines.
//!
//! Promise: each line of a file that was found is given to the sink once and in
//! the order of its stream, and what cannot be given is named by a gap. A file
//! is known by device, inode and head (`identity`), never by its path alone;
//! it is let go when it is read to its end and gone, never by a timer.
//!
//! There is no reader state but a position a file: each step reads from a line's
//! start into one shared buffer, and what was not taken is read again. So a sink
//! may stop after any line, and a kill at any moment repeats nothing that a
//! durable position says was done.
//!
//! Refuses: files that are not regular, and the agent's own log. Descriptors:
//! one for each file that is known.

mod clock;
mod discover;
mod file;
mod identity;
mod options;
mod position;
mod read;
mod scan;
mod warn;
mod watch;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

pub use clock::{Clock, SystemClock};
pub use file::FileInfo;
pub use options::{Source, StartAt, TailOptions};
pub use position::PositionError;
pub use warn::{Problem, TailWarning};
pub use watch::Waker;

use crate::decode::{FormatChoice, Shared};
use crate::line::{CutReason, Line};
use crate::source::{FileId, Gap};
use discover::{Discovery, Found};
use file::TailFile;
use identity::{BEFORE, Digester, Place};
use position::Position;
use warn::Warnings;
use watch::Watch;

/// How much of one file is read in one step, in bytes.
pub const CHUNK: usize = 256 * 1024;

/// Time between two scans that events ask for.
const SCAN_GAP: Duration = Duration::from_millis(50);

/// Takes what the tail has to give.
///
/// All that is given within one [`Tailer::step`] belongs together: it must
/// become durable as one, or not at all. Positions come after the lines that
/// they are behind.
pub trait LineSink {
    /// One decoded line. A break asks to stop after it: no further raw line is
    /// begun, but what the same raw line sets free still comes (a statement that
    /// it ends, the rest of a piece: at most four lines).
    fn line(&mut self, source: &FileInfo, line: &Line<'_>) -> ControlFlow<()>;

    /// The position of a file of the source with this index, after the lines
    /// given so far. The bytes are the tail's own; hand the newest of each file
    /// to [`Tailer::new`].
    fn position(&mut self, file: FileId, source: usize, encoded: &[u8]);

    /// A file is let go: its position is not needed any more.
    fn forget(&mut self, file: FileId);

    /// Something cannot be delivered.
    fn gap(&mut self, source: Option<&FileInfo>, gap: &Gap);
}

/// A position to go on from.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Whose it is.
    pub file: FileId,
    /// The source that the file was found by, by its present index; `None` when
    /// that one is gone: then the file belongs to the first that names it.
    pub source: Option<usize>,
    /// What [`LineSink::position`] was given last.
    pub position: Vec<u8>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A file was looked at; there may be more to do.
    Read {
        /// Bytes of files that were gone through for good.
        bytes: u64,
        /// Lines given to the sink.
        lines: u64,
    },
    /// There is nothing to do before something is written, or this time has passed.
    Idle {
        /// How long until something is due by itself.
        within: Duration,
    },
}

/// Why a tailer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// A glob is not one.
    #[error("failed to understand a file pattern: {message}")]
    Glob {
        /// What is wrong, with the pattern.
        message: String,
    },
    /// A glob must begin with `/`.
    #[error("failed to use the file pattern {0:?}: it must begin with /")]
    Relative(String),
    /// A stored position cannot be read.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The key for digests was refused.
    #[error("failed to set up the key for file names")]
    Key,
}

/// What the tail is at, for `status` and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TailStatus {
    /// Files that are open.
    pub files: usize,
    /// Of these, the ones that have lost their name or have been deleted.
    pub rotated: usize,
    /// Bytes that are there and have not been read.
    pub lag_bytes: u64,
    /// Bytes of text in joiners.
    pub held_bytes: usize,
    /// Stored positions whose files have not been found yet.
    pub unresolved: usize,
}

/// Tails files; see the module.
#[derive(Debug)]
pub struct Tailer {
    options: TailOptions,
    /// One a source.
    discovery: Vec<Discovery>,
    digester: Digester,
    clock: Box<dyn Clock>,
    /// By index; `None` is free (or taken out while it is read).
    files: Vec<Option<Box<TailFile>>>,
    free: Vec<usize>,
    by_place: HashMap<Place, usize>,
    /// The newest file of each path, as found and resolved.
    by_path: HashMap<PathBuf, usize>,
    ready: VecDeque<usize>,
    /// Stored positions whose files have not been found yet.
    known: Vec<Known>,
    /// Our own files, found by their marker.
    own: HashSet<Place>,
    /// For each source: there were no positions to go on from.
    fresh: Vec<bool>,
    /// Holds the bytes before an offset, then the chunk.
    buffer: Vec<u8>,
    encoded: Vec<u8>,
    shared: Shared,
    watch: Watch,
    spare_paths: Vec<PathBuf>,
    found: Vec<Found>,
    dirs: HashSet<PathBuf>,
    warnings: Warnings,
    serials: u64,
    /// Files with a deadline.
    timed: Vec<usize>,
    next_due: Duration,
    scans: u64,
    last_scan: Duration,
    next_scan: Duration,
    started: Duration,
}

impl Tailer {
    /// A tailer that goes on from the newest position of each file.
    ///
    /// `file_id_key` keys the digests in file ids and positions: with another
    /// one no position fits. Nothing is opened before the first step.
    ///
    /// # Errors
    /// A pattern that is none or is relative; a position that cannot be read.
    pub fn new(
        options: TailOptions,
        file_id_key: &[u8; 32],
        resume: impl Iterator<Item = Resume>,
        clock: Box<dyn Clock>,
    ) -> Result<Self, TailError> {
        let known = resume
            .map(|Resume { file, source, position }| {
                Ok(Known { file, source, position: Position::decode(&position)? })
            })
            .collect::<Result<Vec<_>, PositionError>>()?;
        let now = clock.now();
        let limits = options.sources.first().unwrap_or(&Source::default()).limits();
        let sources = options.sources.iter();
        Ok(Self {
            discovery: sources
                .map(|s| Discovery::new(&s.include, &s.exclude))
                .collect::<Result<_, _>>()?,
            digester: Digester::new(file_id_key).ok_or(TailError::Key)?,
            clock,
            files: Vec::new(),
            free: Vec::new(),
            by_place: HashMap::new(),
            by_path: HashMap::new(),
            ready: VecDeque::new(),
            fresh: (0..options.sources.len())
                .map(|source| known.iter().all(|k| k.source != Some(source)))
                .collect(),
            known,
            own: HashSet::new(),
            buffer: vec![0; BEFORE + CHUNK],
            encoded: Vec::new(),
            shared: Shared::new(limits),
            watch: Watch::new(options.watch),
            options,
            spare_paths: Vec::new(),
            found: Vec::new(),
            dirs: HashSet::new(),
            warnings: Warnings::default(),
            serials: 0,
            timed: Vec::new(),
            next_due: Duration::MAX,
            scans: 0,
            last_scan: now,
            next_scan: now,
            started: now,
        })
    }

    /// One bounded piece of work: a scan when it is due, then at most one chunk
    /// of one file, the files in turn.
    pub fn step(&mut self, sink: &mut dyn LineSink) -> Step {
        let now = self.clock.now();
        self.take_events(now);
        if now >= self.next_scan {
            self.scan(now, sink);
        }
        if now >= self.next_due {
            self.queue_due(now);
        }
        while let Some(index) = self.ready.pop_front() {
            if let Some(step) = self.serve(index, now, sink) {
                self.bound_held(now, sink);
                return step;
            }
        }
        let due = self.next_scan.min(self.next_due);
        Step::Idle { within: due.saturating_sub(now) }
    }

    /// Waits until something is written, a [`Waker`] wakes, or the time is up.
    pub fn wait(&mut self, timeout: Duration) {
        self.watch.wait(timeout);
    }

    /// Ends waits from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.watch.waker()
    }

    /// Lets unfinished lines out in the next steps, as if they had waited long
    /// enough: for an agent that ends when all that is there has been read.
    pub fn flush_partials(&mut self) {
        for index in 0..self.files.len() {
            if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) {
                file.flush = true;
                self.queue(index);
            }
        }
    }

    /// Whether all that was there at the last look has been read. Unfinished
    /// lines may still wait: see [`Tailer::flush_partials`].
    #[must_use]
    pub fn drained(&self) -> bool {
        self.scans > 0 && self.ready.is_empty() && self.files.iter().flatten().all(|f| f.at_end)
    }

    /// Counts, for `status` and metrics. Goes through all files.
    #[must_use]
    pub fn status(&self) -> TailStatus {
        let mut status = TailStatus {
            held_bytes: self.shared.held,
            unresolved: self.known.len(),
            ..TailStatus::default()
        };
        for file in self.files.iter().flatten() {
            status.files += 1;
            status.rotated += usize::from(file.rotated || file.meta.links == 0);
            status.lag_bytes += file.lag();
        }
        status
    }

    /// What should be logged since the last call.
    pub fn take_warnings(&mut self) -> Vec<TailWarning> {
        self.warnings.take()
    }

    fn take_events(&mut self, now: Duration) {
        let spare = std::mem::take(&mut self.spare_paths);
        let mut happened = self.watch.take(spare, &mut self.warnings);
        if happened.rescan {
            self.next_scan = self.next_scan.min(now.max(self.last_scan + SCAN_GAP));
        }
        for path in happened.paths.drain(..) {
            if let Some(index) = self.by_path.get(&path) {
                self.queue(*index);
            }
        }
        self.spare_paths = happened.paths;
    }

    /// Puts a file into the queue, once.
    fn queue(&mut self, index: usize) {
        if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut)
            && !file.queued
        {
            file.queued = true;
            self.ready.push_back(index);
        }
    }

    /// Queues the files whose deadline has come.
    fn queue_due(&mut self, now: Duration) {
        self.next_due = Duration::MAX;
        let mut timed = std::mem::take(&mut self.timed);
        timed.retain(|index| {
            let Some(file) = self.files.get_mut(*index).and_then(Option::as_deref_mut) else {
                return false;
            };
            let limits = self.options.sources.get(file.source).map(Source::limits);
            match limits.and_then(|limits| file.deadline(limits)) {
                Some(at) if at > now => {
                    self.next_due = self.next_due.min(at);
                    true
                }
                due => {
                    file.timed = false;
                    if due.is_some() && !file.queued {
                        file.queued = true;
                        self.ready.push_back(*index);
                    }
                    false
                }
            }
        });
        self.timed = timed;
    }

    /// Keeps all joiners together within their bound: the fullest lets go.
    fn bound_held(&mut self, now: Duration, sink: &mut dyn LineSink) {
        while self.shared.held > self.options.max_held {
            let fullest = (0..self.files.len())
                .max_by_key(|i| self.file(*i).map_or(0, |f| f.decoder.held_bytes()));
            let Some(mut file) = fullest.and_then(|i| self.files.get_mut(i)?.take()) else {
                return;
            };
            let before = self.shared.held;
            self.let_go_of_held(&mut file, CutReason::OverLong, now, sink);
            self.report(&file, sink);
            let index = file.info.index;
            self.put_back(index, file);
            if self.shared.held >= before {
                return;
            }
        }
    }

    fn file(&self, index: usize) -> Option<&TailFile> {
        self.files.get(index)?.as_deref()
    }

    fn put_back(&mut self, index: usize, file: Box<TailFile>) {
        if let Some(place) = self.files.get_mut(index) {
            *place = Some(file);
        }
    }

    /// Gives a file's position to the sink.
    fn report(&mut self, file: &TailFile, sink: &mut dyn LineSink) {
        if file.encode(&mut self.encoded) {
            sink.position(file.info.id, file.source, &self.encoded);
        }
    }

    fn format_choice(&self, source: usize) -> FormatChoice {
        let format = self.options.sources.get(source).and_then(|s| s.format);
        format.map_or_else(FormatChoice::auto, FormatChoice::fixed)
    }
}

/// A stored position.
#[derive(Debug)]
struct Known {
    file: FileId,
    source: Option<usize>,
    position: Position,
}

#[cfg(test)]
mod tests;
