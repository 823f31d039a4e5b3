//! One key, and the client that asks it. The client is made when it is first
//! needed, and made anew, with credentials read anew, after a refusal.

use super::{Fault, KeyArn};
use crate::aws::{self, Access, AssumeRole, CONNECT_TIMEOUT, CredentialSource, Endpoint};
use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use sealtail_seal::message::{Context, DataKey, EncryptedDataKey, KMS_PROVIDER};
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// How long one attempt may take, and one request with all its attempts.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wrapped key that is believed: KMS says 6144 bytes.
const LONGEST_WRAPPED: usize = 6144;

/// A key, and how it is reached.
#[derive(Debug, Clone)]
pub struct KmsOptions {
    /// The key or alias; the region is its.
    pub key: KeyArn,
    /// Another server than AWS. `None`: as the usual AWS environment says
    /// (`AWS_ENDPOINT_URL_KMS`, `AWS_ENDPOINT_URL`, profile), or AWS itself.
    pub endpoint: Option<Endpoint>,
    /// Who we are.
    pub credentials: CredentialSource,
    /// The profile that, with [`CredentialSource::Chain`], the credentials come from.
    pub profile: Option<String>,
    /// A role that is taken on with these credentials.
    pub assume_role: Option<AssumeRole>,
    /// How often a request is tried at once; 1 for a caller that has a backoff
    /// of its own.
    pub attempts: u32,
}

impl KmsOptions {
    /// A key as the usual AWS environment reaches it, tried once.
    #[must_use]
    pub fn new(key: KeyArn) -> Self {
        Self {
            key,
            endpoint: None,
            credentials: CredentialSource::default(),
            profile: None,
            assume_role: None,
            attempts: 1,
        }
    }
}

/// A key of KMS.
pub struct KmsKey {
    options: KmsOptions,
    client: Mutex<Option<Client>>,
}

/// Without credentials.
impl std::fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KmsKey({})", self.options.key)
    }
}

impl KmsKey {
    /// Nothing is sent, and no credentials are looked for yet.
    #[must_use]
    pub fn new(options: KmsOptions) -> Self {
        Self { options, client: Mutex::new(None) }
    }

    /// Its name.
    #[must_use]
    pub fn arn(&self) -> &KeyArn {
        &self.options.key
    }

    /// A fresh data key, and the same wrapped (`GenerateDataKey`).
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn generate(&self, context: &Context) -> Result<(DataKey, EncryptedDataKey), Fault> {
        let request = self
            .client()
            .await?
            .generate_data_key()
            .key_id(self.arn().as_str())
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(pairs(context)));
        let made = request.send().await;
        let made = self.answer(made, "kms:GenerateDataKey").await?;
        let key = data_key(made.plaintext)?;
        Ok((key, self.wrapped(made.key_id.as_deref(), made.ciphertext_blob)?))
    }

    /// Wraps a data key that was made elsewhere (`Encrypt`).
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn wrap(&self, key: &DataKey, context: &Context) -> Result<EncryptedDataKey, Fault> {
        let request = self
            .client()
            .await?
            .encrypt()
            .key_id(self.arn().as_str())
            .plaintext(Blob::new(key.as_slice()))
            .set_encryption_context(Some(pairs(context)));
        let made = request.send().await;
        let made = self.answer(made, "kms:Encrypt").await?;
        self.wrapped(made.key_id.as_deref(), made.ciphertext_blob)
    }

    /// Whether this very key wrapped it.
    #[must_use]
    pub fn is_named(&self, wrapped: &EncryptedDataKey) -> bool {
        wrapped.provider_id == KMS_PROVIDER
            && wrapped.provider_info == self.arn().as_str().as_bytes()
    }

    /// The data key that this key wrapped under this context (`Decrypt`).
    ///
    /// # Errors
    /// See [`Fault`]; also when it was changed, or wrapped under another context.
    pub async fn unwrap(
        &self,
        wrapped: &EncryptedDataKey,
        context: &Context,
    ) -> Result<DataKey, Fault> {
        let request = self
            .client()
            .await?
            .decrypt()
            // Pinned: KMS would else take whichever key the ciphertext names.
            .key_id(self.arn().as_str())
            .ciphertext_blob(Blob::new(wrapped.ciphertext.as_slice()))
            .set_encryption_context(Some(pairs(context)));
        let made = request.send().await;
        let made = self.answer(made, "kms:Decrypt").await?;
        let key = data_key(made.plaintext)?;
        self.judge(made.key_id.as_deref())?;
        Ok(key)
    }

    async fn client(&self) -> Result<Client, Fault> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = self.connect().await?;
        *client = Some(made.clone());
        Ok(made)
    }

    async fn connect(&self) -> Result<Client, Fault> {
        let options = &self.options;
        let region = Region::new(options.key.region().to_owned());
        let access = Access {
            region: Some(region),
            is_elsewhere: options.endpoint.is_some(),
            profile: options.profile.as_deref(),
            credentials: &options.credentials,
        };
        let http = aws::Transport::default().client().map_err(Fault::Lasting)?;
        let shared = aws::environment(&access, &http).await;
        let endpoint = match &options.endpoint {
            Some(endpoint) => Some(endpoint.as_str().to_owned()),
            None => aws::endpoint_of_environment(&shared, "KMS"),
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT);
        let retry = match options.attempts {
            0 | 1 => RetryConfig::disabled(),
            n => RetryConfig::standard().with_max_attempts(n),
        };
        let mut builder = aws_sdk_kms::config::Builder::from(&shared)
            .retry_config(retry)
            .timeout_config(timeouts.build());
        if let Some(endpoint) = endpoint {
            if options.endpoint.is_none() && aws::is_exposed(&endpoint) {
                return Err(Fault::Lasting(
                    "the environment (AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL or a profile) names plain \
                     http:// to another machine, and data keys would go over it; write https://"
                        .to_owned(),
                ));
            }
            builder = builder.endpoint_url(endpoint);
        }
        if let Some(role) = &options.assume_role {
            builder = builder.credentials_provider(aws::assumed(role, &shared).await);
        }
        Ok(Client::from_conf(builder.build()))
    }

    /// The output, or what its lack means. After a refusal the client is dropped:
    /// the next one reads its credentials anew.
    async fn answer<T, E>(
        &self,
        answer: Result<T, SdkError<E, HttpResponse>>,
        action: &str,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match answer {
            Ok(output) => Ok(output),
            Err(e) => {
                let (fault, anew) = Fault::of(&e, action);
                if anew {
                    *self.client.lock().await = None;
                }
                Err(fault)
            }
        }
    }

    fn wrapped(
        &self,
        key_id: Option<&str>,
        ciphertext: Option<Blob>,
    ) -> Result<EncryptedDataKey, Fault> {
        let key = self.judge(key_id)?;
        let ciphertext = ciphertext.map(Blob::into_inner).unwrap_or_default();
        if ciphertext.is_empty() || ciphertext.len() > LONGEST_WRAPPED {
            let what = format!("KMS answered with a wrapped key of {} bytes", ciphertext.len());
            return Err(Fault::Lasting(what));
        }
        Ok(EncryptedDataKey {
            provider_id: KMS_PROVIDER.to_owned(),
            provider_info: key.as_str().as_bytes().to_vec(),
            ciphertext,
        })
    }

    /// The key that the answer names: it must be the one that was asked, or one
    /// that the alias may stand for.
    fn judge(&self, key_id: Option<&str>) -> Result<KeyArn, Fault> {
        let named = key_id.and_then(KeyArn::parse);
        named.filter(|key| self.arn().may_be(key)).ok_or_else(|| {
            let said = aws::trouble::quote(key_id.unwrap_or("none"));
            Fault::Lasting(format!("KMS answered with another key than was asked for: {said}"))
        })
    }
}

fn data_key(plaintext: Option<Blob>) -> Result<DataKey, Fault> {
    let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    let bytes: Option<[u8; 32]> = plaintext.as_slice().try_into().ok();
    let bytes = bytes.map(Zeroizing::new).ok_or_else(|| {
        Fault::Lasting(format!("KMS answered with a data key of {} bytes", plaintext.len()))
    })?;
    Ok(DataKey::from(*bytes))
}

fn pairs(context: &Context) -> HashMap<String, String> {
    context.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
