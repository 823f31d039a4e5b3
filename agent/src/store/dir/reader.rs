//! Reading an object out of a file, off the reactor.

use super::stopped;
use crate::disk::DiskFile;
use crate::store::{CHUNK, Doing, StoreError};
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// An open file of an archive. It keeps the length it had when it was opened.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<dyn DiskFile>,
    at: u64,
    len: u64,
    place: String,
}

impl FileReader {
    pub(super) fn new(file: Arc<dyn DiskFile>, len: u64, place: String) -> Self {
        Self { file, at: 0, len, place }
    }

    /// Length of the whole file in bytes, when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::store) fn place(&self) -> &str {
        &self.place
    }

    /// As [`crate::store::Reader::chunk`].
    ///
    /// # Errors
    /// As there.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let left = self.len - self.at;
        if left == 0 {
            return Ok(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let read = move || {
            let mut buf = vec![0; want];
            let n = file.read_at(&mut buf, at)?;
            buf.truncate(n);
            if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Bytes::from(buf)) }
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => {
                self.at += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(Err(e)) => Err(StoreError::disk(Doing::Read, &self.place, &e)),
            Err(_) => Err(stopped(Doing::Read, &self.place)),
        }
    }
}
