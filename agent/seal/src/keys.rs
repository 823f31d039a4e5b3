//! Key material and its files.
//!
//! `signing.key` is PKCS#8 PEM and `signing.pub` SPKI PEM (Ed25519),
//! `archive.pem` PKCS#8 PEM and `archive.pub.pem` SPKI PEM (RSA), `token.key`
//! and `journal.key` one line of standard base64 of 32 bytes.

use crate::base64;
use crate::entropy::{Entropy, OsEntropy};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey};
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    KeypairBytes,
};
use ed25519_dalek::{Signer as _, pkcs8::spki::der::pem::LineEnding};
use pem_rfc7468 as pem;
use zeroize::{Zeroize as _, Zeroizing};

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

/// 32 secret bytes: wiped from memory when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Draws a new secret.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice()).map_err(|_| KeyError::Generate)?;
        Ok(Self(bytes))
    }
}

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::ops::Deref for Secret {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
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

    /// Writes PKCS#8 PEM, version 1: OpenSSL 3.0 does not read version 2, which
    /// has the public key in it.
    ///
    /// # Errors
    /// Never in practice; the encoder may say no.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let mut pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Generate);
        pair.secret_key.zeroize();
        pem
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
            .ok()
            .and_then(|key| Self::from_bytes(key.as_bytes()).ok())
            .ok_or(KeyError::Not("an Ed25519 public key in SPKI PEM"))
    }

    /// From its 32 bytes.
    ///
    /// # Errors
    /// When they are no point of the curve, or one under which anybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(KeyError::Not("an Ed25519 public key")),
        }
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
pub fn random_secret() -> Result<Secret, KeyError> {
    Secret::generate(&mut OsEntropy)
}

/// The text of `token.key` and `journal.key`: one line.
#[must_use]
pub fn secret_to_text(secret: &[u8; 32]) -> Zeroizing<String> {
    // Room for the newline at once: growing would leave a copy behind.
    let base64 = Zeroizing::new(base64::encode(secret));
    let mut text = Zeroizing::new(String::with_capacity(base64.len() + 1));
    text.push_str(&base64);
    text.push('\n');
    text
}

/// Reads such a file. The newline may be missing: secrets that an orchestrator
/// mounts often have none.
///
/// # Errors
/// When it is not one line of base64 of 32 bytes.
pub fn secret_from_text(text: &str) -> Result<Secret, KeyError> {
    base64::decode_array(text.strip_suffix('\n').unwrap_or(text))
        .map(Secret::from)
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
    // AWS-LC itself takes 2048 to 8192 bits, without saying why it refuses.
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| match rsa_bits(&der) {
        Some(bits) if bits < 2048 => KeyError::Short(bits),
        _ => KeyError::Not(WHAT),
    })?;
    // The DER names the recipient: another spelling of the same key would be a
    // name that the private key does not answer to.
    let canonical: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyError::Not(WHAT))?;
    match key.key_size_bits() {
        bits if bits < 2048 => Err(KeyError::Short(bits)),
        _ if canonical.as_ref() != der.as_slice() => Err(KeyError::Not(WHAT)),
        _ => Ok((key, der)),
    }
}

/// The modulus' bits in an SPKI with an RSA key (RFC 8017, A.1.1).
fn rsa_bits(spki: &[u8]) -> Option<usize> {
    use ed25519_dalek::pkcs8::spki::SubjectPublicKeyInfoRef;
    use ed25519_dalek::pkcs8::spki::der::asn1::{ObjectIdentifier, UintRef};
    use ed25519_dalek::pkcs8::spki::der::{Decode as _, Error, Reader as _, SliceReader};
    let spki = SubjectPublicKeyInfoRef::try_from(spki).ok()?;
    if spki.algorithm.oid != ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1") {
        return None;
    }
    let mut reader = SliceReader::new(spki.subject_public_key.as_bytes()?).ok()?;
    let read = |r: &mut SliceReader<'_>| {
        let modulus = UintRef::decode(r)?.as_bytes().to_vec();
        UintRef::decode(r)?;
        Ok::<_, Error>(modulus)
    };
    let modulus = reader.sequence(read).ok()?;
    let leading = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    (modulus.len() * 8).checked_sub(leading)
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

    /// Made by `openssl genpkey -algorithm ed25519`.
    const OPENSSL_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIGvcKesPFswERgU1DjyHOQISJPg8OwkyJv3IdW4fKUz+\n\
-----END PRIVATE KEY-----\n\
";
    const OPENSSL_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEACsLeMZo6Mu0nH0YWxGy9T2ncHGEM/uAjmSZ5feWpB0Y=\n\
-----END PUBLIC KEY-----\n\
";
    /// Made by `openssl genrsa 1024`.
    const OPENSSL_RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDrb9qS3t0KdqjgYNvD5TvuEqJf\n\
JCG3b6gtYB+mnA3UflI5qhxIm+9Qsw2LIhVcEIpuED+p0qm0MNmZ5E0Eh9hPJiUb\n\
olSNRz2SwINXT0mHfX8j4CCvUNrfGasFGdD5wZwc6XMLNqc/Z0lEOnOal0mCNGwj\n\
4DP0S3hEbO/nbl2SnwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";

    #[test]
    fn signing_keys_are_written_as_openssl_writes_them() {
        let key = SigningKey::from_pem(OPENSSL_KEY).unwrap();
        assert_eq!(*key.to_pem().unwrap(), OPENSSL_KEY);
        assert_eq!(key.public().to_pem().unwrap(), OPENSSL_PUBLIC);
        assert_eq!(VerifyingKey::from_pem(OPENSSL_PUBLIC), Ok(key.public()));
    }

    #[test]
    fn a_short_rsa_key_is_refused_for_its_length() {
        assert_eq!(rsa_public(OPENSSL_RSA_1024).map(drop), Err(KeyError::Short(1024)));
        assert!(matches!(rsa_public(OPENSSL_PUBLIC).map(drop), Err(KeyError::Not(_))));
    }

    #[test]
    fn a_key_under_which_anybody_can_sign_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(VerifyingKey::from_bytes(&identity).is_err());
    }

    #[test]
    fn an_archive_pair_reads_back_with_3072_bits() {
        let (private, public) = generate_archive_pair().unwrap();
        assert_eq!(rsa_private(&private).unwrap().key_size_bits(), 3072);
        assert_eq!(rsa_public(&public).unwrap().0.key_size_bits(), 3072);
        assert!(rsa_private(&public).is_err());
    }

    #[test]
    fn a_secret_is_one_line_of_44_characters_and_is_not_shown() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let line = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(*secret_to_text(&bytes), format!("{line}\n"));
        assert_eq!(secret_from_text(line), Ok(Secret::from(bytes)));
        for bad in [
            String::new(),
            format!("{line}\n\n"),
            format!("{line}\r\n"),
            format!(" {line}\n"),
            line.replace("h8=", "h9="),
            line.replace('=', ""),
            format!("{line}{line}"),
        ] {
            assert!(secret_from_text(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Secret::from(bytes)), "Secret(…)");
    }
}
