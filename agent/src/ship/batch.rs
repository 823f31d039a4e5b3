//! Records of the journal, cut into batches by the destination's own limits and
//! encoded once.
//!
//! A batch names the records that it covers; encoding is a function of them
//! alone, so a batch that has to be split is read from the journal again, which
//! holds it until the sink's cursor has passed.

use crate::journal::{Entry, Handle, JournalError, Reader, Seq};
use crate::sink::sealed::NotSealed;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tokio::sync::watch;

/// A record as an encoder gets it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its number.
    pub seq: Seq,
    /// When it became durable, Unix ms.
    pub journaled: u64,
    /// A JSON object without its opening brace.
    pub body: &'a [u8],
}

/// How records are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// Unix ms: what is too old for a destination is measured against this.
    pub now: u64,
    /// Whether the events may be there already (resent after a time-out).
    pub repeated: bool,
    /// Whether they were encoded before: then any key that is there will do.
    pub again: bool,
}

/// Turns records into the events of a destination.
pub trait Encode: Send {
    /// Appends the entries of one record, whole and separated as in a body of
    /// several; returns how many there are. None: the destination does not want
    /// the record.
    ///
    /// # Errors
    /// When something of it has to be sealed and cannot be: what was appended is
    /// no entry then, and nothing of it may leave.
    fn encode(
        &mut self,
        record: &Record<'_>,
        how: How,
        out: &mut Vec<u8>,
    ) -> Result<usize, NotSealed>;

    /// Tells of keys, where a record may have to wait for one.
    fn keys(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// What a body begins with, what is between entries, what it ends with.
    fn frame(&self) -> [&'static [u8]; 3];

    /// The most bytes (uncompressed, with the frame) and entries of one body.
    /// One record may be larger alone.
    fn limits(&self) -> (usize, usize);
}

/// A body that is ready to be sent, as often as need be.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The first record that it covers.
    pub first: Seq,
    /// The number behind the last record that it covers.
    pub end: Seq,
    /// The records in it; the others between were not wanted.
    pub seqs: Vec<Seq>,
    /// Entries of each record in `seqs`.
    pub entries: Vec<u32>,
    /// The body, compressed if the destination takes that.
    pub body: Bytes,
    /// Bytes of the body before it was compressed.
    pub raw_len: usize,
    /// When it was encoded, Unix ms.
    pub made: u64,
    /// Its events may be there already, and say so.
    pub repeated: bool,
    /// When the oldest record that it covers became durable, Unix ms.
    pub oldest: u64,
}

impl Batch {
    /// A body that stands for the records from `first` up to `end` and holds none
    /// of them: the word that they were given up.
    #[must_use]
    pub fn notice((first, end): (Seq, Seq), body: Bytes, now: u64) -> Self {
        let raw_len = body.len();
        let (seqs, entries) = (Vec::new(), Vec::new());
        Self { first, end, seqs, entries, body, raw_len, made: now, repeated: false, oldest: now }
    }

    /// Whether it is one of [`Batch::notice`]: it is not in the journal, so it
    /// cannot be made again.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.seqs.is_empty() && !self.body.is_empty()
    }

    /// The place in `seqs` of the record that entry number `entry` belongs to.
    #[must_use]
    pub fn record_of_entry(&self, entry: usize) -> Option<usize> {
        let mut behind = 0;
        self.entries.iter().position(|n| {
            behind += *n as usize;
            entry < behind
        })
    }
}

/// What is to be had now.
#[derive(Debug)]
pub enum Filled {
    /// A batch. One without entries covers records that were not wanted.
    Batch(Batch),
    /// Nothing before Unix ms, unless the journal grows.
    Nothing {
        /// When the open batch is old enough.
        until: Option<u64>,
    },
}

/// Why no batch could be cut. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The journal.
    #[error("read the journal: {0}")]
    Journal(#[from] JournalError),
    /// Fields of a record have to be sealed and cannot be.
    #[error("seal the fields of a record: {0}")]
    NotSealed(#[from] NotSealed),
}

/// No destination is believed to take less than this.
const SMALLEST: usize = 16 * 1024;

/// Cuts batches off the journal, in order.
pub struct Batcher {
    reader: Reader,
    encoder: Box<dyn Encode>,
    compress: bool,
    max_age_ms: u64,
    /// What the destination was found to take, if it is less than it says.
    max_bytes: usize,
    /// All of it may be there already.
    repeated: bool,
    /// When the next record became durable, which waits for a key.
    waiting: Option<u64>,
    open: Option<Open>,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Batcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("next", &self.reader.next_seq()).finish_non_exhaustive()
    }
}

/// A batch that is being filled.
struct Open {
    first: Seq,
    end: Seq,
    opened: u64,
    /// When the oldest record in it became durable, Unix ms.
    oldest: u64,
    seqs: Vec<Seq>,
    entries: Vec<u32>,
    total: usize,
    raw: Vec<u8>,
}

impl Open {
    fn new(first: Seq, now: u64, mut raw: Vec<u8>, prefix: &[u8]) -> Self {
        raw.clear();
        raw.extend_from_slice(prefix);
        let (seqs, entries) = (Vec::new(), Vec::new());
        let oldest = now;
        Self { first, end: first, opened: now, oldest, seqs, entries, total: 0, raw }
    }

    fn push(&mut self, seq: Seq, entries: usize, bytes: &[u8], separator: &[u8]) {
        if self.total > 0 {
            self.raw.extend_from_slice(separator);
        }
        self.raw.extend_from_slice(bytes);
        self.seqs.push(seq);
        self.entries.push(u32::try_from(entries).unwrap_or(u32::MAX));
        self.total += entries;
    }
}

impl Batcher {
    /// Begins at record `from`.
    ///
    /// # Errors
    /// When the journal does not have it any more.
    pub fn new(
        handle: Handle,
        from: Seq,
        encoder: Box<dyn Encode>,
        compress: bool,
        max_age_ms: u64,
    ) -> Result<Self, JournalError> {
        let reader = Reader::new(handle, from)?;
        let max_bytes = encoder.limits().0;
        Ok(Self {
            reader,
            encoder,
            compress,
            max_age_ms,
            max_bytes,
            repeated: false,
            waiting: None,
            open: None,
            scratch: Vec::new(),
        })
    }

    /// Says that the destination may have the records already: each is marked.
    pub fn mark_repeated(&mut self, repeated: bool) {
        self.repeated = repeated;
    }

    /// A body of so many bytes was too large: the next ones are half of it.
    pub fn shrink(&mut self, raw_len: usize) {
        self.max_bytes = self.max_bytes.min(raw_len / 2).max(SMALLEST);
    }

    /// The record that comes next: all before are in a batch, or in the open one.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.reader.next_seq()
    }

    /// The first record that is not in a batch yet.
    #[must_use]
    pub fn first_open(&self) -> Seq {
        self.open.as_ref().map_or(self.next_seq(), |open| open.first)
    }

    /// When the oldest record of the open batch, or the one that waits for a key,
    /// became durable, Unix ms.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.oldest).or(self.waiting)
    }

    /// Tells of keys, if records may have to wait for one.
    #[must_use]
    pub fn keys(&self) -> Option<watch::Receiver<u64>> {
        self.encoder.keys()
    }

    /// The journal, for waiting.
    pub fn journal(&mut self) -> &mut Handle {
        self.reader.handle()
    }

    /// The next batch, when it is full, old enough, or `flush` asks for it. Blocks
    /// for as long as reading and compressing take. A record that waits for a key
    /// ([`Batcher::keys`]) is not there yet.
    ///
    /// # Errors
    /// When the journal cannot be read, or a field cannot be sealed.
    pub fn fill(&mut self, now: u64, flush: bool) -> Result<Filled, FillError> {
        let [prefix, separator, suffix] = self.encoder.frame();
        let (max_bytes, max_entries) = (self.max_bytes, self.encoder.limits().1);
        let how = How { now, repeated: self.repeated, ..How::default() };
        loop {
            let (seq, behind, time) = {
                self.scratch.clear();
                match self.reader.peek()? {
                    None => break,
                    Some(entry) => {
                        let encoder = self.encoder.as_mut();
                        match encode(encoder, entry, how, &mut self.scratch) {
                            Err(e) if e.is_waiting() => {
                                self.waiting = Some(entry.time());
                                break;
                            }
                            encoded => {
                                let (seq, behind) = encoded?;
                                (seq, behind, entry.time())
                            }
                        }
                    }
                }
            };
            self.waiting = None;
            let (seq, entries) = seq;
            let open = self.open.get_or_insert_with(|| Open::new(seq, now, Vec::new(), prefix));
            let more = separator.len() + self.scratch.len() + suffix.len();
            let full = open.raw.len() + more > max_bytes || open.total + entries > max_entries;
            if entries > 0 && open.total > 0 && full {
                return Ok(Filled::Batch(self.close(now, self.repeated)));
            }
            if entries > 0 {
                open.push(seq, entries, &self.scratch, separator);
            }
            open.end = behind;
            open.oldest = open.oldest.min(time);
            self.reader.advance();
        }
        match &self.open {
            Some(open) if flush || now >= open.opened.saturating_add(self.max_age_ms) => {
                Ok(Filled::Batch(self.close(now, self.repeated)))
            }
            Some(open) => {
                Ok(Filled::Nothing { until: Some(open.opened.saturating_add(self.max_age_ms)) })
            }
            None => Ok(Filled::Nothing { until: None }),
        }
    }

    /// Encodes these records again (all of one batch, or some of it), covering
    /// `first` up to `end`. The batches' order is not touched. What is sealed in
    /// them is sealed anew.
    ///
    /// # Errors
    /// When the journal cannot be read, or a field cannot be sealed.
    pub fn again(
        &mut self,
        (first, end): (Seq, Seq),
        seqs: &[Seq],
        how: How,
    ) -> Result<Batch, FillError> {
        let how = How { again: true, ..how };
        let [prefix, separator, _] = self.encoder.frame();
        let mut open = Open::new(first, how.now, Vec::new(), prefix);
        let mut wanted = seqs.iter().copied().peekable();
        if let Some(from) = wanted.peek().copied() {
            let mut reader = Reader::new(self.reader.handle().clone(), from)?;
            while let (Some(want), Some(entry)) = (wanted.peek().copied(), reader.peek()?) {
                self.scratch.clear();
                let ((seq, entries), _) =
                    encode(self.encoder.as_mut(), entry, how, &mut self.scratch)?;
                if seq == want {
                    open.oldest = open.oldest.min(entry.time());
                    open.push(seq, entries, &self.scratch, separator);
                    wanted.next();
                }
                reader.advance();
            }
        }
        open.end = end;
        let kept = self.open.replace(open);
        let batch = self.close(how.now, how.repeated);
        self.open = kept;
        Ok(batch)
    }

    /// Goes back to `from`: what was not sent is cut anew.
    ///
    /// # Errors
    /// When the journal does not have it any more.
    pub fn rewind(&mut self, from: Seq) -> Result<(), JournalError> {
        self.reader = Reader::new(self.reader.handle().clone(), from)?;
        self.open = None;
        Ok(())
    }

    /// The bytes of one record, as the journal has them.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn record(&mut self, seq: Seq) -> Result<Option<(u64, Vec<u8>)>, JournalError> {
        let mut reader = Reader::new(self.reader.handle().clone(), seq)?;
        Ok(match reader.peek()? {
            Some(Entry::Record { time, body, .. }) => Some((time, [b"{", body].concat())),
            _ => None,
        })
    }

    fn close(&mut self, now: u64, repeated: bool) -> Batch {
        let [_, _, suffix] = self.encoder.frame();
        let Some(mut open) = self.open.take() else {
            let at = self.reader.next_seq();
            return Batch {
                first: at,
                end: at,
                seqs: Vec::new(),
                entries: Vec::new(),
                body: Bytes::new(),
                raw_len: 0,
                made: now,
                repeated,
                oldest: now,
            };
        };
        open.raw.extend_from_slice(suffix);
        let raw_len = open.raw.len();
        let body = if open.seqs.is_empty() {
            Bytes::new()
        } else if self.compress {
            gzip(&open.raw)
        } else {
            Bytes::from(open.raw)
        };
        let Open { first, end, oldest, seqs, entries, .. } = open;
        Batch { first, end, seqs, entries, body, raw_len, made: now, repeated, oldest }
    }
}

/// The number of an entry with how many events it made, and the number behind it.
fn encode(
    encoder: &mut dyn Encode,
    entry: Entry<'_>,
    how: How,
    out: &mut Vec<u8>,
) -> Result<((Seq, usize), Seq), NotSealed> {
    Ok(match entry {
        Entry::Record { seq, time, body, .. } => {
            let record = Record { seq, journaled: time, body };
            ((seq, encoder.encode(&record, how, out)?), seq.plus(1))
        }
        // Nobody has these records any more: that is told to everybody.
        Entry::Hole { first, count, time } => {
            let time_text = crate::text::rfc3339(time);
            let body = format!(
                "\"event\":\"gap\",\"records\":{count},\"why\":\"journal-quarantined\",\"time\":\"{time_text}\"}}"
            );
            let record = Record { seq: first, journaled: time, body: body.as_bytes() };
            ((first, encoder.encode(&record, how, out)?), first.plus(count))
        }
    })
}

/// The same bytes for the same input: no time and no name in the header.
fn gzip(raw: &[u8]) -> Bytes {
    let mut out = GzEncoder::new(Vec::with_capacity(raw.len() / 6), Compression::new(2));
    // Writing to a Vec cannot fail.
    let written = out.write_all(raw).and_then(|()| out.finish());
    Bytes::from(written.unwrap_or_default())
}
