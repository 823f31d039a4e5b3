//! Names of what is tailed: file ids and the tag that each record carries.

use std::fmt;

/// A file's name in records, positions and gaps: 16 bytes, shown as 32 hex digits.
///
/// A keyed digest (HMAC-SHA256, cut) over device, inode, head and life, so that
/// it is the same for the same file in every incarnation (`open --dedupe` joins
/// by it) and tells nothing about what the file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub [u8; 16]);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in self.0 {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

/// What a record says of its source, besides offset and time.
///
/// Made once a file, not once a line. The path has gone through the detectors
/// (paths can carry numbers) before it is put here: see
/// [`crate::redact::Redactor::path`].
#[derive(Debug, Clone)]
pub struct SourceTag {
    /// The file.
    pub file: FileId,
    /// The path as the agent opened it, redacted, already a JSON string body
    /// (escaped, without quotes).
    pub path_json: String,
}

/// A range of a file that cannot be delivered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The file, if it is known.
    pub file: Option<FileId>,
    /// First byte that is missing.
    pub from: u64,
    /// Byte behind the last that is missing; `None` when nobody can know.
    pub to: Option<u64>,
    /// Why, as a short fixed token (`file-vanished`, `held-file-gone`,
    /// `journal-quarantined`, …): never text that came from outside.
    pub why: &'static str,
}
