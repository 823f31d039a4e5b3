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

use super::answer::{Answer, Refusal, Trouble};
use super::backoff::Backoff;
use super::batch::{Batch, Batcher, FillError, Filled, How};
use super::dead::{DeadError, DeadLetters, Letter};
use super::dissect::{Dissection, Next as Step};
use super::expiry;
use super::ledger::{Ledger, Slot, Stand};
use super::on_full::{Giving, OnFull};
use super::rate::{self, Rate};
use super::window::Window;
use super::wire::Wire;
use crate::fault;
use crate::journal::{Handle, JournalError, Seq};
use crate::sealer::Waivers;
use crate::sealer::outbox::Outbox;
use crate::sink::cursor::{Cursor, CursorError, Cursors, Next};
use crate::sink::event::{Log, Notice};
use crate::sink::{Counters, State, Stop};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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
        if self.has_room() && self.refused.is_none() && self.giving.is_none() {
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
        let more = self.has_room() && !self.closed && self.giving.is_none();
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

    /// Before the first body: is it there, does it want us?
    async fn probe(&mut self, now: u64) {
        match self.wire.health().await {
            Ok(()) => {
                self.probed = true;
                self.look_at_certificate(now);
            }
            Err(Answer::Halt { reason }) => self.halt(&reason),
            Err(Answer::Retry { reason, after, trouble }) => self.trouble(&reason, after, trouble),
            // An answer that is none of health says nothing against it.
            Err(_) => self.probed = true,
        }
    }

    /// Warns of a certificate that ends soon, once a day.
    fn look_at_certificate(&mut self, now: u64) {
        const DAY: Duration = Duration::from_secs(86_400);
        if self.looked.is_some_and(|at| at.elapsed() < DAY) {
            return;
        }
        let Some(certificate) = self.wire.certificate() else { return };
        self.looked = Some(Instant::now());
        if let Some(days) = expiry::days_left(&certificate, now)
            && days < expiry::WARN_DAYS
        {
            tracing::warn!(
                sink = self.options.name,
                days,
                "the destination's certificate ends in {days} days: have it renewed"
            );
        }
    }

    /// Sends what may be sent: whether anything was.
    fn launch(&mut self) -> bool {
        let mut sent = false;
        while self.probed
            && self.flying.len() < self.window.limit()
            && self.pause.is_none()
            && self.refused.is_none()
            && self.rate.wait(self.began.elapsed()).is_zero()
        {
            let Some(slot) = self.ledger.take_queued() else { break };
            self.rate.take(slot.batch.body.len());
            let wire = Arc::clone(&self.wire);
            let compressed = self.options.compressed && !slot.batch.is_notice();
            self.flying.spawn(async move {
                let at = Instant::now();
                let answer = wire.deliver(slot.batch.body.clone(), compressed).await;
                (slot.id, at, answer)
            });
            sent = true;
        }
        sent
    }

    /// What became of a batch.
    fn answered(&mut self, id: u64, sent: Instant, answer: Answer) {
        if id == CHECKPOINT {
            return self.checkpoint_answered(sent, answer);
        }
        let Some(slot) = self.ledger.get(id).cloned() else { return };
        let fresh = self.troubled.is_none_or(|at| sent >= at);
        match answer {
            Answer::Delivered { pressed } => {
                self.went_well(&slot.batch, sent, pressed);
                self.counters.events.fetch_add(slot.batch.seqs.len() as u64, Relaxed);
                self.ledger.set(id, Stand::Done);
            }
            Answer::Accepted { ack, pressed } => {
                self.went_well(&slot.batch, sent, pressed);
                self.waits_for(id, ack);
            }
            Answer::Retry { reason, after, trouble } => {
                self.ledger.set(id, Stand::Queued);
                if fresh {
                    self.trouble(&reason, after, trouble);
                }
            }
            // Who refuses this refuses nothing that has to be kept: the leaf says it.
            Answer::Refused(refusal) | Answer::TooLarge(refusal) if slot.batch.is_notice() => {
                tracing::warn!(sink = self.options.name, "the word of a gap: {}", refusal.reason);
                self.ledger.set(id, Stand::Done);
            }
            Answer::Refused(refusal) => {
                self.counters.failed(&refusal.reason);
                self.ledger.set(id, Stand::Queued);
                self.refused.get_or_insert((id, refusal, false));
            }
            Answer::TooLarge(refusal) => {
                self.counters.failed(&refusal.reason);
                self.ledger.set(id, Stand::Queued);
                self.refused.get_or_insert((id, refusal, true));
            }
            Answer::Halt { reason } => {
                self.ledger.set(id, Stand::Queued);
                if fresh {
                    self.halt(&reason);
                }
            }
        }
    }

    fn waits_for(&mut self, id: u64, ack: u64) {
        self.ledger.set(id, Stand::Waiting { ack, since: self.began.elapsed() });
        let first = self.options.times.ask.0;
        self.ask.get_or_insert((Instant::now() + first, first));
    }

    fn went_well(&mut self, batch: &Batch, sent: Instant, pressed: bool) {
        self.backoff.succeeded();
        self.window.succeeded(sent.elapsed());
        if pressed {
            self.window.pressed();
        }
        self.counters.batches.fetch_add(1, Relaxed);
        self.counters.bytes.fetch_add(batch.body.len() as u64, Relaxed);
        State::Ok.set(&self.state);
    }

    /// It passes: a pause, then the same again.
    fn trouble(&mut self, reason: &str, after: Option<Duration>, trouble: Trouble) {
        self.troubled = Some(Instant::now());
        self.counters.failed(reason);
        match trouble {
            Trouble::Again => {
                // What was accepted in the old channel can be asked for no more.
                self.wire.new_channel();
                self.left_channel = true;
            }
            Trouble::Pressed => self.window.pressed(),
            Trouble::Away => self.window.away(),
        }
        let pause = self.backoff.failed(after);
        let sink = self.options.name.as_str();
        tracing::warn!(sink, "{reason}; trying again in {:.1} s", pause.as_secs_f32());
        self.pause = Some(Instant::now() + pause);
        self.publish();
        State::Retrying(reason.to_owned()).set(&self.state);
    }

    /// Somebody has to act: everything is kept, and tried again slowly.
    fn halt(&mut self, reason: &str) {
        self.troubled = Some(Instant::now());
        self.counters.failed(reason);
        self.counters.halts.fetch_add(1, Relaxed);
        self.window.away();
        let pause = self.backoff.failed(Some(self.options.times.halt));
        let sink = self.options.name.as_str();
        tracing::error!(
            sink,
            "{reason}; everything is kept, trying again in {:.0} s",
            pause.as_secs_f32()
        );
        self.pause = Some(Instant::now() + pause);
        self.publish();
        State::Halted(reason.to_owned()).set(&self.state);
        if let Err(e) = self.wire.reload() {
            tracing::warn!(sink, "failed to {e}");
        }
        // What has joined since may show that it is one record, not all.
        self.rewind();
    }

    /// Cuts anew what waits unsent.
    fn rewind(&mut self) {
        if !self.flying.is_empty() {
            return;
        }
        if let (Some(first), Some(batcher)) = (self.ledger.rewind(), &mut self.batcher)
            && let Err(e) = batcher.rewind(first)
        {
            tracing::error!(sink = self.options.name, "failed to read the journal: {e}");
        }
    }

    /// Moves the cursor over what is done. Durable when this returns.
    async fn settle(&mut self) -> Result<bool, Trip> {
        let Some(reached) = self.ledger.settle() else { return Ok(false) };
        self.settled = reached;
        self.let_go = self.let_go.max(reached);
        fault::point("ship.cursor");
        match self.save_cursor().await? {
            // The journal holds more for a while; what follows moves it.
            Err(e) if e.is_full() => tracing::warn!(sink = self.options.name, "failed to {e}"),
            other => {
                other?;
                self.hold();
            }
        }
        Ok(true)
    }

    /// Writes down where the sink is. Durable when this returns well.
    async fn save_cursor(&mut self) -> Result<Result<(), CursorError>, Trip> {
        let cursor = Cursor {
            next: Next::Record(self.settled.0),
            place: Some(self.options.place.clone()),
            gave_up: (self.let_go > self.settled).then_some(self.let_go.0),
        };
        let (cursors, name) = (self.cursors.clone(), self.options.name.clone());
        let saved = tokio::task::spawn_blocking(move || cursors.save(&name, &cursor)).await;
        saved.map_err(|_| Trip::Thread)
    }

    /// Says which records are still needed of the journal.
    fn hold(&self) {
        match self.options.on_full {
            OnFull::Block => self.journal.hold(&self.options.name, self.let_go),
            OnFull::Gap => self.journal.hold_loosely(&self.options.name, self.let_go),
        }
    }

    /// Gives up the oldest records when the journal is full of them, under a gap
    /// that is signed first: whether anything was done.
    async fn make_room(&mut self, now: u64) -> Result<bool, Trip> {
        let Some(mut giving) = self.giving.take() else {
            let Some(end) = self.asked_to_yield() else { return Ok(false) };
            let Some(waivers) = &self.waivers else { return Ok(false) };
            let end = self.ledger.end_of_batch(end);
            let answer = waivers.ask(&self.options.name, self.let_go, end);
            self.giving = Some(Giving::new(end, answer));
            return Ok(true);
        };
        match giving.is_signed() {
            None => self.giving = Some(giving),
            // The sealer has ended: nothing is written any more, and nothing given up.
            Some(false) => {}
            Some(true) if giving.end <= self.let_go => {}
            Some(true) => {
                fault::point("ship.waiver");
                let (first, end) = (self.let_go, giving.end);
                self.let_go = end;
                if let Err(e) = self.save_cursor().await? {
                    // It is signed, but not done: asked for again.
                    self.let_go = first;
                    return Err(e.into());
                }
                fault::point("ship.gave-up");
                let count = end.0 - first.0;
                self.counters.given_up.fetch_add(count, Relaxed);
                tracing::error!(
                    sink = self.options.name,
                    first = first.0,
                    records = count,
                    "the journal is full and this sink is behind: its oldest records are given up, under a \
                     signed gap; they are in the archive, `sealtail replay` sends them"
                );
                let notice = self.gap_notice(end, now);
                self.ledger.give_up(end, notice);
                self.refused = None;
                self.with_batcher(move |batcher| match batcher.first_open() < end {
                    true => batcher.rewind(end),
                    false => Ok(()),
                })
                .await??;
                self.hold();
            }
        }
        Ok(true)
    }

    fn asked_to_yield(&self) -> Option<Seq> {
        let yields = self.options.on_full == OnFull::Gap && self.waivers.is_some();
        yields.then(|| self.journal.asked_to_yield(&self.options.name)).flatten()
    }

    /// The word that the records from the cursor up to `end` were given up.
    fn gap_notice(&self, end: Seq, now: u64) -> Batch {
        let (first, count) = (self.settled, end.0.saturating_sub(self.settled.0));
        let notice = Notice::gap(now, &self.options.name, first.0, count);
        Batch::notice((first, end), self.wire.notice(&notice), now)
    }

    /// Batches that were cut long ago and never sent are cut anew: what they say
    /// of their age is not true any more.
    async fn refresh(&mut self, now: u64) -> Result<bool, Trip> {
        let stale = u64::try_from(self.options.times.stale.as_millis()).unwrap_or(u64::MAX);
        let old = self.ledger.oldest_queued().is_some_and(|made| made.saturating_add(stale) < now);
        if old && self.pause.is_none() && self.refused.is_none() {
            self.rewind();
        }
        Ok(false)
    }

    /// Asks which of the accepted batches are kept.
    async fn ask_for_acks(&mut self, clock: fn() -> u64) -> Result<(), Trip> {
        let (shortest, longest) = self.options.times.ask;
        let waiting = self.ledger.waiting();
        let Some((_, pause)) = self.ask.take() else { return Ok(()) };
        if waiting.is_empty() {
            return Ok(());
        }
        let next = match self.wire.ask(&waiting).await {
            Ok(kept) => {
                let events = self.ledger.acknowledged(&kept);
                self.counters.events.fetch_add(events, Relaxed);
                if kept.is_empty() { (pause * 3 / 2).min(longest) } else { shortest }
            }
            Err(Answer::Halt { reason }) => {
                self.halt(&reason);
                longest
            }
            Err(Answer::Retry { trouble: Trouble::Again, reason, after }) => {
                self.trouble(&reason, after, Trouble::Again);
                shortest
            }
            // Nothing is acknowledged by what is not understood.
            Err(_) => longest,
        };
        let limit = self.began.elapsed().checked_sub(self.options.times.ack);
        if let Some(limit) = limit {
            self.repeat_marked(Some(limit), clock()).await?;
        }
        if !self.ledger.waiting().is_empty() {
            self.ask = Some((Instant::now() + next, next));
        }
        Ok(())
    }

    /// What has waited since before `limit` is sent again, and says that it may
    /// be there already.
    async fn repeat_marked(&mut self, limit: Option<Duration>, now: u64) -> Result<(), Trip> {
        for slot in self.ledger.expired(limit) {
            if slot.batch.is_notice() {
                self.ledger.set(slot.id, Stand::Queued);
                continue;
            }
            let batch = Arc::clone(&slot.batch);
            let how = How { now, repeated: true, ..How::default() };
            let mut again = self
                .with_batcher(move |b| b.again((batch.first, batch.end), &batch.seqs, how))
                .await??;
            again.oldest = slot.batch.oldest;
            let again = self.ledger.slot(again, Stand::Queued);
            self.ledger.replace(slot.id, vec![again]);
            tracing::warn!(
                sink = self.options.name,
                first = slot.batch.first.0,
                "no acknowledgement came: the batch is sent again, marked as a possible duplicate"
            );
        }
        Ok(())
    }

    /// Finds the records that were refused and delivers the others.
    async fn take_apart(
        &mut self,
        stop: &watch::Receiver<Stop>,
        clock: fn() -> u64,
    ) -> Result<(), Trip> {
        let Some((id, refusal, too_large)) = self.refused.take() else { return Ok(()) };
        let Some(slot) = self.ledger.get(id).cloned() else { return Ok(()) };
        let batch = &slot.batch;
        let named = refusal.entry.and_then(|entry| batch.record_of_entry(entry));
        if too_large {
            tracing::warn!(
                sink = self.options.name,
                "{}: batches of {} bytes are too large for the destination, smaller ones are made",
                refusal.reason,
                batch.raw_len
            );
            if let Some(batcher) = &mut self.batcher {
                batcher.shrink(batch.raw_len);
            }
        }
        let mut search = if too_large {
            Dissection::halving(batch.seqs.len(), refusal)
        } else {
            Dissection::new(batch.seqs.len(), refusal, named)
        };
        let mut parts: Vec<Part> = Vec::new();
        let found = loop {
            let range = match search.step() {
                Step::Try(range) => range,
                Step::Condemned(singles) => break Ok(singles),
                Step::AllRefused(refusal) => break Err(refusal),
            };
            let seqs = batch.seqs.get(range.clone()).unwrap_or_default().to_vec();
            let how = How { now: clock(), repeated: batch.repeated, ..How::default() };
            let (first, last) = (seqs.first().copied(), seqs.last().copied());
            let (Some(first), Some(last)) = (first, last) else { break Ok(Vec::new()) };
            let piece =
                self.with_batcher(move |b| b.again((first, last.plus(1)), &seqs, how)).await??;
            match self.deliver_now(piece.clone(), stop).await {
                Ok(Answer::Refused(refusal)) => search.was_refused(refusal, false),
                Ok(Answer::TooLarge(refusal)) => search.was_refused(refusal, true),
                Ok(Answer::Accepted { ack, .. }) => {
                    parts.push(Part { range, batch: piece, stand: Some(ack) });
                    search.was_taken();
                }
                Ok(_) => {
                    self.counters.events.fetch_add(piece.seqs.len() as u64, Relaxed);
                    parts.push(Part { range, batch: piece, stand: None });
                    search.was_taken();
                }
                Err(trip) => {
                    self.put_parts(&slot, parts, Vec::new(), clock()).await?;
                    return Err(trip);
                }
            }
        };
        match found {
            Ok(singles) => {
                let mut done = Vec::new();
                for (at, refusal) in singles {
                    if let Some(seq) = batch.seqs.get(at) {
                        self.condemn(*seq, &refusal, clock()).await?;
                        done.push(at);
                    }
                }
                self.put_parts(&slot, parts, done, clock()).await
            }
            Err(refusal) => {
                self.put_parts(&slot, parts, Vec::new(), clock()).await?;
                Err(Trip::Halt(format!(
                    "{}; it refuses every record that was tried, so it is not a record that is wrong: \
                     nothing is given up",
                    refusal.reason
                )))
            }
        }
    }

    /// Replaces a slot by what became of its records.
    async fn put_parts(
        &mut self,
        slot: &Slot,
        mut parts: Vec<Part>,
        condemned: Vec<usize>,
        now: u64,
    ) -> Result<(), Trip> {
        parts.sort_by_key(|part| part.range.start);
        let seqs = slot.batch.seqs.clone();
        let mut slots = Vec::new();
        // Each slot covers up to where the next one begins.
        let mut at = 0;
        let mut first = slot.batch.first;
        let how = How { now, repeated: slot.batch.repeated, ..How::default() };
        let mut parts = parts.into_iter().peekable();
        while at < seqs.len() {
            let (end, mut batch, stand) = match parts.next_if(|p| p.range.start == at) {
                Some(part) => {
                    let stand = match part.stand {
                        Some(ack) => Stand::Waiting { ack, since: self.began.elapsed() },
                        None => Stand::Done,
                    };
                    (part.range.end, part.batch, stand)
                }
                None => {
                    let end = parts.peek().map_or(seqs.len(), |p| p.range.start);
                    let dead = condemned.contains(&at);
                    let stop = (at..end).find(|n| condemned.contains(n) != dead).unwrap_or(end);
                    let some = seqs.get(at..stop).unwrap_or_default().to_vec();
                    let (from, to) = (first, first);
                    let batch = self
                        .with_batcher(move |b| {
                            b.again((from, to), if dead { &[] } else { &some }, how)
                        })
                        .await??;
                    (stop, batch, if dead { Stand::Done } else { Stand::Queued })
                }
            };
            batch.oldest = slot.batch.oldest;
            batch.first = first;
            batch.end = seqs.get(end).copied().unwrap_or(slot.batch.end);
            first = batch.end;
            at = end;
            let new = self.ledger.slot(batch, stand);
            slots.push(new);
        }
        self.ledger.replace(slot.id, slots);
        if !self.ledger.waiting().is_empty() {
            let first = self.options.times.ask.0;
            self.ask.get_or_insert((Instant::now() + first, first));
        }
        Ok(())
    }

    /// Sends one body until it has an answer of its own.
    async fn deliver_now(
        &mut self,
        batch: Batch,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Answer, Trip> {
        loop {
            if *stop.borrow() == Stop::Now {
                return Err(Trip::Stopped);
            }
            if self.asked_to_yield().is_some() {
                return Err(Trip::Yield);
            }
            let wait = self.rate.wait(self.began.elapsed());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                continue;
            }
            self.rate.take(batch.body.len());
            let sent = Instant::now();
            match self.wire.deliver(batch.body.clone(), self.options.compressed).await {
                Answer::Retry { reason, after, trouble } => {
                    self.trouble(&reason, after, trouble);
                    if let Some(until) = self.pause.take() {
                        let mut stop = stop.clone();
                        let mut starving = self.starving.clone();
                        // Each only waits.
                        tokio::select! {
                            () = tokio::time::sleep_until(until) => {}
                            () = async { drop(starving.wait_for(|is| *is).await) } => {
                                tokio::time::sleep(STARVED).await;
                            }
                            () = async { drop(stop.wait_for(|s| *s == Stop::Now).await) } => {}
                        }
                    }
                }
                Answer::Halt { reason } => return Err(Trip::Halt(reason)),
                answer => {
                    if matches!(answer, Answer::Delivered { .. } | Answer::Accepted { .. }) {
                        self.went_well(&batch, sent, false);
                    } else {
                        self.counters.failures.fetch_add(1, Relaxed);
                    }
                    return Ok(answer);
                }
            }
        }
    }

    /// Puts a record into the dead letters. Durable when this returns.
    async fn condemn(&mut self, seq: Seq, refusal: &Refusal, now: u64) -> Result<(), Trip> {
        let record = self.with_batcher(move |b| b.record(seq)).await??;
        let (journaled, bytes) = record.unwrap_or((now, b"null".to_vec()));
        let letter = Letter {
            v: 1,
            sink: self.options.name.clone(),
            place: self.options.place.clone(),
            origin: self.options.log.origin.clone(),
            incarnation: self.options.log.incarnation.clone(),
            seq: seq.0,
            status: refusal.status,
            code: refusal.code,
            reason: refusal.reason.clone(),
            refused: crate::text::rfc3339(now),
            journaled,
            record: serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        let dead = self.dead.clone();
        fault::point("ship.dead");
        tokio::task::spawn_blocking(move || dead.keep(&letter))
            .await
            .map_err(|_| Trip::Thread)??;
        self.counters.condemned.fetch_add(1, Relaxed);
        tracing::error!(
            sink = self.options.name,
            seq = seq.0,
            "{}; the record is in the dead letters (`sealtail dead-letter list`)",
            refusal.reason
        );
        Ok(())
    }

    /// Tells the destination how far the signed log reaches, when that is news:
    /// so a cut archive can be told from a whole one. Only the newest counts.
    async fn tell_checkpoint(&mut self, now: u64) -> Result<bool, Trip> {
        let Some(outbox) = self.outbox.clone() else { return Ok(false) };
        let held_up = self.pause.is_some() || self.refused.is_some();
        if !self.probed && !self.ledger.is_empty() {
            return Ok(false);
        }
        if outbox.end() <= self.told || self.telling.is_some() || held_up {
            return Ok(false);
        }
        let newest = tokio::task::spawn_blocking(move || outbox.newest()).await;
        // One that was uploaded and removed meanwhile has a newer one behind it.
        let Ok(Some(head)) = newest.map_err(|_| Trip::Thread)? else { return Ok(false) };
        let size = head.index + 1;
        let body = self.wire.notice(&Notice::checkpoint(now, size, &head.checkpoint));
        self.rate.take(body.len());
        self.telling = Some(size);
        let wire = Arc::clone(&self.wire);
        self.flying
            .spawn(async move { (CHECKPOINT, Instant::now(), wire.deliver(body, false).await) });
        Ok(true)
    }

    /// What became of the checkpoint.
    fn checkpoint_answered(&mut self, sent: Instant, answer: Answer) {
        let told = self.telling.take().unwrap_or(self.told);
        let fresh = self.troubled.is_none_or(|at| sent >= at);
        match answer {
            Answer::Delivered { .. } | Answer::Accepted { .. } => {
                self.told = told;
                self.backoff.succeeded();
                State::Ok.set(&self.state);
            }
            Answer::Retry { reason, after, trouble } if fresh => {
                self.trouble(&reason, after, trouble);
            }
            Answer::Halt { reason } if fresh => self.halt(&reason),
            Answer::Retry { .. } | Answer::Halt { .. } => {}
            // Who refuses this refuses nothing that has to be kept.
            Answer::Refused(refusal) | Answer::TooLarge(refusal) => {
                tracing::warn!(sink = self.options.name, "a checkpoint: {}", refusal.reason);
                self.told = told;
            }
        }
    }

    /// Says how it stands to whoever asks meanwhile (status, metrics).
    fn publish(&self) {
        let c = &self.counters;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        // What was given up does not wait.
        c.next.store(self.let_go.0, Relaxed);
        c.window.store(count(self.window.limit()), Relaxed);
        c.in_flight.store(count(self.flying.len()), Relaxed);
        c.set_breaker(self.window.breaker());
        c.certificate_end.store(self.wire.certificate_end().unwrap_or(0), Relaxed);
        let open = || self.batcher.as_ref().and_then(Batcher::oldest);
        match self.ledger.oldest().or_else(open) {
            Some(oldest) => c.oldest.store(oldest, Relaxed),
            // What waits to be cut anew is as old as it was.
            None if self.let_go < self.journal.end() => {}
            None => c.oldest.store(0, Relaxed),
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

/// A part of a refused batch that the destination took.
struct Part {
    range: std::ops::Range<usize>,
    batch: Batch,
    /// The id that it is acknowledged by, if it is.
    stand: Option<u64>,
}
