//! What the engine tells others: the destination how far the signed log reaches, the
//! operator of a certificate that ends, status and metrics how it stands.

use super::{CHECKPOINT, Engine, Trip};
use crate::ship::answer::Answer;
use crate::ship::batch::Batcher;
use crate::ship::expiry;
use crate::sink::State;
use crate::sink::event::Notice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Warns of a certificate that ends soon, once a day.
    pub(super) fn look_at_certificate(&mut self, now: u64) {
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

    /// Tells the destination how far the signed log reaches, when that is news:
    /// so a cut archive can be told from a whole one. Only the newest counts.
    pub(super) async fn tell_checkpoint(&mut self, now: u64) -> Result<bool, Trip> {
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
    pub(super) fn checkpoint_answered(&mut self, sent: Instant, answer: Answer) {
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
    pub(super) fn publish(&self) {
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
}
