//! How far the sink is, durably; and how it lets go of records when the journal is
//! full (`on_full: gap`): signed first, then noted in the cursor, then let go.

use super::{Engine, Trip};
use crate::fault;
use crate::journal::Seq;
use crate::ship::batch::Batch;
use crate::ship::on_full::{Giving, OnFull};
use crate::sink::cursor::{Cursor, CursorError, Next};
use crate::sink::event::Notice;
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// Moves the cursor over what is done. Durable when this returns.
    pub(super) async fn settle(&mut self) -> Result<bool, Trip> {
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
    pub(super) async fn save_cursor(&mut self) -> Result<Result<(), CursorError>, Trip> {
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
    pub(super) fn hold(&self) {
        match self.options.on_full {
            OnFull::Block => self.journal.hold(&self.options.name, self.let_go),
            OnFull::Gap => self.journal.hold_loosely(&self.options.name, self.let_go),
        }
    }

    /// Gives up the oldest records when the journal is full of them, under a gap
    /// that is signed first: whether anything was done.
    pub(super) async fn make_room(&mut self, now: u64) -> Result<bool, Trip> {
        let Some(mut giving) = self.giving.take() else {
            let Some(end) = self.asked_to_yield() else { return Ok(false) };
            let Some(waivers) = &self.waivers else { return Ok(false) };
            if end <= self.let_go {
                // It needs them no more: only the cursor could not say so, for want of space.
                return match self.save_cursor().await? {
                    Err(e) if e.is_full() => Ok(false),
                    other => {
                        other?;
                        self.hold();
                        Ok(true)
                    }
                };
            }
            let end = self.ledger.end_of_batch(end);
            let answer = waivers.ask(&self.options.name, self.let_go, end);
            self.giving = Some(Giving::new(end, answer));
            return Ok(true);
        };
        match giving.is_signed() {
            // Delivered in the meantime: it need not be signed any more.
            None if giving.end <= self.let_go => {}
            None => {
                self.giving = Some(giving);
                return Ok(false);
            }
            // The sealer has ended: nothing is written any more, and nothing given up.
            Some(false) => {
                self.waivers = None;
                return Ok(false);
            }
            // By whole batches: one that was cut meanwhile and reaches further is kept.
            Some(true) if self.ledger.start_of_batch(giving.end) <= self.let_go => {}
            Some(true) => {
                fault::point("ship.waiver");
                let (first, end) = (self.let_go, self.ledger.start_of_batch(giving.end));
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

    /// Whether there is something to be done about it now: not while a signature
    /// is waited for.
    pub(super) fn has_to_yield(&mut self) -> bool {
        match &mut self.giving {
            Some(giving) => giving.is_signed().is_some(),
            None => self.asked_to_yield().is_some(),
        }
    }

    pub(super) fn asked_to_yield(&self) -> Option<Seq> {
        let yields = self.options.on_full == OnFull::Gap && self.waivers.is_some();
        yields.then(|| self.journal.asked_to_yield(&self.options.name)).flatten()
    }

    /// The word that the records from the cursor up to `end` were given up.
    pub(super) fn gap_notice(&self, end: Seq, now: u64) -> Batch {
        let (first, count) = (self.settled, end.0.saturating_sub(self.settled.0));
        let notice = Notice::gap(now, &self.options.name, first.0, count);
        Batch::notice((first, end), self.wire.notice(&notice), now)
    }
}
