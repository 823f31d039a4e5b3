//! The name of one life of the log: made with the journal, kept beside it.

use super::{JournalError, JournalKey};
use crate::disk::{self, Disk};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Origin and incarnation of the log that a journal holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incarnation {
    /// Version of this file's form.
    v: u32,
    /// The agent's name, for example `wa/prod/gateway-0`.
    pub origin: String,
    /// UTC stamp and random, for example `20261122T095900Z-5f0c2a91`.
    pub incarnation: String,
    /// The incarnation before this one, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// That one's last signed checkpoint, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_checkpoint: Option<String>,
    /// The key of file ids, sealed under the journal's (see [`JournalKey::wrap`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file_id_key: Option<String>,
    /// How many incarnations this journal held before.
    #[serde(default, skip_serializing_if = "is_zero")]
    generation: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What [`Incarnation::file_id_key`] is encrypted for, and its length in bytes.
pub(super) const FILE_ID_KEY: &str = "file-id-key";
pub(super) const FILE_ID_KEY_LEN: usize = 32 + super::crypt::WRAP_LEN;

/// The file's name in the journal folder.
pub const FILE: &str = "incarnation";

impl Incarnation {
    /// A new one, named by the time (Unix ms) and 32 random bits.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(origin: &str, now_ms: u64) -> Result<Self, JournalError> {
        let stamp = Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(i64::MAX))
            .unwrap_or(Timestamp::MAX)
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let random = getrandom::u32().map_err(JournalError::Random)?;
        Ok(Self {
            v: 1,
            origin: origin.to_owned(),
            incarnation: format!("{stamp}-{random:08x}"),
            previous: None,
            previous_checkpoint: None,
            file_id_key: None,
            generation: 0,
        })
    }

    /// The one that follows when the origin changes.
    pub(super) fn successor(
        &self,
        origin: &str,
        now_ms: u64,
        checkpoint: Option<String>,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            previous: Some(self.incarnation.clone()),
            previous_checkpoint: checkpoint,
            file_id_key: self.file_id_key.clone(),
            generation: self.generation + 1,
            ..Self::new(origin, now_ms)?
        })
    }

    /// Where this incarnation's segments, outbox and cursors are, in the
    /// journal's folder: so that one file, replaced, changes all of them.
    #[must_use]
    pub fn base(&self, journal: &Path) -> PathBuf {
        match self.generation {
            0 => journal.to_owned(),
            n => journal.join(format!("log-{n}")),
        }
    }

    /// Removes what incarnations before this one left. All of it has been sent;
    /// what cannot be removed is in nobody's way but takes space.
    ///
    /// # Errors
    /// The first that the disk gives, but that nothing is there.
    pub(super) fn clear_former(&self, disk: &dyn Disk, journal: &Path) -> io::Result<()> {
        for generation in 0..self.generation {
            let former = Self { generation, ..self.clone() }.base(journal);
            for folder in ["segments", "outbox", "cursors"].map(|name| former.join(name)) {
                let names = match disk.list(&folder) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    names => names?,
                };
                for name in names {
                    disk.remove(&folder.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Whether this is known to be the journal's key, by what is encrypted here.
    pub(super) fn is_key(&self, key: &JournalKey) -> bool {
        let wrapped = self.file_id_key.as_deref().and_then(crate::text::unhex::<FILE_ID_KEY_LEN>);
        wrapped.is_some_and(|wrapped| key.unwrap(FILE_ID_KEY, &wrapped).is_some())
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not what [`Incarnation::save`] writes.
    pub fn load(disk: &dyn Disk, folder: &Path) -> Result<Option<Self>, JournalError> {
        let path = folder.join(FILE);
        let bytes = match disk.read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(JournalError::io("read", &path))?,
        };
        let bad = |what: String| JournalError::Incarnation { path: path.clone(), what };
        let found: Self = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if found.v != 1 {
            return Err(bad(format!("version {}, this program knows version 1", found.v)));
        }
        Ok(Some(found))
    }

    /// Writes the file. Durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, disk: &dyn Disk, folder: &Path) -> Result<(), JournalError> {
        let path = folder.join(FILE);
        let json = serde_json::to_vec(self)
            .map_err(|e| JournalError::Incarnation { path: path.clone(), what: e.to_string() })?;
        disk::replace(disk, &path, &json).map_err(JournalError::io("write", &path))
    }
}
