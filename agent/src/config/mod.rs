//! The configuration: YAML (so also JSON) into types that are valid by being there.
//!
//! It promises: all that is wrong is said at once, each with file, line, column
//! and what to write instead; what is accepted has an effect; no secret is held
//! or shown, only where it is.
//!
//! It refuses: unknown keys, options that this version does not honour, values
//! out of bounds, secrets in the text, YAML's stranger features.
//!
//! The way of a document: `tree` reads it with its places, `env` substitutes
//! variables, `governance` and `merge` lay it over the defaults, `structure`
//! holds it against the schema of the raw twins, and each element (`sources`,
//! `redact`, `journal`, `seal`, `sinks`, `admin`, `limits`, `log`) turns its
//! twin into its type. `keys` tries the keys, `report` is what `sealtail check` prints.

mod admin;
mod aws;
mod convert;
mod document;
mod effective;
mod env;
mod error;
mod feeds;
mod governance;
mod journal;
mod keys;
mod kms;
mod limits;
mod log;
mod merge;
mod origin;
mod planned;
mod quantity;
mod redact;
mod report;
mod residency;
mod s3;
mod schema;
mod seal;
mod seal_fields;
mod secret;
mod sinks;
mod sources;
mod structure;
#[cfg(test)]
mod tests;
mod tree;
mod url;

pub use admin::Admin;
pub use aws::{AssumeRole, Credentials};
pub use document::{Config, parse};
pub use env::Env;
pub use error::{ConfigErrors, Problem};
pub use feeds::{Feed, FeedBatch, FeedTo};
pub use governance::Governance;
pub use journal::{Journal, JournalKey};
pub use keys::{KeyKind, KeyState, KeyUse};
pub use kms::Kms;
pub use limits::{HELD, Limits};
pub use log::{Log, LogFormat, LogLevel};
pub use origin::Origin;
pub use quantity::Size;
pub use redact::{Profile, Redact};
pub use report::render_check;
pub use residency::{Outside, Residency};
pub use s3::{Encryption, LockMode, ObjectLock};
pub use schema::schema;
pub use seal::{Batch, Codec, Recipient, Seal};
pub use secret::{Secret, SecretError, SecretRef};
pub use sinks::{Archive, Checksums, S3, Sink, SinkName};
pub use sources::{FileSource, Format, Pattern, StartAt};

use std::path::Path;

/// Longest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the configuration in a file.
///
/// # Errors
/// All that is wrong with it, at once; or why the file cannot be read.
pub fn load(path: &Path, env: &Env<'_>) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&text, &name, env),
        Err(what) => Err(ConfigErrors::unreadable(&name, what)),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| format!("cannot be read: {e}"))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut bytes)
        .map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB: that is no configuration".into());
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        format!("is not UTF-8 (from byte {at} on)")
    })
}

/// Reads a duration as people write it (`90s`, `5m`).
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    quantity::duration(text).map_err(std::borrow::Cow::into_owned)
}
