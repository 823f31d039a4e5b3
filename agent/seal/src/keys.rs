//! Key material and its files.
//!
//! `signing.key` is PKCS#8 PEM and `signing.pub` SPKI PEM (Ed25519),
//! `archive.pem` PKCS#8 PEM and `archive.pub.pem` SPKI PEM (RSA), `token.key`
//! and `journal.key` one line of standard base64 of 32 bytes.

use crate::base64;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey};
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
};
use ed25519_dalek::{Signer as _, pkcs8::spki::der::pem::LineEnding};
use pem_rfc7468 as pem;
use zeroize::Zeroizing;

/// Why key material is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not what is expected there.
    #[error("not {0}")]
    Not(&'static str),
    /// An RSA key that is too short.
    #[error("an RSA key of {0} bits; at least 2048 are needed")]
    Short(usize),
    /// The system gave no random bytes, or key generation failed.
    #[error("key generation failed")]
    Generate,
}

/// An Ed25519 signing key. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let seed = random_secret()?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(text)
            .map(Self)
            .map_err(|_| KeyError::Not("an Ed25519 private key in PKCS#8 PEM"))
    }

    /// Writes PKCS#8 PEM.
    ///
    /// # Errors
    /// Never in practice; the encoder may say no.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Generate)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// An RFC 8032 signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// An Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads SPKI PEM.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_public_key_pem(text)
            .map(Self)
            .map_err(|_| KeyError::Not("an Ed25519 public key in SPKI PEM"))
    }

    /// From its 32 bytes.
    ///
    /// # Errors
    /// When they are no point of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| KeyError::Not("an Ed25519 public key"))
    }

    /// Writes SPKI PEM.
    ///
    /// # Errors
    /// Never in practice; the encoder may say no.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Generate)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Strict verification (no malleable signatures, no small-order keys).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// A new RSA-3072 key pair: private PKCS#8 PEM, public SPKI PEM.
///
/// # Errors
/// When the generation fails.
pub fn generate_archive_pair() -> Result<(Zeroizing<String>, String), KeyError> {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(|_| KeyError::Generate)?;
    let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| KeyError::Generate)?;
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| KeyError::Generate)?;
    let encode = |label, der: &[u8]| {
        pem::encode_string(label, pem::LineEnding::LF, der).map_err(|_| KeyError::Generate)
    };
    Ok((
        Zeroizing::new(encode("PRIVATE KEY", private.as_ref())?),
        encode("PUBLIC KEY", public.as_ref())?,
    ))
}

/// 32 random bytes from the system.
///
/// # Errors
/// When it gives none.
pub fn random_secret() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|_| KeyError::Generate)?;
    Ok(secret)
}

/// The text of `token.key` and `journal.key`: one line.
#[must_use]
pub fn secret_to_text(secret: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(base64::encode(secret) + "\n")
}

/// Reads such a file.
///
/// # Errors
/// When it is not one line of base64 of 32 bytes.
pub fn secret_from_text(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    base64::decode_array(text.strip_suffix('\n').unwrap_or(text))
        .map(Zeroizing::new)
        .ok_or(KeyError::Not("one line of base64 of 32 bytes"))
}

/// The DER of a PEM file with this label.
pub(crate) fn der_of(
    text: &str,
    label: &str,
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (found, der) = pem::decode_vec(text.as_bytes()).map_err(|_| KeyError::Not(what))?;
    let der = Zeroizing::new(der);
    if found == label { Ok(der) } else { Err(KeyError::Not(what)) }
}

/// Reads an RSA public key (SPKI PEM); also gives its DER.
pub(crate) fn rsa_public(
    text: &str,
) -> Result<(PublicEncryptingKey, Zeroizing<Vec<u8>>), KeyError> {
    const WHAT: &str = "an RSA public key in SPKI PEM";
    let der = der_of(text, "PUBLIC KEY", WHAT)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::Not(WHAT))?;
    match key.key_size_bits() {
        bits if bits < 2048 => Err(KeyError::Short(bits)),
        _ => Ok((key, der)),
    }
}

/// Reads an RSA private key (PKCS#8 PEM).
pub(crate) fn rsa_private(text: &str) -> Result<PrivateDecryptingKey, KeyError> {
    const WHAT: &str = "an RSA private key in PKCS#8 PEM";
    let der = der_of(text, "PRIVATE KEY", WHAT)?;
    PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| KeyError::Not(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_read_back() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        let public = VerifyingKey::from_pem(&key.public().to_pem().unwrap()).unwrap();
        assert!(public.verify(b"m", &key.sign(b"m")));
        assert!(!public.verify(b"n", &key.sign(b"m")));
        let secret = random_secret().unwrap();
        assert_eq!(secret_from_text(&secret_to_text(&secret)).unwrap(), secret);
    }

    #[test]
    fn wrong_files_are_named_for_what_they_should_be() {
        let key = SigningKey::from_seed(&[1; 32]);
        let refused = VerifyingKey::from_pem(&key.to_pem().unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "not an Ed25519 public key in SPKI PEM");
        assert!(rsa_public(&key.public().to_pem().unwrap()).is_err());
        assert!(secret_from_text("AAAA\n").is_err());
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }
}
