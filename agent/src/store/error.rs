//! What can go wrong with an archive, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

/// What to do after an error: the "three classes" of the design, with the two
/// answers that are no trouble of the store's split off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try the same again after a backoff, without end.
    Retry {
        /// How long the server asked to be left alone (`Retry-After`).
        after: Option<Duration>,
    },
    /// Keep everything, stop this sink, raise the alarm, try again slowly: a
    /// person has to change something.
    Halt,
    /// The name is taken by other bytes: somebody else writes to this log. An
    /// alarm and a halt; trying again cannot help.
    Conflict,
    /// There is no such object.
    NotFound,
}

/// What was being done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Making the store ready for use.
    Open,
    /// Writing an object.
    Write,
    /// Comparing an object that is there already with the one to be written.
    Compare,
    /// Reading an object, or facts about it.
    Read,
    /// Listing objects.
    List,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Write => "write",
            Self::Compare => "compare",
            Self::Read => "read",
            Self::List => "list",
        })
    }
}

/// Why an archive did not do what it was asked.
///
/// `place` is the whole name (`s3://bucket/key` or a path). Messages never hold
/// credentials or anything of an object's content.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The name is taken by other bytes.
    #[error(
        "failed to write {place}: another object is there already ({found}); \
         does a second agent write under this origin?"
    )]
    Conflict {
        /// The object.
        place: String,
        /// How it differs.
        found: String,
    },
    /// There is no such object.
    #[error("failed to {doing} {place}: there is no such object")]
    NotFound {
        /// What was tried.
        doing: Doing,
        /// The object.
        place: String,
    },
    /// Trouble that passes.
    #[error("failed to {doing} {place}: {reason}")]
    Unavailable {
        /// What was tried.
        doing: Doing,
        /// The object or store.
        place: String,
        /// What happened.
        reason: String,
        /// How long the server asked to be left alone.
        after: Option<Duration>,
    },
    /// Trouble that a person has to end.
    #[error("failed to {doing} {place}: {reason}")]
    Refused {
        /// What was tried.
        doing: Doing,
        /// The object or store.
        place: String,
        /// What happened, and what to do.
        reason: String,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Conflict { .. } => Class::Conflict,
            Self::NotFound { .. } => Class::NotFound,
            Self::Unavailable { after, .. } => Class::Retry { after: *after },
            Self::Refused { .. } => Class::Halt,
        }
    }

    pub(super) fn refused(doing: Doing, place: &str, reason: impl Into<String>) -> Self {
        Self::Refused { doing, place: place.to_owned(), reason: reason.into() }
    }

    pub(super) fn unavailable(doing: Doing, place: &str, reason: impl Into<String>) -> Self {
        Self::Unavailable { doing, place: place.to_owned(), reason: reason.into(), after: None }
    }

    /// An error of the disk: what passes by itself (no space, no descriptors, a
    /// network file system that is away) is retried, all else needs a person.
    pub(super) fn disk(doing: Doing, place: &str, error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::NotFound => Self::NotFound { doing, place: place.to_owned() },
            K::StorageFull
            | K::QuotaExceeded
            | K::Interrupted
            | K::TimedOut
            | K::WouldBlock
            | K::ResourceBusy
            | K::StaleNetworkFileHandle => Self::unavailable(doing, place, error.to_string()),
            // EMFILE and ENFILE have no kind of their own.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
                Self::unavailable(doing, place, error.to_string())
            }
            _ => Self::refused(doing, place, error.to_string()),
        }
    }

    /// As [`StoreError::disk`] while writing: what is gone was taken away under
    /// our hands, and the next attempt makes it anew.
    pub(super) fn disk_write(place: &str, error: &io::Error) -> Self {
        match Self::disk(Doing::Write, place, error) {
            Self::NotFound { doing, place } => {
                Self::unavailable(doing, &place, "its folder or temporary file was taken away")
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_retried_and_a_forbidden_one_halts() {
        let of = |e: io::Error| StoreError::disk(Doing::Write, "/a/b", &e).class();
        assert_eq!(of(io::ErrorKind::StorageFull.into()), Class::Retry { after: None });
        assert_eq!(of(io::Error::from_raw_os_error(24)), Class::Retry { after: None });
        assert_eq!(of(io::ErrorKind::PermissionDenied.into()), Class::Halt);
        assert_eq!(of(io::Error::from_raw_os_error(5)), Class::Halt);
        assert_eq!(of(io::ErrorKind::NotFound.into()), Class::NotFound);
    }

    #[test]
    fn messages_name_the_object() {
        let e = StoreError::refused(Doing::Write, "s3://b/k", "the bucket does not exist");
        assert_eq!(e.to_string(), "failed to write s3://b/k: the bucket does not exist");
    }
}
