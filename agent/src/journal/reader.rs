//! Following the journal: what the sealer and the sinks read.
//!
//! A reader sees the fsynced prefix and nothing else, in order, without holes
//! but those that `journal repair` left, and each with its number.

use super::block::{Form, Payload};
use super::segment::{FIRST_BLOCK, Place, Segment};
use super::writer::Handle;
use super::{JournalError, Kind, Seq};

/// One thing that a reader meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record {
        /// Its number.
        seq: Seq,
        /// When it became durable, Unix ms.
        time: u64,
        /// What it is.
        kind: Kind,
        /// A JSON object without its opening brace.
        body: &'a [u8],
    },
    /// Records that a repair could not save.
    Hole {
        /// The first number that is lost.
        first: Seq,
        /// How many are lost.
        count: u64,
        /// When the repair was made, Unix ms.
        time: u64,
    },
}

impl Entry<'_> {
    /// When the record became durable, or the hole was found, Unix ms.
    #[must_use]
    pub fn time(&self) -> u64 {
        match self {
            Self::Record { time, .. } | Self::Hole { time, .. } => *time,
        }
    }
}

/// A place in the journal that moves forward.
pub struct Reader {
    handle: Handle,
    segment: Option<Segment>,
    /// Where the next block begins.
    offset: u64,
    /// The number of the next record.
    next: Seq,
    block: Vec<u8>,
    /// The current block: its payload's range in `block`, and what is left of it.
    current: Option<Current>,
    /// A hole at `next`: how many records are lost, and when that was found.
    hole: Option<(u64, u64)>,
}

#[derive(Clone, Copy)]
struct Current {
    /// Offset in `block` of the first byte not read.
    at: usize,
    end: usize,
    time: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Reader {
    /// Starts at record `from`, which must be in the journal or be its end.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when `from` is older than the oldest record or
    /// beyond the end: what the cursor promised is not there.
    pub fn new(handle: Handle, from: Seq) -> Result<Self, JournalError> {
        let begin = handle.shared.segments().front().map_or(Seq(0), |k| k.first);
        let end = handle.end();
        if from < begin || from > end {
            return Err(JournalError::Damaged {
                path: handle.folder().to_owned(),
                offset: 0,
                what: if from < begin {
                    "records that are not shipped yet are gone from it"
                } else {
                    "it ends before records that were shipped already: it was restored from an older copy"
                },
            });
        }
        Ok(Self {
            handle,
            segment: None,
            offset: 0,
            next: from,
            block: Vec::new(),
            current: None,
            hole: None,
        })
    }

    /// The number of the next record.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The handle, for waiting and for the floor.
    pub fn handle(&mut self) -> &mut Handle {
        &mut self.handle
    }

    /// The next record or hole, which stays the next until [`Reader::advance`];
    /// `None` when all that is durable was read.
    ///
    /// # Errors
    /// When the system says no, or a block is damaged.
    pub fn peek(&mut self) -> Result<Option<Entry<'_>>, JournalError> {
        while self.hole.is_none() && self.current.is_none_or(|c| c.at >= c.end) {
            if !self.load()? {
                return Ok(None);
            }
        }
        if let Some((count, time)) = self.hole {
            return Ok(Some(Entry::Hole { first: self.next, count, time }));
        }
        Ok(self.record().map(|(entry, _)| entry))
    }

    /// Goes behind what [`Reader::peek`] showed.
    pub fn advance(&mut self) {
        if let Some((count, _)) = self.hole.take() {
            self.next = self.next.plus(count);
        } else if let Some((_, left)) = self.record() {
            if let Some(current) = &mut self.current {
                current.at = current.end - left;
            }
            self.next = self.next.plus(1);
        }
    }

    /// The next record or hole, and goes behind it.
    ///
    /// # Errors
    /// As [`Reader::peek`].
    pub fn read(&mut self) -> Result<Option<Entry<'_>>, JournalError> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        if let Some((count, time)) = self.hole.take() {
            let first = self.next;
            self.next = first.plus(count);
            return Ok(Some(Entry::Hole { first, count, time }));
        }
        let at = self.current.map_or(0, |c| c.at);
        self.advance();
        let before = Seq(self.next.0.saturating_sub(1));
        Ok(self.record_at(at, before).map(|(entry, _)| entry))
    }

    /// Loads the next visible block that has something for us; `false` if there is none.
    fn load(&mut self) -> Result<bool, JournalError> {
        let durable = *self.handle.durable.borrow();
        loop {
            if self.segment.is_none() && !self.enter(self.next, None)? {
                return Ok(false);
            }
            let Some(segment) = &self.segment else {
                return Ok(false);
            };
            let place = Place { segment: segment.start.number, offset: self.offset };
            if place >= durable.place {
                return Ok(false);
            }
            let Some((header, payload)) = segment.block(self.offset, &mut self.block)? else {
                // The end of this segment: is there a later one?
                let number = segment.start.number;
                let damaged = segment.damaged(self.offset, "a durable block is not readable");
                let entered =
                    number < durable.place.segment && self.enter(self.next, Some(number))?;
                if entered && self.segment.as_ref().is_some_and(|s| s.start.first == self.next) {
                    continue;
                }
                return Err(damaged);
            };
            self.offset = header.next_offset(self.offset);
            if header.end() <= self.next {
                continue; // before the start, or a block of positions only
            }
            if header.form == Form::Hole {
                self.hole = Some((header.end().0 - self.next.0, header.time));
                return Ok(true);
            }
            let skip = self.next.0.saturating_sub(header.first.0);
            let len = payload.len();
            let left = records_left(payload, skip);
            let Some(left) = left else {
                return Err(segment.damaged(place.offset, "a block that does not parse"));
            };
            let end = super::block::HEADER_LEN + len;
            self.current = Some(Current { at: end - left, end, time: header.time });
            return Ok(true);
        }
    }

    /// The next record of the current block, and the bytes left behind it.
    fn record(&self) -> Option<(Entry<'_>, usize)> {
        self.record_at(self.current?.at, self.next)
    }

    fn record_at(&self, at: usize, seq: Seq) -> Option<(Entry<'_>, usize)> {
        let current = self.current?;
        let bytes = self.block.get(at..current.end)?;
        let (kind, body, left) = super::block::next_record(bytes)?;
        Some((Entry::Record { seq, time: current.time, kind, body }, left))
    }

    /// Opens the segment that holds `seq` (or begins there), after `after` if given.
    fn enter(&mut self, seq: Seq, after: Option<u64>) -> Result<bool, JournalError> {
        let shared = &self.handle.shared;
        let found = {
            let segments = shared.segments();
            match after {
                Some(after) => segments.iter().find(|k| k.number > after).copied(),
                None => segments.iter().rev().find(|k| k.first <= seq).copied(),
            }
        };
        let Some(known) = found else { return Ok(false) };
        self.segment = Some(Segment::open(
            &*shared.disk,
            &shared.folder,
            known.number,
            &shared.key,
            &shared.incarnation,
        )?);
        self.offset = FIRST_BLOCK;
        Ok(true)
    }
}

/// Bytes of a payload that are left behind its positions and `skip` records.
fn records_left(payload: &[u8], skip: u64) -> Option<usize> {
    let mut payload = Payload::new(payload)?;
    while payload.position().is_some() {}
    if !payload.at_records() {
        return None;
    }
    for _ in 0..skip {
        payload.record()?;
    }
    Some(payload.left())
}
