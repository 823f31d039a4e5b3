//! What a stand-in saw, for tests to look at and to wait for.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::gate::hold;
use crate::http::Head;

/// An event or entry that was indexed. The client may have been told otherwise.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its text as it arrived, after decompression.
    pub raw: String,
    /// The same, parsed.
    pub json: Value,
    /// Splunk: the request's channel.
    pub channel: Option<String>,
    /// Splunk: which of the indexers behind the balancer took it, from 0.
    pub indexer: usize,
    /// When its request was there.
    pub received: SystemTime,
    /// The number of the request that brought it ([`Seen::number`]).
    pub request: u64,
}

/// A request whose body was there to its end.
#[derive(Debug, Clone)]
pub struct Seen {
    /// From 0, in the order in which the requests were complete.
    pub number: u64,
    /// The number of its connection, from 0.
    pub connection: u64,
    /// Its first line and headers; the headers are kept for the last requests only.
    pub head: Head,
    /// Length of its body on the wire, in bytes.
    pub body_bytes: u64,
    /// SHA-256 of its body on the wire, in hex: equal bodies were the same bytes.
    pub body_sha256: String,
    /// When it was complete.
    pub received: SystemTime,
    /// The status of the reply that it got, if any went out.
    pub status: Option<u16>,
}

/// Something that no client of ours should ever do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the request, where it was complete.
    pub request: Option<u64>,
    /// What was wrong.
    pub what: String,
}

/// Sums over the stand-in's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were complete.
    pub requests: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// TLS handshakes that came to nothing, other than by a fault.
    pub failed_handshakes: u64,
    /// Bytes of the bodies, as they were on the wire.
    pub body_bytes: u64,
    /// Requests in work now.
    pub in_flight: u64,
    /// The most that were in work at once.
    pub max_in_flight: u64,
    /// Events indexed.
    pub accepted: u64,
}

/// How often each event came, by the key that the caller names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// (log, sequence) → how often.
    pub by_key: BTreeMap<(String, u64), u64>,
    /// Events for which the caller had no key.
    pub without_key: u64,
}

impl Counts {
    /// Keys that came more than once.
    #[must_use]
    pub fn duplicates(&self) -> Vec<(String, u64)> {
        self.by_key.iter().filter(|(_, n)| **n > 1).map(|(key, _)| key.clone()).collect()
    }

    /// The sequence numbers of `range` that `log` lacks.
    #[must_use]
    pub fn missing(&self, log: &str, range: std::ops::Range<u64>) -> Vec<u64> {
        range.filter(|seq| !self.by_key.contains_key(&(log.to_owned(), *seq))).collect()
    }
}

/// Called with each event as it is indexed.
type Tap = Box<dyn FnMut(&Accepted) + Send>;

#[derive(Default)]
struct Log {
    accepted: Vec<Accepted>,
    requests: Vec<Seen>,
    violations: Vec<Violation>,
    stats: Stats,
    tap: Option<Tap>,
}

/// The record of all that one stand-in saw.
pub struct Observer {
    log: Mutex<Log>,
    changed: Condvar,
    keep_headers: usize,
}

impl Observer {
    pub(crate) fn new(keep_headers: usize) -> Self {
        Self { log: Mutex::default(), changed: Condvar::new(), keep_headers }
    }

    /// All that was indexed, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        hold(&self.log).accepted.clone()
    }

    /// Looks at what was indexed without copying it. Don't call the observer from inside.
    pub fn with_accepted<R>(&self, look: impl FnOnce(&[Accepted]) -> R) -> R {
        look(&hold(&self.log).accepted)
    }

    /// Counts the events by (log, sequence); `key_of` gets the event as it arrived.
    #[must_use]
    pub fn count_by(&self, key_of: impl Fn(&Value) -> Option<(String, u64)>) -> Counts {
        let mut counts = Counts::default();
        for event in &hold(&self.log).accepted {
            match key_of(&event.json) {
                Some(key) => *counts.by_key.entry(key).or_default() += 1,
                None => counts.without_key += 1,
            }
        }
        counts
    }

    /// Waits until `n` events were indexed, duplicates counted; false when `timeout` came first.
    #[must_use]
    pub fn wait_for(&self, n: usize, timeout: Duration) -> bool {
        self.wait(timeout, |log| log.accepted.len() >= n)
    }

    /// Waits until `n` different keys were indexed.
    #[must_use]
    pub fn wait_for_keys(
        &self,
        n: usize,
        timeout: Duration,
        key_of: impl Fn(&Value) -> Option<(String, u64)>,
    ) -> bool {
        let (mut seen, mut keys) = (0, std::collections::BTreeSet::new());
        self.wait(timeout, |log| {
            keys.extend(log.accepted.iter().skip(seen).filter_map(|e| key_of(&e.json)));
            seen = log.accepted.len();
            keys.len() >= n
        })
    }

    /// Waits until `n` requests were complete.
    #[must_use]
    pub fn wait_for_requests(&self, n: u64, timeout: Duration) -> bool {
        self.wait(timeout, |log| log.stats.requests >= n)
    }

    /// Waits until the sums are as wanted.
    #[must_use]
    pub fn wait_until(&self, timeout: Duration, wanted: impl Fn(&Stats) -> bool) -> bool {
        self.wait(timeout, |log| wanted(&log.stats))
    }

    /// All that no client should have done, in order.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        hold(&self.log).violations.clone()
    }

    /// The sums.
    #[must_use]
    pub fn stats(&self) -> Stats {
        hold(&self.log).stats
    }

    /// All requests, in order; older ones without their headers.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        hold(&self.log).requests.clone()
    }

    /// Calls `tap` with each event as it is indexed, under the observer's lock.
    pub fn set_tap(&self, tap: impl FnMut(&Accepted) + Send + 'static) {
        hold(&self.log).tap = Some(Box::new(tap));
    }

    fn wait(&self, timeout: Duration, mut done: impl FnMut(&Log) -> bool) -> bool {
        let until = Instant::now() + timeout;
        let mut log = hold(&self.log);
        loop {
            if done(&log) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (log, _) = self.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Log) -> R) -> R {
        let result = change(&mut hold(&self.log));
        self.changed.notify_all();
        result
    }

    pub(crate) fn connection(&self) -> u64 {
        self.change(|log| {
            log.stats.connections += 1;
            log.stats.connections - 1
        })
    }

    pub(crate) fn handshake_failed(&self) {
        self.change(|log| log.stats.failed_handshakes += 1);
    }

    pub(crate) fn begin(&self) {
        self.change(|log| {
            log.stats.in_flight += 1;
            log.stats.max_in_flight = log.stats.max_in_flight.max(log.stats.in_flight);
        });
    }

    pub(crate) fn end(&self) {
        self.change(|log| log.stats.in_flight = log.stats.in_flight.saturating_sub(1));
    }

    pub(crate) fn request(&self, connection: u64, head: &Head, body: &[u8]) -> (u64, SystemTime) {
        let body_sha256 = hex(&Sha256::digest(body));
        let received = SystemTime::now();
        let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.change(|log| {
            let number = log.stats.requests;
            log.stats.requests += 1;
            log.stats.body_bytes += body_bytes;
            let head = head.clone();
            log.requests.push(Seen {
                number,
                connection,
                head,
                body_bytes,
                body_sha256,
                received,
                status: None,
            });
            let old = log.requests.len().checked_sub(self.keep_headers + 1);
            if let Some(seen) = old.and_then(|at| log.requests.get_mut(at)) {
                seen.head.headers = Vec::new();
            }
            (number, received)
        })
    }

    pub(crate) fn replied(&self, number: u64, status: u16) {
        self.change(|log| {
            if let Some(seen) = log.requests.iter_mut().rev().find(|s| s.number == number) {
                seen.status = Some(status);
            }
        });
    }

    pub(crate) fn accept(&self, events: Vec<Accepted>) {
        self.change(|log| {
            for event in events {
                if let Some(tap) = &mut log.tap {
                    tap(&event);
                }
                log.stats.accepted += 1;
                log.accepted.push(event);
            }
        });
    }

    pub(crate) fn violation(&self, request: Option<u64>, what: impl Into<String>) {
        let what = what.into();
        self.change(|log| log.violations.push(Violation { request, what }));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
