//! The keys that a configuration needs, and whether each is there and is one.

use super::aws::Credentials;
use super::document::Config;
use super::env::Env;
use super::feeds::FeedTo;
use super::journal::JournalKey;
use super::seal::Recipient;
use super::secret::{SecretError, SecretRef};
use super::sinks::Archive;
use sealtail_seal::keys::{self, SigningKey};
use sealtail_seal::message;
use std::os::unix::fs::PermissionsExt as _;

/// A key that the configuration needs, and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Which value names it, such as `seal.signing_key`.
    pub path: String,
    /// Where it is.
    pub reference: SecretRef,
    /// What it has to be.
    pub kind: KeyKind,
    /// Whether it is there.
    pub state: KeyState,
}

impl KeyUse {
    /// Whether the agent can start with it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.state, KeyState::Present | KeyState::Open(_) | KeyState::MadeAtStart)
    }
}

/// What a key has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// 32 bytes, one line of base64.
    Secret,
    /// An Ed25519 private key, PKCS#8 PEM.
    Signing,
    /// An RSA public key, SPKI PEM. The only one that anybody may read.
    ArchivePublic,
    /// Text that only its server can judge.
    Credential,
}

/// Whether a key is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It is there, and it is one.
    Present,
    /// The same, but any user of the machine can read it; with the file's mode.
    Open(u32),
    /// It is not there.
    Missing,
    /// It will be made at the first start.
    MadeAtStart,
    /// It cannot be read, or is something else; why.
    Unusable(String),
}

impl Config {
    /// The keys that this configuration needs, as they are now: read, tried,
    /// and forgotten again. `run` refuses to start unless all are usable.
    #[must_use]
    pub fn keys(&self, env: &Env<'_>) -> Vec<KeyUse> {
        let mut wanted = vec![
            ("redact.token_key".into(), self.redact.token_key.clone(), KeyKind::Secret),
            ("journal.key".into(), self.journal.key.reference(), KeyKind::Secret),
            ("seal.signing_key".into(), self.seal.signing_key.clone(), KeyKind::Signing),
        ];
        // Two secrets that are one identity at AWS.
        let fixed = |path: String, credentials: &Option<Credentials>| {
            let pair = |c: &Credentials| {
                let (access, secret) = (c.access_key.clone(), c.secret_key.clone());
                [
                    (format!("{path}.credentials.access_key"), access, KeyKind::Credential),
                    (format!("{path}.credentials.secret_key"), secret, KeyKind::Credential),
                ]
            };
            credentials.as_ref().map(pair).into_iter().flatten()
        };
        for (n, recipient) in self.seal.recipients.iter().enumerate() {
            let path = format!("seal.recipients[{n}]");
            match recipient {
                Recipient::Rsa(file) => {
                    let file = SecretRef::File(file.clone());
                    wanted.push((path + ".rsa", file, KeyKind::ArchivePublic));
                }
                Recipient::Aes { key, .. } => {
                    wanted.push((path + ".aes", key.clone(), KeyKind::Secret));
                }
                Recipient::Kms(kms) => wanted.extend(fixed(path, &kms.credentials)),
            }
        }
        for sink in &self.sinks {
            let n = sink.index;
            if let Archive::S3(s3) = &sink.archive {
                wanted.extend(fixed(format!("sinks[{n}]"), &s3.credentials));
            }
        }
        for feed in &self.feeds {
            let key = match feed.to {
                FeedTo::Splunk { .. } => "token",
                FeedTo::Datadog { .. } => "api_key",
            };
            let path = format!("sinks[{}].{key}", feed.index);
            wanted.push((path, feed.secret.clone(), KeyKind::Credential));
        }
        if self.sinks.is_empty() {
            // Nothing is sealed where there is no archive.
            wanted.retain(|(path, _, _)| !path.starts_with("seal."));
        }
        let made = matches!(self.journal.key, JournalKey::Beside(_));
        wanted
            .into_iter()
            .map(|(path, reference, kind)| {
                let state = match state(&reference, kind, env) {
                    KeyState::Missing if made && path == "journal.key" => KeyState::MadeAtStart,
                    state => state,
                };
                KeyUse { path, reference, kind, state }
            })
            .collect()
    }
}

fn state(reference: &SecretRef, kind: KeyKind, env: &Env<'_>) -> KeyState {
    let secret = match reference.load(env) {
        Ok(secret) => secret,
        Err(SecretError::Unset(_)) => return KeyState::Missing,
        Err(SecretError::File { source, .. }) => {
            return match source.kind() {
                std::io::ErrorKind::NotFound => KeyState::Missing,
                _ => KeyState::Unusable(source.to_string()),
            };
        }
        Err(SecretError::Empty(_)) => return KeyState::Unusable("it is empty".into()),
        Err(SecretError::TooLong(_)) => return KeyState::Unusable("it is too long".into()),
    };
    let Some(text) = secret.text() else {
        return KeyState::Unusable("it is not text".into());
    };
    let valid = match kind {
        KeyKind::Secret => keys::secret_from_text(text).map(drop).map_err(|e| e.to_string()),
        KeyKind::Signing => SigningKey::from_pem(text).map(drop).map_err(|e| e.to_string()),
        KeyKind::ArchivePublic => {
            message::Recipient::rsa(text).map(drop).map_err(|e| e.to_string())
        }
        KeyKind::Credential => Ok(()),
    };
    match (valid, mode(reference)) {
        (Err(why), _) => KeyState::Unusable(why),
        (Ok(()), Some(mode)) if mode & 0o004 != 0 && kind != KeyKind::ArchivePublic => {
            KeyState::Open(mode)
        }
        (Ok(()), _) => KeyState::Present,
    }
}

fn mode(reference: &SecretRef) -> Option<u32> {
    let data = std::fs::metadata(reference.path()?).ok()?;
    Some(data.permissions().mode() & 0o777)
}
