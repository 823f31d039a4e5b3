//! What the running agent says of itself: plain data, as `/status` gives it in
//! JSON and `sealtail status` reads it. The metrics are made of the same.
//!
//! New members may come; those that are here keep their names and units.

use crate::ship::window::Breaker;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of the agent at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The name of its log.
    pub origin: String,
    /// The life of the log.
    pub incarnation: String,
    /// For how long it has run.
    pub running_seconds: f64,
    /// What it is doing.
    pub phase: Phase,
    /// Whether the loop that reads has turned within [`super::STALLED`].
    pub live: bool,
    /// From the log files to the journal.
    pub reading: Reading,
    /// What has been read and is kept until it is delivered.
    pub journal: Journal,
    /// From the journal to the archives; `None` without an archive.
    pub sealing: Option<Sealing>,
    /// Records that destinations refused; `None` when they could not be looked at.
    pub dead_letters: Option<DeadLetters>,
    /// Each destination, in the order of the configuration: archives first.
    pub sinks: Vec<Sink>,
}

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not read anything yet.
    Starting,
    /// It reads, seals and ships.
    Running,
    /// It was told to end and ships what is there.
    Draining,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Starting, Self::Running, Self::Draining];

    /// The name, as it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

/// From the log files to the journal; counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Lines.
    pub lines: u64,
    /// Bytes of log files.
    pub bytes: u64,
    /// Records that became durable.
    pub records: u64,
    /// Ranges that could not be read.
    pub gaps: u64,
    /// Bytes of log files that are there and were not read.
    pub lag_bytes: u64,
    /// Whether reading waits because the journal takes nothing.
    pub blocked: bool,
    /// How long ago the loop that reads turned.
    pub turned_seconds_ago: f64,
    /// Events by kind.
    pub events: BTreeMap<String, u64>,
    /// What was taken out, by class.
    pub redactions: BTreeMap<String, u64>,
}

/// What has been read and is kept until it is delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Bytes on disk, with the outbox.
    pub used_bytes: u64,
    /// The bound (`journal.max_bytes`).
    pub limit_bytes: u64,
    /// The oldest record that is kept.
    pub begin: u64,
    /// The number behind the newest record.
    pub end: u64,
}

/// From the journal to the archives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sealing {
    /// Leaves of the log so far.
    pub leaves: u64,
    /// Records that no leaf covers yet.
    pub lag_records: u64,
    /// Age of the oldest record that no leaf covers yet; 0 when none waits.
    pub lag_seconds: f64,
    /// Whether sealing waits: the outbox takes nothing, or there is no data key.
    pub blocked: bool,
    /// Whether data keys are to be had.
    pub data_keys: KeyState,
    /// Leaves that some archive does not have yet.
    pub waiting_leaves: u64,
    /// Bytes of the outbox.
    pub outbox_bytes: u64,
}

/// Whether data keys are to be had; those of KMS may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// They are.
    Ok,
    /// The last request failed; it is made again.
    Retrying,
    /// Somebody has to act; it is made again slowly.
    Halted,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Retrying, Self::Halted];

    /// The name, as it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::Halted => "halted",
        }
    }
}

/// Records that destinations refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// How many there are, those of former sinks too.
    pub count: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// The bound (`limits.dead_letters`).
    pub limit_bytes: u64,
}

/// One destination; counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// `archive`, `splunk_hec` or `datadog`.
    pub r#type: String,
    /// How it stands.
    pub state: SinkState,
    /// Why, when it is not well.
    pub reason: Option<String>,
    /// The last failed attempt, even if it is well again.
    pub last_error: Option<LastError>,
    /// What it has delivered.
    pub delivered: Delivered,
    /// Bytes sent, as they went out.
    pub sent_bytes: u64,
    /// Failed attempts.
    pub failures: u64,
    /// How often somebody had to act.
    pub halts: u64,
    /// The next record (Splunk, Datadog) or leaf (archive) to deliver.
    pub next: u64,
    /// Records or leaves that wait.
    pub lag: u64,
    /// Age of the oldest that waits; 0: none.
    pub lag_seconds: f64,
    /// What only Splunk and Datadog have.
    pub feed: Option<Feed>,
}

/// What a sink has delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    /// By an archive.
    Sealed {
        /// Leaves.
        leaves: u64,
        /// Sealed batches.
        objects: u64,
    },
    /// By Splunk and Datadog.
    Events {
        /// Events.
        events: u64,
        /// Requests that held them.
        batches: u64,
    },
}

/// What only Splunk and Datadog have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Records put into the dead letters.
    pub condemned: u64,
    /// Records given up under a signed gap, because the journal was full.
    pub given_up: u64,
    /// Records sent with their time in an attribute.
    pub late: u64,
    /// Requests that may be under way.
    pub window: u64,
    /// Requests that are under way.
    pub in_flight: u64,
    /// How the window stands.
    pub breaker: Breaker,
    /// When the destination's certificate ends, Unix seconds; `None`: it has shown none.
    pub certificate_end: Option<i64>,
    /// Its dead letters; `None` when they could not be looked at.
    pub dead_letters: Option<Letters>,
}

/// Dead letters of one sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// How many there are.
    pub count: u64,
    /// Their bytes on disk.
    pub bytes: u64,
}

/// How a sink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// Working, or waiting for something to send.
    Ok,
    /// The last attempt failed; it is tried again.
    Retrying,
    /// Somebody has to act; it is tried again slowly.
    Halted,
    /// Another writer's bytes are under our keys: never tried again.
    Conflict,
}

impl SinkState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Retrying, Self::Halted, Self::Conflict];

    /// The name, as it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retrying => "retrying",
            Self::Halted => "halted",
            Self::Conflict => "conflict",
        }
    }
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    /// How long ago.
    pub seconds_ago: f64,
    /// Why it failed, as the log says it.
    pub what: String,
}
