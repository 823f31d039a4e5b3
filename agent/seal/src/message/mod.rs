//! A sealed message: AWS Encryption SDK message format version 2, algorithm
//! suite 0x0478 (AES-256-GCM, HKDF-SHA512, key commitment, no signature).
//!
//! Written and read as a stream: memory is one frame, whatever the length. The
//! reader gives out authenticated frames only, and [`Decryptor::finish`] must
//! be called: until then the message may still be truncated. Trailing bytes are
//! refused (stock readers accept them).
//!
//! Facts are from SEAL-FORMAT.md section 1, checked against the Python package
//! `aws-encryption-sdk` in both directions by tests/interop.

mod context;
mod decrypt;
mod encrypt;
mod header;
mod keyring;

pub use context::{Context, ContextError};
pub use decrypt::{DecryptError, Decryptor, Envelope};
pub use encrypt::{EncryptError, Encryptor};
pub use keyring::{DataKey, EncryptedDataKey, Identity, KMS_PROVIDER, Recipient};

use aes_gcm::aead::KeyInit as _;
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::Zeroizing;

/// Bytes of plaintext in a frame that we write (the stock SDKs' default is 4096).
pub const FRAME_LEN: u32 = 65_536;
const VERSION: u8 = 2;
const SUITE: u16 = 0x0478;
const FRAMED: u8 = 2;
/// Longest frame that is read: what bounds a reader's memory.
const MAX_FRAME_LEN: u32 = 1024 * 1024;
const TAG_LEN: usize = 16;
const FINAL_MARK: u32 = u32::MAX;

/// The keys of one message.
struct MessageKeys {
    cipher: Aes256Gcm,
    commitment: [u8; 32],
}

impl MessageKeys {
    /// HKDF-SHA512 with the message id as salt: the message key under
    /// "0478 || DERIVEKEY", the commitment under "COMMITKEY".
    fn derive(data_key: &DataKey, message_id: &[u8; 32]) -> Self {
        let prk = Hkdf::<Sha512>::new(Some(message_id), data_key.as_slice());
        let mut key = Zeroizing::new([0; 32]);
        let mut commitment = [0; 32];
        let expanded = prk
            .expand_multi_info(&[&SUITE.to_be_bytes(), b"DERIVEKEY"], key.as_mut_slice())
            .and_then(|()| prk.expand(b"COMMITKEY", &mut commitment));
        debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
        Self { cipher: Aes256Gcm::new((&*key).into()), commitment }
    }
}

/// The frame number as a 12-byte big-endian nonce; 0 is the header's.
fn nonce(number: u32) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(8).zip(number.to_be_bytes()) {
        *to = from;
    }
    bytes.into()
}

/// What a frame's encryption authenticates besides its text.
fn frame_aad(message_id: &[u8; 32], number: u32, is_final: bool, len: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(message_id);
    out.extend_from_slice(if is_final {
        b"AWSKMSEncryptionClient Final Frame"
    } else {
        b"AWSKMSEncryptionClient Frame"
    });
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests;
