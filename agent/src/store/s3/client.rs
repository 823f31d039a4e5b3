//! The SDK's client: made from the options, and made anew for new credentials.
//!
//! The SDK tries nothing again: the sink decides that, and its backoff is the
//! only one. Stalled transfers are broken off.

use super::options::S3Options;
use super::{Checksums, STALL};
use crate::aws::{self, ANY_REGION, CONNECT_TIMEOUT, is_amazon};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    ConfigBag, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;

/// A client that reads its credentials when they are first needed.
///
/// # Errors
/// A sentence: there is no region, or one where nothing may lie.
pub(super) async fn connect(
    options: &S3Options,
    http: &SharedHttpClient,
) -> Result<Client, String> {
    let shared = aws::environment(&options.access(), http).await;
    let endpoint = match &options.endpoint {
        Some(endpoint) => Some(endpoint.as_str().to_owned()),
        None => aws::endpoint_of_environment(&shared, "S3"),
    };
    let region = match (shared.region(), &endpoint) {
        (Some(region), _) => region.clone(),
        (None, Some(_)) => Region::new(ANY_REGION),
        (None, None) => return Err("no region is known; set region, or AWS_REGION".to_owned()),
    };
    options.admit(region.as_ref())?;
    let elsewhere = endpoint.as_deref().is_some_and(|e| !is_amazon(e));
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(STALL).build(),
        )
        .force_path_style(options.path_style.unwrap_or(elsewhere))
        .request_checksum_calculation(match options.checksums {
            Checksums::WhenSupported => RequestChecksumCalculation::WhenSupported,
            Checksums::WhenRequired => RequestChecksumCalculation::WhenRequired,
        })
        // Whoever reads compares with the hash in the signed leaf, which says more.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if let Some(role) = &options.assume_role {
        builder = builder.credentials_provider(aws::assumed(role, &shared).await);
    }
    Ok(Client::from_conf(builder.build()))
}

/// Signs the hash that is known instead of reading the body for it, or leaving
/// a streamed body unsigned as the SDK would.
#[derive(Debug)]
pub(super) struct SignKnownHash(pub(super) String);

impl Intercept for SignKnownHash {
    fn name(&self) -> &'static str {
        "SignKnownHash"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}
