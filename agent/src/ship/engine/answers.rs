//! What is sent, and what becomes of it: each answer in its class.
//!
//! Nothing is decided here that a later answer could contradict: a batch is done
//! when the destination says so, and waits otherwise.

use super::{CHECKPOINT, Engine, Trip};
use crate::ship::answer::{Answer, Trouble};
use crate::ship::batch::Batch;
use crate::ship::ledger::Stand;
use crate::sink::State;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Before the first body: is it there, does it want us?
    pub(super) async fn probe(&mut self, now: u64) {
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

    /// Sends what may be sent: whether anything was.
    pub(super) fn launch(&mut self) -> bool {
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
    pub(super) fn answered(&mut self, id: u64, sent: Instant, answer: Answer) {
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

    pub(super) fn waits_for(&mut self, id: u64, ack: u64) {
        self.ledger.set(id, Stand::Waiting { ack, since: self.began.elapsed() });
        let first = self.options.times.ask.0;
        self.ask.get_or_insert((Instant::now() + first, first));
    }

    pub(super) fn went_well(&mut self, batch: &Batch, sent: Instant, pressed: bool) {
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
    pub(super) fn trouble(&mut self, reason: &str, after: Option<Duration>, trouble: Trouble) {
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
    pub(super) fn halt(&mut self, reason: &str) {
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
    pub(super) fn rewind(&mut self) {
        if !self.flying.is_empty() {
            return;
        }
        if let (Some(first), Some(batcher)) = (self.ledger.rewind(), &mut self.batcher)
            && let Err(e) = batcher.rewind(first)
        {
            tracing::error!(sink = self.options.name, "failed to read the journal: {e}");
        }
    }

    /// Batches that were cut long ago and never sent are cut anew: what they say
    /// of their age is not true any more.
    pub(super) async fn refresh(&mut self, now: u64) -> Result<bool, Trip> {
        let stale = u64::try_from(self.options.times.stale.as_millis()).unwrap_or(u64::MAX);
        let old = self.ledger.oldest_queued().is_some_and(|made| made.saturating_add(stale) < now);
        if old && self.pause.is_none() && self.refused.is_none() {
            self.rewind();
        }
        Ok(false)
    }
}
