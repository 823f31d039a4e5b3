//! Standard base64 with padding; canonical or refused.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` unless it is exactly what [`encode`] gives for the same bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (encode(&bytes) == text).then_some(bytes)
}

pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}
