//! The SDK's client: made from the options, and made anew for new credentials.
//!
//! The SDK tries nothing again: the sink decides that, and its backoff is the
//! only one. Stalled transfers are broken off.

use super::options::{AssumeRole, CredentialSource, S3Options, is_amazon};
use super::{CONNECT_TIMEOUT, Checksums, STALL};
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, SdkConfig};
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
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// Where requests go when nobody names a region of a custom endpoint.
const ANY_REGION: &str = "us-east-1";

/// The pool of connections: rustls, with the certificates of the system
/// (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed).
pub(super) fn http() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
}

/// A client that reads its credentials when they are first needed.
///
/// # Errors
/// A sentence: there is no region, or one where nothing may lie.
pub(super) async fn connect(
    options: &S3Options,
    http: &SharedHttpClient,
) -> Result<Client, String> {
    let shared = environment(options, http).await;
    let endpoint = match &options.endpoint {
        Some(endpoint) => Some(endpoint.as_str().to_owned()),
        None => endpoint_of_environment(&shared),
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
        builder = builder.credentials_provider(assumed(role, &shared).await);
    }
    Ok(Client::from_conf(builder.build()))
}

/// What the usual AWS environment says, less what the options say.
async fn environment(options: &S3Options, http: &SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build());
    if let Some(region) = options.region() {
        loader = loader.region(region);
    } else if options.endpoint.is_some() {
        // Not from the instance: there may be none, and asking takes seconds.
        loader = loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(Region::new(ANY_REGION)),
        );
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    match (&options.credentials, &options.profile) {
        (CredentialSource::Chain, None) => {}
        // One that is named beats the variables of the environment.
        (CredentialSource::Chain, Some(profile)) => {
            let provider = ProviderConfig::default()
                .with_http_client(http.clone())
                .with_region(options.region().or_else(|| Some(Region::new(ANY_REGION))));
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&provider)
                .profile_name(profile)
                .build();
            loader = loader.credentials_provider(provider);
        }
        (CredentialSource::Fixed(fixed), _) => {
            loader = loader.credentials_provider(fixed.0.clone());
        }
        (CredentialSource::Provider(provider), _) => {
            loader = loader.credentials_provider(provider.clone());
        }
    }
    loader.load().await
}

/// The role's credentials, had with those of the environment.
async fn assumed(role: &AssumeRole, shared: &SdkConfig) -> AssumeRoleProvider {
    let mut conf = shared.clone().into_builder();
    if shared.region().is_none() {
        conf = conf.region(Region::new(ANY_REGION));
    }
    if let Some(endpoint) = &role.endpoint {
        conf = conf.endpoint_url(endpoint.as_str());
    }
    let mut provider = AssumeRoleProvider::builder(&role.role_arn)
        .session_name(&role.session_name)
        .configure(&conf.build());
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}

fn endpoint_of_environment(shared: &SdkConfig) -> Option<String> {
    let own = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
    own.or_else(|| shared.endpoint_url().map(str::to_owned))
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
