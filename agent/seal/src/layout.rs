//! Object keys under `<prefix>/<origin>/<incarnation>/` (SEAL-FORMAT.md section 3).

use crate::time::civil;

/// The keys of one incarnation, relative to the sink's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    base: String,
}

/// A name that cannot be part of an object key and of a signed note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not usable as an origin: use letters, digits, '.', '_', '-' and '/' between parts, \
     at most 200 characters, no part '.' or '..'"
)]
pub struct NameError {
    name: String,
}

/// What an object key is, seen from its incarnation's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The proof of this leaf.
    Proof(u64),
    /// A sealed batch.
    Batch,
    /// A sealed field key.
    Key,
    /// The newest checkpoint (mutable).
    Checkpoint,
    /// A copy of checkpoint or proof.
    Backup,
}

/// Checks an origin: it stands in keys, leaves and notes, so it is plain.
///
/// # Errors
/// [`NameError`] says what is allowed.
pub fn check_origin(name: &str) -> Result<(), NameError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.chars().all(plain);
    if name.len() <= 200 && name.split('/').all(part) {
        Ok(())
    } else {
        Err(NameError { name: name.to_owned() })
    }
}

impl Layout {
    /// The layout of an incarnation.
    ///
    /// # Errors
    /// When origin or incarnation cannot stand in a key.
    pub fn new(origin: &str, incarnation: &str) -> Result<Self, NameError> {
        check_origin(origin)?;
        check_origin(incarnation)?;
        if incarnation.contains('/') {
            return Err(NameError { name: incarnation.to_owned() });
        }
        Ok(Self { base: format!("{origin}/{incarnation}/") })
    }

    /// The incarnation's folder, ending in `/`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The proof of a leaf.
    #[must_use]
    pub fn proof_key(&self, index: u64) -> String {
        format!("{}log/{index:020}.tlog-proof", self.base)
    }

    /// A sealed batch: by the journal time of its first record.
    /// `codec` is `gzip` or `zstd`.
    #[must_use]
    pub fn batch_key(&self, first: u64, unix_seconds: u64, codec: &str) -> String {
        let (year, month, day, hour) = civil(unix_seconds);
        let suffix = if codec == "zstd" { "zst" } else { "gz" };
        format!(
            "{}batch/dt={year:04}-{month:02}-{day:02}/hour={hour:02}/{first:020}.ndjson.{suffix}.esdk",
            self.base
        )
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint_key(&self) -> String {
        format!("{}checkpoint", self.base)
    }

    /// The folder of regular copies, ending in `/`.
    #[must_use]
    pub fn backup_folder(&self) -> String {
        format!("{}backup/", self.base)
    }

    /// What `key` is; `None` when it is not of this incarnation or has no such form.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        let rest = key.strip_prefix(&self.base)?;
        if rest == "checkpoint" {
            return Some(Place::Checkpoint);
        }
        match rest.split_once('/')? {
            ("log", name) => {
                let digits = name.strip_suffix(".tlog-proof")?;
                let index = digits.parse().ok()?;
                (self.proof_key(index) == key).then_some(Place::Proof(index))
            }
            ("batch", name) => name.ends_with(".esdk").then_some(Place::Batch),
            ("keys", _) => Some(Place::Key),
            ("backup", _) => Some(Place::Backup),
            _ => None,
        }
    }
}

/// Splits a proof's key into origin and incarnation: how a reader finds the
/// incarnations of an archive. `None` for any other key.
#[must_use]
pub fn split_proof_key(key: &str) -> Option<(&str, &str)> {
    let (folder, name) = key.rsplit_once('/')?;
    name.strip_suffix(".tlog-proof").filter(|digits| digits.len() == 20)?;
    let (origin, incarnation) = folder.strip_suffix("/log")?.rsplit_once('/')?;
    check_origin(origin).is_ok().then_some((origin, incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_documented_and_read_back() {
        let layout = Layout::new("wa/prod/gateway-0", "20261122T095900Z-5f0c2a91").unwrap();
        let base = "wa/prod/gateway-0/20261122T095900Z-5f0c2a91/";
        let proof = layout.proof_key(7);
        assert_eq!(proof, format!("{base}log/00000000000000000007.tlog-proof"));
        assert_eq!(layout.place(&proof), Some(Place::Proof(7)));
        assert_eq!(
            split_proof_key(&proof),
            Some(("wa/prod/gateway-0", "20261122T095900Z-5f0c2a91"))
        );
        let batch = layout.batch_key(183_220, 1_795_341_570, "gzip");
        assert_eq!(
            batch,
            format!("{base}batch/dt=2026-11-22/hour=09/00000000000000183220.ndjson.gz.esdk")
        );
        assert_eq!(layout.place(&batch), Some(Place::Batch));
        assert_eq!(layout.place(&format!("{base}log/7.tlog-proof")), None);
        assert_eq!(layout.place("other/log/00000000000000000007.tlog-proof"), None);
        assert_eq!(split_proof_key(&batch), None);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a b", "a+b", "a\nb", "ä"] {
            assert!(check_origin(bad).is_err(), "{bad:?}");
        }
        assert!(Layout::new("a", "b/c").is_err());
    }
}
