//! `sealtail keygen DIR`: the keys of one agent and of its auditor.
//!
//! It promises: all files or none; private ones are mode 0600 from their first
//! byte, in a folder that is 0700 if it was made here; all is durable when it
//! returns. It refuses to overwrite anything: a key that is gone is an archive
//! that nobody opens.

use crate::disk::Disk;
use sealtail_seal::keys::{self, KeyError, SigningKey};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Signs checkpoints; for the agent.
pub const SIGNING_KEY: &str = "signing.key";
/// Verifies them; for everybody.
pub const SIGNING_PUB: &str = "signing.pub";
/// Opens the archive; for the auditor, away from the agent.
pub const ARCHIVE_KEY: &str = "archive.pem";
/// Seals to the auditor; for the agent.
pub const ARCHIVE_PUB: &str = "archive.pub.pem";
/// Makes equal tokens for equal numbers; for the agent.
pub const TOKEN_KEY: &str = "token.key";
/// Encrypts the journal; for the agent.
pub const JOURNAL_KEY: &str = "journal.key";

/// What is written. Private members are wiped when dropped.
pub struct KeyMaterial {
    /// Ed25519, PKCS#8 PEM.
    pub signing_key: Zeroizing<String>,
    /// Ed25519, SPKI PEM.
    pub signing_pub: String,
    /// RSA-3072, PKCS#8 PEM.
    pub archive_key: Zeroizing<String>,
    /// RSA-3072, SPKI PEM.
    pub archive_pub: String,
    /// 32 bytes, one line of standard base64.
    pub token_key: Zeroizing<String>,
    /// 32 bytes, one line of standard base64.
    pub journal_key: Zeroizing<String>,
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaterial(…)")
    }
}

impl KeyMaterial {
    /// New keys from the system's randomness.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, KeyError> {
        let signing = SigningKey::generate()?;
        let (archive_key, archive_pub) = keys::generate_archive_pair()?;
        Ok(Self {
            signing_key: signing.to_pem()?,
            signing_pub: signing.public().to_pem()?,
            archive_key,
            archive_pub,
            token_key: keys::secret_to_text(&*keys::random_secret()?),
            journal_key: keys::secret_to_text(&*keys::random_secret()?),
        })
    }

    /// Name, text, and whether it is private.
    fn files(&self) -> [(&'static str, &str, bool); 6] {
        [
            (SIGNING_KEY, &self.signing_key, true),
            (SIGNING_PUB, &self.signing_pub, false),
            (ARCHIVE_KEY, &self.archive_key, true),
            (ARCHIVE_PUB, &self.archive_pub, false),
            (TOKEN_KEY, &self.token_key, true),
            (JOURNAL_KEY, &self.journal_key, true),
        ]
    }
}

/// Why keys were not made. Completes "failed to make keys: ". Nothing was
/// overwritten, and what had been written is gone again.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// Keys are never overwritten.
    #[error(
        "{} in {folder}; keys are never overwritten, name another folder or move them away",
        exist(.names)
    )]
    Exist {
        /// The folder.
        folder: PathBuf,
        /// The files that are there.
        names: Vec<&'static str>,
    },
    /// The system said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keys could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn exist(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb} there already", names.join(", "))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeygenError {
    move |source| KeygenError::Io { what, path: path.to_owned(), source }
}

/// Makes a set of keys in `folder` (absolute), and the folder if need be. The
/// material is made only when nothing stands in the way. Gives the paths;
/// durable when this returns.
///
/// # Errors
/// When one of the files exists, or the system says no: then none was made.
pub fn keygen(
    disk: &dyn Disk,
    folder: &Path,
    generate: impl FnOnce() -> Result<KeyMaterial, KeyError>,
) -> Result<Vec<PathBuf>, KeygenError> {
    refuse_existing(disk, folder)?;
    let material = generate()?;
    disk.create_dir_all(folder).map_err(io_error("make", folder))?;
    let mut made = Vec::new();
    let result = material
        .files()
        .into_iter()
        .try_for_each(|(name, text, private)| {
            let path = folder.join(name);
            write(disk, &path, text, private, &mut made)
        })
        .and_then(|()| disk.sync_dir(folder).map_err(io_error("sync", folder)));
    match result {
        Ok(()) => Ok(made),
        Err(error) => {
            // Half a set would stand in the way of the next attempt. The error
            // that matters is the first one.
            for path in made {
                let _ = disk.remove(&path);
            }
            let _ = disk.sync_dir(folder);
            Err(error)
        }
    }
}

fn refuse_existing(disk: &dyn Disk, folder: &Path) -> Result<(), KeygenError> {
    let there = match disk.list(folder) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("read", folder)(e)),
    };
    let ours = [SIGNING_KEY, SIGNING_PUB, ARCHIVE_KEY, ARCHIVE_PUB, TOKEN_KEY, JOURNAL_KEY];
    let names: Vec<_> = ours.into_iter().filter(|n| there.iter().any(|t| t == n)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(KeygenError::Exist { folder: folder.to_owned(), names })
}

/// Only a file that was made here is noted in `made`.
fn write(
    disk: &dyn Disk,
    path: &Path,
    text: &str,
    private: bool,
    made: &mut Vec<PathBuf>,
) -> Result<(), KeygenError> {
    let file = disk.create_new(path).map_err(io_error("make", path))?;
    made.push(path.to_owned());
    file.write_at(text.as_bytes(), 0).map_err(io_error("write", path))?;
    if !private {
        std::fs::set_permissions(path, Permissions::from_mode(0o644))
            .map_err(io_error("set the mode of", path))?;
    }
    file.sync().map_err(io_error("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn material() -> Result<KeyMaterial, KeyError> {
        // RSA generation takes seconds in a test build; one test does it.
        Ok(KeyMaterial {
            signing_key: Zeroizing::new("a\n".into()),
            signing_pub: "b\n".into(),
            archive_key: Zeroizing::new("c\n".into()),
            archive_pub: "d\n".into(),
            token_key: Zeroizing::new("e\n".into()),
            journal_key: Zeroizing::new("f\n".into()),
        })
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_set_of_keys_that_work_and_nobody_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc/keys");
        let made = keygen(&RealDisk, &folder, KeyMaterial::generate).unwrap();
        assert_eq!(made.len(), 6);
        assert_eq!(mode(&folder), 0o700);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        for name in [SIGNING_KEY, ARCHIVE_KEY, TOKEN_KEY, JOURNAL_KEY] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        for name in [SIGNING_PUB, ARCHIVE_PUB] {
            assert_eq!(mode(&folder.join(name)), 0o644, "{name}");
        }
        let signing = SigningKey::from_pem(&read(SIGNING_KEY)).unwrap();
        assert_eq!(signing.public().to_pem().unwrap(), read(SIGNING_PUB));
        assert!(sealtail_seal::message::Recipient::rsa(&read(ARCHIVE_PUB)).is_ok());
        keys::secret_from_text(&read(TOKEN_KEY)).unwrap();
        keys::secret_from_text(&read(JOURNAL_KEY)).unwrap();
        assert_ne!(read(TOKEN_KEY), read(JOURNAL_KEY));
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(TOKEN_KEY), "mine").unwrap();
        std::fs::write(dir.path().join(SIGNING_PUB), "mine too").unwrap();
        let error = keygen(&RealDisk, dir.path(), || panic!("not even made")).unwrap_err();
        let expected = format!(
            "signing.pub, token.key are there already in {}; keys are never overwritten, name \
             another folder or move them away",
            dir.path().display()
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(std::fs::read(dir.path().join(TOKEN_KEY)).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join(ARCHIVE_PUB);
        // It appears after the check, as another process' file would.
        let late = || {
            std::fs::write(&blocked, "theirs").unwrap();
            material()
        };
        assert!(keygen(&RealDisk, dir.path(), late).is_err());
        assert_eq!(std::fs::read(&blocked).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::remove_file(&blocked).unwrap();
        assert_eq!(keygen(&RealDisk, dir.path(), material).unwrap().len(), 6);
    }
}
