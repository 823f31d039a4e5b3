//! Takes the container's framing off, joins partial lines, gathers statements.
//!
//! Promise: the text of every raw line that comes in goes out, in the order of
//! its stream: as a line, as a part of one, or as a piece that is marked as cut.
//! What does not fit the format of its file is passed on as text, whole. What
//! is held back is bounded in bytes, in ranges and in time, and is named by the
//! ranges of the file that it came from ([`Held`]), never saved: to resume, the
//! same ranges are fed through the same code.
//!
//! In steady state nothing is allocated for a line.

mod cri;
mod docker;
mod format;
mod gather;
mod join;

use std::ops::ControlFlow;
use std::time::Duration;

pub use format::{Format, FormatChoice};

use crate::line::{Cut, CutReason, Line, Span, Stream};
use crate::source::FileId;
use gather::Gather;
use join::Join;

/// The most ranges that one joiner or gatherer holds; at the bound it lets go.
pub(crate) const MAX_RANGES: usize = 64;

/// A range of a file that a joiner or gatherer holds the text of: whole raw
/// lines, framing and newlines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The file, when it is not the one that the position is of: a line that
    /// began in the file that this one succeeded.
    pub file: Option<FileId>,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whose joiner.
    pub stream: Stream,
}

impl Held {
    /// Byte behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// Adds a range; one that goes on where the last ended makes that one longer.
fn add_range(ranges: &mut Vec<Held>, new: Held) {
    match ranges.last_mut() {
        Some(last) if last.file == new.file && last.end() == new.start => last.len += new.len,
        _ => ranges.push(new),
    }
}

/// One raw line with its framing understood.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The text without framing and newline.
    pub(crate) text: &'a [u8],
    pub(crate) stream: Stream,
    pub(crate) time: Option<&'a str>,
    /// The line goes on in the next part of the same stream.
    pub(crate) more: bool,
}

/// What the decoders of all files share: buffers and limits.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Unescaped text of one raw line.
    unescaped: Vec<u8>,
    /// Buffers that joiners have given back.
    pool: Vec<Vec<u8>>,
    /// Bytes of text in all joiners and gatherers.
    pub(crate) held: usize,
    pub(crate) limits: Limits,
}

/// Bounds of what is held back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest text of a line, in bytes.
    pub(crate) line: usize,
    /// How long a partial line waits for its rest.
    pub(crate) partial_wait: Duration,
    /// How long a statement waits for its next line.
    pub(crate) gather_wait: Duration,
    /// Whether statements of several lines are gathered.
    pub(crate) gather: bool,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { unescaped: Vec::new(), pool: Vec::new(), held: 0, limits }
    }

    /// An empty buffer, used before if there is one.
    fn lend(&mut self) -> Vec<u8> {
        self.pool.pop().unwrap_or_default()
    }

    /// Takes a buffer back; only a few are kept.
    fn give_back(&mut self, mut buffer: Vec<u8>) {
        self.held = self.held.saturating_sub(buffer.len());
        if self.pool.len() < 4 && buffer.capacity() > 0 {
            buffer.clear();
            self.pool.push(buffer);
        }
    }

    /// Appends to a lent buffer and counts it.
    fn append(&mut self, buffer: &mut Vec<u8>, text: &[u8]) {
        buffer.extend_from_slice(text);
        self.held += text.len();
    }
}

/// Where decoded lines go. A break is remembered by who asked for the lines.
pub(crate) type Out<'o> = dyn FnMut(&Line<'_>) -> ControlFlow<()> + 'o;

/// What is known of a raw line whose first pieces have been passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawCut {
    pub(crate) stream: Stream,
    /// It was a CRI part: the line goes on behind its end.
    pub(crate) more: bool,
}

/// The state of one file's decoding.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pub(crate) format: FormatChoice,
    /// One a stream, made when first needed.
    joins: [Option<Box<Join>>; 3],
    gathers: [Option<Box<Gather>>; 3],
    pub(crate) cut: Option<RawCut>,
}

pub(crate) const STREAMS: [Stream; 3] = [Stream::None, Stream::Stdout, Stream::Stderr];

const fn slot(stream: Stream) -> usize {
    match stream {
        Stream::None => 0,
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

/// One call's company: shared buffers, the time, and where lines go.
pub(crate) struct Run<'r, 'o> {
    pub(crate) shared: &'r mut Shared,
    /// Since the clock's origin.
    pub(crate) now: Duration,
    pub(crate) out: &'r mut Out<'o>,
}

impl Decoder {
    pub(crate) fn new(format: FormatChoice) -> Self {
        Self { format, ..Self::default() }
    }

    /// A whole raw line, without its newline, whose framing spans `span`.
    ///
    /// `file`: set when the bytes are from another file (see [`Held::file`]).
    pub(crate) fn line(&mut self, raw: &[u8], span: Span, file: Option<FileId>, run: &mut Run) {
        if let Some(cut) = self.cut.take() {
            let after = cut.more.then_some(CutReason::OverLong);
            if cut.more {
                self.join(cut.stream).before = true;
            }
            self.emit_piece(raw, cut.stream, None, span, Cut { before: true, after }, run);
            return;
        }
        let mut scratch = std::mem::take(&mut run.shared.unescaped);
        let part = self.format.part(raw, &mut scratch);
        let range =
            Held { file, start: span.start, len: span.end - span.start, stream: part.stream };
        self.part(&part, span, range, run);
        run.shared.unescaped = scratch;
    }

    /// A piece of a raw line that is not whole: `after` says why.
    pub(crate) fn piece(&mut self, raw: &[u8], span: Span, after: CutReason, run: &mut Run) {
        let before = self.cut.is_some();
        let mut time = None;
        let mut text = raw;
        let cut = match self.cut {
            Some(cut) => cut,
            None => match (self.format.format(), cri::parse(raw)) {
                (Some(Format::Cri), Some(part)) => {
                    time = part.time;
                    text = part.text;
                    RawCut { stream: part.stream, more: part.more }
                }
                _ => RawCut { stream: Stream::None, more: false },
            },
        };
        self.cut = Some(cut);
        // What the joiner holds comes first, and the line goes on from there.
        let mut before = before;
        if let Some(join) = self.joins[slot(cut.stream)].as_deref_mut() {
            before |= std::mem::take(&mut join.before);
            if join.is_open() {
                join.emit(Some(CutReason::OverLong), &mut self.gathers[slot(cut.stream)], run);
                before = true;
            }
        }
        self.emit_piece(text, cut.stream, time, span, Cut { before, after: Some(after) }, run);
    }

    fn emit_piece(
        &mut self,
        text: &[u8],
        stream: Stream,
        time: Option<&str>,
        span: Span,
        cut: Cut,
        run: &mut Run,
    ) {
        let text = if cut.after.is_none() { without_cr(text) } else { text };
        let line = Line { text, stream, time, span, cut };
        gather::pass(&mut self.gathers[slot(stream)], &line, &[], run);
    }

    /// One part: joined to what is held, held, or passed on.
    fn part(&mut self, part: &Part<'_>, span: Span, range: Held, run: &mut Run) {
        let at = slot(part.stream);
        let gather = &mut self.gathers[at];
        match self.joins[at].as_deref_mut() {
            Some(join) => join.push(part, span, range, gather, run),
            None if part.more => {
                let join = self.joins[at].insert(Box::new(Join::new(part.stream)));
                join.push(part, span, range, gather, run);
            }
            None => {
                let text = without_cr(part.text);
                let cut = Cut::default();
                let line = Line { text, stream: part.stream, time: part.time, span, cut };
                gather::pass(gather, &line, &[range], run);
            }
        }
    }

    fn join(&mut self, stream: Stream) -> &mut Join {
        self.joins[slot(stream)].get_or_insert_with(|| Box::new(Join::new(stream)))
    }

    /// Lets go of all that is held: joiners as cut pieces, statements whole.
    pub(crate) fn flush(&mut self, why: CutReason, run: &mut Run) {
        for (join, gather) in self.joins.iter_mut().zip(&mut self.gathers) {
            if let Some(join) = join.as_deref_mut().filter(|j| j.is_open()) {
                join.emit(Some(why), gather, run);
            }
            gather::flush(gather, run);
        }
    }

    /// Lets go of what has waited long enough at `run.now`: whether there was any.
    pub(crate) fn flush_due(&mut self, run: &mut Run) -> bool {
        let mut any = false;
        let limits = run.shared.limits;
        for (join, gather) in self.joins.iter_mut().zip(&mut self.gathers) {
            if let Some(join) = join.as_deref_mut()
                && join.deadline(limits).is_some_and(|at| at <= run.now)
            {
                join.emit(Some(CutReason::TimedOut), gather, run);
                any = true;
            }
            if gather.as_deref().and_then(|g| g.deadline(limits)).is_some_and(|at| at <= run.now) {
                gather::flush(gather, run);
                any = true;
            }
        }
        any
    }

    /// When the next held text has waited long enough.
    pub(crate) fn deadline(&self, limits: Limits) -> Option<Duration> {
        let joins = self.joins.iter().flatten().filter_map(|j| j.deadline(limits));
        let gathers = self.gathers.iter().flatten().filter_map(|g| g.deadline(limits));
        joins.chain(gathers).min()
    }

    /// All that is held, by stream.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> + Clone {
        let gathers = self.gathers.iter().flatten().flat_map(|g| g.ranges.iter());
        let joins = self.joins.iter().flatten().flat_map(|j| j.ranges.iter());
        gathers.chain(joins)
    }

    /// Whether anything is held.
    #[cfg(test)]
    pub(crate) fn is_holding(&self) -> bool {
        self.held().next().is_some()
    }

    /// Bytes of text that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        let gathers: usize = self.gathers.iter().flatten().map(|g| g.len()).sum();
        let joins: usize = self.joins.iter().flatten().map(|j| j.len()).sum();
        gathers + joins
    }

    /// Whether pieces of the stream's current line have been passed on.
    pub(crate) fn is_cut(&self, stream: Stream) -> bool {
        self.joins[slot(stream)].as_ref().is_some_and(|j| j.before)
    }

    /// Says that pieces of the stream's current line have been passed on.
    pub(crate) fn set_cut(&mut self, stream: Stream) {
        self.join(stream).before = true;
    }

    /// Whether a joiner waits for the rest of a line.
    pub(crate) fn is_joining(&self) -> bool {
        self.joins.iter().flatten().any(|j| j.is_open() || j.before)
    }

    /// Hands open joiners to the decoder of the file that succeeds `from`.
    pub(crate) fn hand_over(&mut self, from: FileId, to: &mut Self) {
        for (old, new) in self.joins.iter_mut().zip(&mut to.joins) {
            let free = new.as_ref().is_none_or(|n| !n.is_open() && !n.before);
            if free && old.as_ref().is_some_and(|o| o.is_open() || o.before) {
                *new = old.take();
                if let Some(join) = new {
                    join.lent_by(from);
                }
            }
        }
    }
}

/// A line's text without the `\r` of a `\r\n`.
fn without_cr(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests;
