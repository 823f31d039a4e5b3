//! The chain of credentials, and what else the usual AWS environment says.

use super::options::{AssumeRole, CredentialSource};
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::SharedHttpClient;
use aws_types::origin::Origin;
use aws_types::service_config::ServiceConfigKey;
use std::time::Duration;

/// Where requests go when nobody names a region of a custom endpoint.
pub(crate) const ANY_REGION: &str = "us-east-1";
/// How long a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who we are, and where.
pub(crate) struct Access<'a> {
    /// The region; otherwise as the environment says.
    pub(crate) region: Option<Region>,
    /// Whether the server is another than AWS: then no region is asked for far away.
    pub(crate) is_elsewhere: bool,
    /// The profile; otherwise as the environment says.
    pub(crate) profile: Option<&'a str>,
    pub(crate) credentials: &'a CredentialSource,
}

/// What the usual AWS environment says, less what the options say.
pub(crate) async fn environment(options: &Access<'_>, http: &SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build());
    if let Some(region) = &options.region {
        loader = loader.region(region.clone());
    } else if options.is_elsewhere {
        // Not from the instance: there may be none, and asking takes seconds.
        loader = loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(Region::new(ANY_REGION)),
        );
    }
    if let Some(profile) = options.profile {
        loader = loader.profile_name(profile);
    }
    match (options.credentials, options.profile) {
        (CredentialSource::Chain, None) => {}
        // One that is named beats the variables of the environment.
        (CredentialSource::Chain, Some(profile)) => {
            let provider = ProviderConfig::default()
                .with_http_client(http.clone())
                .with_region(options.region.clone().or_else(|| Some(Region::new(ANY_REGION))));
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
pub(crate) async fn assumed(role: &AssumeRole, shared: &SdkConfig) -> AssumeRoleProvider {
    let mut conf = shared.clone().into_builder();
    if shared.region().is_none() {
        conf = conf.region(Region::new(ANY_REGION));
    }
    if let Some(endpoint) = &role.endpoint {
        conf = conf.endpoint_url(endpoint.as_str());
        // What the configuration says, the environment does not change.
        conf.insert_origin("endpoint_url", Origin::shared_config());
    }
    let mut provider = AssumeRoleProvider::builder(&role.role_arn)
        .session_name(&role.session_name)
        .configure(&conf.build());
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}

/// The address of a service, such as `S3`, that the environment names.
pub(crate) fn endpoint_of_environment(shared: &SdkConfig, service: &str) -> Option<String> {
    // As the service's own client looks it up: it must not find what we did not judge.
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let own = key.zip(shared.service_config()).and_then(|(key, conf)| conf.load_config(key));
    own.or_else(|| shared.endpoint_url().map(str::to_owned)).filter(|url| !url.is_empty())
}
