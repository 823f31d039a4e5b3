//! What an answer of S3, or the lack of one, means: retry, halt, conflict, gone.
//!
//! By error code where there is one, by status otherwise. What is not known to
//! pass by itself is a halt: a halt is tried again too, only slowly and loudly.

use crate::ship::retry_after;
use crate::store::{Doing, StoreError};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::time::{Duration, SystemTime};

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

/// An answer, or a failure to get one, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// 404: no such key.
    NotFound,
    /// 412: `If-None-Match: *` found an object.
    Taken,
    /// The credentials have run out; new ones may be had.
    Expired { reason: String },
    /// Passes by itself. `doubt`: the request may have been carried out.
    Passing { reason: String, after: Option<Duration>, doubt: bool },
    /// Needs a person.
    Lasting { reason: String },
    /// The credentials are good, but not for this.
    Forbidden { reason: String },
    /// A HEAD was refused; only a GET has a body that says why.
    Unexplained { status: u16 },
}

impl Fault {
    /// What the SDK's error means.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let header = |name: &str| raw.headers().get(name);
                Self::of_answer(&Answer {
                    status: raw.status().as_u16(),
                    code: service.err().code(),
                    message: service.err().message(),
                    region: header("x-amz-bucket-region"),
                    after: header("retry-after")
                        .and_then(|value| retry_after::parse(value, SystemTime::now())),
                })
            }
            SdkError::ResponseError(response) => Self::Passing {
                reason: format!(
                    "the answer (status {}) could not be understood: {}",
                    response.raw().status().as_u16(),
                    chain(error)
                ),
                after: None,
                doubt: true,
            },
            SdkError::TimeoutError(_) => Self::passing("no answer in time", true),
            SdkError::DispatchFailure(failure) if !failure.is_user() => {
                credentials(error).unwrap_or_else(|| connection(&chain(error)))
            }
            other => credentials(other).unwrap_or_else(|| Self::Lasting { reason: chain(other) }),
        }
    }

    pub(super) fn passing(reason: &str, doubt: bool) -> Self {
        Self::Passing { reason: reason.to_owned(), after: None, doubt }
    }

    fn of_answer(answer: &Answer<'_>) -> Self {
        let Answer { status, code, .. } = *answer;
        match (status, code.unwrap_or_default()) {
            (_, "NoSuchBucket") => {
                answer.lasting("the bucket does not exist; make it or correct the url")
            }
            (_, "PreconditionFailed") | (412, _) => Self::Taken,
            (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
                Self::Expired { reason: "the credentials have expired".to_owned() }
            }
            (
                _,
                "SlowDown"
                | "SlowDownRead"
                | "SlowDownWrite"
                | "ServiceUnavailable"
                | "Busy"
                | "InternalError"
                | "RequestTimeout"
                | "RequestTimeoutException"
                | "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "RequestLimitExceeded"
                | "BandwidthLimitExceeded"
                | "TooManyRequestsException"
                | "OperationAborted"
                | "ConditionalRequestConflict"
                | "RequestTimedOut",
            ) => answer.passing(),
            (301 | 308, _) | (_, "PermanentRedirect") | (_, "AuthorizationHeaderMalformed") => {
                match answer.region {
                    Some(region) => answer.lasting(&format!(
                        "the bucket is in region {}; set region to that",
                        quote(region)
                    )),
                    None => answer.lasting("the bucket is elsewhere; set its region or endpoint"),
                }
            }
            (_, "NotImplemented") | (501, _) => answer.lasting(
                "the store does not know something that an archive needs \
                 (such as writing only where nothing is)",
            ),
            (_, "RequestTimeTooSkewed") => {
                answer.lasting("the clock of this machine is wrong; set it")
            }
            (
                _,
                "BadDigest"
                | "XAmzContentSHA256Mismatch"
                | "XAmzContentChecksumMismatch"
                | "XAmzContentSHA256MismatchError"
                | "InvalidDigest",
            ) => answer.lasting(
                "the store got bytes that do not have the hash they were sealed with; \
                 the local copy or something on the way is damaged",
            ),
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") => {
                answer.lasting("the credentials are not accepted; correct them")
            }
            (_, "NoSuchKey" | "NotFound") => Self::NotFound,
            (403, "") | (400, "") | (301..=308, "") => Self::Unexplained { status },
            (403, _) | (401, _) => Self::Forbidden {
                reason: answer.reason(
                    "the credentials do not allow it; docs/s3-iam-policy.json has what they need \
                     (s3:PutObject and s3:GetObject, with what the options ask for, and the use \
                     of the bucket's key)",
                ),
            },
            // Without a code: a HEAD. With another code: nothing we know of.
            (404, "") => Self::NotFound,
            (307 | 408 | 409 | 425 | 429 | 500..=599, _) => answer.passing(),
            _ => answer.lasting("the request was refused"),
        }
    }

    /// The error for `place`; `None` where the caller has something better to do.
    pub(super) fn into_error(self, doing: Doing, place: &str) -> StoreError {
        match self {
            Self::NotFound => StoreError::NotFound { doing, place: place.to_owned() },
            Self::Taken => StoreError::Conflict {
                place: place.to_owned(),
                found: "what, is not known".to_owned(),
            },
            Self::Expired { reason } => StoreError::unavailable(doing, place, reason),
            Self::Passing { reason, after, .. } => {
                StoreError::Unavailable { doing, place: place.to_owned(), reason, after }
            }
            Self::Lasting { reason } | Self::Forbidden { reason } => {
                StoreError::refused(doing, place, reason)
            }
            Self::Unexplained { status } => {
                StoreError::refused(doing, place, format!("refused without a reason ({status})"))
            }
        }
    }
}

struct Answer<'a> {
    status: u16,
    code: Option<&'a str>,
    message: Option<&'a str>,
    region: Option<&'a str>,
    after: Option<Duration>,
}

impl Answer<'_> {
    fn lasting(&self, what: &str) -> Fault {
        Fault::Lasting { reason: self.reason(what) }
    }

    fn passing(&self) -> Fault {
        // 503 and the like were answered instead of being carried out.
        let reason = self.reason("the store is busy or in trouble");
        Fault::Passing { reason, after: self.after, doubt: false }
    }

    fn reason(&self, what: &str) -> String {
        let code = self.code.map(|code| format!("{} ", quote(code))).unwrap_or_default();
        let said = self.message.map(|m| format!(": {}", quote(m))).unwrap_or_default();
        format!("{what} ({code}{}{said})", self.status)
    }
}

/// Text of a server, fit for a log line.
fn quote(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_QUOTE).collect()
}

/// A connection that was not made, or broke. All of that passes, except a
/// certificate that nobody vouches for.
fn connection(reason: &str) -> Fault {
    if reason.contains("invalid peer certificate") {
        return Fault::Lasting {
            reason: format!(
                "the server's certificate is not to be trusted; if it is of an authority of \
                 your own, name its file in SSL_CERT_FILE ({reason})"
            ),
        };
    }
    Fault::passing(reason, true)
}

/// Trouble with getting credentials, if that is at the bottom of `error`.
fn credentials(error: &(dyn Error + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = error.downcast_ref::<CredentialsError>() {
            return Some(match trouble {
                CredentialsError::CredentialsNotLoaded(_) => Fault::Lasting {
                    reason: "no credentials were found in the environment, the profile, \
                             the container or the instance; give some"
                        .to_owned(),
                },
                CredentialsError::InvalidConfiguration(_) => Fault::Lasting {
                    reason: format!("the credentials are configured wrongly: {}", chain(error)),
                },
                // A metadata service or STS that is away, or in trouble, may
                // come back; one that says no waits for somebody. Every attempt
                // says why, but not what else was in the answer.
                _ => {
                    let said = chain(error);
                    let said = said.split(". Response {").next().unwrap_or_default();
                    let reason = format!("no credentials to be had: {said}");
                    match REFUSALS.iter().any(|word| said.contains(word)) {
                        true => Fault::Lasting { reason },
                        false => Fault::passing(&reason, false),
                    }
                }
            });
        }
        next = error.source();
    }
    None
}

/// An error and its causes on one line, none twice.
fn chain(error: &(dyn Error + 'static)) -> String {
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
