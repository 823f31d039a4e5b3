//! Splunk and Datadog beside an archive, as a user runs them: the program against
//! stand-ins that are stricter than the real ones.

use crate::loggen::{crash_log, serial_of};
use crate::sandbox::{Sandbox, said};
use sealtail_standins::{
    Acks, Datadog, DatadogConfig, Fault, Moment, Observer, On, Pki, Reply, Splunk, SplunkConfig,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

pub(crate) const TOKEN: &str = "11111111-2222-4333-8444-555555555555";

pub(crate) fn sinks(
    sandbox: &Sandbox,
    splunk: Option<&str>,
    datadog: Option<&str>,
    more: &str,
) -> String {
    let token = sandbox.path("token");
    std::fs::write(&token, TOKEN).unwrap();
    let token = token.display();
    let mut text = String::new();
    if let Some(url) = splunk {
        writeln!(
            text,
            "  - {{name: splunk, type: splunk_hec, url: '{url}', token: {{file: '{token}'}}, \
             sourcetype: 'wa:{{event}}', host: '{{origin}}'{more}}}"
        )
        .unwrap();
    }
    if let Some(url) = datadog {
        writeln!(
            text,
            "  - {{name: datadog, type: datadog, url: '{url}', api_key: {{file: '{token}'}}, \
             service: wa, ddtags: ['env:test']{more}}}"
        )
        .unwrap();
    }
    text
}

/// Origin, incarnation and number of an event.
fn key_of(event: &Value) -> Option<(String, u64)> {
    let fields = event.get("fields").unwrap_or(event);
    let log = format!("{}/{}", fields["origin"].as_str()?, fields["incarnation"].as_str()?);
    Some((log, fields.get("seq")?.as_u64()?))
}

/// How often each number came, without the checkpoints.
fn counts(observer: &Observer) -> BTreeMap<u64, u64> {
    let counts = observer.count_by(key_of);
    let logs: BTreeSet<_> = counts.by_key.keys().map(|k| &k.0).collect();
    assert!(logs.len() <= 1, "{logs:?}");
    counts.by_key.iter().map(|((_, seq), n)| (*seq, *n)).collect()
}

/// The archive has each record once, and the other side has each of them.
pub(crate) fn agrees(sandbox: &Sandbox, observer: &Observer) -> u64 {
    let seq = |r: &String| serde_json::from_str::<Value>(r).unwrap()["seq"].as_u64().unwrap();
    let archive: Vec<u64> = sandbox.open().iter().map(seq).collect();
    assert_eq!(archive, (0..archive.len() as u64).collect::<Vec<_>>());
    let there = counts(observer);
    let missing: Vec<_> = archive.iter().filter(|seq| !there.contains_key(seq)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert_eq!(observer.violations(), []);
    there.values().map(|n| n - 1).sum()
}

#[test]
fn everything_arrives_at_all_three_and_so_does_the_checkpoint() {
    let pki = Pki::new().unwrap();
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki).acks(Acks::AtOnce)).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN).tls(&pki)).unwrap();
    let mut sandbox = Sandbox::directory();
    let ca = sandbox.path("ca.pem");
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    let tls = format!(", tls: {{ca: '{}'}}", ca.display());
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), &tls);
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(3000, 5, &mut std::fs::File::create(&log).unwrap()).unwrap();
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("events, "), "{}", said(&out));
    for observer in [splunk.observer(), datadog.observer()] {
        assert_eq!(agrees(&sandbox, observer), 0, "nothing twice");
        let texts =
            observer.with_accepted(|all| all.iter().map(|e| e.raw.clone()).collect::<Vec<_>>());
        let serials: BTreeSet<_> = texts.iter().filter_map(|t| serial_of(t)).collect();
        assert_eq!(serials.len(), expected.len());
        // The newest one is that of the `end` leaf: a cut archive is shorter.
        let checkpoint = texts.iter().rev().find(|t| t.contains("\"checkpoint\"")).unwrap();
        let size = sandbox.verify();
        assert!(checkpoint.contains("wa/test/"), "{checkpoint} {size}");
    }
    sandbox.verify();
    // The second run has nothing but its own start and end to say.
    let before = splunk.observer().stats().accepted;
    assert!(sandbox.once().status.success());
    assert!(splunk.observer().stats().accepted - before < 6);
    agrees(&sandbox, splunk.observer());
}

#[test]
fn killed_at_random_every_sink_has_every_record_and_the_archive_has_it_once() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).acks(Acks::AfterPolls(1))).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.batch_records = 700;
    let more = ", batch: {max_events: 200, max_age: 50ms}, max_in_flight: 4";
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), more);
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(20_000, 9, &mut std::fs::File::create(&log).unwrap()).unwrap();
    for script in [splunk.script(), datadog.script()] {
        for fault in [
            Fault::reset(Moment::MidRequest),
            Fault::reset(Moment::MidReply),
            Fault::reply(Reply::new(503)),
            Fault::half_reply(),
        ] {
            script.push_times(5, &Fault::none().on(On::Events));
            script.push(fault.on(On::Events));
        }
    }
    let mut at = 11_u64;
    for _ in 0..20 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut agent = sandbox.start(&[], false);
        std::thread::park_timeout(Duration::from_millis(20 + (at >> 33) % 300));
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    splunk.script().clear();
    datadog.script().clear();
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    for observer in [splunk.observer(), datadog.observer()] {
        agrees(&sandbox, observer);
    }
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
    sandbox.verify();
}

#[test]
fn a_refused_record_is_listed_shown_and_replayed() {
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, None, Some(&datadog.url()), "");
    let line = |n| format!("D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n}\n");
    let lines: String = (0..20).map(line).collect();
    std::fs::write(sandbox.path("logs/plain.log"), lines).unwrap();
    datadog.set_poison(|entry| entry["message"] == "round 7");
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("1 in the dead letters"), "{}", said(&out));
    let listed = sandbox.on_config(&["dead-letter", "list"]);
    let text = String::from_utf8(listed.stdout.clone()).unwrap();
    assert!(text.lines().count() == 1 && text.contains("HTTP 400"), "{}", said(&listed));
    let json = sandbox.on_config(&["dead-letter", "list", "--json"]);
    let letter: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&letter["sink"], &letter["status"]), (&"datadog".into(), &400.into()));
    let name = letter["name"].as_str().unwrap();
    let shown = sandbox.on_config(&["dead-letter", "show", name]);
    assert!(said(&shown).contains("round 7\""), "{}", said(&shown));
    let refused = sandbox.on_config(&["dead-letter", "replay", name]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    datadog.clear_poison();
    let replayed = sandbox.on_config(&["dead-letter", "replay"]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    agrees(&sandbox, datadog.observer());
    let none = sandbox.on_config(&["dead-letter", "list"]);
    assert!(said(&none).contains("there are no dead letters"), "{}", said(&none));
    let wrong = sandbox.on_config(&["dead-letter", "show", name]);
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
}

#[test]
fn without_an_archive_nothing_is_sealed_and_everything_is_delivered() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.has_archive = false;
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), None, "");
    std::fs::remove_file(sandbox.path("keys/signing.key")).unwrap();
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(500, 3, &mut std::fs::File::create(&log).unwrap()).unwrap();
    for _ in 0..2 {
        let out = sandbox.once();
        assert!(out.status.success(), "{}", said(&out));
    }
    let serials = splunk
        .observer()
        .with_accepted(|all| all.iter().filter_map(|e| serial_of(&e.raw)).collect::<BTreeSet<_>>());
    assert_eq!(serials.len(), expected.len());
    assert!(counts(splunk.observer()).values().all(|n| *n == 1));
    assert!(!sandbox.path("archive").exists());
}

#[test]
fn check_connect_says_what_is_reached_and_authorised() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), "");
    let out = sandbox.on_config(&["check", "--connect"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(said(&out).matches(" yes ").count(), 6, "{}", said(&out));
    let accepted = |o: &Observer| o.stats().accepted;
    assert_eq!((accepted(splunk.observer()), accepted(datadog.observer())), (0, 0));
    std::fs::write(sandbox.path("token"), "00000000-2222-4333-8444-555555555555").unwrap();
    let wrong = sandbox.settings.more_sinks.clone();
    sandbox.settings.more_sinks = wrong;
    let out = sandbox.on_config(&["check", "--connect"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert_eq!(said(&out).matches("NO").count(), 2, "{}", said(&out));
    assert!(said(&out).contains("the token is invalid"), "{}", said(&out));
    splunk.down();
    let out = sandbox.on_config(&["check", "--connect"]);
    assert!(said(&out).contains("refused"), "{}", said(&out));
}

#[test]
fn a_wrong_token_halts_one_sink_and_no_other() {
    let splunk = Splunk::start(SplunkConfig::new("another")).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), "");
    let log = sandbox.path("logs/gateway-json.log");
    crash_log(500, 3, &mut std::fs::File::create(&log).unwrap()).unwrap();
    let out = sandbox.once();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("failed to ship to splunk: HTTP 403, code 4"), "{}", said(&out));
    assert!(!said(&out).contains(TOKEN), "the token is in the log");
    agrees(&sandbox, datadog.observer());
    sandbox.verify();
    // The right one is in its file: nothing is lost, nothing comes twice.
    splunk.configure(|c| c.tokens[0].value = TOKEN.to_owned());
    assert!(sandbox.once().status.success());
    assert_eq!(agrees(&sandbox, splunk.observer()), 0);
}

/// Nothing is sealed where there is no archive, so no leaf says what was sent.
#[test]
fn without_an_archive_a_changed_origin_begins_a_new_log_when_all_is_sent() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.has_archive = false;
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), None, "");
    let line = "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round 1\n";
    std::fs::write(sandbox.path("logs/plain.log"), line).unwrap();
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    sandbox.settings.origin = "wa/moved";
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    let origins: BTreeSet<_> = splunk.observer().with_accepted(|all| {
        all.iter().filter_map(|e| e.json["fields"]["origin"].as_str().map(str::to_owned)).collect()
    });
    assert_eq!(origins, ["wa/moved", "wa/test"].map(str::to_owned).into());
    // And when the first archive comes later, it begins with a log of its own.
    sandbox.settings.has_archive = true;
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    sandbox.verify();
}

/// What is not among the fields that a sink gets does not come by another way.
#[test]
fn a_text_that_is_not_among_the_fields_is_not_the_message() {
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, None, Some(&datadog.url()), ", fields: [level]");
    let line = "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] secret round 1\n";
    std::fs::write(sandbox.path("logs/plain.log"), line).unwrap();
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    let texts = datadog
        .observer()
        .with_accepted(|all| all.iter().map(|e| e.raw.clone()).collect::<Vec<_>>());
    assert!(texts.iter().any(|t| t.contains("\"level\"")), "{texts:?}");
    assert!(!texts.iter().any(|t| t.contains("secret round")), "{texts:?}");
}
