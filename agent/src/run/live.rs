//! What the threads tell the others while they work.

use crate::redact::{Class, Event};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

/// What the two threads tell the others, and are told, without locks.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) lines: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) gaps: AtomicU64,
    /// Bytes of log files not read yet.
    pub(crate) lag: AtomicU64,
    /// Events by kind, and redactions by class: in the order of their `ALL`.
    pub(crate) events: [AtomicU64; Event::ALL.len()],
    pub(crate) classes: [AtomicU64; Class::ALL.len()],
    /// Counts up with each turn of the hot loop: the watchdog's pulse.
    pub(crate) turns: AtomicU64,
    /// When the last turn was, in ms since `began`.
    turned: AtomicU64,
    began: Instant,
    pub(crate) blocked: AtomicBool,
    /// The first record that no leaf covers.
    pub(crate) sealed: AtomicU64,
    /// The outbox takes nothing now, or there is no data key.
    pub(crate) sealing_blocked: AtomicBool,
    /// When the oldest record that no leaf covers became durable, Unix ms; 0: there is none.
    pub(crate) unsealed_since: AtomicU64,
    /// Sealing waits for a data key.
    pub(crate) no_key: AtomicBool,
    /// Sealing waits for a data key that is not to be had without help.
    pub(crate) key_halted: AtomicBool,
    /// Told to both threads: end at the next turn, whatever is left.
    pub(crate) give_up: AtomicBool,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            events: [const { AtomicU64::new(0) }; Event::ALL.len()],
            classes: [const { AtomicU64::new(0) }; Class::ALL.len()],
            turns: AtomicU64::new(0),
            turned: AtomicU64::new(0),
            began: Instant::now(),
            blocked: AtomicBool::new(false),
            sealed: AtomicU64::new(0),
            sealing_blocked: AtomicBool::new(false),
            unsealed_since: AtomicU64::new(0),
            no_key: AtomicBool::new(false),
            key_halted: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
        }
    }

    /// One that began so long ago.
    #[cfg(test)]
    pub(crate) fn begun(ago: Duration) -> Self {
        let began = Instant::now().checked_sub(ago).unwrap();
        Self { began, ..Self::new() }
    }

    /// The hot loop has turned once more.
    pub(crate) fn turn(&self) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned.store(at, Relaxed);
        self.turns.fetch_add(1, Relaxed);
    }

    /// How long ago the last turn was; before the first: the start.
    pub(crate) fn since_turn(&self) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Relaxed));
        self.began.elapsed().saturating_sub(turned)
    }

    /// For how long the agent has run.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}
