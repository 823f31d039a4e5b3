//! What a sink gives up is signed before it is gone.
//!
//! A sink with `on_full: gap` asks here, and lets its records go only after the
//! answer: then a `gap` leaf that names the sink and the range is durable in the
//! outbox. The records themselves are in the archive, or on their way there.

use crate::journal::Seq;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// A range of records that a sink is about to give up.
#[derive(Debug)]
pub(super) struct Waiver {
    pub(super) sink: String,
    pub(super) first: Seq,
    pub(super) end: Seq,
    signed: oneshot::Sender<()>,
}

/// Between the sinks and the sealer.
#[derive(Debug, Clone, Default)]
pub struct Waivers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: VecDeque<Waiver>,
    /// Nobody signs any more.
    closed: bool,
}

impl Waivers {
    /// Asks for a signed gap over the records from `first` up to, and without,
    /// `end`. The answer comes when it is durable; when the sealer has ended, none
    /// comes and the channel closes.
    #[must_use]
    pub fn ask(&self, sink: &str, first: Seq, end: Seq) -> oneshot::Receiver<()> {
        let (signed, answer) = oneshot::channel();
        let mut state = self.state();
        if !state.closed {
            state.asked.push_back(Waiver { sink: sink.to_owned(), first, end, signed });
            self.0.wake.notify_one();
        }
        answer
    }

    /// Waits for somebody to ask. Cancel-safe: who has asked is remembered.
    pub async fn wait(&self) {
        self.0.wake.notified().await;
    }

    /// The oldest one that is not signed yet, as sink and range.
    pub(super) fn next(&self) -> Option<(String, Seq, Seq)> {
        let mut state = self.state();
        // Withdrawn: the destination has it after all.
        while state.asked.front().is_some_and(|waiver| waiver.signed.is_closed()) {
            state.asked.pop_front();
        }
        state.asked.front().map(|w| (w.sink.clone(), w.first, w.end))
    }

    /// The oldest one's leaf is durable.
    pub(super) fn signed(&self) {
        let waiver = self.state().asked.pop_front();
        // A sink that has ended meanwhile needs no answer.
        let _ = waiver.map(|w| w.signed.send(()));
    }

    /// Nobody signs any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.asked.clear();
        state.closed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
