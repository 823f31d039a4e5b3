//! Writing a message.

use super::header::{Header, TooLong};
use super::{
    Context, ContextError, DataKey, EncryptedDataKey, FINAL_MARK, FRAME_LEN, MessageKeys,
    Recipient, TAG_LEN, frame_aad, nonce,
};
use crate::entropy::{Entropy, OsEntropy};
use crate::keys::Secret;
use aes_gcm::aead::AeadInOut as _;
use zeroize::Zeroizing;

/// Why a message could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// Nobody could open it.
    #[error("there is no recipient")]
    NoRecipient,
    /// The context does not fit.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The data key could not be wrapped for a recipient.
    #[error("the data key could not be wrapped")]
    Wrap,
    /// More recipients or longer names than a reader would take.
    #[error("the header would be longer than 64 KiB, or have more than 64 recipients")]
    HeaderTooLong,
    /// More than 2^32 - 2 frames.
    #[error("the message is too long for its format")]
    TooLong,
}

/// A message being written. Frames come out as they fill.
pub struct Encryptor {
    header: Vec<u8>,
    message_id: [u8; 32],
    keys: MessageKeys,
    /// Plaintext of the frame being filled: at most [`FRAME_LEN`] bytes.
    frame: Zeroizing<Vec<u8>>,
    /// Number of that frame, from 1.
    number: u32,
    aad: Vec<u8>,
}

impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encryptor(frame {})", self.number)
    }
}

impl Encryptor {
    /// A message to these recipients, under a fresh random data key.
    ///
    /// # Errors
    /// When there is no recipient, or a key cannot be made or wrapped.
    pub fn new(context: &Context, recipients: &[Recipient]) -> Result<Self, EncryptError> {
        Self::new_with(context, recipients, &mut OsEntropy)
    }

    /// The same, with data key, message id and IVs drawn from `entropy`.
    ///
    /// # Errors
    /// As [`Encryptor::new`].
    pub fn new_with(
        context: &Context,
        recipients: &[Recipient],
        entropy: &mut dyn Entropy,
    ) -> Result<Self, EncryptError> {
        if recipients.is_empty() {
            return Err(EncryptError::NoRecipient);
        }
        let data_key = Secret::generate(entropy).map_err(|_| EncryptError::Random)?;
        let wrapped = recipients
            .iter()
            .map(|r| r.wrap(&data_key, context, entropy))
            .collect::<Result<_, _>>()?;
        Self::with_data_key_and(context, &data_key, wrapped, entropy)
    }

    /// A message under a data key that was made and wrapped elsewhere (KMS).
    /// The key must be used for this one message.
    ///
    /// # Errors
    /// When no wrapped key is given, or the system gives no random bytes.
    pub fn with_data_key(
        context: &Context,
        data_key: &DataKey,
        wrapped: Vec<EncryptedDataKey>,
    ) -> Result<Self, EncryptError> {
        Self::with_data_key_and(context, data_key, wrapped, &mut OsEntropy)
    }

    /// The same, with the message id drawn from `entropy`.
    ///
    /// # Errors
    /// As [`Encryptor::with_data_key`].
    pub fn with_data_key_and(
        context: &Context,
        data_key: &DataKey,
        wrapped: Vec<EncryptedDataKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, EncryptError> {
        if wrapped.is_empty() {
            return Err(EncryptError::NoRecipient);
        }
        let mut message_id = [0; 32];
        entropy.fill(&mut message_id).map_err(|_| EncryptError::Random)?;
        let keys = MessageKeys::derive(data_key, &message_id);
        let header = Header {
            message_id,
            context: context.clone(),
            keys: wrapped,
            frame_len: FRAME_LEN,
            commitment: keys.commitment,
        };
        let mut header = header.encode().map_err(|TooLong| EncryptError::HeaderTooLong)?;
        let tag = keys
            .cipher
            .encrypt_inout_detached(&nonce(0), &header, (&mut [][..]).into())
            .map_err(|_| EncryptError::TooLong)?;
        header.extend_from_slice(&tag);
        let frame = Zeroizing::new(Vec::with_capacity(frame_capacity()));
        Ok(Self { header, message_id, keys, frame, number: 1, aad: Vec::new() })
    }

    /// Appends the header to `out`: the first bytes of the message.
    pub fn header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    /// Takes plaintext; appends the frames that it fills to `out`.
    ///
    /// # Errors
    /// [`EncryptError::TooLong`].
    pub fn update(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), EncryptError> {
        while !plaintext.is_empty() {
            // A full frame is written only when more comes: the last is the final one.
            if self.frame.len() == frame_capacity() {
                self.emit(false, out)?;
            }
            let room = frame_capacity() - self.frame.len();
            let (now, later) = plaintext.split_at(room.min(plaintext.len()));
            self.frame.extend_from_slice(now);
            plaintext = later;
        }
        Ok(())
    }

    /// Appends the final frame to `out`. Without it the message is no message.
    ///
    /// # Errors
    /// [`EncryptError::TooLong`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), EncryptError> {
        self.emit(true, out)
    }

    fn emit(&mut self, is_final: bool, out: &mut Vec<u8>) -> Result<(), EncryptError> {
        if self.number == FINAL_MARK {
            return Err(EncryptError::TooLong);
        }
        let len = u32::try_from(self.frame.len()).map_err(|_| EncryptError::TooLong)?;
        let iv = nonce(self.number);
        frame_aad(&self.message_id, self.number, is_final, u64::from(len), &mut self.aad);
        if is_final {
            out.extend_from_slice(&FINAL_MARK.to_be_bytes());
        }
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&iv);
        if is_final {
            out.extend_from_slice(&len.to_be_bytes());
        }
        let tag = self
            .keys
            .cipher
            .encrypt_inout_detached(&iv, &self.aad, self.frame.as_mut_slice().into())
            .map_err(|_| EncryptError::TooLong)?;
        out.extend_from_slice(&self.frame);
        out.extend_from_slice(&tag);
        debug_assert_eq!(tag.len(), TAG_LEN);
        self.frame.clear();
        self.number += 1;
        Ok(())
    }
}

fn frame_capacity() -> usize {
    usize::try_from(FRAME_LEN).unwrap_or(usize::MAX)
}
