//! From the configuration of who we are to AWS to what its clients take.

use super::assemble::AssembleError;
use super::environment;
use crate::aws::{AssumeRole, CredentialSource, Endpoint, FixedCredentials};
use crate::config;

pub(super) fn endpoint(url: Option<&str>) -> Result<Option<Endpoint>, AssembleError> {
    let url = url.map(Endpoint::parse).transpose();
    url.map_err(|e| AssembleError::Config(e.to_string()))
}

/// Reads the credentials that are given, if there are any.
pub(super) fn credentials(
    given: Option<&config::Credentials>,
) -> Result<CredentialSource, AssembleError> {
    Ok(match given {
        Some(credentials) => CredentialSource::Fixed(fixed(credentials)?),
        None => CredentialSource::Chain,
    })
}

pub(super) fn assume_role(role: &config::AssumeRole) -> Result<AssumeRole, AssembleError> {
    Ok(AssumeRole {
        role_arn: role.role_arn.clone(),
        external_id: role.external_id.clone(),
        session_name: role.session_name.clone().unwrap_or_else(|| "sealtail".to_owned()),
        endpoint: endpoint(role.endpoint.as_deref())?,
    })
}

fn fixed(credentials: &config::Credentials) -> Result<FixedCredentials, AssembleError> {
    let load = |reference: &config::SecretRef| {
        let secret =
            reference.load(&environment).map_err(|e| AssembleError::Config(e.to_string()))?;
        let text = secret.text().map(|t| t.trim().to_owned());
        text.ok_or_else(|| AssembleError::Config(format!("{reference} is not text")))
    };
    Ok(FixedCredentials::new(
        &load(&credentials.access_key)?,
        &load(&credentials.secret_key)?,
        None,
    ))
}
