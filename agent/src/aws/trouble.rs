//! Trouble on the way to AWS, whatever was asked: no connection, no credentials.

use aws_credential_types::provider::error::CredentialsError;
use std::error::Error;

/// Longest text of a server that is repeated in a message, in characters.
const LONGEST_QUOTE: usize = 200;

/// How a source of credentials says no, in the SDK's words.
const REFUSALS: [&str; 6] = [
    "AccessDenied",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "SignatureDoesNotMatch",
    "StatusCode(401)",
    "StatusCode(403)",
];

/// What kind of trouble it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Passes by itself.
    Passing(String),
    /// Needs a person.
    Lasting(String),
}

/// A connection that was not made, or broke. All of that passes, except a
/// certificate that nobody vouches for.
pub(crate) fn connection(reason: &str) -> Trouble {
    if reason.contains("invalid peer certificate") {
        return Trouble::Lasting(format!(
            "the server's certificate is not to be trusted; if it is of an authority of \
             your own, name its file in SSL_CERT_FILE ({reason})"
        ));
    }
    Trouble::Passing(reason.to_owned())
}

/// Trouble with getting credentials, if that is at the bottom of `error`.
pub(crate) fn credentials(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = error.downcast_ref::<CredentialsError>() {
            return Some(match trouble {
                CredentialsError::CredentialsNotLoaded(_) => Trouble::Lasting(
                    "no credentials were found in the environment, the profile, \
                     the container or the instance; give some"
                        .to_owned(),
                ),
                CredentialsError::InvalidConfiguration(_) => Trouble::Lasting(format!(
                    "the credentials are configured wrongly: {}",
                    chain(error)
                )),
                // A metadata service or STS that is away, or in trouble, may
                // come back; one that says no waits for somebody. Every attempt
                // says why, but not what else was in the answer.
                _ => {
                    let said = chain(error);
                    let said = said.split(". Response {").next().unwrap_or_default();
                    let reason = format!("no credentials to be had: {said}");
                    match REFUSALS.iter().any(|word| said.contains(word)) {
                        true => Trouble::Lasting(reason),
                        false => Trouble::Passing(reason),
                    }
                }
            });
        }
        next = error.source();
    }
    None
}

/// An error and its causes on one line, none twice.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut out = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !out.contains(&text) {
            if !out.is_empty() {
                out.push_str(": ");
            }
            out.push_str(&text);
        }
        next = error.source();
    }
    quote(&out)
}

/// Text of a server, fit for a log line.
pub(crate) fn quote(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_QUOTE).collect()
}
