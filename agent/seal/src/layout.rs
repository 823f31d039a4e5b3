//! Object keys under `<prefix>/<origin>/<incarnation>/` (SEAL-FORMAT.md section 3).

use crate::time::{civil, digits, is_day};

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
    if name.len() <= 200 && name.split('/').all(is_plain_part) {
        Ok(())
    } else {
        Err(NameError { name: name.to_owned() })
    }
}

/// Checks an incarnation's name: one part of an origin.
///
/// # Errors
/// [`NameError`] says what is allowed.
pub fn check_incarnation(name: &str) -> Result<(), NameError> {
    check_origin(name)?;
    if name.contains('/') { Err(NameError { name: name.to_owned() }) } else { Ok(()) }
}

/// Whether this can be the id of a sealed field's key: 8 base64url characters.
pub(crate) fn is_field_key_id(kid: &str) -> bool {
    kid.len() == 8 && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether this is safe as one part of an object key: never a way up or out.
pub(crate) fn is_plain_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !part.is_empty() && part != "." && part != ".." && part.chars().all(plain)
}

impl Layout {
    /// The layout of an incarnation.
    ///
    /// # Errors
    /// When origin or incarnation cannot stand in a key.
    pub fn new(origin: &str, incarnation: &str) -> Result<Self, NameError> {
        check_origin(origin)?;
        check_incarnation(incarnation)?;
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

    /// A sealed field key, by its id.
    #[must_use]
    pub fn field_key(&self, kid: &str) -> String {
        format!("{}keys/{kid}.esdk", self.base)
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
            ("log", name) => digits(name.strip_suffix(".tlog-proof")?, 20).map(Place::Proof),
            ("batch", name) => is_batch(name).map(|()| Place::Batch),
            ("keys", name) => is_field_key_id(name.strip_suffix(".esdk")?).then_some(Place::Key),
            ("backup", name) => is_plain_part(name).then_some(Place::Backup),
            _ => None,
        }
    }
}

/// Splits a proof's key into origin and incarnation: how a reader finds the
/// incarnations of an archive. `None` for any other key.
#[must_use]
pub fn split_proof_key(key: &str) -> Option<(&str, &str)> {
    let (folder, name) = key.rsplit_once('/')?;
    digits(name.strip_suffix(".tlog-proof")?, 20)?;
    let (origin, incarnation) = folder.strip_suffix("/log")?.rsplit_once('/')?;
    check_origin(origin).and_then(|()| check_incarnation(incarnation)).ok()?;
    Some((origin, incarnation))
}

/// `dt=YYYY-MM-DD/hour=HH/<20 digits>.ndjson.(gz|zst).esdk`, of an hour that is.
fn is_batch(name: &str) -> Option<()> {
    let (date, rest) = name.strip_prefix("dt=")?.split_once("/hour=")?;
    let (hour, file) = rest.split_once('/')?;
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let first = file.strip_suffix(".esdk")?;
    let first = first.strip_suffix(".gz").or_else(|| first.strip_suffix(".zst"))?;
    digits(first.strip_suffix(".ndjson")?, 20)?;
    (is_day(year, month, day) && digits(hour, 2)? < 24).then_some(())
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
    fn only_keys_that_are_written_have_a_place() {
        let layout = Layout::new("a", "i").unwrap();
        let batch = layout.batch_key(7, 1_795_341_570, "zstd");
        assert_eq!(layout.place(&batch), Some(Place::Batch));
        for (good, bad) in [
            ("hour=09", "hour=24"),
            ("hour=09", "hour=9"),
            ("-11-22", "-11-31"),
            ("-11-22", "-02-29"),
            ("00000000000000000007", "7"),
            ("00000000000000000007", "99999999999999999999"),
            ("00000000000000000007", "+0000000000000000007"),
            (".zst.", ".br."),
            (".zst.", "."),
            ("batch/", "batch//"),
            ("batch/", "batch/../"),
            ("batch/dt", "log/dt"),
        ] {
            assert_ne!(batch, batch.replace(good, bad));
            assert_eq!(layout.place(&batch.replace(good, bad)), None, "{bad}");
        }
        for bad in ["a/i/keys/../../x.esdk", "a/i/keys/abc.esdk", "a/i/backup/", "a/i/backup/../x"]
        {
            assert_eq!(layout.place(bad), None, "{bad}");
        }
        assert_eq!(split_proof_key("a/i/log/0000000000000000000x.tlog-proof"), None);
        assert_eq!(split_proof_key("a/../log/00000000000000000001.tlog-proof"), None);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a b", "a+b", "a\nb", "ä"] {
            assert!(check_origin(bad).is_err(), "{bad:?}");
        }
        assert!(Layout::new("a", "b/c").is_err());
    }
}
