//! What a destination said of a batch, in the three classes of the design.

use std::time::Duration;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has all of it.
    Delivered {
        /// It says that it is near its limits.
        pressed: bool,
    },
    /// It has it, and tells later whether it keeps it.
    Accepted {
        /// What to ask by.
        ack: u64,
        /// It says that it is near its limits.
        pressed: bool,
    },
    /// Retry: it passes.
    Retry {
        /// What happened.
        reason: String,
        /// How long the server asked to be left alone.
        after: Option<Duration>,
        /// How the window takes it.
        trouble: Trouble,
    },
    /// Poison: this batch is refused, with one record in it or more.
    Refused(Refusal),
    /// The batch is too large for the destination.
    TooLarge(Refusal),
    /// Halt: somebody has to act.
    Halt {
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// What kind of trouble passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It has too much: fewer requests.
    Pressed,
    /// It is away: one probe.
    Away,
    /// Nothing against the destination: the same again at once (a new channel).
    Again,
}

/// Why a batch was refused. Never the server's own words: they may quote content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The destination's own code.
    pub code: Option<i64>,
    /// What it means.
    pub reason: String,
    /// The entry that it names, counted from 0.
    pub entry: Option<usize>,
}
