//! Journal keys: one secret, a key of its own for each segment.
//!
//! A segment's key comes from the secret and a random salt, so a restored
//! snapshot of the volume that is written on never repeats a nonce under a key
//! (DESIGN.md, "Details that decide correctness").

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length in bytes of an authentication tag.
pub const TAG_LEN: usize = 16;

/// The journal's secret: 32 random bytes.
pub struct JournalKey(Zeroizing<[u8; 32]>);

impl JournalKey {
    /// Takes the secret as it stands in `journal.key`.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The key of one segment.
    #[must_use]
    pub(super) fn segment(&self, salt: &[u8; 32], incarnation: &str, number: u64) -> SegmentCipher {
        let number = number.to_be_bytes();
        let info: [&[u8]; 4] =
            [b"sealtail/journal-segment/v1", &[0], incarnation.as_bytes(), &number];
        self.derived(salt, &info)
    }
}

/// What stands before the bytes of [`JournalKey::wrap`]: the salt of their key.
const SALT_LEN: usize = 32;
/// How many bytes [`JournalKey::wrap`] adds.
pub const WRAP_LEN: usize = SALT_LEN + TAG_LEN;

impl JournalKey {
    /// Encrypts something small that lies beside the segments: a random salt,
    /// the bytes under a key of their own, the tag. `purpose` is bound to it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn wrap(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut salt = [0; SALT_LEN];
        getrandom::fill(&mut salt)?;
        let mut out = salt.to_vec();
        out.extend_from_slice(plain);
        let cipher = self.derived(&salt, &[b"sealtail/journal-wrap/v1", &[0], purpose.as_bytes()]);
        let text = out.get_mut(SALT_LEN..).unwrap_or_default();
        // Only a text of more than 64 GiB is refused.
        let tag = cipher.seal(0, &[], text).unwrap_or_default();
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// The bytes that [`JournalKey::wrap`] encrypted; `None` if they are not
    /// that, or were under another key or for another purpose.
    #[must_use]
    pub fn unwrap(&self, purpose: &str, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (salt, rest) = wrapped.split_first_chunk::<SALT_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let cipher = self.derived(salt, &[b"sealtail/journal-wrap/v1", &[0], purpose.as_bytes()]);
        let mut plain = Zeroizing::new(text.to_vec());
        cipher.open(0, &[], &mut plain, tag).ok()?;
        Some(plain)
    }

    fn derived(&self, salt: &[u8; 32], info: &[&[u8]]) -> SegmentCipher {
        let mut key = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::new(Some(salt), self.0.as_slice())
            .expand_multi_info(info, key.as_mut_slice());
        debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
        SegmentCipher(Aes256Gcm::new((&*key).into()))
    }
}

impl Clone for JournalKey {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl std::fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JournalKey(…)")
    }
}

/// AES-256-GCM under one segment's key. The nonce is the block's number in its
/// segment, and a number is written once: see [`super::segment`].
pub(super) struct SegmentCipher(Aes256Gcm);

/// The nonce of the segment header, which no block can have.
pub(super) const HEADER_BLOCK: u64 = u64::MAX;

impl SegmentCipher {
    /// Encrypts `buf` in place.
    pub(super) fn seal(
        &self,
        number: u64,
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Refused> {
        self.0
            .encrypt_inout_detached(&nonce(number), aad, buf.into())
            .map(Into::into)
            .map_err(|_| Refused)
    }

    /// Decrypts `buf` in place, or leaves garbage in it and says no.
    pub(super) fn open(
        &self,
        number: u64,
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let tag: Tag = (*tag).into();
        self.0.decrypt_inout_detached(&nonce(number), aad, buf.into(), &tag).map_err(|_| Refused)
    }
}

/// The bytes do not authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

fn nonce(number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_salt_incarnation_and_number() {
        let key = JournalKey::new([7; 32]);
        let sealed = |salt, incarnation, number| {
            let mut buf = *b"same text";
            key.segment(salt, incarnation, number).seal(1, b"", &mut buf).unwrap()
        };
        let base = sealed(&[1; 32], "a", 1);
        assert_ne!(base, sealed(&[2; 32], "a", 1));
        assert_ne!(base, sealed(&[1; 32], "b", 1));
        assert_ne!(base, sealed(&[1; 32], "a", 2));
        assert_eq!(base, sealed(&[1; 32], "a", 1));
    }

    #[test]
    fn what_was_wrapped_is_unwrapped_by_the_same_key_for_the_same_purpose() {
        let key = JournalKey::new([7; 32]);
        for plain in [&b""[..], b"x", &[9; 1000]] {
            let wrapped = key.wrap("a", plain).unwrap();
            assert_ne!(wrapped, key.wrap("a", plain).unwrap());
            assert_eq!(key.unwrap("a", &wrapped).unwrap().as_slice(), plain);
            assert!(key.unwrap("b", &wrapped).is_none());
            assert!(JournalKey::new([8; 32]).unwrap("a", &wrapped).is_none());
            for at in 0..wrapped.len().min(60) {
                let mut bad = wrapped.clone();
                bad[at] ^= 1;
                assert!(key.unwrap("a", &bad).is_none(), "{at}");
                assert!(key.unwrap("a", &wrapped[..at]).is_none(), "{at}");
            }
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", JournalKey::new([7; 32])), "JournalKey(…)");
    }
}
