//! Joins the parts of a line, one joiner a file and stream.
//!
//! Invariants: `text` is the text of exactly `ranges`, in order; a joiner that
//! holds nothing has no ranges; `before` says that pieces of the current line
//! have gone out, so what comes next is a rest.

use std::time::Duration;

use super::gather::{self, Gather};
use super::{Held, Limits, MAX_RANGES, Part, Run, add_range, without_cr};
use crate::line::{Cut, CutReason, Line, Span, Stream};
use crate::source::FileId;

#[derive(Debug)]
pub(crate) struct Join {
    stream: Stream,
    text: Vec<u8>,
    /// The first part's timestamp; empty if it had none.
    time: String,
    /// From the first part's first byte to the last part's end.
    span: Span,
    pub(crate) ranges: Vec<Held>,
    pub(crate) before: bool,
    /// When the last part came.
    since: Duration,
    /// All that is held came from another file: the span has to begin anew.
    lent: bool,
}

impl Join {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            text: Vec::new(),
            time: String::new(),
            span: Span { start: 0, end: 0 },
            ranges: Vec::new(),
            before: false,
            since: Duration::ZERO,
            lent: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.ranges.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn deadline(&self, limits: Limits) -> Option<Duration> {
        self.is_open().then(|| self.since + limits.partial_wait)
    }

    /// Names the file that the held ranges are of, for its successor.
    pub(crate) fn lent_by(&mut self, file: FileId) {
        for range in &mut self.ranges {
            range.file.get_or_insert(file);
        }
        self.lent = true;
        self.span = Span { start: 0, end: 0 };
    }

    /// Takes a part: holds it, or passes the whole line on.
    pub(crate) fn push(
        &mut self,
        part: &Part<'_>,
        span: Span,
        range: Held,
        gather: &mut Option<Box<Gather>>,
        run: &mut Run,
    ) {
        let full = self.text.len() + part.text.len() > run.shared.limits.line
            || self.ranges.len() >= MAX_RANGES;
        if self.is_open() && full {
            self.emit(Some(CutReason::OverLong), gather, run);
        }
        if !self.is_open() && !part.more {
            let cut = Cut { before: std::mem::take(&mut self.before), after: None };
            let text = without_cr(part.text);
            let line = Line { text, stream: self.stream, time: part.time, span, cut };
            gather::pass(gather, &line, &[range], run);
            return;
        }
        if !self.is_open() {
            self.span.start = span.start;
            self.time.clear();
            self.time.push_str(part.time.unwrap_or_default());
            self.text = run.shared.lend();
        } else if self.lent && range.file.is_none() {
            self.span.start = span.start;
        }
        self.lent = range.file.is_some();
        self.span.end = span.end;
        self.since = run.now;
        run.shared.append(&mut self.text, part.text);
        add_range(&mut self.ranges, range);
        if !part.more {
            self.emit(None, gather, run);
        }
    }

    /// Passes on what is held, as a whole line (`None`) or as a piece.
    pub(crate) fn emit(
        &mut self,
        why: Option<CutReason>,
        gather: &mut Option<Box<Gather>>,
        run: &mut Run,
    ) {
        let text = std::mem::take(&mut self.text);
        let line = Line {
            text: if why.is_none() { without_cr(&text) } else { &text },
            stream: self.stream,
            time: (!self.time.is_empty()).then_some(self.time.as_str()),
            span: self.span,
            cut: Cut { before: self.before, after: why },
        };
        gather::pass(gather, &line, &self.ranges, run);
        self.before = why.is_some();
        self.ranges.clear();
        self.lent = false;
        run.shared.give_back(text);
    }
}
