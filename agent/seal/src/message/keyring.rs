//! Who a message is sealed to, and who can open it.
//!
//! Raw RSA: provider id `sealtail`, provider info = first 16 hex digits of
//! SHA-256 of the recipient's SPKI DER, OAEP with SHA-256 and MGF1-SHA-256.
//! Raw AES: provider id `sealtail-aes`, provider info = name || u32 128 ||
//! u32 12 || iv, additional data = the serialized context.

use super::Context;
use super::encrypt::EncryptError;
use super::header::Input;
use crate::entropy::Entropy;
use crate::keys::{self, KeyError, Secret};
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Provider id of a data key that KMS wrapped; its provider info is the key's ARN.
pub const KMS_PROVIDER: &str = "aws-kms";
const RSA_PROVIDER: &str = "sealtail";
const AES_PROVIDER: &str = "sealtail-aes";
const IV_LEN: usize = 12;
const TAG_BITS: u32 = 128;

/// The key of one message: 32 random bytes, wiped when dropped.
pub type DataKey = Secret;

/// A data key, wrapped for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedDataKey {
    /// Which kind of key wrapped it.
    pub provider_id: String,
    /// Which key.
    pub provider_info: Vec<u8>,
    /// The wrapped key.
    pub ciphertext: Vec<u8>,
}

/// Someone a message is sealed to.
pub enum Recipient {
    /// The holder of an RSA private key.
    Rsa {
        /// Names the key in the message.
        id: String,
        /// The public key.
        key: Box<OaepPublicEncryptingKey>,
    },
    /// The holder of a shared AES-256 key (development, embedded default).
    Aes {
        /// Names the key in the message.
        name: String,
        /// The key.
        key: Secret,
    },
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { id, .. } => write!(f, "Recipient::Rsa({id})"),
            Self::Aes { name, .. } => write!(f, "Recipient::Aes({name})"),
        }
    }
}

impl Recipient {
    /// The holder of the private key to this public key (SPKI PEM).
    ///
    /// # Errors
    /// When it is no RSA public key, or shorter than 2048 bits.
    pub fn rsa(spki_pem: &str) -> Result<Self, KeyError> {
        let (key, der) = keys::rsa_public(spki_pem)?;
        let key =
            OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::Not("an RSA key for OAEP"))?;
        Ok(Self::Rsa { id: rsa_id(&der), key: Box::new(key) })
    }

    /// The holders of this shared key.
    #[must_use]
    pub fn aes(name: &str, key: [u8; 32]) -> Self {
        Self::Aes { name: name.to_owned(), key: Secret::from(key) }
    }

    /// Wraps a data key for this recipient, to stand beside keys that were
    /// wrapped elsewhere (KMS). OAEP's own seed is drawn inside AWS-LC, not from
    /// `entropy`.
    ///
    /// # Errors
    /// When there are no random bytes, or the primitive refuses.
    pub fn wrap(
        &self,
        data_key: &DataKey,
        context: &Context,
        entropy: &mut dyn Entropy,
    ) -> Result<EncryptedDataKey, EncryptError> {
        match self {
            Self::Rsa { id, key } => {
                let mut buf = vec![0; key.ciphertext_size()];
                let ciphertext = key
                    .encrypt(&OAEP_SHA256_MGF1SHA256, data_key.as_slice(), &mut buf, None)
                    .map_err(|_| EncryptError::Wrap)?
                    .to_vec();
                Ok(EncryptedDataKey {
                    provider_id: RSA_PROVIDER.to_owned(),
                    provider_info: id.clone().into_bytes(),
                    ciphertext,
                })
            }
            Self::Aes { name, key } => {
                let mut iv = [0; IV_LEN];
                entropy.fill(&mut iv).map_err(|_| EncryptError::Random)?;
                let aad = context.serialize();
                let ciphertext = Aes256Gcm::new((&**key).into())
                    .encrypt(&Nonce::from(iv), Payload { msg: data_key.as_slice(), aad: &aad })
                    .map_err(|_| EncryptError::Wrap)?;
                let mut provider_info = name.clone().into_bytes();
                provider_info.extend_from_slice(&TAG_BITS.to_be_bytes());
                provider_info.extend_from_slice(&u32::try_from(IV_LEN).unwrap_or(0).to_be_bytes());
                provider_info.extend_from_slice(&iv);
                Ok(EncryptedDataKey {
                    provider_id: AES_PROVIDER.to_owned(),
                    provider_info,
                    ciphertext,
                })
            }
        }
    }
}

/// Someone who can open messages.
pub enum Identity {
    /// An RSA private key.
    Rsa {
        /// Names the key in the message.
        id: String,
        /// The private key.
        key: Box<OaepPrivateDecryptingKey>,
    },
    /// A shared AES-256 key.
    Aes {
        /// Names the key in the message.
        name: String,
        /// The key.
        key: Secret,
    },
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { id, .. } => write!(f, "Identity::Rsa({id})"),
            Self::Aes { name, .. } => write!(f, "Identity::Aes({name})"),
        }
    }
}

impl Identity {
    /// An RSA private key (PKCS#8 PEM).
    ///
    /// # Errors
    /// When it is something else.
    pub fn rsa(pkcs8_pem: &str) -> Result<Self, KeyError> {
        use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
        let key = keys::rsa_private(pkcs8_pem)?;
        let bad = KeyError::Not("an RSA key for OAEP");
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| bad)?;
        let id = rsa_id(public.as_ref());
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| bad)?;
        Ok(Self::Rsa { id, key: Box::new(key) })
    }

    /// A shared key.
    #[must_use]
    pub fn aes(name: &str, key: [u8; 32]) -> Self {
        Self::Aes { name: name.to_owned(), key: Secret::from(key) }
    }

    /// Whether the wrapped key bears this identity's name: then it should open.
    #[must_use]
    pub fn is_named(&self, wrapped: &EncryptedDataKey) -> bool {
        match self {
            Self::Rsa { id, .. } => {
                wrapped.provider_id == RSA_PROVIDER && wrapped.provider_info == id.as_bytes()
            }
            Self::Aes { name, .. } => {
                wrapped.provider_id == AES_PROVIDER
                    && aes_iv(name, &wrapped.provider_info).is_some()
            }
        }
    }

    /// `None`: the key is wrapped for somebody else, or does not unwrap.
    pub(super) fn unwrap(&self, wrapped: &EncryptedDataKey, context: &Context) -> Option<DataKey> {
        if !self.is_named(wrapped) {
            return None;
        }
        let plain = match self {
            Self::Rsa { key, .. } => {
                let mut buf = Zeroizing::new(vec![0; key.min_output_size()]);
                let n = key
                    .decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped.ciphertext, &mut buf, None)
                    .ok()?
                    .len();
                buf.truncate(n);
                buf
            }
            Self::Aes { name, key } => {
                let iv = aes_iv(name, &wrapped.provider_info)?;
                let aad = context.serialize();
                let payload = Payload { msg: &wrapped.ciphertext, aad: &aad };
                Zeroizing::new(
                    Aes256Gcm::new((&**key).into()).decrypt(&Nonce::from(iv), payload).ok()?,
                )
            }
        };
        let plain: Zeroizing<[u8; 32]> = Zeroizing::new(plain.as_slice().try_into().ok()?);
        Some(Secret::from(*plain))
    }
}

/// The IV in a raw AES keyring's provider info, if that bears `name`.
fn aes_iv(name: &str, provider_info: &[u8]) -> Option<[u8; IV_LEN]> {
    let mut info = Input(provider_info.strip_prefix(name.as_bytes())?);
    let tag_bits = u32::from_be_bytes(info.array()?);
    let iv_len = u32::from_be_bytes(info.array()?);
    let iv = info.array()?;
    let fits = tag_bits == TAG_BITS && usize::try_from(iv_len) == Ok(IV_LEN);
    (fits && info.0.is_empty()).then_some(iv)
}

fn rsa_id(spki_der: &[u8]) -> String {
    Sha256::digest(spki_der).iter().take(8).map(|b| format!("{b:02x}")).collect()
}
