//! What to tail, and within which bounds.

use std::time::Duration;

use crate::decode::{Format, Limits};

/// Where a file begins that is there when an agent without positions starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// At its first byte.
    #[default]
    Beginning,
    /// At its end. Files that appear later are read from their first byte.
    End,
}

/// Which files to tail, and how; the defaults are those of the configuration.
#[derive(Debug, Clone)]
pub struct Source {
    /// Globs of absolute paths. `*` does not match `/`, `**` does.
    pub include: Vec<String>,
    /// Globs of paths to leave out; one without `/` is matched with file names.
    pub exclude: Vec<String>,
    /// The framing of the lines; `None` decides for each file.
    pub format: Option<Format>,
    /// Where files begin that are there at the first start.
    pub start_at: StartAt,
    /// Longest text of a line in bytes; longer ones come in marked pieces.
    /// Docker records are cut too when their raw form is longer than this, so
    /// it should not be under 128 KiB where 16 KiB parts are full of escapes.
    pub max_line: usize,
    /// How long a partial line waits for its rest.
    pub partial_wait: Duration,
    /// How long a statement of several lines waits for its next line.
    pub gather_wait: Duration,
    /// Whether PostgreSQL statements are gathered into one line.
    pub gather: bool,
}

impl Source {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            line: self.max_line.max(1),
            partial_wait: self.partial_wait,
            gather_wait: self.gather_wait,
            gather: self.gather,
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            format: None,
            start_at: StartAt::Beginning,
            max_line: 1024 * 1024,
            partial_wait: Duration::from_secs(5),
            gather_wait: Duration::from_secs(1),
            gather: true,
        }
    }
}

/// Settings of a [`super::Tailer`]; the defaults are those of the configuration.
#[derive(Debug, Clone)]
pub struct TailOptions {
    /// What to tail. A file that several name belongs to the first of them.
    pub sources: Vec<Source>,
    /// Bound of the text in all joiners together, in bytes.
    pub max_held: usize,
    /// Time between two looks at the directories.
    pub scan_every: Duration,
    /// Whether to ask the kernel for events; without, the scan finds all.
    pub watch: bool,
    /// Device and inode of the agent's own files: never tailed.
    pub own: Vec<(u64, u64)>,
    /// A file whose first KiB holds this text is the agent's own log (through a
    /// container's framing, say): never tailed.
    pub own_marker: Option<String>,
}

impl Default for TailOptions {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            max_held: 8 * 1024 * 1024,
            scan_every: Duration::from_secs(1),
            watch: true,
            own: Vec::new(),
            own_marker: None,
        }
    }
}
