//! An archive in a directory, one file an object, the key its relative path.
//!
//! A new object is written under a temporary name beside its place, hashed on
//! the way, fsynced, renamed to a name that must be free, and its folders are
//! fsynced up to the root: only then it is there. A crash leaves at most a file
//! that ends in `.tmp`, which no listing shows and [`DirStore::sweep`] removes.
//!
//! After a failed fsync nobody knows what the disk holds, so this store writes
//! nothing more until the process starts again.

#[cfg(test)]
mod power_tests;
mod probe;
mod reader;
#[cfg(test)]
mod tests;
mod walk;

use super::{Body, CHUNK, Doing, ObjectInfo, PutOutcome, StoreError, key};
use crate::disk::{DiskFile, SharedDisk};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use probe::{DirProbe, Kind as FileSystem};
pub use reader::FileReader;
pub use walk::Walk;

/// Folders remembered as durable; past this all are forgotten (and fsynced anew).
const REMEMBERED: usize = 1024;

/// A directory that holds an archive. Clones share it.
#[derive(Debug, Clone)]
pub struct DirStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: SharedDisk,
    /// Absolute.
    root: PathBuf,
    /// The root as text with a slash at its end.
    place: String,
    /// Folders whose names, up to the root's, this process has fsynced.
    settled: Mutex<BTreeSet<PathBuf>>,
    /// An fsync failed: nothing is written any more.
    broken: AtomicBool,
}

impl DirStore {
    /// Opens a directory to write to; it and its parents are made if need be,
    /// and durable when this returns. Blocks for a few system calls.
    ///
    /// # Errors
    /// When it cannot be made, or its name cannot be made durable.
    pub fn create(disk: SharedDisk, root: &Path) -> Result<Self, StoreError> {
        let store = Self::new(disk, root);
        let Inner { disk, root, place, .. } = &*store.0;
        let failed = |e: io::Error| StoreError::disk(Doing::Open, place, &e);
        disk.create_dir_all(root).map_err(failed)?;
        match root.parent().map(|parent| disk.sync_dir(parent)) {
            // A parent that we may pass through but not open is older than us.
            Some(Err(e)) if e.kind() != io::ErrorKind::PermissionDenied => Err(failed(e)),
            _ => Ok(store),
        }
    }

    /// Opens a directory that must be there, for reading.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is none.
    pub fn open(disk: SharedDisk, root: &Path) -> Result<Self, StoreError> {
        let store = Self::new(disk, root);
        if !store.0.disk.is_dir(root) {
            let reason = "there is no such directory";
            return Err(StoreError::refused(Doing::Open, &store.0.place, reason));
        }
        Ok(store)
    }

    fn new(disk: SharedDisk, root: &Path) -> Self {
        let mut place = root.display().to_string();
        if !place.ends_with('/') {
            place.push('/');
        }
        Self(Arc::new(Inner {
            disk,
            root: root.to_owned(),
            place,
            settled: Mutex::default(),
            broken: AtomicBool::new(false),
        }))
    }

    /// The root as text, with a slash at its end.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// As [`super::Store::put_new`].
    ///
    /// # Errors
    /// As there.
    pub async fn put_new(
        &self,
        key: &str,
        body: &Body,
        sha256: [u8; 32],
    ) -> Result<PutOutcome, StoreError> {
        key::check(Doing::Write, self.place(), key)?;
        let (key, body) = (key.to_owned(), body.clone());
        self.blocking(move |inner| inner.put_new(&key, &body, sha256)).await
    }

    /// As [`super::Store::put`].
    ///
    /// # Errors
    /// As there.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        key::check(Doing::Write, self.place(), key)?;
        let key = key.to_owned();
        self.blocking(move |inner| inner.put(&key, bytes)).await
    }

    /// As [`super::Store::head`].
    ///
    /// # Errors
    /// As there.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        key::check(Doing::Read, self.place(), key)?;
        let key = key.to_owned();
        let head = move |inner: &Inner| match inner.open(&key) {
            Ok((_, len)) => Ok(Some(ObjectInfo { len, sha256: None })),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        };
        self.blocking(head).await
    }

    /// As [`super::Store::get`].
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, key: &str) -> Result<FileReader, StoreError> {
        key::check(Doing::Read, self.place(), key)?;
        let key = key.to_owned();
        self.blocking(move |inner| {
            let (file, len) = inner.open(&key)?;
            Ok(FileReader::new(file.into(), len, inner.named(&key)))
        })
        .await
    }

    /// As [`super::Store::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, prefix: &str) -> Result<Walk, StoreError> {
        key::check_prefix(self.place(), prefix)?;
        Ok(Walk::new(Arc::clone(&self.0.disk), self.0.root.clone(), prefix))
    }

    /// As [`super::Store::sweep`]. A writer that is at work below `prefix`
    /// meanwhile would lose the object in its hands (and write it again).
    ///
    /// # Errors
    /// As there.
    pub async fn sweep(&self, prefix: &str) -> Result<(), StoreError> {
        let prefix = prefix.trim_end_matches('/').to_owned();
        if !prefix.is_empty() {
            key::check(Doing::List, self.place(), &prefix)?;
        }
        self.blocking(move |inner| walk::sweep(&*inner.disk, &inner.root.join(prefix))).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(done) => done,
            Err(_) => Err(stopped(Doing::Open, self.place())),
        }
    }
}

/// The blocking half of a call did not end: the process is shutting down.
fn stopped(doing: Doing, place: &str) -> StoreError {
    StoreError::unavailable(doing, place, "the work was stopped before it was done")
}

impl Inner {
    fn named(&self, key: &str) -> String {
        format!("{}{key}", self.place)
    }

    fn open(&self, key: &str) -> Result<(Box<dyn DiskFile>, u64), StoreError> {
        let path = self.root.join(key);
        let failed = |e: io::Error| StoreError::disk(Doing::Read, &self.named(key), &e);
        if self.disk.is_dir(&path) {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let file = self.disk.open_read(&path).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        Ok((file, len))
    }

    fn put_new(&self, key: &str, body: &Body, want: [u8; 32]) -> Result<PutOutcome, StoreError> {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root);
        let place = self.named(key);
        self.healthy(&place)?;
        self.settle(folder, &place)?;

        // An attempt before this one may have come this far already.
        if self.compare(key, body.len(), want)? {
            self.synced(self.disk.sync_dir(folder), &place)?;
            return Ok(PutOutcome::Same);
        }
        let temporary = self.stage(&path, body, Some(want), &place)?;
        let outcome = match self.disk.rename_new(&temporary, &path) {
            Ok(()) => PutOutcome::Created,
            Err(e) => {
                // Best effort: a leftover is swept at the next start.
                drop(self.disk.remove(&temporary));
                if e.kind() != io::ErrorKind::AlreadyExists
                    || !self.compare(key, body.len(), want)?
                {
                    return Err(self.write_failed(&place, &e));
                }
                PutOutcome::Same
            }
        };
        // Also for Same: whoever renamed it may have died before this.
        self.synced(self.disk.sync_dir(folder), &place)?;
        Ok(outcome)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root);
        let place = self.named(key);
        self.healthy(&place)?;
        self.settle(folder, &place)?;
        let temporary = self.stage(&path, &Body::Bytes(bytes), None, &place)?;
        if let Err(e) = self.disk.rename(&temporary, &path) {
            drop(self.disk.remove(&temporary));
            return Err(self.write_failed(&place, &e));
        }
        self.synced(self.disk.sync_dir(folder), &place)
    }

    /// Writes `body` beside `path` and makes its content durable. Returns the
    /// temporary name; on an error nothing of that name is left.
    fn stage(
        &self,
        path: &Path,
        body: &Body,
        want: Option<[u8; 32]>,
        place: &str,
    ) -> Result<PathBuf, StoreError> {
        let failed = |e: io::Error| self.write_failed(place, &e);
        let unique = getrandom::u64().map_err(|e| failed(io::Error::other(e)))?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{unique:016x}{}", key::TEMPORARY));
        let temporary = path.with_file_name(name);

        let file = self.disk.create_new(&temporary).map_err(failed)?;
        let written = file
            .allocate(body.len())
            .map_err(failed)
            .and_then(|()| copy(body, &*file, place))
            .and_then(|found| match want {
                Some(want) if want != found => Err(not_as_sealed(place)),
                _ => self.synced(file.sync(), place),
            });
        if let Err(e) = written {
            drop(self.disk.remove(&temporary));
            return Err(e);
        }
        Ok(temporary)
    }

    /// Whether an object is there; one of other length or hash is a conflict.
    fn compare(&self, key: &str, len: u64, want: [u8; 32]) -> Result<bool, StoreError> {
        let place = self.named(key);
        let differs = |found| Err(StoreError::Conflict { place: place.clone(), found });
        let failed = |e: io::Error| StoreError::disk(Doing::Compare, &place, &e);
        let path = self.root.join(key);
        if self.disk.is_dir(&path) {
            return differs("a folder of that name".to_owned());
        }
        let file = match self.disk.open_read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(failed)?,
        };
        let found_len = file.len().map_err(failed)?;
        if found_len != len {
            return differs(format!("{found_len} bytes instead of {len}"));
        }
        let mut hash = Sha256::new();
        read_chunks(&*file, 0, len, |_, chunk| {
            hash.update(chunk);
            Ok(())
        })
        .map_err(failed)?;
        if <[u8; 32]>::from(hash.finalize()) != want {
            return differs("the same length but other bytes".to_owned());
        }
        self.synced(file.sync(), &place)?;
        Ok(true)
    }

    /// Makes `folder`, and all names from the root down to it durable. Once a
    /// process suffices: an earlier one may have died between making a folder
    /// and making it durable.
    fn settle(&self, folder: &Path, place: &str) -> Result<(), StoreError> {
        if self.settled().contains(folder) {
            return Ok(());
        }
        self.disk.create_dir_all(folder).map_err(|e| StoreError::disk_write(place, &e))?;
        for above in folder.ancestors().skip(1).take_while(|a| a.starts_with(&self.root)) {
            self.synced(self.disk.sync_dir(above), place)?;
        }
        let mut settled = self.settled();
        if settled.len() >= REMEMBERED {
            settled.clear();
        }
        settled.insert(folder.to_owned());
        Ok(())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder that vanished is to be made anew by the next attempt.
    fn write_failed(&self, place: &str, e: &io::Error) -> StoreError {
        self.settled().clear();
        StoreError::disk_write(place, e)
    }

    /// Takes the result of an fsync: after a failed one nothing is written more.
    fn synced(&self, result: io::Result<()>, place: &str) -> Result<(), StoreError> {
        result.map_err(|e| {
            self.broken.store(true, Ordering::SeqCst);
            StoreError::refused(Doing::Write, place, format!("fsync failed: {e}; {CHECK_DISK}"))
        })
    }

    fn healthy(&self, place: &str) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            let reason = format!("an earlier fsync in this archive failed; {CHECK_DISK}");
            return Err(StoreError::refused(Doing::Write, place, reason));
        }
        Ok(())
    }
}

const CHECK_DISK: &str = "check the disk, then start sealtail again";

/// The bytes at hand are not those that were sealed.
pub(super) fn not_as_sealed(place: &str) -> StoreError {
    let reason = "what is to be written does not have the hash it was sealed with; \
                  the local copy is damaged";
    StoreError::refused(Doing::Write, place, reason)
}

/// The local copy of what is to be written cannot be read. Never "no such
/// object": that would be said of the archive.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::refused(Doing::Read, &path.display().to_string(), error.to_string())
}

/// Copies `body` to the beginning of `to`; returns its hash.
fn copy(body: &Body, to: &dyn DiskFile, place: &str) -> Result<[u8; 32], StoreError> {
    let failed = |e: io::Error| StoreError::disk_write(place, &e);
    let mut hash = Sha256::new();
    match body {
        Body::Bytes(bytes) => {
            for (at, chunk) in (0_u64..).step_by(CHUNK).zip(bytes.chunks(CHUNK)) {
                hash.update(chunk);
                to.write_at(chunk, at).map_err(failed)?;
            }
        }
        Body::File { disk, path, offset, len } => {
            let unreadable = |e: io::Error| unreadable(path, &e);
            let from = disk.open_read(path).map_err(unreadable)?;
            // A read error has another name and another cause than a write error.
            let mut write_error = None;
            let read = read_chunks(&*from, *offset, *len, |at, chunk| {
                hash.update(chunk);
                to.write_at(chunk, at).map_err(|e| {
                    write_error = Some(failed(e));
                    io::ErrorKind::Other.into()
                })
            });
            match (read, write_error) {
                (Ok(()), _) => {}
                (Err(_), Some(e)) => return Err(e),
                (Err(e), None) => return Err(unreadable(e)),
            }
        }
    }
    Ok(hash.finalize().into())
}

/// Hands `len` bytes from `offset` to `take`, each chunk with its distance from
/// `offset`. A file that ends before is `UnexpectedEof`.
fn read_chunks(
    file: &dyn DiskFile,
    offset: u64,
    len: u64,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buf = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
    let mut at = 0;
    while at < len {
        let room = usize::try_from(len - at).unwrap_or(usize::MAX).min(buf.len());
        let n = match buf.get_mut(..room) {
            Some(part) => file.read_at(part, offset + at)?,
            None => 0,
        };
        let chunk = buf.get(..n).filter(|c| !c.is_empty());
        take(at, chunk.ok_or(io::ErrorKind::UnexpectedEof)?)?;
        at += n as u64;
    }
    Ok(())
}
