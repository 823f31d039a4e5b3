//! How far a sink is, durably: the next leaf that an archive has to upload, the
//! next record that another sink has to deliver, and to which place.
//!
//! A cursor belongs to a sink's *name*. One whose sink is gone from the
//! configuration still holds outbox or journal, until `sealtail forget-sink`.

use crate::disk::{self, SharedDisk};
use crate::fault;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The folder of all cursors.
#[derive(Debug, Clone)]
pub struct Cursors {
    disk: SharedDisk,
    folder: PathBuf,
}

/// How far a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// What comes next.
    pub next: Next,
    /// Where everything before went, as the configuration named it: to another
    /// place it has not gone. `None` in the first version's files.
    pub place: Option<String>,
    /// The records from `next` up to this one were given up, under a signed gap
    /// (`on_full: gap`); that there is a gap it has still to be told.
    pub gave_up: Option<u64>,
}

impl Cursor {
    /// Whether it follows the outbox.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        matches!(self.next, Next::Leaf(_))
    }
}

/// What a sink has to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A leaf of the log: it follows the outbox.
    Leaf(u64),
    /// A record: it follows the journal.
    Record(u64),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_leaf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_record: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gave_up: Option<u64>,
}

impl Content {
    fn cursor(self) -> Option<Cursor> {
        let next = match (self.v, self.next_leaf, self.next_record) {
            (1 | 2, Some(leaf), None) => Next::Leaf(leaf),
            (2 | 3, None, Some(record)) => Next::Record(record),
            _ => return None,
        };
        Some(Cursor { next, place: self.place, gave_up: self.gave_up })
    }
}

impl From<&Cursor> for Content {
    fn from(cursor: &Cursor) -> Self {
        let (next_leaf, next_record) = match cursor.next {
            Next::Leaf(leaf) => (Some(leaf), None),
            Next::Record(record) => (None, Some(record)),
        };
        // An older version must not take the third form for a plain place.
        let v = if cursor.gave_up.is_some() { 3 } else { 2 };
        let (place, gave_up) = (cursor.place.clone(), cursor.gave_up);
        Self { v, next_leaf, next_record, place, gave_up }
    }
}

const SUFFIX: &str = ".cursor";

/// Why a cursor cannot be read or written. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The system said no.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what was written. Losing one only means comparing or sending again.
    #[error(
        "read {0}: it is damaged; remove it, then what is kept is sent again (an archive compares it)"
    )]
    Damaged(PathBuf),
    /// Cursor and outbox are not of the same time.
    #[error(
        "go on with sink {sink}: {cursor}, the outbox holds leaves {begin} to {end}. Journal, outbox and \
         cursors belong together and are only restored together: put back the newest copy of all, or move \
         the whole journal folder away (a new incarnation then reads the log files that are there from their \
         beginning)"
    )]
    Outside {
        /// The sink.
        sink: String,
        /// What its cursor says.
        cursor: String,
        /// The oldest leaf in the outbox.
        begin: u64,
        /// The leaf behind the newest.
        end: u64,
    },
}

impl CursorError {
    pub(super) fn outside(sink: &str, cursor: &Cursor, leaves: &RangeInclusive<u64>) -> Self {
        let cursor = match cursor.next {
            Next::Leaf(leaf) => format!("leaf {leaf} is its next"),
            Next::Record(record) => {
                format!("it was no archive before (record {record} was its next)")
            }
        };
        let (begin, end) = (*leaves.start(), *leaves.end());
        Self::Outside { sink: sink.to_owned(), cursor, begin, end }
    }

    /// Whether there is no space: the same call may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if crate::disk::is_full(source))
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CursorError {
    let path = path.to_owned();
    move |source| CursorError::Io { what, path, source }
}

impl Cursors {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When the system says no.
    pub fn open(disk: SharedDisk, folder: PathBuf) -> Result<Self, CursorError> {
        disk.create_dir_all(&folder).map_err(io_error("make", &folder))?;
        Ok(Self { disk, folder })
    }

    /// As [`Cursors::open`], but makes nothing.
    #[must_use]
    pub fn look(disk: SharedDisk, folder: PathBuf) -> Self {
        Self { disk, folder }
    }

    /// All sinks that have a cursor, with it.
    ///
    /// # Errors
    /// As [`Cursors::names`] and [`Cursors::load`].
    pub fn all(&self) -> Result<Vec<(String, Cursor)>, CursorError> {
        let mut all = Vec::new();
        for name in self.names()? {
            if let Some(cursor) = self.load(&name)? {
                all.push((name, cursor));
            }
        }
        Ok(all)
    }

    /// The names of the sinks that have a cursor.
    ///
    /// # Errors
    /// When the system says no.
    pub fn names(&self) -> Result<Vec<String>, CursorError> {
        let names = self.disk.list(&self.folder).map_err(io_error("list", &self.folder))?;
        Ok(names.into_iter().filter_map(|n| n.strip_suffix(SUFFIX).map(str::to_owned)).collect())
    }

    /// How far this sink is; `None` if it is not known here.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn load(&self, sink: &str) -> Result<Option<Cursor>, CursorError> {
        let path = self.path(sink);
        let bytes = match self.disk.read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error("read", &path))?,
        };
        let content = serde_json::from_slice::<Content>(&bytes).ok();
        match content.and_then(Content::cursor) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(CursorError::Damaged(path)),
        }
    }

    /// Moves the cursor. Durable when this returns.
    ///
    /// # Errors
    /// When the system says no; the old place stands then, or the new one.
    pub fn save(&self, sink: &str, cursor: &Cursor) -> Result<(), CursorError> {
        let path = self.path(sink);
        let json = serde_json::to_vec(&Content::from(cursor)).map_err(io::Error::other);
        let json = json.map_err(io_error("write", &path))?;
        fault::point("cursor.write");
        disk::replace(&*self.disk, &path, &json).map_err(io_error("write", &path))
    }

    /// Removes a cursor. Returns whether there was one. Durable when this returns.
    ///
    /// # Errors
    /// When the system says no.
    pub fn forget(&self, sink: &str) -> Result<bool, CursorError> {
        let path = self.path(sink);
        match self.disk.remove(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(io_error("remove", &path))?,
        }
        self.disk.sync_dir(&self.folder).map_err(io_error("fsync", &self.folder))?;
        Ok(true)
    }

    fn path(&self, sink: &str) -> PathBuf {
        self.folder.join(format!("{sink}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use std::sync::Arc;

    #[test]
    fn what_was_saved_is_loaded_and_the_first_form_too() {
        let disk: SharedDisk = Arc::new(SimDisk::new());
        let cursors = Cursors::open(Arc::clone(&disk), "/c".into()).unwrap();
        assert_eq!(cursors.load("a").unwrap(), None);
        for next in [Next::Leaf(7), Next::Record(u64::MAX)] {
            let cursor = Cursor { next, place: Some("s3://b/\"x\"/".to_owned()), gave_up: None };
            cursors.save("a", &cursor).unwrap();
            assert_eq!(cursors.load("a").unwrap(), Some(cursor));
        }
        let write = |text: &str| disk::replace(&*disk, Path::new("/c/a.cursor"), text.as_bytes());
        write(r#"{"v":1,"next_leaf":3}"#).unwrap();
        assert_eq!(
            cursors.load("a").unwrap(),
            Some(Cursor { next: Next::Leaf(3), place: None, gave_up: None })
        );
        for bad in
            ["", "{}", r#"{"v":3,"next_leaf":1}"#, r#"{"v":2,"next_leaf":1,"next_record":1}"#]
        {
            write(bad).unwrap();
            assert!(matches!(cursors.load("a"), Err(CursorError::Damaged(_))), "{bad}");
        }
    }
}
