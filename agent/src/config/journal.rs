//! `journal`: where records are kept until they are delivered.

use super::convert::Check;
use super::quantity::{RawSize, Size};
use super::secret::{RawSecret, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// The journal, and the outbox of sealed batches in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Its folder.
    pub path: PathBuf,
    /// Bound of segments and outbox together. At least 64 MiB.
    pub max_bytes: Size,
    /// The key that it is encrypted under.
    pub key: JournalKey,
}

impl Journal {
    /// Length of a segment: a sixteenth of the bound, 4 to 64 MiB, in whole MiB.
    #[must_use]
    pub fn segment_bytes(&self) -> Size {
        let sixteenth = self.max_bytes.bytes() / 16;
        Size::mib((sixteenth >> 20).clamp(4, 64))
    }

    /// How much of the bound sealed batches may take while they wait: a quarter.
    #[must_use]
    pub fn outbox_bytes(&self) -> Size {
        Size::from_bytes(self.max_bytes.bytes() / 4)
    }
}

/// Where the journal's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalKey {
    /// It is given (32 bytes, base64).
    Given(SecretRef),
    /// Made at the first start in this file beside the journal, mode 0600. It
    /// protects a copy of the journal's folder, not the volume that holds both.
    Beside(PathBuf),
}

impl JournalKey {
    /// The reference to load it from, once it is there.
    #[must_use]
    pub fn reference(&self) -> SecretRef {
        match self {
            Self::Given(reference) => reference.clone(),
            Self::Beside(path) => SecretRef::File(path.clone()),
        }
    }
}

/// Where records are kept until they are delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawJournal {
    /// Its folder, absolute.
    #[schemars(extend("examples" = ["/var/lib/sealtail/journal"]))]
    path: Option<String>,
    /// Bound of segments and waiting sealed batches together. At least 64MiB.
    max_bytes: Option<RawSize>,
    /// Key that it is encrypted under.
    key: Option<RawKey>,
}

/// Key of the journal: `file` or `env`, or `generate: true` to make one beside it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("x-secret" = true, "minProperties" = 1, "maxProperties" = 1))]
struct RawKey {
    /// Absolute path of the file that holds it.
    file: Option<String>,
    /// Name of the environment variable that holds it.
    env: Option<String>,
    /// `true`: made at the first start, mode 0600, in `<journal.path>.key`.
    generate: Option<bool>,
}

const MAX_BYTES: (Size, Size) = (Size::mib(64), Size::mib(1 << 20));

impl RawJournal {
    pub(super) fn convert(self, check: &mut Check<'_>) -> Option<Journal> {
        let path = self.path.and_then(|p| check.absolute("journal.path", &p));
        let max_bytes = check.size_within("journal.max_bytes", self.max_bytes, MAX_BYTES);
        let path = path.filter(|p| {
            let named = p.file_name().is_some();
            if !named {
                check.refuse("journal.path", "is the root folder", "/var/lib/sealtail/journal");
            }
            named
        });
        let key = self.key.and_then(|k| k.convert(path.as_ref(), check));
        Some(Journal { path: path?, max_bytes: max_bytes?, key: key? })
    }
}

impl RawKey {
    fn convert(self, journal: Option<&PathBuf>, check: &mut Check<'_>) -> Option<JournalKey> {
        match self {
            Self { file: None, env: None, generate: Some(true) } => {
                let mut name = journal?.file_name()?.to_owned();
                name.push(".key");
                Some(JournalKey::Beside(journal?.with_file_name(name)))
            }
            Self { file: None, env: None, generate: Some(false) } => {
                check.refuse("journal.key.generate", "can only be true", "or write {file: PATH}");
                None
            }
            Self { file, env, generate: None } => {
                RawSecret::new(file, env).convert("journal.key", check).map(JournalKey::Given)
            }
            _ => {
                let what = "needs exactly one of `file`, `env` and `generate`";
                check.refuse("journal.key", what, "{file: /etc/sealtail/journal.key}");
                None
            }
        }
    }
}
