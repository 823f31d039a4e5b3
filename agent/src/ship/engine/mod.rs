//! The task of a sink that follows the journal: Splunk, Datadog.
//!
//! Nothing is skipped: the durable cursor moves over the contiguous prefix of
//! what the destination has, or what is durable in the dead letters. On trouble
//! the same bytes are sent again, for ever.
//!
//! Crash points: before the cursor is durable, what was delivered behind it is
//! sent again (the destination gets it twice, with the same origin and number);
//! a dead letter is durable before the cursor passes it. What is given up when the
//! journal is full (`on_full: gap`) is signed first, then noted in the cursor, and
//! only then let go: a crash between the first two leaves a gap that names records
//! which may still arrive, never the reverse.

mod acks;
mod answers;
mod apart;
mod room;
mod tell;

use crate::journal::{Handle, JournalError, Seq};
use crate::sealer::Waivers;
use crate::sealer::outbox::Outbox;
use crate::ship::answer::{Answer, Refusal};
use crate::ship::backoff::Backoff;
use crate::ship::batch::{Batcher, FillError, Filled};
use crate::ship::dead::{DeadError, DeadLetters};
use crate::ship::ledger::Ledger;
use crate::ship::on_full::{Giving, OnFull};
use crate::ship::rate;
use crate::ship::rate::Rate;
use crate::ship::window::Window;
use crate::ship::wire::Wire;
use crate::sink::cursor::{CursorError, Cursors};
use crate::sink::event::Log;
use crate::sink::{Counters, State, Stop};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How the engine is told to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sink's name.
    pub name: String,
    /// Where it delivers, as the cursor keeps it.
    pub place: String,
    /// Whose log it is.
    pub log: Log,
    /// Whether bodies are compressed.
    pub compressed: bool,
    /// The most requests under way.
    pub max_in_flight: usize,
    /// Bytes of bodies that may be held, under way or waiting for acknowledgement.
    pub max_bytes: usize,
    /// The operator's limits.
    pub rate: rate::Limits,
    /// Pauses and time-outs.
    pub times: Times,
    /// What happens when the journal is full and this sink is behind.
    pub on_full: OnFull,
    /// Records that were given up and of which the destination has not been told:
    /// the first, and the one behind the last.
    pub gave_up: Option<(Seq, Seq)>,
}

/// Pauses and time-outs of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The shortest and longest pause between two questions for acknowledgements.
    pub ask: (Duration, Duration),
    /// After so long without one, a batch is sent again.
    pub ack: Duration,
    /// How long a halted sink waits before it tries again.
    pub halt: Duration,
    /// Batches that have waited longer than this unsent are cut anew.
    pub stale: Duration,
    /// What waits between attempts are drawn below, first and longest.
    pub backoff: (Duration, Duration),
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ask: crate::sink::splunk::ASK,
            ack: crate::sink::splunk::ACK_TIMEOUT,
            halt: Duration::from_secs(30),
            stale: Duration::from_secs(20 * 60),
            backoff: (super::backoff::FIRST, super::backoff::LONGEST),
        }
    }
}

/// What an engine works with.
pub struct Parts {
    /// The destination.
    pub wire: Wire,
    /// What cuts the journal.
    pub batcher: Batcher,
    /// The journal, to say what is needed of it.
    pub journal: Handle,
    /// Where the cursor is kept.
    pub cursors: Cursors,
    /// Where refused records go.
    pub dead: DeadLetters,
    /// Where the newest checkpoint is, when the log is sealed.
    pub outbox: Option<Arc<Outbox>>,
    /// Where a gap is asked for, when the log is sealed.
    pub waivers: Option<Waivers>,
    /// What it has done.
    pub counters: Arc<Counters>,
}

/// The engine of one sink.
pub struct Engine {
    options: Options,
    wire: Arc<Wire>,
    /// Taken out while it works on another thread.
    batcher: Option<Batcher>,
    journal: Handle,
    cursors: Cursors,
    dead: DeadLetters,
    outbox: Option<Arc<Outbox>>,
    waivers: Option<Waivers>,
    counters: Arc<Counters>,
    state: watch::Sender<State>,
    /// The next record that the destination has not: what the cursor says.
    settled: Seq,
    /// Records before this one are given up, or settled.
    let_go: Seq,
    /// What is about to be given up, when it is signed.
    giving: Option<Giving>,
    /// Whether the journal's writer waits for room.
    starving: watch::Receiver<bool>,
    ledger: Ledger,
    window: Window,
    rate: Rate,
    backoff: Backoff,
    began: Instant,
    /// Requests under way: the slot's name, when it was sent, what it came to.
    flying: JoinSet<(u64, Instant, Answer)>,
    /// Nothing is sent before.
    pause: Option<Instant>,
    /// When the newest trouble came: requests sent before it say nothing new.
    troubled: Option<Instant>,
    /// A slot that was refused and has to be taken apart.
    refused: Option<(u64, Refusal, bool)>,
    /// The next question for acknowledgements, and the pause before it.
    ask: Option<(Instant, Duration)>,
    /// The open batch is old enough then, Unix ms.
    due: Option<u64>,
    /// Leaves that the destination knows the checkpoint of.
    told: u64,
    /// The same, when the request that is under way is answered well.
    telling: Option<u64>,
    /// The channel was changed: what waited in it is sent again.
    left_channel: bool,
    /// The journal's writer is gone: nothing comes any more.
    closed: bool,
    /// Tells of keys, where fields are sealed: records may wait for one.
    keys: Option<watch::Receiver<u64>>,
    /// The destination has said that it is there.
    probed: bool,
    /// When its certificate was last looked at.
    looked: Option<Instant>,
}

/// How often it is looked whether this sink is asked for room, while the journal's
/// writer waits for some.
const STARVED: Duration = Duration::from_millis(100);

/// Names the request that tells the checkpoint, among those under way.
const CHECKPOINT: u64 = 0;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("name", &self.options.name).finish_non_exhaustive()
    }
}

/// What ends the engine for now: it tries again slowly.
#[derive(Debug, thiserror::Error)]
enum Trip {
    #[error("failed to read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to {0}")]
    Fill(#[from] FillError),
    #[error("failed to {0}")]
    Cursor(#[from] CursorError),
    #[error("failed to {0}")]
    Dead(#[from] DeadError),
    #[error("{0}")]
    Halt(String),
    #[error("a worker thread ended unexpectedly (a bug)")]
    Thread,
    #[error("told to stop")]
    Stopped,
    #[error("the journal needs room")]
    Yield,
}

impl Engine {
    /// An engine that goes on where its batcher is.
    #[must_use]
    pub fn new(options: Options, parts: Parts) -> Self {
        let Parts { wire, batcher, journal, cursors, dead, outbox, waivers, counters } = parts;
        let (first, longest) = options.times.backoff;
        let next = batcher.next_seq();
        let (settled, let_go) = options.gave_up.unwrap_or((next, next));
        let starving = journal.starving();
        let mut engine = Self {
            window: Window::new(options.max_in_flight),
            rate: Rate::new(options.rate),
            backoff: Backoff::between(first, longest),
            options,
            wire: Arc::new(wire),
            keys: batcher.keys(),
            batcher: Some(batcher),
            journal,
            cursors,
            dead,
            outbox,
            waivers,
            counters,
            state: watch::Sender::new(State::Ok),
            settled,
            let_go,
            giving: None,
            starving,
            ledger: Ledger::default(),
            began: Instant::now(),
            flying: JoinSet::new(),
            pause: None,
            troubled: None,
            refused: None,
            ask: None,
            due: None,
            told: 0,
            telling: None,
            left_channel: false,
            closed: false,
            probed: false,
            looked: None,
        };
        if settled < let_go {
            let notice = engine.gap_notice(let_go, crate::run::now_ms());
            engine.ledger.push(notice);
        }
        engine.publish();
        engine
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its type, as the configuration calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.wire.kind()
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

    /// Works until `stop` says [`Stop::Now`], or [`Stop::WhenDone`] and nothing is left.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>, clock: fn() -> u64) -> State {
        let mut leaves = self.outbox.as_ref().map(|outbox| outbox.subscribe());
        loop {
            let told = *stop.borrow();
            if told == Stop::Now {
                break;
            }
            let turned = self.turn(&stop, clock).await;
            self.publish();
            match turned {
                Ok(true) => continue,
                Ok(false) if told == Stop::WhenDone && self.is_done() => break,
                Ok(false) => {}
                Err(Trip::Stopped) => break,
                Err(Trip::Yield) => continue,
                Err(e) => self.halt(&e.to_string()),
            }
            self.wait(&mut stop, &mut leaves, clock()).await;
        }
        self.flying.abort_all();
        self.state.borrow().clone()
    }

    /// Does what can be done without waiting: whether anything was.
    async fn turn(
        &mut self,
        stop: &watch::Receiver<Stop>,
        clock: fn() -> u64,
    ) -> Result<bool, Trip> {
        let mut worked = false;
        while let Some(landed) = self.flying.try_join_next() {
            let (id, sent, answer) = landed.map_err(|_| Trip::Thread)?;
            self.answered(id, sent, answer);
            worked = true;
        }
        worked |= self.make_room(clock()).await?;
        if self.pause.is_some_and(|until| Instant::now() >= until) {
            self.pause = None;
            self.window.probe();
            worked = true;
        }
        if self.refused.is_some() && self.flying.is_empty() && self.pause.is_none() {
            self.take_apart(stop, clock).await?;
            worked = true;
        }
        if std::mem::take(&mut self.left_channel) {
            self.repeat_marked(None, clock()).await?;
            worked = true;
        }
        if self.ask.is_some_and(|(at, _)| Instant::now() >= at) {
            self.ask_for_acks(clock).await?;
            worked = true;
        }
        worked |= self.settle().await?;
        self.look_at_certificate(clock());
        worked |= self.refresh(clock()).await?;
        if self.has_room() && self.refused.is_none() {
            let flush = *stop.borrow() != Stop::No;
            worked |= self.cut(clock(), flush).await?;
        }
        if !self.probed && self.ledger.has_queued() && self.pause.is_none() {
            self.probe(clock()).await;
            worked = true;
        }
        worked |= self.launch();
        worked |= self.tell_checkpoint(clock()).await?;
        Ok(worked)
    }

    /// Waits for something to happen.
    async fn wait(
        &mut self,
        stop: &mut watch::Receiver<Stop>,
        leaves: &mut Option<watch::Receiver<u64>>,
        now: u64,
    ) {
        let mut until = Instant::now() + Duration::from_secs(60);
        let soonest = |until: &mut Instant, at: Instant| *until = (*until).min(at);
        if let Some(pause) = self.pause {
            soonest(&mut until, pause);
        }
        if let Some((ask, _)) = self.ask {
            soonest(&mut until, ask);
        }
        if let Some(due) = self.due.filter(|_| self.has_room()) {
            let wait = Duration::from_millis(due.saturating_sub(now).max(1));
            soonest(&mut until, Instant::now() + wait);
        }
        if self.ledger.has_queued() && self.pause.is_none() {
            let wait = self.rate.wait(self.began.elapsed()).max(Duration::from_millis(1));
            if self.flying.len() < self.window.limit() {
                soonest(&mut until, Instant::now() + wait);
            }
        }
        let yields = self.options.on_full == OnFull::Gap;
        if yields && *self.starving.borrow_and_update() {
            // Who else holds what may change without a word.
            soonest(&mut until, Instant::now() + STARVED);
        }
        let more = self.has_room() && !self.closed;
        let flying = !self.flying.is_empty();
        let Self { flying: tasks, journal, closed, keys, giving, starving, .. } = self;
        let mut landed = None;
        // Each branch only waits; a task that has landed is kept.
        tokio::select! {
            one = tasks.join_next(), if flying => landed = one,
            open = journal.changed(), if more => *closed = !open,
            _ = stop.changed() => {}
            _ = starving.changed(), if yields => {}
            () = async {
                match giving {
                    Some(giving) => giving.settled().await,
                    None => std::future::pending().await,
                }
            } => {}
            () = async {
                match leaves {
                    Some(leaves) => drop(leaves.changed().await),
                    None => std::future::pending().await,
                }
            } => {}
            () = async {
                match keys {
                    Some(keys) => drop(keys.changed().await),
                    None => std::future::pending().await,
                }
            } => {}
            () = tokio::time::sleep_until(until) => {}
        }
        if let Some(Ok((id, sent, answer))) = landed {
            self.answered(id, sent, answer);
        }
    }

    fn is_done(&self) -> bool {
        self.ledger.is_empty()
            && self.flying.is_empty()
            && self.refused.is_none()
            && self.batcher.as_ref().is_some_and(|b| b.next_seq() >= self.journal.end())
            && self.outbox.as_ref().is_none_or(|outbox| self.told >= outbox.end())
    }

    fn has_room(&self) -> bool {
        self.ledger.bytes() < self.options.max_bytes
            && self.ledger.len() < 4 * self.options.max_in_flight + 256
            && self.ledger.slots_queued() < 2 * self.options.max_in_flight
    }

    /// Cuts the next batch, if there is one.
    async fn cut(&mut self, now: u64, flush: bool) -> Result<bool, Trip> {
        let filled = self.with_batcher(move |batcher| batcher.fill(now, flush)).await??;
        match filled {
            Filled::Batch(batch) => {
                self.ledger.push(batch);
                self.due = None;
                Ok(true)
            }
            Filled::Nothing { until } => {
                self.due = until;
                Ok(false)
            }
        }
    }

    /// Lets the batcher work on a thread where it may block.
    async fn with_batcher<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Batcher) -> T + Send + 'static,
    ) -> Result<T, Trip> {
        let mut batcher = self.batcher.take().ok_or(Trip::Thread)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut batcher);
            (batcher, result)
        });
        let (batcher, result) = done.await.map_err(|_| Trip::Thread)?;
        self.batcher = Some(batcher);
        Ok(result)
    }
}
