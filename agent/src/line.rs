//! What `decode` hands to `classify`: one whole log line, borrowed.
//!
//! Nothing here owns bytes: a [`Line`] points into the read buffer or into a
//! joiner, and lives until the next line is asked for.

/// Which of a container's two output streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Plain files have no streams.
    None,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name as container runtimes write it; `None` for plain files.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Stdout => Some("stdout"),
            Self::Stderr => Some("stderr"),
        }
    }
}

/// Why a line's text is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// Longer than the longest line the configuration allows.
    OverLong,
    /// The rest of a partial line did not come in time.
    TimedOut,
    /// The file ended (rotated, deleted) inside a line.
    FileEnded,
}

/// Where a piece of a line was cut. The default is a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Earlier pieces of the same line were emitted before this one.
    pub before: bool,
    /// More of the same line follows, or is missing; with the reason.
    pub after: Option<CutReason>,
}

impl Cut {
    /// Whether any part of the line is missing from this piece.
    #[must_use]
    pub fn is_cut(self) -> bool {
        self.before || self.after.is_some()
    }
}

/// The byte range in the file that a line came from, framing included.
///
/// For a line joined of several parts, `start` is where its first part begins
/// and `end` is where its last part ends (exclusive); parts of the other
/// stream may lie in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset in bytes of the first byte.
    pub start: u64,
    /// Offset in bytes behind the last byte.
    pub end: u64,
}

/// One line of a gateway's log, with the container's framing taken off.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The text without its newline. Any bytes: invalid UTF-8 is possible.
    pub text: &'a [u8],
    /// The stream that the container wrote it to.
    pub stream: Stream,
    /// The container runtime's timestamp, verbatim (RFC 3339), if it has one.
    pub time: Option<&'a str>,
    /// Where it stood in the file.
    pub span: Span,
    /// Whether it is whole.
    pub cut: Cut,
}
