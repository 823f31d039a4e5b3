//! `sealtail open`: the records back, as NDJSON, in order.
//!
//! Only objects that a leaf names are opened, and only when their hash is the
//! leaf's: anyone can seal to a public key. Without the signing key that is all
//! that can be said, and the caller warns.

use super::archive::{Archive, ReadError};
use super::batch;
use super::identity::Identities;
use super::walk::{Fault, Walk};
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::leaf::{Body, Object};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

/// What is wanted.
pub struct Request {
    /// Opens the objects.
    pub identities: Identities,
    /// If any are given, all leaves of a log must be signed by one of them.
    pub keys: Vec<VerifyingKey>,
    /// Which records.
    pub filter: Filter,
    /// Give a source line's event once, though several incarnations hold it.
    pub dedupe: bool,
}

/// Which records are wanted; the default is all.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// First number.
    pub from_seq: Option<u64>,
    /// Last number.
    pub to_seq: Option<u64>,
    /// Made durable at or after this, RFC 3339 in UTC.
    pub since: Option<String>,
    /// Made durable before this, RFC 3339 in UTC.
    pub until: Option<String>,
    /// Only these events; empty: all.
    pub events: Vec<String>,
}

/// What was given out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Records written.
    pub records: u64,
    /// Records that another incarnation had given already.
    pub repeated: u64,
    /// Logs that begin in their middle, in words: what was before is not here.
    pub cut: Vec<String>,
}

/// Why records cannot be given out.
#[derive(Debug, thiserror::Error)]
pub enum OpenArchiveError {
    /// Reading.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log is broken there; run verify.
    #[error("{0}; `sealtail verify` says what else is wrong")]
    Broken(String),
    /// An object does not open.
    #[error("{name}: {source}")]
    Object {
        /// Which object.
        name: String,
        /// Why.
        source: batch::OpenError,
    },
    /// There is nothing to open.
    #[error("there is no log in this archive")]
    Empty,
}

/// The part of a record that filters look at.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    journaled: Cow<'a, str>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(default)]
    n: u64,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    file: Cow<'a, str>,
    #[serde(default)]
    offset: u64,
}

/// Writes the wanted records to `out`, a line each.
///
/// # Errors
/// See [`OpenArchiveError`]. What was written before stays written.
pub async fn open(
    archive: &Archive,
    mut request: Request,
    out: &mut dyn Write,
) -> Result<Opened, OpenArchiveError> {
    let incarnations = archive.incarnations();
    if incarnations.is_empty() {
        return Err(OpenArchiveError::Empty);
    }
    let mut opened = Opened::default();
    let mut given = HashSet::new();
    let keys = std::mem::take(&mut request.keys);
    for (origin, incarnation) in &incarnations {
        let Some(mut walk) = Walk::new(archive, origin, incarnation, &keys) else {
            continue;
        };
        if walk.begin > 0 {
            opened.cut.push(format!("{origin}/{incarnation} begins at leaf {}", walk.begin));
        }
        while let Some(step) = walk.step().await? {
            let step = step.map_err(|fault| match fault {
                Fault::Altered(what) | Fault::Missing(what) => OpenArchiveError::Broken(what),
            })?;
            let Body::Batch { first, count, object, .. } = &step.leaf.body else { continue };
            let filter = &request.filter;
            if filter.from_seq.is_some_and(|from| first + count <= from)
                || filter.to_seq.is_some_and(|to| *first > to)
            {
                continue;
            }
            let name = archive.name(&object.key);
            let bytes = object_of(archive, object, step.index).await?;
            let dedupe = request.dedupe;
            batch::open(&bytes, &step.leaf, step.index, &mut request.identities, |seq, line| {
                if !filter.wants(seq, line) {
                    return Ok(());
                }
                if dedupe && !given.insert(origin_of(line)) {
                    opened.repeated += 1;
                    return Ok(());
                }
                opened.records += 1;
                out.write_all(line)?;
                out.write_all(b"\n")
            })
            .await
            .map_err(|source| OpenArchiveError::Object { name, source })?;
        }
    }
    out.flush().map_err(|e| OpenArchiveError::Object {
        name: "standard output".to_owned(),
        source: batch::OpenError::Output(e),
    })?;
    Ok(opened)
}

/// The object that leaf `index` names, as it was when it was named.
pub(super) async fn object_of(
    archive: &Archive,
    object: &Object,
    index: u64,
) -> Result<Vec<u8>, OpenArchiveError> {
    let name = archive.name(&object.key);
    let broken = |what| Err(OpenArchiveError::Broken(format!("{name} {what}")));
    let Some(bytes) = archive.bytes(&object.key).await? else {
        return broken(format!("is missing: leaf {index} names it"));
    };
    if bytes.len() as u64 != object.len || crate::text::sha256(&bytes) != object.sha256 {
        return broken(format!("is not what leaf {index} names"));
    }
    Ok(bytes)
}

impl Filter {
    fn wants(&self, seq: u64, line: &[u8]) -> bool {
        if self.from_seq.is_some_and(|from| seq < from) || self.to_seq.is_some_and(|to| seq > to) {
            return false;
        }
        if self.since.is_none() && self.until.is_none() && self.events.is_empty() {
            return true;
        }
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(line) else { return true };
        self.since.as_deref().is_none_or(|since| &*seen.journaled >= since)
            && self.until.as_deref().is_none_or(|until| &*seen.journaled < until)
            && (self.events.is_empty() || self.events.iter().any(|e| *e == seen.event))
    }
}

/// What makes a source line's event one and the same in every incarnation.
fn origin_of(line: &[u8]) -> (String, u64, u64) {
    match serde_json::from_slice::<Seen<'_>>(line) {
        Ok(Seen { source: Some(source), n, .. }) => (source.file.into_owned(), source.offset, n),
        // Records of the agent's own have no source: each is itself.
        _ => (crate::text::hex(&crate::text::sha256(line)), 0, 0),
    }
}

/// Whether the reader of our output has gone (`| head`), which is no error.
#[must_use]
pub fn is_broken_pipe(error: &OpenArchiveError) -> bool {
    matches!(error, OpenArchiveError::Object { source: batch::OpenError::Output(e), .. } if e.kind() == io::ErrorKind::BrokenPipe)
}
