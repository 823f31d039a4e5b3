//! What an answer of S3, or the lack of one, means: retry, halt, conflict, gone.
//!
//! By error code where there is one, by status otherwise. What is not known to
//! pass by itself is a halt: a halt is tried again too, only slowly and loudly.

use crate::aws::trouble::{self, Trouble, chain, quote};
use crate::ship::retry_after;
use crate::store::{Doing, StoreError};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::time::{Duration, SystemTime};

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
                match trouble::credentials(error) {
                    Some(trouble) => Self::of_trouble(trouble, false),
                    None => Self::of_trouble(trouble::connection(&chain(error)), true),
                }
            }
            other => match trouble::credentials(other) {
                Some(trouble) => Self::of_trouble(trouble, false),
                None => Self::Lasting { reason: chain(other) },
            },
        }
    }

    fn of_trouble(trouble: Trouble, doubt: bool) -> Self {
        match trouble {
            Trouble::Passing(reason) => Self::Passing { reason, after: None, doubt },
            Trouble::Lasting(reason) => Self::Lasting { reason },
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
