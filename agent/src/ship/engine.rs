//! The task of a sink that follows the journal: Splunk, Datadog.
//!
//! Nothing is skipped: the durable cursor moves over the contiguous prefix of
//! what the destination has, or what is durable in the dead letters. On trouble
//! the same bytes are sent again, for ever.
//!
//! Crash points: before the cursor is durable, what was delivered behind it is
//! sent again (the destination gets it twice, with the same origin and number);
//! a dead letter is durable before the cursor passes it.

use super::answer::{Answer, Refusal, Trouble};
use super::backoff::Backoff;
use super::batch::{Batch, Batcher, Filled, How};
use super::dead::{DeadError, DeadLetters, Letter};
use super::dissect::{Dissection, Next as Step};
use super::expiry;
use super::ledger::{Ledger, Slot, Stand};
use super::rate::{self, Rate};
use super::window::{Breaker, Window};
use super::wire::Wire;
use crate::fault;
use crate::journal::{Handle, JournalError, Seq};
use crate::sealer::outbox::Outbox;
use crate::sink::cursor::{Cursor, CursorError, Cursors, Next};
use crate::sink::event::Log;
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
    counters: Arc<Counters>,
    state: watch::Sender<State>,
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
    /// The destination has said that it is there.
    probed: bool,
    /// When its certificate was last looked at.
    looked: Option<Instant>,
}

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
    Cursor(#[from] CursorError),
    #[error("failed to {0}")]
    Dead(#[from] DeadError),
    #[error("{0}")]
    Halt(String),
    #[error("a worker thread ended unexpectedly (a bug)")]
    Thread,
    #[error("told to stop")]
    Stopped,
}

impl Engine {
    /// An engine that goes on where its batcher is.
    #[must_use]
    pub fn new(options: Options, parts: Parts) -> Self {
        let Parts { wire, batcher, journal, cursors, dead, outbox, counters } = parts;
        let (first, longest) = options.times.backoff;
        Self {
            window: Window::new(options.max_in_flight),
            rate: Rate::new(options.rate),
            backoff: Backoff::between(first, longest),
            options,
            wire: Arc::new(wire),
            batcher: Some(batcher),
            journal,
            cursors,
            dead,
            outbox,
            counters,
            state: watch::Sender::new(State::Ok),
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
        }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
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
            match self.turn(&stop, clock).await {
                Ok(true) => continue,
                Ok(false) if told == Stop::WhenDone && self.is_done() => break,
                Ok(false) => {}
                Err(Trip::Stopped) => break,
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
        let more = self.has_room() && !self.closed;
        let flying = !self.flying.is_empty();
        let Self { flying: tasks, journal, closed, .. } = self;
        let mut landed = None;
        // Each branch only waits; a task that has landed is kept.
        tokio::select! {
            one = tasks.join_next(), if flying => landed = one,
            open = journal.changed(), if more => *closed = !open,
            _ = stop.changed() => {}
            () = async {
                match leaves {
                    Some(leaves) => drop(leaves.changed().await),
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
            let compressed = self.options.compressed;
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
            Answer::Refused(refusal) => {
                self.counters.failures.fetch_add(1, Relaxed);
                self.ledger.set(id, Stand::Queued);
                self.refused.get_or_insert((id, refusal, false));
            }
            Answer::TooLarge(refusal) => {
                self.counters.failures.fetch_add(1, Relaxed);
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
        self.counters.failures.fetch_add(1, Relaxed);
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
        State::Retrying(reason.to_owned()).set(&self.state);
    }

    /// Somebody has to act: everything is kept, and tried again slowly.
    fn halt(&mut self, reason: &str) {
        self.troubled = Some(Instant::now());
        self.counters.failures.fetch_add(1, Relaxed);
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
        let cursor =
            Cursor { next: Next::Record(reached.0), place: Some(self.options.place.clone()) };
        let (cursors, name) = (self.cursors.clone(), self.options.name.clone());
        fault::point("ship.cursor");
        let saved = tokio::task::spawn_blocking(move || cursors.save(&name, &cursor)).await;
        match saved.map_err(|_| Trip::Thread)? {
            // The journal holds more for a while; what follows moves it.
            Err(e) if e.is_full() => tracing::warn!(sink = self.options.name, "failed to {e}"),
            other => {
                other?;
                self.journal.hold(&self.options.name, reached);
            }
        }
        Ok(true)
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
            let batch = Arc::clone(&slot.batch);
            let how = How { now, repeated: true };
            let again = self
                .with_batcher(move |b| b.again((batch.first, batch.end), &batch.seqs, how))
                .await??;
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
            let how = How { now: clock(), repeated: batch.repeated };
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
        let how = How { now, repeated: slot.batch.repeated };
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
                        // Both only wait.
                        tokio::select! {
                            () = tokio::time::sleep_until(until) => {}
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
        let body = self.wire.checkpoint(now, size, &head.checkpoint);
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

    /// The window's state, for metrics.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        self.window.breaker()
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
