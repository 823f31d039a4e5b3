//! The table of all metric families. `docs/metrics.md` has the same rows; a test
//! compares them.

use super::status::{Delivered, KeyState, Phase, Sink, SinkState, Status};
use crate::ship::window::Breaker;

/// What kind of thing a family measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// One sample for each state, of which exactly one is 1 and the others 0. Written
    /// as a gauge: the renderer has no state sets, and their label would have to bear
    /// the metric's own name.
    StateSet,
    /// Text in labels, with the value 1. Its sample ends in `_info`.
    Info,
}

impl Kind {
    /// The word in `docs/metrics.md`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::StateSet => "state set",
            Self::Info => "info",
        }
    }
}

/// A family of metrics.
pub struct Family {
    /// The name, which ends in the unit if there is one.
    pub name: &'static str,
    /// `bytes`, `seconds`, or nothing.
    pub unit: &'static str,
    /// What kind of thing it measures.
    pub kind: Kind,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// Its samples.
    pub(super) rows: fn(&Status) -> Vec<Row>,
}

impl Family {
    /// The name without the unit.
    pub(super) fn stem(&self) -> &'static str {
        let stem = self.name.strip_suffix(self.unit).and_then(|s| s.strip_suffix('_'));
        stem.filter(|_| !self.unit.is_empty()).unwrap_or(self.name)
    }

    /// The name of its samples.
    #[must_use]
    pub fn sample(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::StateSet => "",
        };
        format!("{}{suffix}", self.name)
    }
}

/// One sample: the values of the family's labels, and the number.
pub(super) struct Row {
    pub(super) labels: Vec<String>,
    pub(super) value: Number,
}

/// A number as it is written.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Whole(n)
    }
}

impl From<bool> for Number {
    fn from(n: bool) -> Self {
        Self::Whole(n.into())
    }
}

impl From<f64> for Number {
    fn from(n: f64) -> Self {
        Self::Real(n)
    }
}

fn one(value: impl Into<Number>) -> Vec<Row> {
    vec![Row { labels: Vec::new(), value: value.into() }]
}

fn maybe<T: Into<Number>>(value: Option<T>) -> Vec<Row> {
    value.map(one).unwrap_or_default()
}

/// A sample for each sink that has one.
fn sinks<T: Into<Number>>(status: &Status, value: impl Fn(&Sink) -> Option<T>) -> Vec<Row> {
    let row = |sink: &Sink| {
        let labels = vec![sink.name.clone(), sink.r#type.clone()];
        Some(Row { labels, value: value(sink)?.into() })
    };
    status.sinks.iter().filter_map(row).collect()
}

/// A sample for each sink that has a state, and each state that it can have.
fn states<S: PartialEq + Copy>(
    status: &Status,
    all: &[S],
    name: impl Fn(S) -> &'static str,
    state: impl Fn(&Sink) -> Option<S>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for sink in &status.sinks {
        let Some(now) = state(sink) else { continue };
        for one in all {
            let labels = vec![sink.name.clone(), sink.r#type.clone(), name(*one).to_owned()];
            rows.push(Row { labels, value: (*one == now).into() });
        }
    }
    rows
}

fn named<'a>(counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Vec<Row> {
    let row = |(name, n): (&String, &u64)| Row { labels: vec![name.clone()], value: (*n).into() };
    counts.into_iter().map(row).collect()
}

const SINK: &[&str] = &["sink", "type"];
const SINK_STATE: &[&str] = &["sink", "type", "state"];

/// All families, in the order in which they are written.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "sealtail_build",
        unit: "",
        kind: Kind::Info,
        labels: &["version"],
        help: "The version of the program",
        rows: |s| vec![Row { labels: vec![s.version.clone()], value: 1.into() }],
    },
    Family {
        name: "sealtail_phase",
        unit: "",
        kind: Kind::StateSet,
        labels: &["state"],
        help: "What the agent is doing: starting, running or draining",
        rows: |s| {
            let row =
                |p: Phase| Row { labels: vec![p.name().to_owned()], value: (p == s.phase).into() };
            Phase::ALL.into_iter().map(row).collect()
        },
    },
    Family {
        name: "sealtail_read_lines",
        unit: "",
        kind: Kind::Counter,
        labels: &[],
        help: "Lines read from log files",
        rows: |s| one(s.reading.lines),
    },
    Family {
        name: "sealtail_read_bytes",
        unit: "bytes",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes read from log files",
        rows: |s| one(s.reading.bytes),
    },
    Family {
        name: "sealtail_read_lag_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of log files that are there and have not been read",
        rows: |s| one(s.reading.lag_bytes),
    },
    Family {
        name: "sealtail_read_blocked",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while nothing is read because the journal is full or the volume has no space",
        rows: |s| one(s.reading.blocked),
    },
    Family {
        name: "sealtail_read_loop_age_seconds",
        unit: "seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Time since the loop that reads last turned; past 60 it hangs and /live says so",
        rows: |s| one(s.reading.turned_seconds_ago),
    },
    Family {
        name: "sealtail_records",
        unit: "",
        kind: Kind::Counter,
        labels: &[],
        help: "Records that became durable in the journal",
        rows: |s| one(s.reading.records),
    },
    Family {
        name: "sealtail_gaps",
        unit: "",
        kind: Kind::Counter,
        labels: &[],
        help: "Ranges of log files that could not be read, each a record that says so",
        rows: |s| one(s.reading.gaps),
    },
    Family {
        name: "sealtail_events",
        unit: "",
        kind: Kind::Counter,
        labels: &["event"],
        help: "Records by what they say",
        rows: |s| named(&s.reading.events),
    },
    Family {
        name: "sealtail_redactions",
        unit: "",
        kind: Kind::Counter,
        labels: &["class"],
        help: "What was taken out, by class or detector",
        rows: |s| named(&s.reading.redactions),
    },
    Family {
        name: "sealtail_journal_used_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes on disk of journal and outbox together",
        rows: |s| one(s.journal.used_bytes),
    },
    Family {
        name: "sealtail_journal_limit_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "The bound on them (journal.max_bytes)",
        rows: |s| one(s.journal.limit_bytes),
    },
    Family {
        name: "sealtail_journal_begin",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "Sequence number of the oldest record that the journal holds",
        rows: |s| one(s.journal.begin),
    },
    Family {
        name: "sealtail_journal_end",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "Sequence number that the next record gets",
        rows: |s| one(s.journal.end),
    },
    Family {
        name: "sealtail_seal_lag_records",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "Records that no sealed batch covers yet",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.lag_records)),
    },
    Family {
        name: "sealtail_seal_lag_seconds",
        unit: "seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Age of the oldest record that no sealed batch covers yet; 0 when none waits",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.lag_seconds)),
    },
    Family {
        name: "sealtail_data_key_state",
        unit: "",
        kind: Kind::StateSet,
        labels: &["state"],
        help: "Whether data keys are to be had of KMS: ok, retrying (by itself) or halted (somebody has to act)",
        rows: |s| {
            let Some(sealing) = &s.sealing else { return Vec::new() };
            let row = |k: KeyState| Row {
                labels: vec![k.name().to_owned()],
                value: (k == sealing.data_keys).into(),
            };
            KeyState::ALL.into_iter().map(row).collect()
        },
    },
    Family {
        name: "sealtail_seal_blocked",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while nothing is sealed: the outbox is full, or there is no data key",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.blocked)),
    },
    Family {
        name: "sealtail_log_leaves",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "Leaves of the signed log",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.leaves)),
    },
    Family {
        name: "sealtail_outbox_waiting_leaves",
        unit: "",
        kind: Kind::Gauge,
        labels: &[],
        help: "Leaves that some archive does not have yet",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.waiting_leaves)),
    },
    Family {
        name: "sealtail_outbox_used_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes on disk of sealed batches that wait",
        rows: |s| maybe(s.sealing.as_ref().map(|o| o.outbox_bytes)),
    },
    Family {
        name: "sealtail_dead_letters_limit_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "The bound on all dead letters (limits.dead_letters); a sink that would pass it halts",
        rows: |s| maybe(s.dead_letters.as_ref().map(|d| d.limit_bytes)),
    },
    Family {
        name: "sealtail_dead_letters",
        unit: "",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Records that the destination refused for good and that nobody has seen to",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.dead_letters?.count)),
    },
    Family {
        name: "sealtail_dead_letters_used_bytes",
        unit: "bytes",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Bytes on disk of those records",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.dead_letters?.bytes)),
    },
    Family {
        name: "sealtail_sink_state",
        unit: "",
        kind: Kind::StateSet,
        labels: SINK_STATE,
        help: "How the sink stands: ok, retrying (by itself), halted (somebody has to act) or \
               conflict (another writer)",
        rows: |s| states(s, &SinkState::ALL, SinkState::name, |k| Some(k.state)),
    },
    Family {
        name: "sealtail_sink_delivered_events",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Events that the destination has, and has acknowledged where it does that",
        rows: |s| sinks(s, |k| events(k).map(|(events, _)| events)),
    },
    Family {
        name: "sealtail_sink_delivered_batches",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Requests with events that were answered well",
        rows: |s| sinks(s, |k| events(k).map(|(_, batches)| batches)),
    },
    Family {
        name: "sealtail_sink_delivered_leaves",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Leaves that are in the archive, with their proofs",
        rows: |s| sinks(s, |k| sealed(k).map(|(leaves, _)| leaves)),
    },
    Family {
        name: "sealtail_sink_delivered_objects",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Sealed batches that are in the archive",
        rows: |s| sinks(s, |k| sealed(k).map(|(_, objects)| objects)),
    },
    Family {
        name: "sealtail_sink_sent_bytes",
        unit: "bytes",
        kind: Kind::Counter,
        labels: SINK,
        help: "Bytes of what was delivered, as they went out",
        rows: |s| sinks(s, |k| Some(k.sent_bytes)),
    },
    Family {
        name: "sealtail_sink_failures",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Attempts that failed",
        rows: |s| sinks(s, |k| Some(k.failures)),
    },
    Family {
        name: "sealtail_sink_halts",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Attempts that failed in a way that somebody has to see to",
        rows: |s| sinks(s, |k| Some(k.halts)),
    },
    Family {
        name: "sealtail_sink_condemned_records",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Records put into the dead letters",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.condemned)),
    },
    Family {
        name: "sealtail_sink_given_up_records",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Records that the sink gave up under a signed gap because the journal was full; the archive has them",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.given_up)),
    },
    Family {
        name: "sealtail_sink_late_records",
        unit: "",
        kind: Kind::Counter,
        labels: SINK,
        help: "Records older or newer than the destination takes, sent with their time in an attribute",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.late)),
    },
    Family {
        name: "sealtail_sink_next",
        unit: "",
        kind: Kind::Gauge,
        labels: SINK,
        help: "The cursor: sequence number of the next record to deliver; for an archive, index of the next leaf",
        rows: |s| sinks(s, |k| Some(k.next)),
    },
    Family {
        name: "sealtail_sink_lag",
        unit: "",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Records that wait for this sink; for an archive, leaves",
        rows: |s| sinks(s, |k| Some(k.lag)),
    },
    Family {
        name: "sealtail_sink_lag_seconds",
        unit: "seconds",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Age of the oldest record that waits for this sink, since it became durable; for an archive, \
               of the oldest leaf, since it was sealed; 0 when none waits",
        rows: |s| sinks(s, |k| Some(k.lag_seconds)),
    },
    Family {
        name: "sealtail_sink_window_requests",
        unit: "",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Requests that may be under way: grows while latency holds, falls to 1 on trouble",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.window)),
    },
    Family {
        name: "sealtail_sink_in_flight_requests",
        unit: "",
        kind: Kind::Gauge,
        labels: SINK,
        help: "Requests that are under way",
        rows: |s| sinks(s, |k| Some(k.feed.as_ref()?.in_flight)),
    },
    Family {
        name: "sealtail_sink_breaker",
        unit: "",
        kind: Kind::StateSet,
        labels: SINK_STATE,
        help: "How the window stands: closed (requests flow), probing (one finds out) or open (none is sent)",
        rows: |s| states(s, &Breaker::ALL, Breaker::name, |k| Some(k.feed.as_ref()?.breaker)),
    },
    Family {
        name: "sealtail_sink_certificate_expiry_timestamp_seconds",
        unit: "seconds",
        kind: Kind::Gauge,
        labels: SINK,
        help: "When the certificate that the destination showed last ends, Unix time",
        rows: |s| sinks(s, |k| Some(real(k.feed.as_ref()?.certificate_end?))),
    },
];

fn events(sink: &Sink) -> Option<(u64, u64)> {
    match sink.delivered {
        Delivered::Events { events, batches } => Some((events, batches)),
        Delivered::Sealed { .. } => None,
    }
}

fn sealed(sink: &Sink) -> Option<(u64, u64)> {
    match sink.delivered {
        Delivered::Sealed { leaves, objects } => Some((leaves, objects)),
        Delivered::Events { .. } => None,
    }
}

/// Unix seconds; exact until long after all of us.
fn real(seconds: i64) -> f64 {
    seconds as f64
}
