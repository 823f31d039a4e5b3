//! What an answer of KMS, or the lack of one, means: retry or halt.
//!
//! By error code where there is one, by status otherwise. What is not known to
//! pass by itself is a halt: a halt is tried again too, only slowly and loudly.

use crate::aws::trouble::{self, Trouble, chain, quote};
use crate::ship::retry_after;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::time::{Duration, SystemTime};

/// Why KMS did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Passes by itself.
    #[error("{reason}")]
    Passing {
        /// What happened.
        reason: String,
        /// How long the server asked to be left alone.
        after: Option<Duration>,
    },
    /// Needs a person.
    #[error("{0}")]
    Lasting(String),
}

impl Fault {
    /// Whether it lasts until a person does something.
    #[must_use]
    pub fn is_halt(&self) -> bool {
        matches!(self, Self::Lasting(_))
    }

    /// What the SDK's error means. `action` is the permission that was used, such
    /// as `kms:Decrypt`. The second value: new credentials may help.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, action: &str) -> (Self, bool)
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let of_trouble = |trouble| match trouble {
            Trouble::Passing(reason) => (Self::Passing { reason, after: None }, false),
            Trouble::Lasting(reason) => (Self::Lasting(reason), true),
        };
        match error {
            // The SDK's name also for a good answer that does not parse.
            SdkError::ServiceError(service) if service.raw().status().is_success() => {
                not_understood(service.raw().status().as_u16())
            }
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let after = raw.headers().get("retry-after");
                Self::of_answer(&Answer {
                    status: raw.status().as_u16(),
                    code: service.err().code().unwrap_or_default(),
                    message: service.err().message().unwrap_or_default(),
                    after: after.and_then(|value| retry_after::parse(value, SystemTime::now())),
                    action,
                })
            }
            SdkError::ResponseError(response) => not_understood(response.raw().status().as_u16()),
            SdkError::TimeoutError(_) => {
                (Self::Passing { reason: "no answer in time".to_owned(), after: None }, false)
            }
            SdkError::DispatchFailure(failure) if !failure.is_user() => {
                let trouble = trouble::credentials(error);
                of_trouble(trouble.unwrap_or_else(|| trouble::connection(&chain(error))))
            }
            other => {
                let trouble = trouble::credentials(other);
                of_trouble(trouble.unwrap_or_else(|| Trouble::Lasting(chain(other))))
            }
        }
    }

    fn of_answer(answer: &Answer<'_>) -> (Self, bool) {
        let what = match (answer.status, answer.code) {
            (_, "ExpiredTokenException" | "ExpiredToken" | "RequestExpired") => {
                return (answer.passing("the credentials have expired"), true);
            }
            (
                _,
                "ThrottlingException"
                | "Throttling"
                | "TooManyRequestsException"
                | "RequestLimitExceeded"
                | "LimitExceededException"
                | "DependencyTimeoutException"
                | "KMSInternalException"
                | "InternalFailure"
                | "KeyUnavailableException"
                | "ServiceUnavailable"
                | "ServiceUnavailableException",
            ) => return (answer.passing("KMS is busy or in trouble"), false),
            (_, "AccessDeniedException" | "AccessDenied" | "NotAuthorized") => &*format!(
                "the key's policy or IAM does not allow {}, see docs/kms.md",
                answer.action
            ),
            (_, "NotFoundException") => "the key does not exist; correct its ARN",
            (_, "DisabledException") => "the key is disabled; enable it",
            (_, "KMSInvalidStateException") => {
                "the key is in a state that allows no use (deletion pending, no key material, \
                 custom key store away); set that right"
            }
            (_, "InvalidKeyUsageException" | "UnsupportedOperationException") => {
                "the key is not a symmetric one for encryption; name another"
            }
            (_, "InvalidCiphertextException") => {
                "the wrapped data key does not open: it or the context it is bound to was changed"
            }
            (_, "IncorrectKeyException") => "the data key was wrapped by another key",
            (
                _,
                "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "MissingAuthenticationTokenException",
            ) => "the credentials are not accepted; correct them, and see that the clock is right",
            (408 | 425 | 429 | 500..=599, _) => {
                return (answer.passing("KMS is busy or in trouble"), false);
            }
            _ => "the request was refused",
        };
        (Self::Lasting(answer.reason(what)), true)
    }
}

/// Without the cause: it may quote the answer, which may hold a data key.
fn not_understood(status: u16) -> (Fault, bool) {
    let reason = format!("the answer (status {status}) could not be understood");
    (Fault::Passing { reason, after: None }, false)
}

struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    after: Option<Duration>,
    action: &'a str,
}

impl Answer<'_> {
    fn passing(&self, what: &str) -> Fault {
        Fault::Passing { reason: self.reason(what), after: self.after }
    }

    fn reason(&self, what: &str) -> String {
        let code = match self.code {
            "" => String::new(),
            code => format!("{} ", quote(code)),
        };
        let said = match self.message {
            "" => String::new(),
            message => format!(": {}", quote(message)),
        };
        format!("{what} ({code}{}{said})", self.status)
    }
}
