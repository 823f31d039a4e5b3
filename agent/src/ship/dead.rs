//! Dead letters: records that a destination refused for good, each with the
//! reason, until somebody has looked at them.
//!
//! One file a record, encrypted under the journal's key, durable before the
//! sink moves on. Bounded: when there is no room, nothing is dropped, the sink
//! halts.

use crate::disk::{self, SharedDisk};
use crate::journal::JournalKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".letter";
const PURPOSE: &str = "dead-letter";

/// A refused record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// Version of this form.
    pub v: u32,
    /// Which sink.
    pub sink: String,
    /// Where it was to go.
    pub place: String,
    /// The agent's name.
    pub origin: String,
    /// The log's incarnation.
    pub incarnation: String,
    /// The record's number.
    pub seq: u64,
    /// The HTTP status.
    pub status: u16,
    /// The destination's own code, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Why, in our words.
    pub reason: String,
    /// When it was refused, RFC 3339.
    pub refused: String,
    /// When it became durable, Unix ms.
    pub journaled: u64,
    /// The record, redacted as it is in the journal.
    pub record: serde_json::Value,
}

/// Why dead letters cannot be kept or read. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The bound is reached.
    #[error(
        "keep a dead letter: they take {used} of {max} bytes (limits.dead_letters); look at them with \
         `sealtail dead-letter list`, replay or remove some"
    )]
    Full {
        /// Bytes in use.
        used: u64,
        /// The bound.
        max: u64,
    },
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
    /// Not what was written under this key.
    #[error("read {0}: it is damaged, or was written under another journal.key")]
    Damaged(PathBuf),
    /// The system gave no random bytes.
    #[error("keep a dead letter: the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

impl DeadError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The folder of all dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    disk: SharedDisk,
    folder: PathBuf,
    key: JournalKey,
    max_bytes: u64,
}

impl DeadLetters {
    /// Nothing is made before the first letter. `journal` is the journal's folder.
    #[must_use]
    pub fn new(disk: SharedDisk, journal: &Path, key: JournalKey, max_bytes: u64) -> Self {
        Self { disk, folder: journal.join("dead-letters"), key, max_bytes }
    }

    /// Keeps a letter. Durable when this returns. The same record of the same
    /// sink is kept once.
    ///
    /// # Errors
    /// [`DeadError::Full`] at the bound; otherwise when the system says no.
    pub fn keep(&self, letter: &Letter) -> Result<(), DeadError> {
        self.disk.create_dir_all(&self.folder).map_err(DeadError::io("make", &self.folder))?;
        let name = format!("{}.{}.{:020}{SUFFIX}", letter.sink, letter.incarnation, letter.seq);
        let path = self.folder.join(name);
        let text = serde_json::to_vec(letter)
            .map_err(|e| DeadError::io("encode", &path)(io::Error::other(e)))?;
        let bytes = self.key.wrap(PURPOSE, &text).map_err(DeadError::Random)?;
        let used = self.bytes()?;
        if used + bytes.len() as u64 > self.max_bytes {
            return Err(DeadError::Full { used, max: self.max_bytes });
        }
        disk::replace(&*self.disk, &path, &bytes).map_err(DeadError::io("write", &path))
    }

    /// The names of all letters: by sink, incarnation and number.
    ///
    /// # Errors
    /// When the folder cannot be listed; none is no error.
    pub fn names(&self) -> Result<Vec<String>, DeadError> {
        let names = match self.disk.list(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(DeadError::io("list", &self.folder))?,
        };
        let mut names: Vec<_> =
            names.iter().filter_map(|n| n.strip_suffix(SUFFIX).map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a letter.
    ///
    /// # Errors
    /// When it is not there, damaged, or under another key.
    pub fn read(&self, name: &str) -> Result<Letter, DeadError> {
        let path = self.path(name);
        let bytes = self.disk.read(&path).map_err(DeadError::io("read", &path))?;
        let plain = self.key.unwrap(PURPOSE, &bytes);
        let letter = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
        letter.filter(|l: &Letter| l.v == 1).ok_or(DeadError::Damaged(path))
    }

    /// Removes a letter: it was delivered, or is not wanted. Durable when this returns.
    ///
    /// # Errors
    /// When the system says no.
    pub fn remove(&self, name: &str) -> Result<(), DeadError> {
        let path = self.path(name);
        self.disk.remove(&path).map_err(DeadError::io("remove", &path))?;
        self.disk.sync_dir(&self.folder).map_err(DeadError::io("fsync", &self.folder))
    }

    /// Bytes of all letters.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub fn bytes(&self) -> Result<u64, DeadError> {
        Ok(self.tally()?.values().map(|(_, bytes)| bytes).sum())
    }

    /// How many letters of each sink there are, and their bytes. One that is removed
    /// meanwhile is none.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub fn tally(&self) -> Result<BTreeMap<String, (u64, u64)>, DeadError> {
        let mut tally = BTreeMap::<_, (u64, u64)>::new();
        for name in self.names()? {
            let path = self.path(&name);
            let len = match self.disk.open_read(&path).and_then(|f| f.len()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                len => len.map_err(DeadError::io("open", &path))?,
            };
            // Names of sinks may hold dots; what comes behind has none.
            let sink = name.rsplitn(3, '.').nth(2).unwrap_or_default();
            let (count, bytes) = tally.entry(sink.to_owned()).or_default();
            *count += 1;
            *bytes += len;
        }
        Ok(tally)
    }

    /// The bound on the bytes of all letters.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use std::sync::Arc;

    fn letter(seq: u64) -> Letter {
        Letter {
            v: 1,
            sink: "splunk".into(),
            place: "https://h:8088".into(),
            origin: "wa/test".into(),
            incarnation: "20261123T100000Z-00000001".into(),
            seq,
            status: 400,
            code: Some(6),
            reason: "invalid data format".into(),
            refused: "2026-11-23T10:00:00.000Z".into(),
            journaled: 5,
            record: serde_json::json!({"event": "log", "text": "x".repeat(500)}),
        }
    }

    #[test]
    fn letters_are_kept_encrypted_and_survive_a_power_cut() {
        let disk = SimDisk::new();
        let key = JournalKey::new([5; 32]);
        let dead = |disk: &SimDisk, key: JournalKey| {
            DeadLetters::new(Arc::new(disk.clone()), Path::new("/j"), key, 2000)
        };
        let box_ = dead(&disk, key.clone());
        assert_eq!(box_.names().unwrap(), Vec::<String>::new());
        box_.keep(&letter(7)).unwrap();
        box_.keep(&letter(7)).unwrap();
        box_.keep(&letter(3)).unwrap();
        let disk = disk.after_power_cut(&mut || 0);
        let box_ = dead(&disk, key);
        let names = box_.names().unwrap();
        assert_eq!(names.len(), 2);
        let mut dotted = letter(4);
        dotted.sink = "splunk.eu-1".into();
        let wide = DeadLetters { max_bytes: 1 << 20, ..box_.clone() };
        wide.keep(&dotted).unwrap();
        let tally = wide.tally().unwrap();
        let count = |sink: &str| tally[sink].0;
        assert_eq!((tally.len(), count("splunk"), count("splunk.eu-1")), (2, 2, 1));
        assert_eq!(tally.values().map(|t| t.1).sum::<u64>(), wide.bytes().unwrap());
        wide.remove(&wide.names().unwrap()[2]).unwrap();
        assert_eq!(box_.read(&names[0]).unwrap(), letter(3));
        let raw = crate::disk::Disk::read(&disk, &box_.path(&names[1])).unwrap();
        assert!(!raw.windows(4).any(|w| w == b"xxxx"));
        let other = dead(&disk, JournalKey::new([6; 32]));
        assert!(matches!(other.read(&names[0]), Err(DeadError::Damaged(_))));
        let full = box_.keep(&letter(9)).unwrap_err();
        assert!(full.to_string().contains("limits.dead_letters"), "{full}");
        box_.remove(&names[0]).unwrap();
        box_.keep(&letter(9)).unwrap();
    }
}
