//! What is under way to one destination, in order: batches that wait, that are
//! being sent, that wait for an acknowledgement. The cursor moves over the
//! contiguous prefix of those that are done, and over nothing else.

use super::batch::Batch;
use crate::journal::Seq;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// To be sent, or sent again.
    Queued,
    /// A request is under way.
    Sending,
    /// Accepted; it is done when the acknowledgement with this id has come.
    Waiting {
        /// The id.
        ack: u64,
        /// Since when, on the engine's clock.
        since: Duration,
    },
    /// Delivered, or in the dead letters, or there was nothing to send.
    Done,
}

/// A batch and how it stands.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Names the slot while it is here.
    pub id: u64,
    /// What is to be delivered.
    pub batch: Arc<Batch>,
    /// How it stands.
    pub stand: Stand,
}

/// The batches of one destination.
#[derive(Debug, Default)]
pub struct Ledger {
    slots: VecDeque<Slot>,
    ids: u64,
}

impl Ledger {
    /// Adds a batch behind the others. One without a body is done at once.
    pub fn push(&mut self, batch: Batch) {
        let stand = if batch.body.is_empty() { Stand::Done } else { Stand::Queued };
        let slot = self.slot(batch, stand);
        self.slots.push_back(slot);
    }

    /// Where the batch ends that has the record before `upto`: what is given up
    /// is given up by whole batches. `upto` itself when no batch has it.
    #[must_use]
    pub fn end_of_batch(&self, upto: Seq) -> Seq {
        let holds = |s: &&Slot| s.batch.first < upto && s.batch.end > upto;
        self.slots.iter().find(holds).map_or(upto, |slot| slot.batch.end)
    }

    /// Where the batch begins that has the records on both sides of `upto`; `upto`
    /// itself when no batch has.
    #[must_use]
    pub fn start_of_batch(&self, upto: Seq) -> Seq {
        let holds = |s: &&Slot| s.batch.first < upto && s.batch.end > upto;
        self.slots.iter().find(holds).map_or(upto, |slot| slot.batch.first)
    }

    /// Lets go of all batches before `end`, whatever became of them, and puts
    /// `notice` in their place, which covers them all.
    pub fn give_up(&mut self, end: Seq, notice: Batch) {
        self.slots.retain(|slot| slot.batch.first >= end);
        let slot = self.slot(notice, Stand::Queued);
        self.slots.push_front(slot);
    }

    /// A slot for [`Ledger::replace`].
    pub fn slot(&mut self, batch: Batch, stand: Stand) -> Slot {
        self.ids += 1;
        Slot { id: self.ids, batch: Arc::new(batch), stand }
    }

    /// Puts other slots, which together cover the same records, in one's place.
    pub fn replace(&mut self, id: u64, with: Vec<Slot>) {
        let Some(at) = self.slots.iter().position(|s| s.id == id) else { return };
        let rest = self.slots.split_off(at + 1);
        self.slots.pop_back();
        self.slots.extend(with);
        self.slots.extend(rest);
    }

    /// Takes the oldest batch that is to be sent; it counts as being sent now.
    pub fn take_queued(&mut self) -> Option<Slot> {
        let slot = self.slots.iter_mut().find(|s| s.stand == Stand::Queued)?;
        slot.stand = Stand::Sending;
        Some(slot.clone())
    }

    /// Says how a batch stands now.
    pub fn set(&mut self, id: u64, stand: Stand) {
        if let Some(slot) = self.slots.iter_mut().find(|s| s.id == id) {
            slot.stand = stand;
        }
    }

    /// The slot of this name.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Slot> {
        self.slots.iter().find(|s| s.id == id)
    }

    /// The ids that are waited for.
    #[must_use]
    pub fn waiting(&self) -> Vec<u64> {
        let ack = |s: &Slot| match s.stand {
            Stand::Waiting { ack, .. } => Some(ack),
            _ => None,
        };
        self.slots.iter().filter_map(ack).collect()
    }

    /// These have been acknowledged: how many events that were.
    pub fn acknowledged(&mut self, acks: &[u64]) -> u64 {
        let mut events = 0;
        for slot in &mut self.slots {
            if matches!(slot.stand, Stand::Waiting { ack, .. } if acks.contains(&ack)) {
                slot.stand = Stand::Done;
                events += slot.batch.seqs.len() as u64;
            }
        }
        events
    }

    /// Slots that have waited for an acknowledgement since before `limit`, or
    /// (`None`) that wait at all: what became of them nobody will tell.
    #[must_use]
    pub fn expired(&self, limit: Option<Duration>) -> Vec<Slot> {
        let late = |s: &&Slot| match s.stand {
            Stand::Waiting { since, .. } => limit.is_none_or(|limit| since <= limit),
            _ => false,
        };
        self.slots.iter().filter(late).cloned().collect()
    }

    /// Takes the done ones off the front: where the cursor may be now.
    pub fn settle(&mut self) -> Option<Seq> {
        let mut reached = None;
        while let Some(slot) = self.slots.pop_front_if(|s| s.stand == Stand::Done) {
            reached = Some(slot.batch.end);
        }
        reached
    }

    /// Lets go of all that is not under way or waiting, from the first such one
    /// on; returns the first record that has to be read again.
    pub fn rewind(&mut self) -> Option<Seq> {
        let can = |s: &Slot| s.stand == Stand::Queued && !s.batch.is_notice();
        let at = self.slots.iter().position(can)?;
        if self.slots.iter().skip(at).any(|s| s.stand != Stand::Queued) {
            return None;
        }
        let first = self.slots.get(at).map(|s| s.batch.first);
        self.slots.truncate(at);
        first
    }

    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|s| s.batch.body.len()).sum()
    }

    /// When the oldest record of all batches became durable, Unix ms.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        let batches = self.slots.iter().map(|s| &s.batch).filter(|batch| !batch.is_notice());
        batches.map(|batch| batch.oldest).min()
    }

    /// How many batches are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many batches are to be sent.
    #[must_use]
    pub fn slots_queued(&self) -> usize {
        self.slots.iter().filter(|s| s.stand == Stand::Queued).count()
    }

    /// When the oldest batch that is to be sent was encoded, Unix ms.
    #[must_use]
    pub fn oldest_queued(&self) -> Option<u64> {
        let queued = |s: &&Slot| s.stand == Stand::Queued && !s.batch.is_notice();
        self.slots.iter().find(queued).map(|s| s.batch.made)
    }

    /// Whether something is to be sent.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.slots.iter().any(|s| s.stand == Stand::Queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn batch(first: u64, end: u64) -> Batch {
        Batch {
            first: Seq(first),
            end: Seq(end),
            seqs: (first..end).map(Seq).collect(),
            entries: (first..end).map(|_| 1).collect(),
            body: Bytes::from_static(b"x"),
            raw_len: 1,
            made: 0,
            repeated: false,
            oldest: 0,
        }
    }

    #[test]
    fn the_cursor_moves_over_the_contiguous_prefix_alone() {
        let mut ledger = Ledger::default();
        for first in [0, 10, 20] {
            ledger.push(batch(first, first + 10));
        }
        let ids: Vec<_> = std::iter::from_fn(|| ledger.take_queued()).map(|s| s.id).collect();
        assert_eq!(ids.len(), 3);
        ledger.set(ids[1], Stand::Done);
        assert_eq!(ledger.settle(), None);
        ledger.set(ids[2], Stand::Waiting { ack: 7, since: Duration::ZERO });
        ledger.set(ids[0], Stand::Done);
        assert_eq!(ledger.settle(), Some(Seq(20)));
        assert_eq!(ledger.acknowledged(&[6]), 0);
        assert_eq!((ledger.settle(), ledger.waiting()), (None, vec![7]));
        assert_eq!(ledger.acknowledged(&[7]), 10);
        assert_eq!(ledger.settle(), Some(Seq(30)));
        assert!(ledger.is_empty());
    }

    #[test]
    fn a_batch_is_replaced_by_its_parts_in_order() {
        let mut ledger = Ledger::default();
        for first in [0, 10, 20] {
            ledger.push(batch(first, first + 10));
        }
        ledger.take_queued();
        let middle = ledger.take_queued().unwrap().id;
        let parts = [batch(10, 13), batch(13, 20)].map(|b| ledger.slot(b, Stand::Queued));
        ledger.replace(middle, parts.into());
        let firsts: Vec<_> =
            std::iter::from_fn(|| ledger.take_queued()).map(|s| s.batch.first.0).collect();
        assert_eq!(firsts, [10, 13, 20]);
    }

    #[test]
    fn what_was_never_sent_is_read_again() {
        let mut ledger = Ledger::default();
        for first in [0, 10, 20] {
            ledger.push(batch(first, first + 10));
        }
        let first = ledger.take_queued().unwrap().id;
        assert_eq!(ledger.rewind(), Some(Seq(10)));
        assert_eq!(ledger.len(), 1);
        ledger.push(batch(10, 20));
        ledger.push(batch(20, 30));
        ledger.set(first, Stand::Queued);
        let id = ledger.get(first).unwrap().id;
        ledger.take_queued();
        ledger.set(id, Stand::Queued);
        assert_eq!(ledger.rewind(), Some(Seq(0)));
    }
}
