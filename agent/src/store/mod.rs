//! Where an archive lives: a directory or a bucket.
//!
//! An object is written once and never changed: [`Store::put_new`] makes it or
//! finds the same bytes there; other bytes are a [`Class::Conflict`], never
//! overwritten and never assumed to be ours. What returns `Ok` is durable: in a
//! directory the file and every folder above it are fsynced, in S3 the server
//! has answered. Only [`Store::put`] (checkpoint, backup) replaces.
//!
//! Memory is bounded: bodies and downloads go through in chunks, listings in
//! pages. Nothing here tries again by itself; [`StoreError::class`] says what
//! the caller should do. Nothing is ever deleted but leftovers of our own
//! unfinished writes.
//!
//! All futures may be dropped at any time: the write then happens, or does not,
//! or is found as [`PutOutcome::Same`] by the next attempt.

mod dir;
mod error;
mod key;
mod probe;
pub mod s3;
pub mod url;

use crate::disk::SharedDisk;
use bytes::Bytes;
use std::fmt;
use std::path::PathBuf;

pub use dir::{DirProbe, DirStore, FileReader, FileSystem, Walk};
pub use error::{Class, Doing, StoreError};
pub use probe::{Mark, PROBE, Probe, Row, is_probe};
pub use s3::S3Store;

/// Bytes of a file that are read or written in one go.
const CHUNK: usize = 256 * 1024;
/// Most entries in one page of a listing.
const PAGE: usize = 1000;

/// A directory or a bucket that holds an archive. Keys are relative to its
/// root, with slashes, as in `wa/prod/gateway-0/…/log/….tlog-proof`.
#[derive(Debug, Clone)]
pub enum Store {
    /// A directory of this machine.
    Dir(DirStore),
    /// A bucket, or a prefix in it.
    S3(S3Store),
}

/// Where a store is, and how it is reached: what a configuration says of it.
#[derive(Debug, Clone)]
pub enum Place {
    /// A directory, made if need be.
    Directory(SharedDisk, PathBuf),
    /// A bucket.
    S3(Box<s3::S3Options>),
}

impl Place {
    /// Opens the store for writing.
    ///
    /// # Errors
    /// By their [`StoreError::class`].
    pub async fn open(&self) -> Result<Store, StoreError> {
        match self {
            Self::Directory(disk, path) => {
                let (disk, path) = (disk.clone(), path.clone());
                let place = self.to_string();
                let made = tokio::task::spawn_blocking(move || DirStore::create(disk, &path)).await;
                let ended = |_| StoreError::unavailable(Doing::Open, &place, "the thread ended");
                Ok(Store::Dir(made.map_err(ended)??))
            }
            Self::S3(options) => Ok(Store::S3(S3Store::open((**options).clone()).await?)),
        }
    }
}

/// As a person would write it; the same place has the same text for ever.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(_, path) => write!(f, "file://{}", path.display()),
            Self::S3(options) => {
                write!(f, "s3://{}/{}", options.bucket, options.prefix)?;
                match &options.endpoint {
                    Some(endpoint) => write!(f, " at {}", endpoint.as_str()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What is to be written. Cheap to clone; never holds a file's bytes.
#[derive(Debug, Clone)]
pub enum Body {
    /// Something small that is in memory anyway.
    Bytes(Bytes),
    /// A part of a file, read in chunks while it is sent.
    File {
        /// The disk that the file is on.
        disk: SharedDisk,
        /// The file.
        path: PathBuf,
        /// Where the part begins, in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
}

impl Body {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is told to the store about an object besides its bytes. A directory
/// keeps none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The media type.
    pub content_type: Option<String>,
    /// Object tags (`x-amz-tagging`, needs `s3:PutObjectTagging`); at most ten,
    /// S3 refuses more.
    pub tags: Vec<(String, String)>,
    /// User metadata (`x-amz-meta-…`); names of lower-case ASCII.
    pub metadata: Vec<(String, String)>,
}

/// How [`Store::put_new`] ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is there now, and was not before.
    Created,
    /// The same bytes were there already (compared, not assumed).
    Same,
}

/// What a store knows of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of all bytes, if the store computed and kept it. `None` for
    /// directories and for stores that ignore checksums.
    pub sha256: Option<[u8; 32]>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The key, relative to the store's root. Not necessarily one that
    /// [`Store::get`] accepts: anybody may have put it there.
    pub key: String,
    /// Length in bytes.
    pub len: u64,
}

impl Store {
    /// Writes an object that must not change ever after.
    ///
    /// `sha256` is the hash of the body and is checked on the way. Durable when
    /// this returns `Ok`, also for [`PutOutcome::Same`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when other bytes are there; otherwise by its
    /// [`StoreError::class`].
    pub async fn put_new(
        &self,
        key: &str,
        body: &Body,
        sha256: [u8; 32],
        meta: &ObjectMeta,
    ) -> Result<PutOutcome, StoreError> {
        match self {
            Self::Dir(dir) => dir.put_new(key, body, sha256).await,
            Self::S3(s3) => s3.put_new(key, body, sha256, meta).await,
        }
    }

    /// Writes a small object over whatever is there, whole or not at all.
    /// Durable when this returns `Ok`.
    ///
    /// # Errors
    /// By their [`StoreError::class`]; the old object or the new one stands.
    pub async fn put(&self, key: &str, bytes: Bytes, meta: &ObjectMeta) -> Result<(), StoreError> {
        match self {
            Self::Dir(dir) => dir.put(key, bytes).await,
            Self::S3(s3) => s3.put(key, bytes, meta).await,
        }
    }

    /// Length, and hash where the store keeps it; `None` if there is no such
    /// object.
    ///
    /// # Errors
    /// By their [`StoreError::class`]. S3 does not tell a missing bucket from a
    /// missing object here; every other call does.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        match self {
            Self::Dir(dir) => dir.head(key).await,
            Self::S3(s3) => s3.head(key).await,
        }
    }

    /// Opens an object for reading in chunks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none; otherwise by its class.
    pub async fn get(&self, key: &str) -> Result<Reader, StoreError> {
        match self {
            Self::Dir(dir) => dir.get(key).await.map(Reader::Dir),
            Self::S3(s3) => s3.get(key).await.map(Reader::S3),
        }
    }

    /// Lists all objects whose key begins with `prefix`, in the byte order of
    /// their keys. `prefix` may be empty and may end inside a name.
    ///
    /// # Errors
    /// A prefix that leaves the root. Everything else comes from the pages.
    pub fn list(&self, prefix: &str) -> Result<Lister, StoreError> {
        match self {
            Self::Dir(dir) => dir.list(prefix).map(Lister::Dir),
            Self::S3(s3) => s3.list(prefix).map(Lister::S3),
        }
    }

    /// Removes what unfinished writes below `prefix` (a folder) left behind.
    /// For the one writer of that prefix, at its start; nothing to do in S3.
    ///
    /// # Errors
    /// By their [`StoreError::class`].
    pub async fn sweep(&self, prefix: &str) -> Result<(), StoreError> {
        match self {
            Self::Dir(dir) => dir.sweep(prefix).await,
            Self::S3(_) => Ok(()),
        }
    }

    /// After a halt, before the slow next attempt: reads the credentials anew
    /// from wherever they come. Nothing to do for a directory.
    ///
    /// # Errors
    /// By their [`StoreError::class`]; the old ones stay in use then.
    pub async fn reload_credentials(&self) -> Result<(), StoreError> {
        match self {
            Self::Dir(_) => Ok(()),
            Self::S3(s3) => s3.reload_credentials().await,
        }
    }
}

/// The root, as a person would write it.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(dir) => f.write_str(dir.place()),
            Self::S3(s3) => f.write_str(s3.place()),
        }
    }
}

/// An object that is being read, a chunk at a time.
#[derive(Debug)]
pub enum Reader {
    /// From a file.
    Dir(FileReader),
    /// From a bucket.
    S3(s3::ObjectReader),
}

impl Reader {
    /// Length of the whole object in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Dir(reader) => reader.len(),
            Self::S3(reader) => reader.len(),
        }
    }

    /// Whether the object is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next bytes, at most a few hundred KiB; `None` once all
    /// [`Reader::len`] of them were handed out. Not cancel-safe: a chunk that
    /// was being read is lost when the future is dropped.
    ///
    /// # Errors
    /// By their [`StoreError::class`]; an object that ends early is an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Dir(reader) => reader.chunk().await,
            Self::S3(reader) => reader.chunk().await,
        }
    }

    /// The whole of a small object.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it is longer than `limit` bytes; otherwise as
    /// [`Reader::chunk`].
    pub async fn read_all(mut self, limit: usize) -> Result<Vec<u8>, StoreError> {
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX);
        if len > limit {
            let reason = format!("it is {len} bytes long, at most {limit} make sense here");
            return Err(StoreError::refused(Doing::Read, self.place(), reason));
        }
        let mut out = Vec::with_capacity(len);
        while let Some(chunk) = self.chunk().await? {
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }

    fn place(&self) -> &str {
        match self {
            Self::Dir(reader) => reader.place(),
            Self::S3(reader) => reader.place(),
        }
    }
}

/// A listing that is being read, a page at a time.
#[derive(Debug)]
pub enum Lister {
    /// Of a directory.
    Dir(Walk),
    /// Of a bucket.
    S3(s3::Pages),
}

impl Lister {
    /// The next entries, at most 1000, never none; `None` at the end.
    ///
    /// # Errors
    /// By their [`StoreError::class`]. After an error that is retried the same
    /// page comes again; for a directory the listing begins anew.
    pub async fn page(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        match self {
            Self::Dir(walk) => walk.page().await,
            Self::S3(pages) => pages.page().await,
        }
    }
}
