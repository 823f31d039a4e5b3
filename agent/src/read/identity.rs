//! Who opens the objects of an archive: private keys that are here, and keys of
//! KMS that are asked to unwrap.

use super::batch::OpenError;
use crate::kms::KmsKey;
use sealtail_seal::message::{Context, DecryptError, Decryptor, Envelope, Identity};
use zeroize::Zeroizing;

/// Keys that open objects; the first that an object names is used, those that
/// are here before those of KMS.
#[derive(Debug, Default)]
pub struct Identities {
    /// Keys that are here.
    pub local: Vec<Identity>,
    /// Keys of KMS, by their ARN.
    pub kms: Vec<KmsKey>,
}

impl From<Vec<Identity>> for Identities {
    fn from(local: Vec<Identity>) -> Self {
        Self { local, kms: Vec::new() }
    }
}

impl Identities {
    /// Whether nothing can be opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.local.is_empty() && self.kms.is_empty()
    }

    /// The content of a whole message, and the context that it is bound to.
    ///
    /// # Errors
    /// When no key fits, the message was changed, or KMS says no.
    pub async fn open(
        &mut self,
        message: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Context), OpenError> {
        let mut plain = Zeroizing::new(Vec::new());
        let by_kms = self.decryptor(message).await?;
        let is_local = by_kms.is_none();
        let mut decryptor = match by_kms {
            Some(decryptor) => decryptor,
            None => Decryptor::new(std::mem::take(&mut self.local)),
        };
        let opened = decryptor.update(message, &mut plain).and_then(|()| decryptor.finish());
        let context = decryptor.context().cloned();
        if is_local {
            self.local = decryptor.into_identities();
        }
        opened?;
        Ok((plain, context.ok_or(OpenError::Context("there is none"))?))
    }

    /// A reader with the data key that KMS unwrapped; `None` where a key that is
    /// here fits, or none of KMS does.
    async fn decryptor(&self, message: &[u8]) -> Result<Option<Decryptor>, OpenError> {
        if self.kms.is_empty() {
            return Ok(None);
        }
        let envelope = Envelope::parse(message)?;
        let mut keys = envelope.keys.iter();
        if keys.any(|wrapped| self.local.iter().any(|identity| identity.is_named(wrapped))) {
            return Ok(None);
        }
        let mut refused = None;
        for (wrapped, key) in
            envelope.keys.iter().flat_map(|w| self.kms.iter().map(move |k| (w, k)))
        {
            if !key.is_named(wrapped) {
                continue;
            }
            match key.unwrap(wrapped, &envelope.context).await {
                Ok(data_key) => return Ok(Some(Decryptor::with_data_key(data_key))),
                Err(fault) => refused = Some(OpenError::Kms(key.arn().to_string(), fault)),
            }
        }
        Err(refused.unwrap_or_else(|| DecryptError::NotForUs.into()))
    }
}
