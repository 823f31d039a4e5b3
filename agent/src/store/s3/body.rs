//! A part of a file as the body of a request: read while it is sent.
//!
//! At most one chunk is in memory besides what the connection holds. Reads run
//! off the reactor. The bytes are hashed on the way; if they are not the sealed
//! ones, the last chunk is withheld, so that no whole request ever carries them.

use crate::disk::DiskFile;
use crate::store::dir::{not_as_sealed, unreadable};
use crate::store::{Body, StoreError};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// Bytes in one frame.
const FRAME: usize = 64 * 1024;

/// What went wrong on our side while a body was being sent. The connection
/// would report only that it broke.
#[derive(Debug, Clone, Default)]
pub(super) struct LocalFault(Arc<Mutex<Option<StoreError>>>);

impl LocalFault {
    fn set(&self, error: StoreError) -> io::Error {
        let broken = io::Error::other(error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        broken
    }

    /// The fault, if there was one.
    pub(super) fn take(&self) -> Option<StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Makes the body of one attempt. `place` is the object's name, for messages.
///
/// # Errors
/// When the file cannot be opened.
pub(super) async fn stream(
    body: &Body,
    sha256: [u8; 32],
    place: &str,
    fault: &LocalFault,
) -> Result<ByteStream, StoreError> {
    match body {
        Body::Bytes(bytes) => {
            if <[u8; 32]>::from(Sha256::digest(bytes)) != sha256 {
                return Err(not_as_sealed(place));
            }
            Ok(ByteStream::from(SdkBody::from(bytes.clone())))
        }
        Body::File { disk, path, offset, len } => {
            let (disk, opened) = (Arc::clone(disk), path.clone());
            let file = match tokio::task::spawn_blocking(move || disk.open_read(&opened)).await {
                Ok(Ok(file)) => Arc::from(file),
                Ok(Err(e)) => return Err(unreadable(path, &e)),
                Err(e) => return Err(unreadable(path, &io::Error::other(e))),
            };
            let source = Source {
                file,
                at: *offset,
                left: *len,
                hash: Sha256::new(),
                want: sha256,
                path: path.clone(),
                place: place.to_owned(),
            };
            let body =
                FileBody { left: *len, source: Some(source), reading: None, fault: fault.clone() };
            Ok(ByteStream::from(SdkBody::from_body_1_x(body)))
        }
    }
}

/// What is still to be read.
#[derive(Debug)]
struct Source {
    file: Arc<dyn DiskFile>,
    at: u64,
    left: u64,
    hash: Sha256,
    want: [u8; 32],
    path: PathBuf,
    place: String,
}

impl Source {
    /// Blocks for one read.
    fn next(mut self) -> Result<(Self, Bytes), StoreError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(FRAME);
        let mut buf = vec![0; want];
        let failed = |path: &Path, e: &io::Error| unreadable(path, e);
        let n = self.file.read_at(&mut buf, self.at).map_err(|e| failed(&self.path, &e))?;
        if n < want {
            return Err(failed(&self.path, &io::ErrorKind::UnexpectedEof.into()));
        }
        self.hash.update(&buf);
        self.at += n as u64;
        self.left -= n as u64;
        if self.left == 0 && <[u8; 32]>::from(self.hash.clone().finalize()) != self.want {
            return Err(not_as_sealed(&self.place));
        }
        Ok((self, Bytes::from(buf)))
    }
}

struct FileBody {
    /// Bytes not yet handed out.
    left: u64,
    /// `None` while a read is under way, and after an error.
    source: Option<Source>,
    reading: Option<JoinHandle<Result<(Source, Bytes), StoreError>>>,
    fault: LocalFault,
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(source) = self.source.take() {
            self.reading = Some(tokio::task::spawn_blocking(move || source.next()));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Some(Err(io::Error::other("read after an error"))));
        };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok((source, bytes))) => {
                self.left -= bytes.len() as u64;
                self.source = Some(source);
                Ok(Frame::data(bytes))
            }
            Ok(Err(error)) => Err(self.fault.set(error)),
            Err(stopped) => Err(io::Error::other(stopped)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
