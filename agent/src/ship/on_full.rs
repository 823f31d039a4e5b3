//! What a sink does when the journal is full and it is behind.

use crate::journal::Seq;
use tokio::sync::oneshot;

/// The two ways (DESIGN.md, "The life of a line").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Reading stops; the log files are then the queue. Nothing is given up.
    #[default]
    Block,
    /// This sink's oldest records are given up, under a signed gap. The archive
    /// has them, and `sealtail replay` sends them later.
    Gap,
}

/// Records that a sink is about to give up: it waits for the signature.
#[derive(Debug)]
pub(super) struct Giving {
    /// The record behind the last one.
    pub(super) end: Seq,
    answer: oneshot::Receiver<()>,
    /// What the answer was.
    known: Option<bool>,
}

impl Giving {
    pub(super) fn new(end: Seq, answer: oneshot::Receiver<()>) -> Self {
        Self { end, answer, known: None }
    }

    /// Whether the gap is signed; `None`: not yet known.
    pub(super) fn is_signed(&mut self) -> Option<bool> {
        if self.known.is_none() {
            self.known = match self.answer.try_recv() {
                Ok(()) => Some(true),
                Err(oneshot::error::TryRecvError::Closed) => Some(false),
                Err(oneshot::error::TryRecvError::Empty) => None,
            };
        }
        self.known
    }

    /// Waits for the answer. Cancel-safe: what came is kept.
    pub(super) async fn settled(&mut self) {
        if self.known.is_none() {
            self.known = Some((&mut self.answer).await.is_ok());
        }
    }
}
