//! Where records go: one module a kind of destination.

pub mod archive;
pub mod cursor;
pub mod datadog;
pub mod event;
pub mod sealed;
pub mod splunk;

use crate::ship::answer::{Answer, Trouble};
use crate::ship::http::{HttpError, Reply};
use crate::ship::window::Breaker;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a sink has done and how it stands, for summary, status and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Archive: objects uploaded.
    pub objects: AtomicU64,
    /// Archive: leaves uploaded.
    pub leaves: AtomicU64,
    /// Splunk and Datadog: events delivered.
    pub events: AtomicU64,
    /// Splunk and Datadog: batches delivered.
    pub batches: AtomicU64,
    /// Splunk and Datadog: records in the dead letters.
    pub condemned: AtomicU64,
    /// Splunk and Datadog: records that were given up under a signed gap, because
    /// the journal was full.
    pub given_up: AtomicU64,
    /// Records that were older or newer than the destination takes: sent with
    /// their time in an attribute.
    pub late: AtomicU64,
    /// Bytes sent, as they went out.
    pub bytes: AtomicU64,
    /// Failed attempts.
    pub failures: AtomicU64,
    /// How often somebody had to act before it could go on.
    pub halts: AtomicU64,
    /// The next record (Splunk, Datadog) or leaf (archive) to deliver: the cursor.
    pub next: AtomicU64,
    /// When the oldest record or leaf that waits became durable, Unix ms; 0: none waits.
    pub oldest: AtomicU64,
    /// Splunk and Datadog: requests that may be under way.
    pub window: AtomicU64,
    /// Splunk and Datadog: requests that are under way.
    pub in_flight: AtomicU64,
    /// Splunk and Datadog: when the destination's certificate ends, Unix seconds; 0:
    /// it has shown none.
    pub certificate_end: AtomicI64,
    breaker: AtomicU8,
    last_error: Mutex<Option<(Instant, String)>>,
}

impl Counters {
    /// Says how the window stands.
    pub fn set_breaker(&self, breaker: Breaker) {
        self.breaker.store(breaker as u8, Relaxed);
    }

    /// How the window stands.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        let held = self.breaker.load(Relaxed);
        Breaker::ALL.into_iter().find(|b| *b as u8 == held).unwrap_or(Breaker::Closed)
    }

    /// Counts a failed attempt, and keeps why it failed.
    pub fn failed(&self, reason: &str) {
        self.failures.fetch_add(1, Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), reason.to_owned()));
    }

    /// Why the last failed attempt failed, and how long ago.
    #[must_use]
    pub fn last_error(&self) -> Option<(Duration, String)> {
        let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(at, reason)| (at.elapsed(), reason.clone()))
    }
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Working or waiting for something to send.
    Ok,
    /// The last attempt failed; it is tried again.
    Retrying(String),
    /// Somebody has to act; it is tried again slowly.
    Halted(String),
    /// Another writer's bytes are under our keys: never tried again.
    Conflict(String),
}

impl State {
    /// Tells it to whoever watches, if it is news.
    pub(crate) fn set(self, watched: &watch::Sender<Self>) {
        watched.send_if_modified(|old| {
            let changed = *old != self;
            *old = self;
            changed
        });
    }
}

/// What a sink is told about the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// End when everything that is there is sent.
    WhenDone,
    /// End after the request that is under way.
    Now,
}

/// What it means that there was no reply.
fn no_reply(error: &HttpError) -> Answer {
    match error {
        HttpError::Passing(what) => {
            let slow = what.contains("within timeout");
            let trouble = if slow { Trouble::Pressed } else { Trouble::Away };
            Answer::Retry { reason: what.clone(), after: None, trouble }
        }
        HttpError::Lasting(what) => Answer::Halt { reason: what.clone() },
    }
}

/// What a status means that has no meaning of its own at a destination. `path`
/// is what was asked for, for the message.
fn by_status(reply: &Reply, path: &str) -> Answer {
    let status = reply.status;
    let retry = |trouble| Answer::Retry {
        reason: format!("HTTP {status}"),
        after: reply.retry_after,
        trouble,
    };
    let halt = |what: &str| Answer::Halt { reason: format!("HTTP {status}: {what}") };
    match status {
        408 | 429 | 503 => retry(Trouble::Pressed),
        500..=599 => retry(Trouble::Away),
        300..=399 => halt("a redirect, which is never followed: correct the url"),
        401 | 403 => halt("the credentials are refused"),
        404 => halt(&format!("there is no {path} at this url (or a proxy answers)")),
        407 => halt("the proxy asks for credentials"),
        _ => halt("the destination does not take such requests"),
    }
}
