//! A batch that was refused: the bad record is found and condemned, the others are
//! delivered, and what the destination takes of them is not sent twice.

use super::{Engine, STARVED, Trip};
use crate::fault;
use crate::journal::Seq;
use crate::ship::answer::{Answer, Refusal};
use crate::ship::batch::{Batch, How};
use crate::ship::dead::Letter;
use crate::ship::dissect::Dissection;
use crate::ship::dissect::Next as Step;
use crate::ship::ledger::{Slot, Stand};
use crate::sink::Stop;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::watch;
use tokio::time::Instant;

impl Engine {
    /// Finds the records that were refused and delivers the others.
    pub(super) async fn take_apart(
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
    pub(super) async fn put_parts(
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
    pub(super) async fn deliver_now(
        &mut self,
        batch: Batch,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Answer, Trip> {
        loop {
            if *stop.borrow() == Stop::Now {
                return Err(Trip::Stopped);
            }
            if self.has_to_yield() {
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
                    let mut stop = stop.clone();
                    let until = self.pause.take().unwrap_or_else(Instant::now);
                    while Instant::now() < until && *stop.borrow() != Stop::Now {
                        if self.has_to_yield() {
                            return Err(Trip::Yield);
                        }
                        let soon = until.min(Instant::now() + STARVED);
                        // Both only wait.
                        tokio::select! {
                            () = tokio::time::sleep_until(soon) => {}
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
    pub(super) async fn condemn(
        &mut self,
        seq: Seq,
        refusal: &Refusal,
        now: u64,
    ) -> Result<(), Trip> {
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
}

/// A part of a refused batch that the destination took.
pub(super) struct Part {
    range: std::ops::Range<usize>,
    batch: Batch,
    /// The id that it is acknowledged by, if it is.
    stand: Option<u64>,
}
