//! Reading a message.

use super::header::{self, Header, HeaderError, Input};
use super::{
    Context, DataKey, EncryptedDataKey, FINAL_MARK, Identity, MessageKeys, TAG_LEN, frame_aad,
    nonce,
};
use aes_gcm::Tag;
use aes_gcm::aead::AeadInOut as _;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Another format or version, or unframed content.
    #[error("not an AWS Encryption SDK message of version 2, framed")]
    Unsupported,
    /// Another algorithm suite.
    #[error("algorithm suite {0:#06x} is not supported, only 0x0478")]
    Suite(u16),
    /// More encrypted data keys than are read.
    #[error("it has {0} encrypted data keys, more than 64")]
    TooManyKeys(u16),
    /// A longer context than is read.
    #[error("its encryption context has {0} bytes, more than 16 KiB")]
    ContextTooLong(u16),
    /// Frames of no bytes, or longer than are read.
    #[error("its frames have {0} bytes; 1 to 1048576 are read")]
    FrameLen(u32),
    /// The header does not parse.
    #[error("the header is malformed")]
    Malformed,
    /// It is sealed to somebody else.
    #[error("it is sealed to other recipients: none of the given identities opens it")]
    NotForUs,
    /// A wrapped key bears an identity's name and does not open under it: it, or
    /// with a raw AES key the context, was changed.
    #[error("the data key that is wrapped for a given identity does not open under it")]
    DataKey,
    /// The data key is not the one that the message was made with.
    #[error("the key commitment does not match")]
    Commitment,
    /// The header was changed.
    #[error("the header does not authenticate")]
    Header,
    /// A frame was changed, moved or swapped.
    #[error("frame {0} does not authenticate")]
    Frame(u32),
    /// It ends before its final frame does.
    #[error("it is truncated")]
    Truncated,
    /// There is something behind the final frame.
    #[error("there are bytes behind the final frame")]
    Trailing,
}

/// What a message says to whoever has no key: nothing of it is authenticated yet.
///
/// For keys that are unwrapped elsewhere (KMS): see [`Decryptor::with_data_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The context, which the wrapped keys may be bound to.
    pub context: Context,
    /// The data key, wrapped for each recipient.
    pub keys: Vec<EncryptedDataKey>,
}

impl Envelope {
    /// Reads the header at the start of a message.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn parse(message: &[u8]) -> Result<Self, DecryptError> {
        match Header::parse(message) {
            Ok((header, _, _)) => Ok(Self { context: header.context, keys: header.keys }),
            Err(HeaderError::More) if message.len() < header::MAX_LEN => {
                Err(DecryptError::Truncated)
            }
            Err(e) => Err(refusal(e)),
        }
    }
}

/// A message being read. Plaintext comes out by authenticated frames.
pub struct Decryptor {
    identities: Vec<Identity>,
    /// Unwrapped elsewhere; used up by the header.
    data_key: Option<DataKey>,
    /// Bytes that were fed and are not dropped yet: at most one header or frame
    /// and [`STEP`] bytes.
    pending: Vec<u8>,
    /// How many of them are used.
    used: usize,
    state: State,
    aad: Vec<u8>,
}

/// How much is taken in at once, so that `pending` stays small whatever is fed.
const STEP: usize = 64 * 1024;

enum State {
    Header,
    Frames {
        keys: Box<MessageKeys>,
        header: Box<Header>,
        number: u32,
    },
    Done(Box<Header>),
    /// An error was returned: nothing more is given out.
    Failed(DecryptError),
}

impl std::fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decryptor(…)")
    }
}

impl Decryptor {
    /// A reader with these keys; the first that fits is used.
    #[must_use]
    pub fn new(identities: Vec<Identity>) -> Self {
        Self {
            identities,
            data_key: None,
            pending: Vec::new(),
            used: 0,
            state: State::Header,
            aad: Vec::new(),
        }
    }

    /// A reader with the data key itself, which was unwrapped elsewhere (KMS).
    /// The commitment in the header tells whether it is the message's.
    #[must_use]
    pub fn with_data_key(data_key: DataKey) -> Self {
        Self { data_key: Some(data_key), ..Self::new(Vec::new()) }
    }

    /// The keys back, for the next message.
    #[must_use]
    pub fn into_identities(self) -> Vec<Identity> {
        self.identities
    }

    /// The context, once the header is authenticated.
    #[must_use]
    pub fn context(&self) -> Option<&Context> {
        match &self.state {
            State::Frames { header, .. } | State::Done(header) => Some(&header.context),
            State::Header | State::Failed(_) => None,
        }
    }

    /// Takes message bytes; appends the plaintext of whole, authenticated
    /// frames to `out`.
    ///
    /// # Errors
    /// See [`DecryptError`]; after one, nothing more comes out.
    pub fn update(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), DecryptError> {
        if let State::Failed(e) = self.state {
            return Err(e);
        }
        for step in bytes.chunks(STEP) {
            self.pending.extend_from_slice(step);
            if let Err(e) = self.advance(out) {
                self.state = State::Failed(e);
                return Err(e);
            }
            self.pending.drain(..self.used);
            self.used = 0;
        }
        Ok(())
    }

    /// Says that all bytes were fed. Must be called: before, the message may
    /// still be truncated.
    ///
    /// # Errors
    /// [`DecryptError::Truncated`], or what [`Decryptor::update`] said.
    pub fn finish(&mut self) -> Result<(), DecryptError> {
        match &self.state {
            State::Done(_) => Ok(()),
            State::Failed(e) => Err(*e),
            State::Header | State::Frames { .. } => Err(DecryptError::Truncated),
        }
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), DecryptError> {
        if matches!(self.state, State::Header) && !self.read_header()? {
            return Ok(());
        }
        while matches!(self.state, State::Frames { .. }) {
            if !self.read_frame(out)? {
                return Ok(());
            }
        }
        match &self.state {
            State::Failed(e) => Err(*e),
            State::Done(_) if self.used < self.pending.len() => Err(DecryptError::Trailing),
            _ => Ok(()),
        }
    }

    fn read_header(&mut self) -> Result<bool, DecryptError> {
        let (header, tag, used) = match Header::parse(&self.pending) {
            Ok(parsed) => parsed,
            Err(HeaderError::More) if self.pending.len() < header::MAX_LEN => return Ok(false),
            Err(e) => return Err(refusal(e)),
        };
        let data_key = match self.data_key.take() {
            Some(data_key) => data_key,
            None => self.unwrap(&header)?,
        };
        let keys = MessageKeys::derive(&data_key, &header.message_id);
        // The commitment is public: comparing it needs no constant time.
        if keys.commitment != header.commitment {
            return Err(DecryptError::Commitment);
        }
        let signed = self.pending.get(..used - TAG_LEN).unwrap_or_default();
        keys.cipher
            .decrypt_inout_detached(&nonce(0), signed, (&mut [][..]).into(), &Tag::from(tag))
            .map_err(|_| DecryptError::Header)?;
        self.used = used;
        self.state = State::Frames { keys: Box::new(keys), header: Box::new(header), number: 1 };
        Ok(true)
    }

    /// The first wrapped key that opens decides: if its commitment is wrong, the
    /// next is not tried, or one message could have two readings.
    fn unwrap(&self, header: &Header) -> Result<DataKey, DecryptError> {
        let pairs = || header.keys.iter().flat_map(|k| self.identities.iter().map(move |i| (k, i)));
        pairs().find_map(|(key, identity)| identity.unwrap(key, &header.context)).ok_or_else(|| {
            if pairs().any(|(key, identity)| identity.is_named(key)) {
                DecryptError::DataKey
            } else {
                DecryptError::NotForUs
            }
        })
    }

    /// Reads one frame; `false` when it is not all there yet.
    fn read_frame(&mut self, out: &mut Vec<u8>) -> Result<bool, DecryptError> {
        let State::Frames { keys, header, number } = &mut self.state else { return Ok(false) };
        let bad = DecryptError::Frame(*number);
        let pending = self.pending.get(self.used..).unwrap_or_default();
        let Some((is_final, at, len)) = frame_shape(pending, *number, header.frame_len)? else {
            return Ok(false);
        };
        frame_aad(&header.message_id, *number, is_final, len as u64, &mut self.aad);
        let start = out.len();
        out.extend_from_slice(pending.get(at..at + len).unwrap_or_default());
        let tag: Option<[u8; TAG_LEN]> =
            pending.get(at + len..at + len + TAG_LEN).and_then(|t| t.try_into().ok());
        let text = out.get_mut(start..).unwrap_or_default();
        let opened = tag.is_some_and(|tag| {
            keys.cipher
                .decrypt_inout_detached(&nonce(*number), &self.aad, text.into(), &Tag::from(tag))
                .is_ok()
        });
        if !opened {
            out.truncate(start);
            return Err(bad);
        }
        self.used += at + len + TAG_LEN;
        if is_final {
            let header = header.clone();
            self.state = State::Done(header);
        } else {
            *number = number.checked_add(1).ok_or(bad)?;
        }
        Ok(true)
    }
}

/// Why a header is refused of which no more will come.
fn refusal(error: HeaderError) -> DecryptError {
    match error {
        HeaderError::Unsupported => DecryptError::Unsupported,
        HeaderError::Suite(suite) => DecryptError::Suite(suite),
        HeaderError::TooManyKeys(n) => DecryptError::TooManyKeys(n),
        HeaderError::ContextTooLong(n) => DecryptError::ContextTooLong(n),
        HeaderError::FrameLen(n) => DecryptError::FrameLen(n),
        HeaderError::More | HeaderError::Malformed => DecryptError::Malformed,
    }
}

/// Whether the frame at the start of `bytes` is the final one, where its
/// ciphertext begins and how long it is; `None` while it is not all there.
fn frame_shape(
    bytes: &[u8],
    number: u32,
    frame_len: u32,
) -> Result<Option<(bool, usize, usize)>, DecryptError> {
    let bad = DecryptError::Frame(number);
    let mut input = Input(bytes);
    let Some(mark) = input.array().map(u32::from_be_bytes) else { return Ok(None) };
    let is_final = mark == FINAL_MARK;
    let found = if is_final { input.array().map(u32::from_be_bytes) } else { Some(mark) };
    let Some(found) = found else { return Ok(None) };
    let Some(iv) = input.array::<12>() else { return Ok(None) };
    if found != number || iv != <[u8; 12]>::from(nonce(number)) {
        return Err(bad);
    }
    let len = if is_final {
        let Some(len) = input.array().map(u32::from_be_bytes) else { return Ok(None) };
        len
    } else {
        frame_len
    };
    if len > frame_len {
        return Err(bad);
    }
    let at = bytes.len() - input.0.len();
    let len = usize::try_from(len).map_err(|_| bad)?;
    Ok((input.0.len() >= len + TAG_LEN).then_some((is_final, at, len)))
}
