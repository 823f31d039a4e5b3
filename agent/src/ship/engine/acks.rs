//! Indexer acknowledgement: what is kept is asked for; what nobody can be asked
//! about any more is sent again, and says so.

use super::{Engine, Trip};
use crate::ship::answer::{Answer, Trouble};
use crate::ship::batch::How;
use crate::ship::ledger::Stand;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Asks which of the accepted batches are kept.
    pub(super) async fn ask_for_acks(&mut self, clock: fn() -> u64) -> Result<(), Trip> {
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
    pub(super) async fn repeat_marked(
        &mut self,
        limit: Option<Duration>,
        now: u64,
    ) -> Result<(), Trip> {
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
}
