//! Gathers the lines of one PostgreSQL statement into one line.
//!
//! A line `<date> <time> <zone> [<pid>] <LEVEL>:  …` begins a statement; its
//! `DETAIL`, `HINT`, `CONTEXT`, `STATEMENT` (…) lines of the same pid, lines
//! that begin with a TAB, and empty lines go on with it. Anything else ends it.
//! Source: PostgreSQL documentation, 20.8 (`log_line_prefix` `%m [%p] `, the
//! default) and `elog.c`, which writes a TAB behind each newline of a message.
//!
//! Bounds: 64 lines, 64 KiB, one second without a line. What goes out is never
//! marked as cut: each line in it is whole.

#![deny(clippy::indexing_slicing)]

use std::time::Duration;

use memchr::memchr;

use super::{Held, Limits, MAX_RANGES, Run, add_range};
use crate::line::{Cut, Line, Span, Stream};

const MAX_LINES: u32 = 64;
const MAX_BYTES: usize = 64 * 1024;

/// A statement in the making. Invariant: `text` is the lines of `ranges`,
/// joined by newlines; without ranges there is none.
#[derive(Debug)]
pub(crate) struct Gather {
    stream: Stream,
    text: Vec<u8>,
    time: String,
    span: Span,
    pid: u32,
    lines: u32,
    pub(crate) ranges: Vec<Held>,
    /// When its last line came.
    since: Duration,
}

impl Gather {
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn deadline(&self, limits: Limits) -> Option<Duration> {
        self.is_open().then(|| self.since + limits.gather_wait)
    }

    fn is_open(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Whether the line goes on with this statement, within the bounds.
    fn continues(&self, line: &Line<'_>, ranges: usize) -> bool {
        let goes_on = match line.text {
            [] | [b'\t', ..] => true,
            text => statement(text)
                .is_some_and(|(pid, level)| pid == self.pid && level == Level::Continues),
        };
        goes_on
            && !line.cut.is_cut()
            && self.lines < MAX_LINES
            && self.ranges.len() + ranges <= MAX_RANGES
            && self.text.len() + 1 + line.text.len() <= MAX_BYTES
    }

    fn add(&mut self, line: &Line<'_>, ranges: &[Held], run: &mut Run) {
        run.shared.append(&mut self.text, line.text);
        self.lines += 1;
        self.span.end = line.span.end;
        self.since = run.now;
        for range in ranges {
            add_range(&mut self.ranges, *range);
        }
    }
}

/// Passes a line on: into the statement that it is of, or out.
pub(crate) fn pass(
    gather: &mut Option<Box<Gather>>,
    line: &Line<'_>,
    ranges: &[Held],
    run: &mut Run,
) {
    if !run.shared.limits.gather {
        let _ = (run.out)(line);
        return;
    }
    if let Some(open) = gather.as_deref_mut().filter(|g| g.is_open()) {
        if open.continues(line, ranges.len()) {
            run.shared.append(&mut open.text, b"\n");
            open.add(line, ranges, run);
            return;
        }
        flush(gather, run);
    }
    let begins = !line.cut.is_cut() && line.text.len() < MAX_BYTES && ranges.len() < MAX_RANGES;
    match statement(line.text) {
        Some((pid, Level::Begins)) if begins => {
            let new = || {
                Box::new(Gather {
                    stream: line.stream,
                    text: Vec::new(),
                    time: String::new(),
                    span: line.span,
                    pid,
                    lines: 0,
                    ranges: Vec::new(),
                    since: run.now,
                })
            };
            let open = gather.get_or_insert_with(new);
            open.pid = pid;
            open.lines = 0;
            open.span = line.span;
            open.time.clear();
            open.time.push_str(line.time.unwrap_or_default());
            open.text = run.shared.lend();
            open.add(line, ranges, run);
        }
        _ => {
            let _ = (run.out)(line);
        }
    }
}

/// Passes on the statement that is held, if there is one.
pub(crate) fn flush(gather: &mut Option<Box<Gather>>, run: &mut Run) {
    let Some(open) = gather.as_deref_mut().filter(|g| g.is_open()) else {
        return;
    };
    let text = std::mem::take(&mut open.text);
    let _ = (run.out)(&Line {
        text: &text,
        stream: open.stream,
        time: (!open.time.is_empty()).then_some(open.time.as_str()),
        span: open.span,
        cut: Cut::default(),
    });
    open.ranges.clear();
    run.shared.give_back(text);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Begins,
    Continues,
}

/// The pid and the kind of a PostgreSQL line; `None` for any other line.
fn statement(text: &[u8]) -> Option<(u32, Level)> {
    // `2023-10-18 14:53:56.152 UTC [14344] ERROR:  …`: most lines end here.
    match text {
        [b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b' ', _, _, b':', ..] => {}
        _ => return None,
    }
    let head = text.get(..text.len().min(64))?;
    let open = memchr(b'[', head)?;
    if head.get(open.checked_sub(1)?) != Some(&b' ') {
        return None;
    }
    let rest = text.get(open + 1..)?;
    let close = rest.iter().take(11).position(|b| *b == b']')?;
    let pid = std::str::from_utf8(rest.get(..close)?).ok()?.parse().ok()?;
    let rest = rest.get(close + 1..)?.strip_prefix(b" ")?;
    let colon = rest.iter().take(12).position(|b| *b == b':')?;
    rest.get(colon + 1..)?.strip_prefix(b"  ")?;
    let level = match rest.get(..colon)? {
        b"LOG" | b"ERROR" | b"FATAL" | b"PANIC" | b"WARNING" | b"NOTICE" | b"INFO" | b"DEBUG"
        | b"DEBUG1" | b"DEBUG2" | b"DEBUG3" | b"DEBUG4" | b"DEBUG5" => Level::Begins,
        b"DETAIL" | b"HINT" | b"CONTEXT" | b"STATEMENT" | b"QUERY" | b"LOCATION" | b"BACKTRACE" => {
            Level::Continues
        }
        _ => return None,
    };
    Some((pid, level))
}
