//! A request's body as text: decompressed, bounded, UTF-8.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use crate::http::Head;

/// Why a body is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Neither gzip nor identity: 415.
    Encoding(String),
    /// Longer than the limit once decompressed: 413.
    TooLarge,
    /// Broken gzip, or not UTF-8.
    Broken(String),
}

/// The text of `body`, at most `limit` bytes.
pub(crate) fn text(head: &Head, body: &[u8], limit: usize) -> Result<String, BodyError> {
    let bytes = match head.header("content-encoding").map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity") => body.to_vec(),
        Some("gzip") => inflate(body, limit)?,
        Some(other) => return Err(BodyError::Encoding(other.to_owned())),
    };
    if bytes.len() > limit {
        return Err(BodyError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|e| BodyError::Broken(e.to_string()))
}

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    // Anything after the last member is taken for one more, and refused.
    MultiGzDecoder::new(body)
        .take(bound)
        .read_to_end(&mut bytes)
        .map_err(|e| BodyError::Broken(format!("gzip: {e}")))?;
    Ok(bytes)
}
