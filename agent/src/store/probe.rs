//! What a store can do, found out before it is relied on.
//!
//! [`Store::probe`] fails when nothing can be written there. What it finds
//! otherwise is a table for people ([`fmt::Display`], a line a fact) and a
//! verdict for the caller: [`Probe::verdict`] refuses what sealtail must not
//! promise, such as a lock that the bucket does not have.

use super::{DirProbe, Store, StoreError, s3::S3Probe};
use std::fmt;

/// The last part of the name of the object that is left behind by trying a
/// bucket; no part of any log, and passed over by readers.
pub const PROBE: &str = "sealtail-probe";

/// Whether this key is of the object that trying a bucket leaves behind.
#[must_use]
pub fn is_probe(key: &str) -> bool {
    key.rsplit('/').next() == Some(PROBE)
}

/// What was found out about a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// About a directory.
    Dir(DirProbe),
    /// About a bucket.
    S3(S3Probe),
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// It works, and somebody should know.
    Warning,
    /// [`Probe::verdict`] refuses it.
    Bad,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was asked.
    pub what: &'static str,
    /// What was found.
    pub answer: String,
    /// How good that is.
    pub mark: Mark,
}

impl Row {
    pub(super) fn new(what: &'static str, mark: Mark, answer: impl Into<String>) -> Self {
        Self { what, answer: answer.into(), mark }
    }
}

impl Store {
    /// Tries everything that an archive needs, without touching anybody's data.
    /// In a bucket one small object stays behind, `<folder>/sealtail-probe`,
    /// written once and never again (with the lock of all others, if there is
    /// one); in a directory nothing does. `folder` is where this agent may
    /// write: its origin, or empty.
    ///
    /// # Errors
    /// What keeps the store from being used at all, by its [`StoreError::class`].
    pub async fn probe(&self, folder: &str) -> Result<Probe, StoreError> {
        match self {
            Self::Dir(dir) => dir.probe().await.map(Probe::Dir),
            Self::S3(s3) => s3.probe(folder).await.map(Probe::S3),
        }
    }
}

impl Probe {
    /// Refuses a store that cannot keep what is promised in its name.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with what is missing and how to get it.
    pub fn verdict(&self) -> Result<(), StoreError> {
        match self {
            Self::Dir(_) => Ok(()),
            Self::S3(s3) => s3.verdict(),
        }
    }

    /// The facts, in the order in which people ask for them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        match self {
            Self::Dir(dir) => dir.rows(),
            Self::S3(s3) => s3.rows(),
        }
    }
}

/// A line a fact, without a line break at the end.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, row) in self.rows().iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            let mark = match row.mark {
                Mark::Good => "ok  ",
                Mark::Warning => "warn",
                Mark::Bad => "BAD ",
            };
            write!(f, "{newline}{mark} {:<18} {}", row.what, row.answer)?;
        }
        Ok(())
    }
}
