//! From the configured recipients to a source of data keys.

use super::{AssembleError, config_error, secret};
use crate::cli::aws;
use crate::config;
use crate::kms::{KmsKey, KmsKeys, KmsOptions, Slot};
use crate::sealer::datakey::{DataKeys, LocalKeys};
use sealtail_seal::message::Recipient;
use std::path::Path;
use std::sync::Arc;

/// Reads the keys and credentials that are given. Nothing is asked of KMS yet.
pub(super) fn source<'a>(
    recipients: impl Iterator<Item = &'a config::Recipient>,
) -> Result<Box<dyn DataKeys>, AssembleError> {
    let slots = recipients.map(slot).collect::<Result<Vec<_>, _>>()?;
    if slots.iter().any(|slot| matches!(slot, Slot::Kms(_))) {
        let keys = KmsKeys::new(slots);
        let keys = keys.map_err(|e| AssembleError::Failed(format!("make a client of KMS: {e}")))?;
        return Ok(Box::new(keys));
    }
    let local = slots.into_iter().filter_map(|slot| match slot {
        Slot::Local(recipient) => Some(recipient),
        Slot::Kms(_) => None,
    });
    Ok(Box::new(LocalKeys::new(local.collect())))
}

fn slot(recipient: &config::Recipient) -> Result<Slot, AssembleError> {
    Ok(match recipient {
        config::Recipient::Rsa(path) => Slot::Local(rsa(path)?),
        config::Recipient::Aes { name, key } => Slot::Local(Recipient::aes(name, *secret(key)?)),
        config::Recipient::Kms(kms) => Slot::Kms(Arc::new(kms_key(kms)?)),
    })
}

fn rsa(path: &Path) -> Result<Recipient, AssembleError> {
    let bad = |e: &dyn std::fmt::Display| config_error(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    Recipient::rsa(&text).map_err(|e| bad(&e))
}

pub(in crate::cli) fn kms_key(kms: &config::Kms) -> Result<KmsKey, AssembleError> {
    Ok(KmsKey::new(KmsOptions {
        endpoint: aws::endpoint(kms.endpoint.as_deref())?,
        credentials: aws::credentials(kms.credentials.as_ref())?,
        profile: kms.profile.clone(),
        assume_role: kms.assume_role.as_ref().map(aws::assume_role).transpose()?,
        ..KmsOptions::new(kms.key.clone())
    }))
}
