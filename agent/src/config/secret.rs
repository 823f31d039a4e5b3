//! Secrets: a reference in the configuration, the material only when asked for.
//!
//! The configuration holds where a secret is, never what it is. Neither
//! [`Secret`] nor any error shows a byte of it.

use super::convert::Check;
use super::env::Env;
use super::tree::join;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file that is larger is no key and no token.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// In a file, by its absolute path.
    File(PathBuf),
    /// In an environment variable, by its name.
    Env(String),
}

impl SecretRef {
    /// Reads the secret, whole and as it stands.
    ///
    /// # Errors
    /// When the file cannot be read, is empty or longer than 64 KiB, or the
    /// variable is not set or empty.
    pub fn load(&self, env: &Env<'_>) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::File(path) => {
                read(path).map_err(|source| SecretError::File { path: path.clone(), source })?
            }
            Self::Env(name) => {
                let value = env(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                Zeroizing::new(value.into_bytes())
            }
        };
        match bytes.len() as u64 {
            0 => Err(SecretError::Empty(self.clone())),
            n if n > MAX_BYTES => Err(SecretError::TooLong(self.clone())),
            _ => Ok(Secret(bytes)),
        }
    }

    /// The file's path, if it is a file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it, so that no half is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A secret's bytes, wiped when dropped, never shown.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes as they stand in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text without the line break that editors put at the end; `None` when
    /// it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().map(|t| t.trim_end_matches(['\r', '\n']))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret cannot be had. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("read the secret in {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The variable is not there.
    #[error("read the secret: the environment variable {0} is not set")]
    Unset(String),
    /// There is nothing in it.
    #[error("read the secret: {0} is empty")]
    Empty(SecretRef),
    /// More than 64 KiB.
    #[error("read the secret: {0} is longer than 64 KiB, that is no key and no token")]
    TooLong(SecretRef),
}

/// A reference to a secret: exactly one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("x-secret" = true, "minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawSecret {
    /// Absolute path of the file that holds it.
    file: Option<String>,
    /// Name of the environment variable that holds it.
    env: Option<String>,
}

impl RawSecret {
    pub(super) fn new(file: Option<String>, env: Option<String>) -> Self {
        Self { file, env }
    }

    pub(super) fn convert(self, path: &str, check: &mut Check<'_>) -> Option<SecretRef> {
        match (self.file, self.env) {
            (Some(file), None) => check.absolute(&join(path, "file"), &file).map(SecretRef::File),
            (None, Some(name)) => Some(SecretRef::Env(name)),
            // One of the keys was refused already.
            (None, None) if !check.node(path).is_some_and(|n| n.entries().is_empty()) => None,
            _ => {
                check.refuse(
                    path,
                    "needs exactly one of `file` and `env`",
                    "{file: /path/to/it} or {env: NAME}",
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "hunter2\n").unwrap();
        let secret = SecretRef::File(file).load(&|_| None).unwrap();
        assert_eq!(secret.text(), Some("hunter2"));
        assert_eq!(secret.bytes(), b"hunter2\n");
        assert!(!format!("{secret:?}").contains("hunter"));
        let secret = SecretRef::Env("T".into()).load(&|_| Some("swordfish".into())).unwrap();
        assert_eq!(secret.text(), Some("swordfish"));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k");
        let load = |r: &SecretRef| r.load(&|_| None).unwrap_err().to_string();
        let reference = SecretRef::File(file.clone());
        assert!(load(&reference).contains("No such file"));
        std::fs::write(&file, "").unwrap();
        assert!(load(&reference).ends_with("k is empty"));
        std::fs::write(&file, vec![b'x'; 70_000]).unwrap();
        assert!(load(&reference).contains("longer than 64 KiB"));
        assert!(load(&SecretRef::Env("NONE".into())).contains("NONE is not set"));
    }
}
