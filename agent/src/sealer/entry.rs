//! One outbox entry: a file that holds a leaf and everything that goes with it.
//!
//! ```text
//! "SEALTAIL-OUTBOX1" | u32 length | header, JSON | SHA-256 of the header | zeros up to 16384
//! sealed bytes of the object, if the leaf has one
//! ```
//! The header: the leaf, its proof (which holds the signed checkpoint and is
//! the whole tree state), the journal cursor after it. So there is no second
//! file that could disagree. It holds nothing secret: leaf and proof are
//! public, the object is sealed.

use crate::disk::DiskFile;
use crate::journal::Seq;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io;

/// Where the sealed bytes begin.
pub const BODY_OFFSET: u64 = 16 * 1024;
const MAGIC: &[u8; 16] = b"SEALTAIL-OUTBOX1";

/// What an entry says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryHead {
    /// Index of the leaf in the log tree.
    pub index: u64,
    /// The leaf's text (SEAL-FORMAT.md section 3).
    pub leaf: String,
    /// The leaf's proof: inclusion path and signed checkpoint.
    pub proof: String,
    /// The signed checkpoint alone, as it is uploaded under `checkpoint`.
    pub checkpoint: String,
    /// The first record that no leaf up to this one covers.
    pub cursor: Seq,
    /// The record at `cursor` is a gap, and this leaf is the gap's: the record
    /// itself goes into the next batch.
    pub gap_named: bool,
    /// When the leaf was made, Unix ms.
    pub time: u64,
    /// Where the proof goes, relative to the sink's prefix.
    pub proof_key: String,
    /// Where the newest checkpoint goes, relative to the sink's prefix.
    pub checkpoint_key: String,
    /// The sealed object, if the leaf has one.
    pub object: Option<ObjectHead>,
}

/// The sealed object of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectHead {
    /// Where it goes, relative to the sink's prefix.
    pub key: String,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of the sealed bytes, in hex.
    pub sha256: String,
}

impl EntryHead {
    /// The bytes in front of [`BODY_OFFSET`].
    ///
    /// # Errors
    /// When the header does not fit: a leaf of many kilobytes is a bug.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let len = u32::try_from(json.len()).map_err(io::Error::other)?;
        let digest = Sha256::digest(&json);
        let bytes = [&MAGIC[..], &len.to_le_bytes(), &json, digest.as_slice()].concat();
        if bytes.len() as u64 > BODY_OFFSET {
            return Err(io::Error::other("an outbox header over 16 KiB"));
        }
        Ok(bytes)
    }

    /// Reads the header of an entry.
    ///
    /// # Errors
    /// `InvalidData` when it is not what [`EntryHead::encode`] wrote; any read error.
    pub fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let mut bytes = vec![0; usize::try_from(BODY_OFFSET).unwrap_or_default()];
        let n = file.read_at(&mut bytes, 0)?;
        bytes.truncate(n);
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(invalid)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(io::Error::other)?;
        let (json, rest) = rest.split_at_checked(len).ok_or_else(invalid)?;
        if rest.get(..32) != Some(Sha256::digest(json).as_slice()) {
            return Err(invalid());
        }
        serde_json::from_slice(json).map_err(|_| invalid())
    }
}
