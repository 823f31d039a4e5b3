//! Where the numbers come from: atomics that the agent moves on in any case.
//!
//! To ask costs the agent nothing but the dead letters' folder, which is listed
//! for at most a tenth of the time.

use super::STALLED;
use super::status::{
    DeadLetters as DeadLettersStatus, Delivered, Feed, Journal, KeyState, LastError, Letters,
    Phase, Reading, Sealing, Sink, SinkState, Status,
};
use crate::journal::Handle;
use crate::redact::{Class, Event};
use crate::run::{Live, Phase as RunPhase};
use crate::sealer::outbox::Outbox;
use crate::ship::dead::DeadLetters;
use crate::ship::engine::Engine;
use crate::sink::archive::ArchiveSink;
use crate::sink::{Counters, State};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// All that can be asked.
pub(crate) struct Sources {
    pub(crate) origin: String,
    pub(crate) incarnation: String,
    pub(crate) live: Arc<Live>,
    pub(crate) phase: watch::Receiver<RunPhase>,
    pub(crate) journal: Handle,
    /// When the log is sealed.
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) sinks: Vec<SinkSource>,
    pub(crate) dead: Arc<Counted>,
}

/// A sink, as seen from outside.
pub(crate) struct SinkSource {
    name: String,
    kind: &'static str,
    is_archive: bool,
    counters: Arc<Counters>,
    state: watch::Receiver<State>,
}

impl SinkSource {
    pub(crate) fn archive(sink: &ArchiveSink) -> Self {
        Self {
            name: sink.name().to_owned(),
            kind: "archive",
            is_archive: true,
            counters: sink.counters(),
            state: sink.subscribe(),
        }
    }

    pub(crate) fn feed(engine: &Engine) -> Self {
        Self {
            name: engine.name().to_owned(),
            kind: engine.kind(),
            is_archive: false,
            counters: engine.counters(),
            state: engine.subscribe(),
        }
    }
}

impl Sources {
    /// Whether the loop that reads has turned of late.
    pub(crate) fn is_live(&self) -> bool {
        self.live.since_turn() < STALLED
    }

    /// What the agent is doing.
    pub(crate) fn phase(&self) -> Phase {
        match *self.phase.borrow() {
            RunPhase::Draining => Phase::Draining,
            RunPhase::Running if self.live.turns.load(Relaxed) == 0 => Phase::Starting,
            RunPhase::Running => Phase::Running,
        }
    }

    /// All of it, now.
    pub(crate) async fn status(&self) -> Status {
        let letters = self.dead.tally().await;
        let now = crate::run::now_ms();
        let (used_bytes, limit_bytes) = self.journal.usage();
        let end = self.journal.end().0;
        let leaves = self.outbox.as_ref().map_or(0, |outbox| outbox.end());
        let sealing = self.outbox.as_ref().map(|outbox| Sealing {
            leaves,
            lag_records: end.saturating_sub(self.live.sealed.load(Relaxed)),
            lag_seconds: match self.live.unsealed_since.load(Relaxed) {
                0 => 0.0,
                since => now.saturating_sub(since) as f64 / 1000.0,
            },
            blocked: self.live.sealing_blocked.load(Relaxed),
            data_keys: match self.live.no_key.load(Relaxed) {
                false => KeyState::Ok,
                true if self.live.key_halted.load(Relaxed) => KeyState::Halted,
                true => KeyState::Retrying,
            },
            waiting_leaves: outbox.waiting(),
            outbox_bytes: outbox.bytes(),
        });
        let sum = |tally: &Tally, of: fn(&Letters) -> u64| tally.values().map(of).sum();
        let sink = |source: &SinkSource| {
            let end = if source.is_archive { leaves } else { end };
            source.status(now, end, letters.as_ref())
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: self.origin.clone(),
            incarnation: self.incarnation.clone(),
            running_seconds: seconds(self.live.age()),
            phase: self.phase(),
            live: self.is_live(),
            reading: reading(&self.live),
            journal: Journal { used_bytes, limit_bytes, begin: self.journal.begin().0, end },
            sealing,
            dead_letters: letters.as_ref().map(|tally| DeadLettersStatus {
                count: sum(tally, |l| l.count),
                bytes: sum(tally, |l| l.bytes),
                limit_bytes: self.dead.letters.max_bytes(),
            }),
            sinks: self.sinks.iter().map(sink).collect(),
        }
    }
}

fn reading(live: &Live) -> Reading {
    let named = |names: &[&'static str], counts: &[AtomicU64]| {
        let one = |(name, count): (&&str, &AtomicU64)| ((*name).to_owned(), count.load(Relaxed));
        names.iter().zip(counts).map(one).collect::<BTreeMap<_, _>>()
    };
    let events: Vec<_> = Event::ALL.iter().map(|e| e.name()).collect();
    let classes: Vec<_> = Class::ALL.iter().map(|c| c.name()).collect();
    Reading {
        lines: live.lines.load(Relaxed),
        bytes: live.bytes.load(Relaxed),
        records: live.records.load(Relaxed),
        gaps: live.gaps.load(Relaxed),
        lag_bytes: live.lag.load(Relaxed),
        blocked: live.blocked.load(Relaxed),
        turned_seconds_ago: seconds(live.since_turn()),
        events: named(&events, &live.events),
        redactions: named(&classes, &live.classes),
    }
}

impl SinkSource {
    /// `end`: behind the newest record or leaf that there is for it.
    fn status(&self, now: u64, end: u64, letters: Option<&Tally>) -> Sink {
        let c = &self.counters;
        let (state, reason) = match &*self.state.borrow() {
            State::Ok => (SinkState::Ok, None),
            State::Retrying(why) => (SinkState::Retrying, Some(why.clone())),
            State::Halted(why) => (SinkState::Halted, Some(why.clone())),
            State::Conflict(why) => (SinkState::Conflict, Some(why.clone())),
        };
        let next = c.next.load(Relaxed);
        let lag = end.saturating_sub(next);
        let oldest = c.oldest.load(Relaxed);
        let age = if lag == 0 || oldest == 0 { 0 } else { now.saturating_sub(oldest) };
        let feed = (!self.is_archive).then(|| Feed {
            condemned: c.condemned.load(Relaxed),
            given_up: c.given_up.load(Relaxed),
            late: c.late.load(Relaxed),
            window: c.window.load(Relaxed),
            in_flight: c.in_flight.load(Relaxed),
            breaker: c.breaker(),
            certificate_end: Some(c.certificate_end.load(Relaxed)).filter(|end| *end != 0),
            dead_letters: letters.map(|all| all.get(&self.name).copied().unwrap_or_default()),
        });
        Sink {
            name: self.name.clone(),
            r#type: self.kind.to_owned(),
            state,
            reason,
            last_error: c
                .last_error()
                .map(|(ago, what)| LastError { seconds_ago: seconds(ago), what }),
            delivered: if self.is_archive {
                Delivered::Sealed {
                    leaves: c.leaves.load(Relaxed),
                    objects: c.objects.load(Relaxed),
                }
            } else {
                Delivered::Events {
                    events: c.events.load(Relaxed),
                    batches: c.batches.load(Relaxed),
                }
            },
            sent_bytes: c.bytes.load(Relaxed),
            failures: c.failures.load(Relaxed),
            halts: c.halts.load(Relaxed),
            next,
            lag,
            lag_seconds: seconds(Duration::from_millis(age)),
            feed,
        }
    }
}

/// To the millisecond: more is noise in JSON.
fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// Dead letters by sink.
type Tally = BTreeMap<String, Letters>;

/// The dead letters, counted no more often than it pays: a listing is good for ten
/// times as long as it took. Other processes remove letters, so the folder is what
/// counts.
pub(crate) struct Counted {
    letters: DeadLetters,
    /// Until when the last listing is good, and what it found.
    last: Mutex<Option<(Instant, Option<Tally>)>>,
    /// One at a time: on a disk that hangs no more than one thread hangs with it.
    listing: AtomicBool,
}

impl Counted {
    pub(crate) fn new(letters: DeadLetters) -> Self {
        Self { letters, last: Mutex::default(), listing: AtomicBool::new(false) }
    }

    /// `None` when the folder cannot be read, or is being read for the first time.
    async fn tally(self: &Arc<Self>) -> Option<Tally> {
        let good = self.last().as_ref().is_some_and(|(until, _)| Instant::now() < *until);
        if !good && !self.listing.swap(true, Acquire) {
            let this = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || this.list()).await);
        }
        self.last().as_ref().and_then(|(_, tally)| tally.clone())
    }

    fn list(&self) {
        let began = Instant::now();
        let tally = self.letters.tally().ok().map(|tally| {
            let letters = |(count, bytes)| Letters { count, bytes };
            tally.into_iter().map(|(sink, sum)| (sink, letters(sum))).collect()
        });
        *self.last() = Some((Instant::now() + began.elapsed() * 10, tally));
        self.listing.store(false, Release);
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, Option<Tally>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
