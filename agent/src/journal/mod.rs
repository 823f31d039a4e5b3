//! The journal: what has been read, redacted and made durable, in order.
//!
//! It promises: a record has its sequence number if and only if it is durable;
//! records and the source positions behind them become durable together, in one
//! encrypted, authenticated block; nobody sees a block before its fsync; one
//! process at a time.
//!
//! It refuses: a wrong key, damage anywhere but at the torn end of the last
//! segment, a second process, and to grow past its bound. Damage is mended only
//! by hand ([`repair`]), which leaves a hole that the sealer signs as a gap.
//!
//! Layers, each a file: [`crypt`] keys, [`block`] the unit of commit,
//! [`segment`] a preallocated file of blocks, [`recover`] what is done before
//! anything is served, [`writer`] the only writer, [`reader`] what the sealer
//! and the sinks follow.
//!
//! ```text
//! <journal.path>/lock
//!               /incarnation               origin and incarnation, JSON
//!               /segments/<number, 20 digits>.seg
//!               /quarantine/               damaged segments, as they were
//!               /outbox/  /cursors/        the sealer's and the sinks' (not here)
//! ```

pub mod block;
pub mod crypt;
#[cfg(test)]
mod hold_tests;
pub mod incarnation;
#[cfg(test)]
mod power_tests;
pub mod reader;
pub mod recover;
pub mod repair;
pub mod segment;
pub mod writer;

use std::io;
use std::path::PathBuf;

pub(crate) use block::ALIGN as BLOCK_ALIGN;
pub use crypt::JournalKey;
pub use incarnation::Incarnation;
pub use reader::{Entry, Reader};
pub use writer::{AppendError, Handle, Journal, Options};

/// A record's place in its incarnation's log: dense, from 0.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number `count` records on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a record is to the sealer; the byte is the one on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An event from a log line.
    Line = 0,
    /// A range that could not be delivered: gets a leaf of its own.
    Gap = 1,
    /// The agent started.
    Start = 2,
    /// The agent ended in order.
    End = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Line, Self::Gap, Self::Start, Self::End].into_iter().find(|k| *k as u8 == byte)
    }
}

/// Why the journal cannot be opened or read. The messages complete "failed to open the journal: ".
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{0} is held by another sealtail process; one process a journal")]
    Locked(PathBuf),
    /// The header does not authenticate under the key.
    #[error(
        "{0} cannot be opened with this journal.key: restore the key that wrote it, or move the \
         journal folder away (its records are then lost) and start a new incarnation"
    )]
    WrongKey(PathBuf),
    /// Bytes are not what was written.
    #[error(
        "{path} is damaged at byte {offset} ({what}); nothing was served. `sealtail journal \
         repair` quarantines the segment and signs a gap for what cannot be read"
    )]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong, in a few words.
        what: &'static str,
    },
    /// The outbox has entries, and there is not one segment.
    #[error(
        "there are no segments in {0}, but the outbox beside them has entries: put back the newest copy of \
         the whole journal folder, or let `sealtail journal repair` go on behind what is sealed (what was \
         not is read again from the log files that are there)"
    )]
    SegmentsGone(PathBuf),
    /// The incarnation file is not readable as such.
    #[error("{path} is not a valid incarnation file ({what}); restore it from a backup")]
    Incarnation {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The origin was changed while old records wait.
    #[error(
        "the journal belongs to origin {old:?}, the configuration says {new:?}, and records of the \
         old one are not in the archive yet: run once with the old origin (`sealtail run --once`), \
         then again with the new one"
    )]
    OriginChanged {
        /// What the journal was made for.
        old: String,
        /// What the configuration says now.
        new: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

impl JournalError {
    /// Whether there is no space: the same call may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if crate::disk::is_full(source))
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
