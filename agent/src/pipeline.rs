//! The hot path: tail → frame → decode → classify → redact → journal.
//!
//! Ordinary synchronous code on a thread of its own. [`Pipeline::step`] does
//! one bounded piece of work, so a test can drive it line by line. Nothing is
//! allocated per line: chunk, arena and open block are reused.
//!
//! Backpressure is not reading: while the journal is full no file is read, and
//! the files themselves are the queue.

use crate::journal::{AppendError, Journal, Kind, Seq};
use crate::line::Line;
use crate::redact::{self, Redacted, Redactor};
use crate::source::{FileId, Gap, SourceTag};
use crate::tail::{FileInfo, LineSink, Resume, Step as TailStep, Tailer, Waker};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// A block is committed when it holds this much…
const BLOCK_BYTES: usize = 1024 * 1024;
/// …or is this old, in ms.
const BLOCK_AGE_MS: u64 = 100;
/// How long to wait before a full journal is tried again.
const FULL_RETRY: Duration = Duration::from_millis(200);

/// How long the journal must have taken everything before it is said that it
/// does, in ms.
const CALM_MS: u64 = 10_000;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was read or committed.
    Worked,
    /// Nothing to do before this has passed, unless a file changes.
    Idle(Duration),
    /// The journal takes nothing now: reading is paused.
    Blocked(Duration),
}

/// What has gone through, since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Lines read.
    pub lines: u64,
    /// Bytes of log files read.
    pub bytes: u64,
    /// Records made durable.
    pub records: u64,
    /// Gaps named.
    pub gaps: u64,
}

/// The tag of a source with these `include` patterns. Positions in the journal
/// begin with it, so that a file stays with the source that found it.
#[must_use]
pub fn source_tag(include: &[String]) -> u64 {
    let digest = crate::text::sha256(include.join("\n").as_bytes());
    digest.iter().take(8).fold(0, |tag, b| tag << 8 | u64::from(*b))
}

/// The positions that the journal keeps, for the tail of sources with these tags.
pub fn positions(journal: &Journal, tags: &[u64]) -> impl Iterator<Item = Resume> {
    journal.positions().filter_map(|(file, bytes)| {
        let (head, position) = bytes.split_first_chunk::<8>()?;
        let found = u64::from_le_bytes(*head);
        let source = tags.iter().position(|tag| *tag == found);
        Some(Resume { file, source, position: position.to_vec() })
    })
}

/// The hot path. Owns the journal's writing side.
pub struct Pipeline {
    tailer: Tailer,
    inner: Inner,
    /// When the open block got its first record, Unix ms.
    opened: Option<u64>,
    blocked: bool,
    pressure: Pressure,
}

/// Says once that reading is paused, and once that it goes on: a journal that
/// is emptied as fast as it is filled is full twice a second.
#[derive(Debug, Default)]
struct Pressure {
    warned: bool,
    /// Since when the journal has taken everything, Unix ms.
    clear_since: Option<u64>,
}

impl Pressure {
    fn full(&mut self, error: &AppendError) {
        self.clear_since = None;
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "failed to append to the journal: {error}. Reading is paused, nothing is lost"
            );
        }
    }

    fn taken(&mut self, now: u64) {
        if self.warned && now.saturating_sub(*self.clear_since.get_or_insert(now)) >= CALM_MS {
            *self = Self::default();
            tracing::info!("the journal takes records again; reading goes on");
        }
    }
}

/// What the tail hands lines to.
struct Inner {
    redactor: Redactor,
    arena: Redacted,
    journal: Journal,
    tags: HashMap<FileId, SourceTag>,
    totals: Totals,
    now: u64,
    /// The tags of the sources.
    source_tags: Vec<u64>,
    position: Vec<u8>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("totals", &self.inner.totals).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Puts the stages together. `source_tags` are those of the tail's sources,
    /// in their order ([`source_tag`]).
    #[must_use]
    pub fn new(
        tailer: Tailer,
        source_tags: Vec<u64>,
        redactor: Redactor,
        journal: Journal,
    ) -> Self {
        let inner = Inner {
            redactor,
            arena: Redacted::new(),
            journal,
            tags: HashMap::new(),
            totals: Totals::default(),
            now: 0,
            source_tags,
            position: Vec::new(),
        };
        Self { tailer, inner, opened: None, blocked: false, pressure: Pressure::default() }
    }

    /// Reads at most one chunk, and commits when it is time. `now` is Unix ms.
    ///
    /// # Errors
    /// Only those after which the process has to end: backpressure is [`Step::Blocked`].
    pub fn step(&mut self, now: u64) -> Result<Step, AppendError> {
        self.inner.now = now;
        if self.blocked {
            if !self.commit(now)? {
                return Ok(Step::Blocked(FULL_RETRY));
            }
            return Ok(Step::Worked);
        }
        self.pressure.taken(now);
        let read = self.read();
        if self.opened.is_none() && self.inner.journal.is_pending() {
            self.opened = Some(now);
        }
        let age = self.opened.map_or(0, |opened| now.saturating_sub(opened));
        let due = self.inner.journal.pending_bytes() >= BLOCK_BYTES || age >= BLOCK_AGE_MS;
        if self.opened.is_some() && due && !self.commit(now)? {
            return Ok(Step::Blocked(FULL_RETRY));
        }
        if let Err(e) = self.inner.journal.trim() {
            tracing::warn!("failed to trim the journal: {e}; trying again");
        }
        match read {
            TailStep::Read { bytes, .. } => {
                self.inner.totals.bytes += bytes;
                Ok(Step::Worked)
            }
            TailStep::Idle { within } if self.opened.is_some() => {
                Ok(Step::Idle(within.min(Duration::from_millis(BLOCK_AGE_MS.saturating_sub(age)))))
            }
            TailStep::Idle { within } => Ok(Step::Idle(within)),
        }
    }

    fn read(&mut self) -> TailStep {
        let step = self.tailer.step(&mut self.inner);
        for warning in self.tailer.take_warnings() {
            let path = self.inner.redactor.path(&warning.path.to_string_lossy());
            tracing::warn!(path, "{}", warning.problem.text());
        }
        step
    }

    /// Waits for a file to change, at most so long; a [`Pipeline::waker`] ends it early.
    pub fn wait(&mut self, at_most: Duration) {
        self.tailer.wait(at_most);
    }

    /// Ends a wait from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.tailer.waker()
    }

    /// Makes what was read durable. `false` under backpressure.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub fn commit(&mut self, now: u64) -> Result<bool, AppendError> {
        match self.inner.journal.commit(now) {
            Ok(range) => {
                self.inner.totals.records += range.end.0 - range.start.0;
                self.opened = None;
                self.blocked = false;
                Ok(true)
            }
            Err(e) if e.is_backpressure() => {
                self.blocked = true;
                self.pressure.full(&e);
                if let Err(e) = self.inner.journal.trim() {
                    tracing::warn!("failed to trim the journal: {e}; trying again");
                }
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Adds a record of the agent's own (`agent_start`, `agent_end`).
    pub fn note(&mut self, make: impl FnOnce(&mut Redactor, &mut Redacted)) {
        self.inner.arena.clear();
        make(&mut self.inner.redactor, &mut self.inner.arena);
        self.inner.append();
    }

    /// Whether everything that the files held was read (joined parts apart).
    #[must_use]
    pub fn drained(&self) -> bool {
        self.tailer.drained()
    }

    /// Lets out what joiners hold, marked as cut, in the next steps: for
    /// `--once` at its end.
    pub fn flush_partials(&mut self) {
        self.tailer.flush_partials();
    }

    /// Bytes of log files that are there and were not read.
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        self.tailer.status().lag_bytes
    }

    /// What has gone through.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.inner.totals
    }

    /// Counts of events and redactions.
    #[must_use]
    pub fn redaction_stats(&self) -> &redact::Stats {
        self.inner.redactor.stats()
    }

    /// The sequence number behind the last durable record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.inner.journal.end()
    }

    /// The journal, for handles.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }
}

impl Inner {
    /// Moves what is in the arena into the open block.
    fn append(&mut self) {
        for record in self.arena.records() {
            self.journal.append(kind(record.kind()), record.body());
        }
    }

    /// The tag of a file: made once a file.
    fn tag(&mut self, source: &FileInfo) -> &SourceTag {
        let redactor = &mut self.redactor;
        self.tags.entry(source.id).or_insert_with(|| SourceTag {
            file: source.id,
            path_json: redactor.path(&source.path.to_string_lossy()),
        })
    }
}

impl LineSink for Inner {
    fn line(&mut self, source: &FileInfo, line: &Line<'_>) -> ControlFlow<()> {
        self.tag(source);
        let Some(tag) = self.tags.get(&source.id) else { return ControlFlow::Break(()) };
        self.arena.clear();
        self.redactor.line(tag, line, &mut self.arena);
        self.append();
        self.totals.lines += 1;
        if self.journal.pending_bytes() >= BLOCK_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn position(&mut self, file: FileId, source: usize, encoded: &[u8]) {
        let tag = self.source_tags.get(source).copied().unwrap_or_default();
        self.position.clear();
        self.position.extend_from_slice(&tag.to_le_bytes());
        self.position.extend_from_slice(encoded);
        self.journal.set_position(file, &self.position);
    }

    fn forget(&mut self, file: FileId) {
        self.tags.remove(&file);
        self.journal.forget(file);
    }

    fn gap(&mut self, source: Option<&FileInfo>, gap: &Gap) {
        let path = source.map(|s| self.tag(s).path_json.clone());
        let time = crate::text::rfc3339(self.now);
        self.arena.clear();
        self.redactor.gap(gap, path.as_deref(), &time, &mut self.arena);
        self.append();
        self.totals.gaps += 1;
        tracing::warn!(
            file = gap.file.map(tracing::field::display),
            from = gap.from,
            to = gap.to,
            why = gap.why,
            "part of a log file cannot be delivered; a signed gap names it"
        );
    }
}

fn kind(kind: redact::Kind) -> Kind {
    match kind {
        redact::Kind::Line => Kind::Line,
        redact::Kind::Gap => Kind::Gap,
        redact::Kind::Start => Kind::Start,
        redact::Kind::End => Kind::End,
    }
}
