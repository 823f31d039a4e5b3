//! One batch: records → NDJSON → codec → sealed frames → outbox draft.
//!
//! It streams: whatever the size of the batch, what is in memory is one
//! compressor window, one frame and at most 256 KiB of sealed bytes.

use super::outbox::{Draft, OutboxError};
use crate::journal::Seq;
use sealtail_seal::merkle::{Frontier, Hash};
use sealtail_seal::message::Encryptor;
use sealtail_seal::record::Blinder;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// How the plaintext of an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// gzip, level 0 to 9: every auditor has a reader.
    Gzip(u32),
    /// zstd, level 1 to 19: as small at a fraction of the time.
    Zstd(i32),
}

impl Codec {
    /// The name in context and key: `gzip` or `zstd`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }
}

/// A batch that is open: everything up to its last record is in the draft or
/// in the compressor, nothing of it is committed.
pub(super) struct Batch {
    pub(super) key: String,
    pub(super) first: Seq,
    pub(super) count: u64,
    /// About how many bytes of the journal its records take.
    pub(super) span: u64,
    /// Journal time of the first and of the last record, Unix ms.
    pub(super) times: (u64, u64),
    /// When it was opened, Unix ms: its age.
    pub(super) opened: u64,
    encoder: Encoder,
    draft: Draft,
    records: Frontier,
    blinder: Blinder,
    object: Sha256,
    line: Vec<u8>,
    /// The journal time of the last record, and its text: a block has one time.
    stamp: (u64, String),
}

/// What a finished batch is.
pub(super) struct Finished {
    pub(super) draft: Draft,
    pub(super) len: u64,
    pub(super) sha256: [u8; 32],
    pub(super) record_root: Hash,
}

impl Batch {
    /// Opens a batch whose first record is `first`. `header` is line 0 without
    /// the salt: a JSON object without its closing brace.
    pub(super) fn new(
        key: String,
        first: Seq,
        (time, now): (u64, u64),
        codec: Codec,
        encryptor: Encryptor,
        header: &str,
        mut draft: Draft,
    ) -> Result<Self, BatchError> {
        let mut salt = Zeroizing::new([0_u8; 32]);
        getrandom::fill(salt.as_mut_slice())
            .map_err(|e| BatchError::Codec(io::Error::other(e.to_string())))?;
        let mut object = Sha256::new();
        let mut frames = Vec::new();
        encryptor.header(&mut frames);
        object.update(&frames);
        draft.body().extend_from_slice(&frames);
        frames.clear();
        let mut batch = Self {
            key,
            first,
            count: 0,
            span: 0,
            times: (time, time),
            opened: now,
            encoder: Encoder::new(codec, Sealing { encryptor, frames })?,
            draft,
            records: Frontier::new(),
            blinder: Blinder::new(&salt),
            object,
            line: Vec::new(),
            stamp: (u64::MAX, String::new()),
        };
        let salt_hex = Zeroizing::new(crate::text::hex(salt.as_slice()));
        let line = Zeroizing::new(format!("{header},\"salt\":\"{}\"}}\n", salt_hex.as_str()));
        batch.encoder.write_all(line.as_bytes())?;
        Ok(batch)
    }

    /// Adds a record. The batch has it whole when this returns, also when the
    /// error is [`OutboxError::is_full`]: then call [`Batch::flush`] later.
    pub(super) fn push(&mut self, seq: Seq, time: u64, body: &[u8]) -> Result<(), BatchError> {
        self.line.clear();
        self.line.extend_from_slice(b"{\"seq\":");
        crate::text::push_u64(&mut self.line, seq.0);
        self.line.extend_from_slice(b",\"journaled\":\"");
        if self.stamp.0 != time {
            // Another block, and blocks begin at multiples of it.
            self.span += crate::journal::BLOCK_ALIGN;
            self.stamp = (time, crate::text::rfc3339(time));
        }
        self.line.extend_from_slice(self.stamp.1.as_bytes());
        self.line.extend_from_slice(b"\",");
        self.line.extend_from_slice(body);
        self.records.append(self.blinder.leaf_hash(seq.0, &self.line));
        self.line.push(b'\n');
        self.encoder.write_all(&self.line)?;
        self.count += 1;
        self.span += body.len() as u64;
        self.times.1 = time;
        self.collect();
        self.draft.write_some()?;
        Ok(())
    }

    /// Writes what a full volume has held back.
    pub(super) fn flush(&mut self) -> Result<(), OutboxError> {
        self.draft.write_some()
    }

    /// Reserves space for all that [`Batch::finish`] can still add.
    pub(super) fn make_room(&mut self) -> Result<(), OutboxError> {
        self.draft.flush()?;
        self.draft.reserve(self.encoder.rest())
    }

    /// Sealed bytes so far; what the compressor still holds is not in it.
    pub(super) fn sealed_len(&self) -> u64 {
        self.draft.body_len()
    }

    /// Ends compression and message. Nothing can fail for want of space here.
    pub(super) fn finish(mut self) -> Result<Finished, BatchError> {
        let Sealing { encryptor, frames: mut rest } = self.encoder.finish()?;
        encryptor.finish(&mut rest)?;
        self.object.update(&rest);
        self.draft.body().extend_from_slice(&rest);
        Ok(Finished {
            len: self.draft.body_len(),
            draft: self.draft,
            sha256: self.object.finalize().into(),
            record_root: self.records.root(),
        })
    }

    /// Moves sealed frames from the encoder to the draft.
    fn collect(&mut self) {
        let frames = &mut self.encoder.sealing().frames;
        if !frames.is_empty() {
            self.object.update(&*frames);
            self.draft.body().append(frames);
        }
    }
}

/// Why a batch could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The outbox could not take it.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The compressor failed.
    #[error("compress a batch: {0}")]
    Codec(#[from] io::Error),
    /// The message could not be sealed.
    #[error("seal a batch: {0}")]
    Seal(#[from] sealtail_seal::message::EncryptError),
}

/// The end of the pipe: plaintext in, frames out.
struct Sealing {
    encryptor: Encryptor,
    frames: Vec<u8>,
}

impl Write for Sealing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.encryptor.update(buf, &mut self.frames).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Encoder {
    Gzip(Box<flate2::write::GzEncoder<Sealing>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Sealing>>),
}

impl Encoder {
    fn new(codec: Codec, sealing: Sealing) -> io::Result<Self> {
        Ok(match codec {
            Codec::Gzip(level) => Self::Gzip(Box::new(flate2::write::GzEncoder::new(
                sealing,
                flate2::Compression::new(level),
            ))),
            Codec::Zstd(level) => {
                Self::Zstd(Box::new(zstd::stream::write::Encoder::new(sealing, level)?))
            }
        })
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(e) => e.write_all(data),
            Self::Zstd(e) => e.write_all(data),
        }
    }

    fn sealing(&mut self) -> &mut Sealing {
        match self {
            Self::Gzip(e) => e.get_mut(),
            Self::Zstd(e) => e.get_mut(),
        }
    }

    /// More than the codec can still hold back, in bytes: a DEFLATE block and
    /// its window, or two zstd blocks of 128 KiB (levels above 19 are refused).
    fn rest(&self) -> u64 {
        match self {
            Self::Gzip(_) => 128 * 1024,
            Self::Zstd(_) => 512 * 1024,
        }
    }

    fn finish(self) -> io::Result<Sealing> {
        match self {
            Self::Gzip(e) => e.finish(),
            Self::Zstd(e) => e.finish(),
        }
    }
}
