//! A sealed field: one value of an event, as a token that only the holders of
//! the archive's identity can open (SEAL-FORMAT.md section 2).
//!
//! ```text
//! enc1.<kid>.<base64url(nonce[12] || ciphertext || tag[16])>
//! ```
//! AES-256-GCM under a field key, unpadded base64url, canonical or refused. What
//! is authenticated beside the value says where it belongs:
//! ```text
//! "audit-field/v1" || 00 || u16+origin || u16+incarnation || u64 seq || u16+json_pointer || kid
//! ```
//! (u16+: with its length before it, big-endian), so a token that was moved to
//! another field, record or log does not open. The nonce is random: a key seals
//! at most 2^31 values, and refuses the next (NIST SP 800-38D section 8.3 allows
//! 2^32). The value's length can be seen; nothing else of it.

use crate::entropy::{Entropy, EntropyError};
use crate::keys::Secret;
use crate::layout::is_field_key_id;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use zeroize::Zeroizing;

/// What a token begins with.
pub const PREFIX: &str = "enc1.";
/// The most values that are sealed under one key.
pub const MAX_USES: u64 = 1 << 31;
const CONTEXT: &[u8] = b"audit-field/v1\0";
const KID_LEN: usize = 8;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Where a value belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The origin of the log.
    pub origin: &'a str,
    /// Its incarnation.
    pub incarnation: &'a str,
    /// The record's number.
    pub seq: u64,
    /// The field in the record, as a JSON Pointer (RFC 6901).
    pub pointer: &'a str,
}

/// Why a value was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key has sealed [`MAX_USES`] values.
    #[error("the field key is used up")]
    WornOut,
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] EntropyError),
    /// A name of more than 65,535 bytes, or a value of more than 64 GiB.
    #[error("a name or a value is too long to be sealed")]
    TooLong,
}

/// Why a token does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It has not the form of one.
    #[error("it is no sealed field, or was cut short")]
    NoToken,
    /// It was sealed under another key.
    #[error("it was sealed under another key")]
    OtherKey,
    /// It was altered, or belongs to another field, record or log.
    #[error("it does not open: altered, or moved from another field, record or log")]
    Refused,
}

/// A field key with its id. Wiped from memory when dropped.
pub struct FieldKey {
    kid: [u8; KID_LEN],
    secret: Secret,
    cipher: Aes256Gcm,
    /// Values sealed under it.
    uses: AtomicU64,
}

impl std::fmt::Debug for FieldKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FieldKey({})", self.kid())
    }
}

impl FieldKey {
    /// A new key with a new id.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut id = [0; 6];
        entropy.fill(&mut id)?;
        let mut kid = [0; KID_LEN];
        // Six bytes are eight characters: it fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(id, &mut kid);
        let secret = Secret::generate(entropy).map_err(|_| EntropyError)?;
        Ok(Self::of(kid, secret))
    }

    /// The key with this id; `None` if that cannot be one.
    #[must_use]
    pub fn new(kid: &str, secret: Secret) -> Option<Self> {
        let id = kid.as_bytes().try_into().ok().filter(|_| is_field_key_id(kid))?;
        Some(Self::of(id, secret))
    }

    fn of(kid: [u8; KID_LEN], secret: Secret) -> Self {
        let cipher = Aes256Gcm::new((&*secret).into());
        Self { kid, secret, cipher, uses: AtomicU64::new(0) }
    }

    /// Its id: 8 base64url characters.
    #[must_use]
    pub fn kid(&self) -> &str {
        std::str::from_utf8(&self.kid).unwrap_or_default()
    }

    /// Its 32 bytes, to be sealed for the archive.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// How many values it has sealed.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses.load(Relaxed)
    }

    /// Appends the token of `value` to `out`; on an error nothing is appended.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &self,
        place: &Place<'_>,
        value: &[u8],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let aad = place.aad(&self.kid).ok_or(SealError::TooLong)?;
        // Counted before it is used: what fails after that is a use too many.
        if self.uses.fetch_add(1, Relaxed) >= MAX_USES {
            self.uses.fetch_sub(1, Relaxed);
            return Err(SealError::WornOut);
        }
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(NONCE_LEN + value.len() + TAG_LEN));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let Some((_, text)) = sealed.split_at_mut_checked(NONCE_LEN) else {
            return Err(SealError::TooLong);
        };
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &aad, text.into())
            .map_err(|_| SealError::TooLong)?;
        sealed.extend_from_slice(&tag);
        out.extend_from_slice(PREFIX.as_bytes());
        out.extend_from_slice(&self.kid);
        out.push(b'.');
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(&*sealed).as_bytes());
        Ok(())
    }

    /// The value in a token that stands in this place.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &self,
        place: &Place<'_>,
        token: &Token<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if token.kid.as_bytes() != self.kid {
            return Err(OpenError::OtherKey);
        }
        let aad = place.aad(&self.kid).ok_or(OpenError::Refused)?;
        let (nonce, rest) =
            token.sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::NoToken)?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError::NoToken)?;
        let mut value = Zeroizing::new(text.to_vec());
        self.cipher
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &aad,
                value.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| OpenError::Refused)?;
        Ok(value)
    }
}

/// A token that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    kid: &'a str,
    sealed: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`OpenError::NoToken`] for anything that [`FieldKey::seal`] does not give.
    pub fn parse(text: &'a str) -> Result<Self, OpenError> {
        let rest = text.strip_prefix(PREFIX).ok_or(OpenError::NoToken)?;
        let (kid, sealed) = rest.split_once('.').ok_or(OpenError::NoToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| OpenError::NoToken)?;
        let canonical = URL_SAFE_NO_PAD.encode(&bytes) == sealed;
        if is_field_key_id(kid) && canonical && bytes.len() >= NONCE_LEN + TAG_LEN {
            Ok(Self { kid, sealed: bytes })
        } else {
            Err(OpenError::NoToken)
        }
    }

    /// The id of the key that it was sealed under.
    #[must_use]
    pub fn kid(&self) -> &'a str {
        self.kid
    }
}

/// Where in `text` something begins that was meant as a token: the prefix, a
/// key's id, a dot.
#[must_use]
pub fn find(text: &str) -> Option<usize> {
    let claims = |at: &usize| {
        let rest = text.get(at + PREFIX.len()..).unwrap_or_default();
        rest.split_once('.').is_some_and(|(kid, _)| is_field_key_id(kid))
    };
    text.match_indices(PREFIX).map(|(at, _)| at).find(claims)
}

impl Place<'_> {
    /// `None`: a name is longer than 16 bits can say.
    fn aad(&self, kid: &[u8; KID_LEN]) -> Option<Vec<u8>> {
        let mut aad = CONTEXT.to_vec();
        let name = |aad: &mut Vec<u8>, text: &str| {
            aad.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            aad.extend_from_slice(text.as_bytes());
            Some(())
        };
        name(&mut aad, self.origin)?;
        name(&mut aad, self.incarnation)?;
        aad.extend_from_slice(&self.seq.to_be_bytes());
        name(&mut aad, self.pointer)?;
        aad.extend_from_slice(kid);
        Some(aad)
    }
}

#[cfg(test)]
mod tests;
