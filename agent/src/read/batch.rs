//! Opening one sealed object: a batch (decrypt, decompress, check every record
//! against the leaf) or a field key.

use super::identity::Identities;
use crate::kms;
use sealtail_seal::field::FieldKey;
use sealtail_seal::keys::Secret;
use sealtail_seal::leaf::{Body, Leaf};
use sealtail_seal::merkle::Frontier;
use sealtail_seal::message::{Context, DecryptError};
use sealtail_seal::record::Blinder;
use serde::Deserialize;
use std::io::{self, BufRead as _, BufReader, Read};
use zeroize::Zeroizing;

/// Longest line that is read: far more than a record can be.
const MAX_LINE: u64 = 256 * 1024 * 1024;

/// Why an object does not open, though its bytes are the ones that the leaf names.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The message.
    #[error("{0}")]
    Message(#[from] DecryptError),
    /// KMS does not unwrap its data key.
    #[error("{0} does not unwrap its data key: {1}")]
    Kms(String, kms::Fault),
    /// The context says something else than the leaf.
    #[error("its encryption context does not agree with its leaf ({0})")]
    Context(&'static str),
    /// Decompression.
    #[error("it does not decompress: {0}")]
    Codec(io::Error),
    /// The content says something else than the leaf.
    #[error("its content does not agree with its leaf ({0})")]
    Content(&'static str),
    /// The taker of the records said no.
    #[error("write a record: {0}")]
    Output(io::Error),
}

/// Line 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    v: u32,
    origin: &'a str,
    incarnation: &'a str,
    first: u64,
    salt: &'a str,
}

/// Opens the object of a `batch` leaf and gives each record's number and line
/// (without newline) to `take`.
///
/// # Errors
/// See [`OpenError`]. Records that were given before stay given.
pub async fn open(
    object: &[u8],
    leaf: &Leaf,
    index: u64,
    identities: &mut Identities,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), OpenError> {
    let Body::Batch { first, count, records, object: named, .. } = &leaf.body else {
        return Err(OpenError::Content("it is no batch"));
    };
    let (plain, context) = identities.open(object).await?;
    let codec = check_context(&context, leaf, index, *first, &named.key)?;
    let reader: Box<dyn Read> = match codec {
        "gzip" => Box::new(flate2::read::GzDecoder::new(plain.as_slice())),
        _ => {
            Box::new(zstd::stream::read::Decoder::new(plain.as_slice()).map_err(OpenError::Codec)?)
        }
    };
    let mut lines =
        Lines { reader: BufReader::with_capacity(256 * 1024, reader), line: Vec::new() };
    let head = lines.next()?.ok_or(OpenError::Content("it is empty"))?;
    let head: Head<'_> =
        serde_json::from_slice(head).map_err(|_| OpenError::Content("its header"))?;
    if head.v != 1
        || head.origin != leaf.origin
        || head.incarnation != leaf.incarnation
        || head.first != *first
    {
        return Err(OpenError::Content("its header"));
    }
    let salt = crate::text::unhex::<32>(head.salt).ok_or(OpenError::Content("its salt"))?;
    let blinder = Blinder::new(&salt);
    let mut tree = Frontier::new();
    while let Some(line) = lines.next()? {
        let seq = first + tree.size();
        let prefix = format!("{{\"seq\":{seq},");
        if !line.starts_with(prefix.as_bytes()) {
            return Err(OpenError::Content("a record's number"));
        }
        tree.append(blinder.leaf_hash(seq, line));
        take(seq, line).map_err(OpenError::Output)?;
    }
    if tree.size() != *count {
        return Err(OpenError::Content("how many records it holds"));
    }
    if tree.root() != *records {
        return Err(OpenError::Content("the root of its records"));
    }
    Ok(())
}

/// The opened object of a `key` leaf: not believed before a leaf names it.
pub(super) struct KeyObject {
    plain: Zeroizing<Vec<u8>>,
    context: Context,
}

impl KeyObject {
    /// # Errors
    /// When it does not open.
    pub(super) async fn open(
        object: &[u8],
        identities: &mut Identities,
    ) -> Result<Self, OpenError> {
        let (plain, context) = identities.open(object).await?;
        Ok(Self { plain, context })
    }

    /// The leaf that it says is its own: to be looked up.
    pub(super) fn leaf(&self) -> Result<u64, OpenError> {
        let leaf = self.context.value("audit:leaf").and_then(|leaf| leaf.parse().ok());
        leaf.ok_or(OpenError::Context("audit:leaf"))
    }

    /// The field key, if it is that of this leaf.
    pub(super) fn key(&self, leaf: &Leaf, index: u64) -> Result<FieldKey, OpenError> {
        let Body::Key { kid, object: named } = &leaf.body else {
            return Err(OpenError::Content("it is no field key"));
        };
        check_common(&self.context, leaf, index, &named.key)?;
        if self.context.value("audit:kid") != Some(kid) {
            return Err(OpenError::Context("audit:kid"));
        }
        let secret = <[u8; 32]>::try_from(self.plain.as_slice()).map(Zeroizing::new);
        let secret = secret.map_err(|_| OpenError::Content("its length"))?;
        FieldKey::new(kid, Secret::from(*secret)).ok_or(OpenError::Content("its id"))
    }
}

fn check_context<'a>(
    context: &'a Context,
    leaf: &Leaf,
    index: u64,
    first: u64,
    key: &str,
) -> Result<&'a str, OpenError> {
    check_common(context, leaf, index, key)?;
    if context.value("audit:first") != Some(&first.to_string()) {
        return Err(OpenError::Context("audit:first"));
    }
    match context.value("audit:codec") {
        Some(codec @ ("gzip" | "zstd")) => Ok(codec),
        _ => Err(OpenError::Context("audit:codec")),
    }
}

/// What the context of every object says.
fn check_common(context: &Context, leaf: &Leaf, index: u64, key: &str) -> Result<(), OpenError> {
    let expected = [
        ("audit:v", "1"),
        ("audit:origin", &leaf.origin),
        ("audit:incarnation", &leaf.incarnation),
        ("audit:leaf", &index.to_string()),
        ("audit:key", key),
    ];
    for (name, value) in expected {
        if context.value(name) != Some(value) {
            return Err(OpenError::Context(name));
        }
    }
    Ok(())
}

struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: io::BufRead> Lines<R> {
    /// The next line, which must end with a newline.
    fn next(&mut self) -> Result<Option<&[u8]>, OpenError> {
        self.line.clear();
        let n = self
            .reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line)
            .map_err(OpenError::Codec)?;
        match self.line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(&self.line)),
            Some(_) if n as u64 == MAX_LINE => Err(OpenError::Content("a line is too long")),
            Some(_) => Err(OpenError::Content("its last line has no end")),
        }
    }
}
