//! A sink's durable place: the next leaf that it has to upload.
//!
//! A cursor belongs to a sink's *name*. One whose sink is gone from the
//! configuration still holds the outbox, until `sealtail forget-sink`.

use crate::disk::{self, SharedDisk};
use crate::fault;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of all cursors.
#[derive(Debug, Clone)]
pub struct Cursors {
    disk: SharedDisk,
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u32,
    next_leaf: u64,
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
    /// Not what was written. Losing a cursor only means comparing uploads again.
    #[error(
        "read {0}: it is damaged; remove it, then what it covered is compared again with the archive"
    )]
    Damaged(PathBuf),
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

    /// The names of the sinks that have a cursor.
    ///
    /// # Errors
    /// When the system says no.
    pub fn names(&self) -> Result<Vec<String>, CursorError> {
        let names = self.disk.list(&self.folder).map_err(io_error("list", &self.folder))?;
        Ok(names.into_iter().filter_map(|n| n.strip_suffix(SUFFIX).map(str::to_owned)).collect())
    }

    /// The next leaf that this sink has to upload; `None` if it never uploaded any.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn load(&self, sink: &str) -> Result<Option<u64>, CursorError> {
        let path = self.path(sink);
        let bytes = match self.disk.read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error("read", &path))?,
        };
        match serde_json::from_slice::<Content>(&bytes) {
            Ok(Content { v: 1, next_leaf }) => Ok(Some(next_leaf)),
            _ => Err(CursorError::Damaged(path)),
        }
    }

    /// Moves the cursor. Durable when this returns.
    ///
    /// # Errors
    /// When the system says no; the old place stands then, or the new one.
    pub fn save(&self, sink: &str, next_leaf: u64) -> Result<(), CursorError> {
        let path = self.path(sink);
        let json = format!("{{\"v\":1,\"next_leaf\":{next_leaf}}}");
        fault::point("cursor.write");
        disk::replace(&*self.disk, &path, json.as_bytes()).map_err(io_error("write", &path))
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
