//! What a file is known by: device, inode, and a keyed digest of its head.
//!
//! A path names different files over time, and an inode can be given out again
//! or be emptied and written anew; only together with the head, and with the
//! bytes before the offset, is an offset worth believing. The time of birth,
//! where the filesystem tells it, keeps two files apart whose inode and first
//! line are equal.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::source::FileId;

/// The most bytes of a file that count as its head.
pub(crate) const HEAD: usize = 1024;
/// The most bytes before an offset that are compared.
pub(crate) const BEFORE: usize = 256;

/// A keyed digest, cut to 16 bytes.
pub(crate) type Digest = [u8; 16];

/// Makes the digests. They are keyed so that they tell nothing of the content.
#[derive(Clone)]
pub(crate) struct Digester(Hmac<Sha256>);

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digester")
    }
}

impl Digester {
    /// `None` if the key is one that HMAC refuses (none of this length is).
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    fn digest(&self, label: u8, parts: &[&[u8]]) -> Digest {
        let mut mac = self.0.clone();
        mac.update(&[label]);
        for part in parts {
            mac.update(part);
        }
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut cut = [0; 16];
        cut.copy_from_slice(full.split_at(16).0);
        cut
    }

    pub(crate) fn head(&self, head: &[u8]) -> Digest {
        self.digest(1, &[head])
    }

    pub(crate) fn before(&self, bytes: &[u8]) -> Digest {
        self.digest(2, &[bytes])
    }

    /// The name of a file in records.
    pub(crate) fn id(&self, identity: &Identity) -> FileId {
        FileId(self.digest(
            3,
            &[
                &identity.place.dev.to_le_bytes(),
                &identity.place.ino.to_le_bytes(),
                &identity.created.to_le_bytes(),
                &identity.head_len.to_le_bytes(),
                &identity.head,
                &identity.life.to_le_bytes(),
            ],
        ))
    }
}

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

/// What tells a file from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) place: Place,
    /// Nanoseconds since 1970 of the file's birth; 0 when not known.
    pub(crate) created: u64,
    /// How many bytes `head` is over, at most [`HEAD`].
    pub(crate) head_len: u16,
    pub(crate) head: Digest,
    /// Counts the lives of one inode that began with the same head.
    pub(crate) life: u32,
}

impl Identity {
    /// Whether a file born at `created` can be this one.
    pub(crate) fn may_be_born(&self, created: u64) -> bool {
        self.created == created || self.created == 0 || created == 0
    }
}

/// The metadata that the tail looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) place: Place,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i128,
    pub(crate) created: u64,
    /// Names that the file still has.
    pub(crate) links: u64,
    pub(crate) is_file: bool,
}

impl Meta {
    /// When the file came to be, or else was last written to: older is less.
    pub(crate) fn age(&self) -> i128 {
        if self.created == 0 { self.modified } else { i128::from(self.created) }
    }
}

impl From<&Metadata> for Meta {
    fn from(meta: &Metadata) -> Self {
        let created = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Self {
            place: Place { dev: meta.dev(), ino: meta.ino() },
            size: meta.size(),
            modified: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
            created: created.and_then(|d| u64::try_from(d.as_nanos()).ok()).unwrap_or(0),
            links: meta.nlink(),
            is_file: meta.is_file(),
        }
    }
}
