//! The message header's bytes. All integers big-endian.
//!
//! ```text
//! 02 | 0478 | message_id[32] | u16 ctxlen | ctx | u16 nEDK | EDK* | 02 | u32 frame_len |
//! commitment[32] | tag[16]
//! EDK = u16+provider_id | u16+provider_info | u16+ciphertext
//! ```

use super::context::MAX_CONTEXT;
use super::{Context, EncryptedDataKey, FRAMED, MAX_FRAME_LEN, SUITE, TAG_LEN, VERSION};

/// Most encrypted data keys that are read or written.
const MAX_KEYS: u16 = 64;
/// Longest header, tag included, that is read or written: what we write we must
/// be able to read.
pub(super) const MAX_LEN: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) message_id: [u8; 32],
    pub(super) context: Context,
    pub(super) keys: Vec<EncryptedDataKey>,
    pub(super) frame_len: u32,
    pub(super) commitment: [u8; 32],
}

/// What reading a header can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Not all of it is there yet.
    More,
    /// Another format or version, or unframed.
    Unsupported,
    /// Another suite.
    Suite(u16),
    /// Over the limit on encrypted data keys.
    TooManyKeys(u16),
    /// Over the limit on the context.
    ContextTooLong(u16),
    /// Frames of no bytes, or over the limit.
    FrameLen(u32),
    /// Not a header.
    Malformed,
}

/// The header is over [`MAX_KEYS`] or [`MAX_LEN`]: nothing could read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl Header {
    /// The bytes up to and including the commitment: what the tag covers.
    pub(super) fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let mut out = vec![VERSION];
        let short = |n: usize| u16::try_from(n).map(u16::to_be_bytes).map_err(|_| TooLong);
        if self.keys.len() > usize::from(MAX_KEYS) {
            return Err(TooLong);
        }
        out.extend_from_slice(&SUITE.to_be_bytes());
        out.extend_from_slice(&self.message_id);
        let context = self.context.serialize();
        out.extend_from_slice(&short(context.len())?);
        out.extend_from_slice(&context);
        out.extend_from_slice(&short(self.keys.len())?);
        for key in &self.keys {
            for field in [key.provider_id.as_bytes(), &key.provider_info, &key.ciphertext] {
                out.extend_from_slice(&short(field.len())?);
                out.extend_from_slice(field);
            }
        }
        out.push(FRAMED);
        out.extend_from_slice(&self.frame_len.to_be_bytes());
        out.extend_from_slice(&self.commitment);
        if out.len() + TAG_LEN > MAX_LEN { Err(TooLong) } else { Ok(out) }
    }

    /// Parses a header at the start of `bytes`: the header, its tag, and how
    /// many bytes they are.
    pub(super) fn parse(bytes: &[u8]) -> Result<(Self, [u8; TAG_LEN], usize), HeaderError> {
        use HeaderError::{Malformed, More, Unsupported};
        let mut input = Input(bytes);
        if input.take(1).ok_or(More)? != [VERSION] {
            return Err(Unsupported);
        }
        let suite = input.u16().ok_or(More)?;
        if suite != SUITE {
            return Err(HeaderError::Suite(suite));
        }
        let message_id = input.array().ok_or(More)?;
        // Lengths are judged before their bytes are waited for.
        let context_len = input.u16().ok_or(More)?;
        if usize::from(context_len) > MAX_CONTEXT {
            return Err(HeaderError::ContextTooLong(context_len));
        }
        let context = Context::parse(input.take(context_len.into()).ok_or(More)?);
        let context = context.ok_or(Malformed)?;
        let n = input.u16().ok_or(More)?;
        if n == 0 {
            return Err(Malformed);
        }
        if n > MAX_KEYS {
            return Err(HeaderError::TooManyKeys(n));
        }
        let mut keys = Vec::new();
        for _ in 0..n {
            keys.push(EncryptedDataKey {
                provider_id: String::from_utf8(input.prefixed().ok_or(More)?.to_vec())
                    .map_err(|_| Malformed)?,
                provider_info: input.prefixed().ok_or(More)?.to_vec(),
                ciphertext: input.prefixed().ok_or(More)?.to_vec(),
            });
        }
        if input.take(1).ok_or(More)? != [FRAMED] {
            return Err(Unsupported);
        }
        let frame_len = u32::from_be_bytes(input.array().ok_or(More)?);
        if frame_len == 0 || frame_len > MAX_FRAME_LEN {
            return Err(HeaderError::FrameLen(frame_len));
        }
        let commitment = input.array().ok_or(More)?;
        let tag = input.array().ok_or(More)?;
        let used = bytes.len() - input.0.len();
        if used > MAX_LEN {
            return Err(Malformed);
        }
        Ok((Self { message_id, context, keys, frame_len, commitment }, tag, used))
    }
}

/// A cursor over bytes from outside.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// u16 length, then so many bytes.
    pub(super) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }
}
