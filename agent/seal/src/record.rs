//! The hash of one record in its batch's tree (SEAL-FORMAT.md section 3).
//!
//! `d = blind[32] || line bytes`, `blind = HMAC-SHA256(salt, u64 seq)`. The salt is
//! inside the ciphertext: once the data key is destroyed the hashes tell
//! nothing of the lines, and the chain still verifies.

use crate::merkle::Hash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Makes record hashes under one batch's salt, without allocating.
#[derive(Clone)]
pub struct Blinder(Hmac<Sha256>);

impl std::fmt::Debug for Blinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinder(…)")
    }
}

impl Blinder {
    /// For the batch with this salt.
    #[must_use]
    pub fn new(salt: &[u8; 32]) -> Self {
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(salt) {
            *to = *from;
        }
        // A key of at most a block is padded with zeros (RFC 2104 section 2).
        Self(Hmac::new((&block).into()))
    }

    /// The blind of record `seq`.
    #[must_use]
    pub fn blind(&self, seq: u64) -> [u8; 32] {
        self.0.clone().chain_update(seq.to_be_bytes()).finalize().into_bytes().into()
    }

    /// The leaf hash of record `seq`; `line` is its NDJSON line without the newline.
    #[must_use]
    pub fn leaf_hash(&self, seq: u64, line: &[u8]) -> Hash {
        leaf_hash(&self.blind(seq), line)
    }
}

/// The leaf hash of a record whose blind is known: what `verify-proof` does.
#[must_use]
pub fn leaf_hash(blind: &[u8; 32], line: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(blind).chain_update(line).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_rfc_6962_hash_of_blind_and_line() {
        let blinder = Blinder::new(&[3; 32]);
        let mut mac = Hmac::<Sha256>::new_from_slice(&[3; 32]).unwrap();
        mac.update(&7_u64.to_be_bytes());
        let blind: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(blinder.blind(7), blind);
        let data = [&blind[..], b"{\"seq\":7}"].concat();
        assert_eq!(blinder.leaf_hash(7, b"{\"seq\":7}"), crate::merkle::leaf_hash(&data));
        assert_ne!(blinder.leaf_hash(7, b"x"), blinder.leaf_hash(8, b"x"));
    }
}
