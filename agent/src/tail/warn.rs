//! What an operator should know and that stops nothing.
//!
//! Each is said once, until it has been well again in between. The caller logs
//! them (paths can carry numbers: it redacts them first).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The most that is remembered and waits to be said.
const BOUND: usize = 4096;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// A file or directory may not be read; tried again at each scan.
    Unreadable,
    /// A symlink whose target is not there (not mounted, perhaps).
    Dangling,
    /// A symlink that leads to itself.
    SymlinkLoop,
    /// The agent's own log: not tailed.
    OwnLog,
    /// Reading failed; tried again at each scan.
    ReadFailed,
    /// The kernel gives no events for this directory; the scan finds all.
    NotWatched,
    /// The kernel lost events; the scan finds all.
    EventsLost,
}

impl Problem {
    /// In words, without the path.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unreadable => "cannot be read, will be tried again",
            Self::Dangling => "symlink whose target is not there (is it mounted?)",
            Self::SymlinkLoop => "symlink that leads to itself",
            Self::OwnLog => "is the agent's own log and is not tailed",
            Self::ReadFailed => "reading failed, will be tried again",
            Self::NotWatched => "no events for this directory, it is scanned instead",
            Self::EventsLost => "file events were lost, the scan makes up for them",
        }
    }
}

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailWarning {
    /// What is wrong.
    pub problem: Problem,
    /// With what; not redacted.
    pub path: PathBuf,
}

/// Remembers what has been said.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    said: HashSet<(PathBuf, Problem)>,
    waiting: Vec<TailWarning>,
}

impl Warnings {
    pub(crate) fn say(&mut self, problem: Problem, path: &Path) {
        if self.said.len() < BOUND && self.said.insert((path.to_owned(), problem)) {
            self.waiting.push(TailWarning { problem, path: path.to_owned() });
        }
    }

    /// The path is well: the next problem is said again.
    pub(crate) fn well(&mut self, path: &Path) {
        if !self.said.is_empty() {
            self.said.retain(|(said, problem)| said != path || *problem == Problem::OwnLog);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<TailWarning> {
        std::mem::take(&mut self.waiting)
    }
}
