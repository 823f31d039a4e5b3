//! Where the data keys of sealed messages come from: made here and wrapped for
//! local recipients, or asked for in KMS.
//!
//! It promises: a key comes wrapped for every recipient that is configured, or
//! it does not come. A source that is away or refuses is backpressure: whoever
//! wants a key is told to wait, and nothing is sealed to fewer, or not at all.

use crate::ship::backoff::Backoff;
use sealtail_seal::entropy::OsEntropy;
use sealtail_seal::keys::Secret;
use sealtail_seal::message::{Context, DataKey, EncryptError, EncryptedDataKey, Recipient};
use std::time::Duration;

/// Before a source that needs a person is asked again.
const HALT_PAUSE: Duration = Duration::from_secs(30);

/// A data key, and the same wrapped for every recipient.
pub type Fresh = (DataKey, Vec<EncryptedDataKey>);

/// Gives data keys.
pub trait DataKeys: Send {
    /// A fresh key for the one message that has this context, wrapped for every
    /// recipient. Blocks for a second at most: what takes longer is
    /// [`KeyError::Pending`], to be asked again with the same context.
    ///
    /// # Errors
    /// See [`KeyError`].
    fn data_key(&mut self, context: &Context) -> Result<Fresh, KeyError>;
}

/// Why there is no data key. The messages complete "failed to …", and never
/// hold a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The answer is on its way: ask again at once.
    #[error("get a data key from {from}: there is no answer yet")]
    Pending {
        /// Which source.
        from: String,
    },
    /// Trouble that passes by itself (class retry).
    #[error("get a data key from {from}: {reason}")]
    Unavailable {
        /// Which source.
        from: String,
        /// What happened.
        reason: String,
        /// How long the server asked to be left alone.
        after: Option<Duration>,
    },
    /// Trouble that a person has to end (class halt).
    #[error("get a data key from {from}: {reason}")]
    Refused {
        /// Which source.
        from: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// It could not be made or wrapped here: waiting does not help.
    #[error("make a data key: {0}")]
    Local(#[from] EncryptError),
}

impl KeyError {
    /// Whether it lasts until a person does something.
    #[must_use]
    pub fn is_halt(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// Recipients that need nobody else: RSA public keys, shared AES keys.
#[derive(Debug)]
pub struct LocalKeys(Vec<Recipient>);

impl LocalKeys {
    /// Keys that are wrapped for each of these; at least one.
    #[must_use]
    pub fn new(recipients: Vec<Recipient>) -> Self {
        Self(recipients)
    }
}

impl DataKeys for LocalKeys {
    fn data_key(&mut self, context: &Context) -> Result<Fresh, KeyError> {
        if self.0.is_empty() {
            return Err(EncryptError::NoRecipient.into());
        }
        let mut entropy = OsEntropy;
        let key = Secret::generate(&mut entropy).map_err(|_| EncryptError::Random)?;
        let wrapped = self.0.iter().map(|r| r.wrap(&key, context, &mut entropy));
        let wrapped = wrapped.collect::<Result<_, _>>()?;
        Ok((key, wrapped))
    }
}

/// Asks a source with patience: full-jitter backoff, slowly after a halt, and a
/// line in the log when its state changes.
pub struct Supply {
    source: Box<dyn DataKeys>,
    backoff: Backoff,
    /// When it failed, Unix ms, and for how many ms it is then left alone.
    paused: Option<(u64, u64)>,
    trouble: Option<KeyError>,
}

impl std::fmt::Debug for Supply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supply").field("trouble", &self.trouble).finish_non_exhaustive()
    }
}

impl Supply {
    /// A source that was not asked yet.
    #[must_use]
    pub fn new(source: Box<dyn DataKeys>) -> Self {
        Self { source, backoff: Backoff::new(), paused: None, trouble: None }
    }

    /// Whether the source is left alone for now (Unix ms).
    #[must_use]
    pub fn is_paused(&self, now: u64) -> bool {
        // A clock that was set back ends the pause: it might else last for years.
        self.paused.is_some_and(|(since, ms)| now.checked_sub(since).is_some_and(|age| age < ms))
    }

    /// Why there was no key when one was last asked for.
    #[must_use]
    pub fn trouble(&self) -> Option<&KeyError> {
        self.trouble.as_ref()
    }

    /// A fresh key; `None` while there is none to be had, see
    /// [`Supply::trouble`]: ask again later. `now` is Unix ms.
    ///
    /// # Errors
    /// What waiting does not help against.
    pub fn ask(&mut self, context: &Context, now: u64) -> Result<Option<Fresh>, EncryptError> {
        if self.is_paused(now) {
            return Ok(None);
        }
        self.paused = None;
        match self.source.data_key(context) {
            Ok(fresh) => {
                if self.backoff.failures() > 0 {
                    tracing::info!("data keys are to be had again; sealing goes on");
                }
                self.backoff.succeeded();
                self.trouble = None;
                return Ok(Some(fresh));
            }
            Err(KeyError::Local(e)) => return Err(e),
            // What was known before is worth more.
            Err(e @ KeyError::Pending { .. }) => drop(self.trouble.get_or_insert(e)),
            Err(e) => self.failed(e, now),
        }
        Ok(None)
    }

    fn failed(&mut self, error: KeyError, now: u64) {
        let (halts, was) = (error.is_halt(), self.trouble.as_ref().map(KeyError::is_halt));
        let is_news = self.backoff.failures() == 0 || was != Some(halts);
        let pause = match &error {
            KeyError::Refused { .. } => self.backoff.failed(Some(HALT_PAUSE)),
            KeyError::Unavailable { after, .. } => self.backoff.failed(*after),
            KeyError::Pending { .. } | KeyError::Local(_) => Duration::ZERO,
        };
        match (is_news, halts) {
            (true, true) => tracing::error!(
                "failed to {error}; sealing waits and the journal keeps everything; trying again \
                 every {:.0} s",
                HALT_PAUSE.as_secs_f32()
            ),
            (true, false) => tracing::warn!(
                "failed to {error}; sealing waits and the journal keeps everything; trying again"
            ),
            (false, _) => tracing::debug!("failed to {error}"),
        }
        self.paused = Some((now, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)));
        self.trouble = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealtail_seal::message::{Decryptor, Encryptor, Identity};
    use std::collections::VecDeque;

    struct Script(VecDeque<Result<(), KeyError>>);

    impl DataKeys for Script {
        fn data_key(&mut self, context: &Context) -> Result<Fresh, KeyError> {
            self.0.pop_front().unwrap()?;
            LocalKeys::new(vec![Recipient::aes("dev", [4; 32])]).data_key(context)
        }
    }

    fn context() -> Context {
        Context::from_pairs([("audit:v", "1".to_owned())]).unwrap()
    }

    fn away() -> KeyError {
        KeyError::Unavailable { from: "k".into(), reason: "away".into(), after: None }
    }

    fn refused() -> KeyError {
        KeyError::Refused { from: "k".into(), reason: "disabled".into() }
    }

    #[test]
    fn a_local_key_opens_for_each_recipient() {
        let recipients = vec![Recipient::aes("a", [1; 32]), Recipient::aes("b", [2; 32])];
        let mut keys = LocalKeys::new(recipients);
        let (key, wrapped) = keys.data_key(&context()).unwrap();
        let (other, _) = keys.data_key(&context()).unwrap();
        assert_ne!(*key, *other);
        let encryptor = Encryptor::with_data_key(&context(), &key, wrapped).unwrap();
        let mut sealed = Vec::new();
        encryptor.header(&mut sealed);
        encryptor.finish(&mut sealed).unwrap();
        for identity in [Identity::aes("a", [1; 32]), Identity::aes("b", [2; 32])] {
            let mut decryptor = Decryptor::new(vec![identity]);
            decryptor.update(&sealed, &mut Vec::new()).unwrap();
            decryptor.finish().unwrap();
        }
        let nobody = LocalKeys::new(Vec::new()).data_key(&context()).map(drop);
        assert_eq!(nobody, Err(KeyError::Local(EncryptError::NoRecipient)));
    }

    #[test]
    fn trouble_is_waited_out() {
        let script = [Err(away()), Err(refused()), Ok(())];
        let mut supply = Supply::new(Box::new(Script(script.into())));
        let mut now = 1_000_000;
        assert!(supply.ask(&context(), now).unwrap().is_none());
        assert_eq!(supply.trouble(), Some(&away()));
        // At most half a second the first time.
        now += 500;
        assert!(supply.ask(&context(), now).unwrap().is_none());
        assert_eq!(supply.trouble(), Some(&refused()));
        assert!(supply.is_paused(now + 29_999), "a halt is tried again slowly");
        assert!(supply.ask(&context(), now + 29_999).unwrap().is_none(), "not asked at all");
        assert!(!supply.is_paused(now - 1), "the clock was set back");
        now += 31_000;
        assert!(supply.ask(&context(), now).unwrap().is_some());
        assert_eq!(supply.trouble(), None);
    }

    #[test]
    fn a_pending_answer_is_asked_for_at_once_and_hides_nothing() {
        let pending = || KeyError::Pending { from: "k".into() };
        let script = [Err(pending()), Err(refused()), Err(pending()), Ok(())];
        let mut supply = Supply::new(Box::new(Script(script.into())));
        assert!(supply.ask(&context(), 1).unwrap().is_none());
        assert_eq!(supply.trouble(), Some(&pending()));
        assert!(supply.ask(&context(), 1).unwrap().is_none());
        assert!(supply.ask(&context(), 40_000).unwrap().is_none());
        assert_eq!(supply.trouble(), Some(&refused()));
        assert!(supply.ask(&context(), 40_000).unwrap().is_some());
    }

    #[test]
    fn what_waiting_does_not_help_against_is_an_error() {
        let script = [Err(KeyError::Local(EncryptError::Random))];
        let mut supply = Supply::new(Box::new(Script(script.into())));
        assert_eq!(supply.ask(&context(), 1).map(drop), Err(EncryptError::Random));
    }
}
