//! What is rendered, and that the documentation has the same.

use super::families::{FAMILIES, Family};
use super::openmetrics;
use super::status::{
    DeadLetters, Delivered, Feed, Journal, KeyState, LastError, Letters, Phase, Reading, Sealing,
    Sink, SinkState, Status,
};
use crate::redact::{Class, Event};
use crate::ship::window::Breaker;
use std::collections::{BTreeMap, BTreeSet};

/// An agent with an archive and a sink that is halted, with all that can be known.
pub(crate) fn sample() -> Status {
    let archive = Sink {
        name: "archive".into(),
        r#type: "archive".into(),
        state: SinkState::Ok,
        reason: None,
        last_error: None,
        delivered: Delivered::Sealed { leaves: 40, objects: 30 },
        sent_bytes: 123_456,
        failures: 0,
        halts: 0,
        next: 40,
        lag: 2,
        lag_seconds: 0.25,
        feed: None,
    };
    let splunk = Sink {
        name: "splunk".into(),
        r#type: "splunk_hec".into(),
        state: SinkState::Halted,
        reason: Some("HTTP 403: \"quoted\"".into()),
        last_error: Some(LastError { seconds_ago: 3.2, what: "HTTP 403: \"quoted\"".into() }),
        delivered: Delivered::Events { events: 1000, batches: 10 },
        sent_bytes: 5000,
        failures: 7,
        halts: 2,
        next: 1000,
        lag: 345,
        lag_seconds: 12.5,
        feed: Some(Feed {
            condemned: 3,
            given_up: 50,
            late: 1,
            window: 1,
            in_flight: 0,
            breaker: Breaker::Open,
            certificate_end: Some(1_800_000_000),
            dead_letters: Some(Letters { count: 3, bytes: 2048 }),
        }),
    };
    let count = |names: Vec<&str>| -> BTreeMap<_, _> {
        names.into_iter().map(|name| (name.to_owned(), name.len() as u64)).collect()
    };
    Status {
        version: "0.1.0".into(),
        origin: "wa/test".into(),
        incarnation: "20261124T100000Z-5f0c2a91".into(),
        running_seconds: 3700.0,
        phase: Phase::Running,
        live: true,
        reading: Reading {
            lines: 2000,
            bytes: 900_000,
            records: 1345,
            gaps: 1,
            lag_bytes: 4096,
            blocked: true,
            turned_seconds_ago: 0.002,
            events: count(Event::ALL.iter().map(|e| e.name()).collect()),
            redactions: count(Class::ALL.iter().map(|c| c.name()).collect()),
        },
        journal: Journal { used_bytes: 64 << 20, limit_bytes: 1 << 30, begin: 900, end: 1345 },
        sealing: Some(Sealing {
            leaves: 42,
            lag_records: 17,
            lag_seconds: 61.5,
            blocked: true,
            data_keys: KeyState::Retrying,
            waiting_leaves: 2,
            outbox_bytes: 99_999,
        }),
        dead_letters: Some(DeadLetters { count: 3, bytes: 2048, limit_bytes: 64 << 20 }),
        sinks: vec![archive, splunk],
    }
}

#[test]
fn names_units_and_types_are_those_of_openmetrics() {
    let text = openmetrics(sample()).unwrap();
    for line in [
        "# TYPE sealtail_build info",
        "sealtail_build_info{version=\"0.1.0\"} 1",
        "# TYPE sealtail_read_bytes counter",
        "# UNIT sealtail_read_bytes bytes",
        "sealtail_read_bytes_total 900000",
        "sealtail_read_blocked 1",
        "sealtail_redactions_total{class=\"phone\"} 5",
        "sealtail_journal_limit_bytes 1073741824",
        "sealtail_sink_state{sink=\"splunk\",type=\"splunk_hec\",state=\"halted\"} 1",
        "sealtail_sink_state{sink=\"splunk\",type=\"splunk_hec\",state=\"ok\"} 0",
        "sealtail_sink_state{sink=\"archive\",type=\"archive\",state=\"ok\"} 1",
        "sealtail_sink_breaker{sink=\"splunk\",type=\"splunk_hec\",state=\"open\"} 1",
        "sealtail_sink_lag{sink=\"archive\",type=\"archive\"} 2",
        "# UNIT sealtail_sink_lag_seconds seconds",
        "sealtail_sink_lag_seconds{sink=\"splunk\",type=\"splunk_hec\"} 12.5",
        "sealtail_sink_certificate_expiry_timestamp_seconds{sink=\"splunk\",type=\"splunk_hec\"} 1800000000.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Texts that a destination or the system wrote are in the status alone.
    assert!(!text.contains("403") && !text.contains("wa/test"), "{text}");
}

#[test]
fn every_family_is_rendered_once_with_its_labels_and_no_other() {
    let text = openmetrics(sample()).unwrap();
    let mut rendered = Vec::new();
    let mut labels = BTreeMap::<&str, BTreeSet<&str>>::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            rendered.push(rest.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            let (sample, rest) = line.split_once(['{', ' ']).unwrap();
            let known = labels.entry(sample).or_default();
            known.extend(rest.split(',').filter_map(|l| l.split_once("=\"").map(|(name, _)| name)));
        }
    }
    let names: Vec<_> = FAMILIES.iter().map(|f| f.name).collect();
    assert_eq!(rendered, names);
    for family in FAMILIES {
        let wanted: BTreeSet<_> = family.labels.iter().copied().collect();
        assert_eq!(labels.get(family.sample().as_str()), Some(&wanted), "{}", family.name);
        assert!(!family.help.ends_with('.') && !family.help.contains('|'), "{}", family.name);
    }
    assert_eq!(labels.len(), FAMILIES.len());
}

#[test]
fn what_is_not_known_has_no_sample() {
    let mut status = sample();
    status.sealing = None;
    status.dead_letters = None;
    status.sinks.remove(0);
    let feed = status.sinks[0].feed.as_mut().unwrap();
    feed.certificate_end = None;
    feed.dead_letters = None;
    let text = openmetrics(status).unwrap();
    for gone in [
        "_certificate_expiry",
        "sealtail_dead_letters",
        "sealtail_seal_",
        "sealtail_outbox_",
        "_leaves",
    ] {
        assert!(!text.contains(gone), "{gone}\n{text}");
    }
}

#[test]
fn a_status_survives_its_json() {
    let json = serde_json::to_string(&sample()).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), sample());
    // One of a newer version has more.
    let newer = json.replacen('{', "{\"new\":1,", 1);
    assert_eq!(serde_json::from_str::<Status>(&newer).unwrap(), sample());
}

fn documentation() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_documentation_has_every_family_and_no_other() {
    let text = documentation();
    let documented: Vec<_> = text.lines().filter(|l| l.starts_with("| `sealtail_")).collect();
    let row = |f: &Family| {
        let labels: Vec<_> = f.labels.iter().map(|l| format!("`{l}`")).collect();
        let (sample, kind) = (f.sample(), f.kind.name());
        format!("| `{sample}` | {kind} | {} | {} | {} |", f.unit, labels.join(" "), f.help)
            .replace("|  |", "| |")
            .replace("|  |", "| |")
    };
    let rows: Vec<_> = FAMILIES.iter().map(row).collect();
    assert!(documented == rows, "the table should be:\n{}", rows.join("\n"));
}

#[test]
fn every_metric_that_the_documentation_names_exists() {
    let samples: BTreeSet<_> = FAMILIES.iter().map(Family::sample).collect();
    let text = documentation();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = text.split(|c| !is_name(c)).filter(|word| word.starts_with("sealtail_"));
    let strange: Vec<_> = named.filter(|word| !samples.contains(*word)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}
