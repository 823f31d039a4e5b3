//! Data keys for recipients of whom at least one is a key of KMS.
//!
//! The sealer's thread is synchronous and must not hang behind a stalled KMS:
//! a request is driven for a second at most at a time, and goes on when the same
//! key is asked for again.

use super::{Fault, KmsKey};
use crate::sealer::datakey::{DataKeys, Fresh, KeyError};
use sealtail_seal::entropy::OsEntropy;
use sealtail_seal::message::{Context, DataKey, EncryptError, EncryptedDataKey, Recipient};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a request is driven before whoever asked may look at other things.
const PATIENCE: Duration = Duration::from_secs(1);

/// One recipient, in the order of the configuration.
#[derive(Debug)]
pub enum Slot {
    /// The data key is wrapped here.
    Local(Recipient),
    /// The data key is made (by the first) or wrapped (by the others) in KMS.
    Kms(Arc<KmsKey>),
}

/// A source of data keys. Not to be asked from within async code.
pub struct KmsKeys {
    slots: Vec<Slot>,
    keys: Vec<Arc<KmsKey>>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    asked: Option<Asked>,
}

/// A request under way.
struct Asked {
    context: Context,
    answer: Pin<Box<dyn Future<Output = Result<Made, KeyError>> + Send>>,
}

/// The data key, wrapped by each key of KMS in turn.
type Made = (DataKey, Vec<EncryptedDataKey>);

impl std::fmt::Debug for KmsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KmsKeys({:?})", self.slots)
    }
}

impl KmsKeys {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the system gives no timer and poll.
    pub fn new(slots: Vec<Slot>) -> io::Result<Self> {
        let keys = slots.iter().filter_map(|slot| match slot {
            Slot::Kms(key) => Some(Arc::clone(key)),
            Slot::Local(_) => None,
        });
        let keys = keys.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { slots, keys, runtime: Some(runtime), asked: None })
    }

    /// In the order of the configuration: what KMS wrapped, and what is wrapped here.
    fn complete(&self, made: Made, context: &Context) -> Result<Fresh, KeyError> {
        let (key, by_kms) = made;
        let mut by_kms = by_kms.into_iter();
        let mut wrapped = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            wrapped.push(match slot {
                Slot::Local(recipient) => recipient.wrap(&key, context, &mut OsEntropy)?,
                // One each: `make` gives them all or none.
                Slot::Kms(_) => by_kms.next().ok_or(EncryptError::Wrap)?,
            });
        }
        Ok((key, wrapped))
    }
}

impl DataKeys for KmsKeys {
    fn data_key(&mut self, context: &Context) -> Result<Fresh, KeyError> {
        let Some(runtime) = &self.runtime else { return Err(EncryptError::NoRecipient.into()) };
        // A key is bound to its context: one for another message is of no use.
        let mut asked = match self.asked.take() {
            Some(asked) if asked.context == *context => asked,
            _ => Asked {
                context: context.clone(),
                answer: Box::pin(make(self.keys.clone(), context.clone())),
            },
        };
        let answer =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut asked.answer).await });
        match answer {
            Ok(made) => self.complete(made?, context),
            Err(_) => {
                self.asked = Some(asked);
                let names: Vec<_> = self.keys.iter().map(|key| key.arn().as_str()).collect();
                Err(KeyError::Pending { from: names.join(", ") })
            }
        }
    }
}

impl Drop for KmsKeys {
    fn drop(&mut self) {
        // Wherever it is dropped, also in async code: it does not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// `GenerateDataKey` with the first key, `Encrypt` with each other: all or none.
async fn make(keys: Vec<Arc<KmsKey>>, context: Context) -> Result<Made, KeyError> {
    let mut keys = keys.into_iter();
    let first = keys.next().ok_or(EncryptError::NoRecipient)?;
    let generated = first.generate(&context).await;
    let (data_key, wrapped) = generated.map_err(|e| key_error(&first, e))?;
    let mut all = vec![wrapped];
    for key in keys {
        let wrapped = key.wrap(&data_key, &context).await;
        all.push(wrapped.map_err(|e| key_error(&key, e))?);
    }
    Ok((data_key, all))
}

fn key_error(key: &KmsKey, fault: Fault) -> KeyError {
    let from = key.arn().to_string();
    match fault {
        Fault::Passing { reason, after } => KeyError::Unavailable { from, reason, after },
        Fault::Lasting(reason) => KeyError::Refused { from, reason },
    }
}
