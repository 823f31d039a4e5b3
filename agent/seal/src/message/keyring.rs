//! Who a message is sealed to, and who can open it.
//!
//! Raw RSA: provider id `sealtail`, provider info = first 16 hex digits of
//! SHA-256 of the recipient's SPKI DER, OAEP with SHA-256 and MGF1-SHA-256.
//! Raw AES: provider id `sealtail-aes`, provider info = name || u32 128 ||
//! u32 12 || iv, additional data = the serialized context.

use super::Context;
use super::encrypt::EncryptError;
use super::header::Input;
use crate::keys::{self, KeyError};
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const RSA_PROVIDER: &str = "sealtail";
const AES_PROVIDER: &str = "sealtail-aes";
const IV_LEN: usize = 12;
const TAG_BITS: u32 = 128;

/// The key of one message: 32 random bytes, wiped when dropped.
pub type DataKey = Zeroizing<[u8; 32]>;

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
        key: Zeroizing<[u8; 32]>,
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
        Self::Aes { name: name.to_owned(), key: Zeroizing::new(key) }
    }

    pub(super) fn wrap(
        &self,
        data_key: &DataKey,
        context: &Context,
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
                getrandom::fill(&mut iv).map_err(|_| EncryptError::Random)?;
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
        key: Zeroizing<[u8; 32]>,
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
        Self::Aes { name: name.to_owned(), key: Zeroizing::new(key) }
    }

    /// `None`: the key is wrapped for somebody else, or does not unwrap.
    pub(super) fn unwrap(&self, wrapped: &EncryptedDataKey, context: &Context) -> Option<DataKey> {
        let plain = match self {
            Self::Rsa { id, key } => {
                if wrapped.provider_id != RSA_PROVIDER || wrapped.provider_info != id.as_bytes() {
                    return None;
                }
                let mut buf = Zeroizing::new(vec![0; key.min_output_size()]);
                let n = key
                    .decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped.ciphertext, &mut buf, None)
                    .ok()?
                    .len();
                buf.truncate(n);
                buf
            }
            Self::Aes { name, key } => {
                if wrapped.provider_id != AES_PROVIDER {
                    return None;
                }
                let mut info = Input(wrapped.provider_info.strip_prefix(name.as_bytes())?);
                let tag_bits = u32::from_be_bytes(info.array()?);
                let iv_len = u32::from_be_bytes(info.array()?);
                let iv: [u8; IV_LEN] = info.array()?;
                if tag_bits != TAG_BITS
                    || usize::try_from(iv_len) != Ok(IV_LEN)
                    || !info.0.is_empty()
                {
                    return None;
                }
                let aad = context.serialize();
                let payload = Payload { msg: &wrapped.ciphertext, aad: &aad };
                Zeroizing::new(
                    Aes256Gcm::new((&**key).into()).decrypt(&Nonce::from(iv), payload).ok()?,
                )
            }
        };
        Some(Zeroizing::new(plain.as_slice().try_into().ok()?))
    }
}

fn rsa_id(spki_der: &[u8]) -> String {
    Sha256::digest(spki_der).iter().take(8).map(|b| format!("{b:02x}")).collect()
}
