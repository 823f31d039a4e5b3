//! Fields that leave sealed: nothing of them in clear at Splunk and Datadog, all
//! of them back from an export with the archive and its identity.

use crate::feeds::{TOKEN, agrees, sinks};
use crate::loggen::crash_log;
use crate::sandbox::{Sandbox, repository, said};
use sealtail_standins::{Accepted, Acks, Datadog, DatadogConfig, Observer, Splunk, SplunkConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::process::{Output, Stdio};
use std::time::Duration;

const MORE: &str = ", batch: {max_age: 20ms}, seal_fields: [text, masked_sender, \
                    masked_recipient, business_number, detail, /source/path]";
const SEALED: [&str; 6] =
    ["/text", "/masked_sender", "/masked_recipient", "/business_number", "/detail", "/source/path"];

struct World {
    sandbox: Sandbox,
    splunk: Splunk,
    datadog: Datadog,
}

fn world() -> World {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).acks(Acks::AtOnce)).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), MORE);
    World { sandbox, splunk, datadog }
}

/// Appends lines of coreapp, each with a text of its own.
fn write_lines(sandbox: &Sandbox, from: u64, to: u64) {
    let log = sandbox.path("logs/plain.log");
    let mut log = File::options().create(true).append(true).open(log).unwrap();
    let line =
        |n| format!("D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] clear \"text\" \\ ünd {n}\n");
    let lines: String = (from..to).map(line).collect();
    std::io::Write::write_all(&mut log, lines.as_bytes()).unwrap();
}

impl World {
    fn observers(&self) -> [&Observer; 2] {
        [self.splunk.observer(), self.datadog.observer()]
    }

    /// What a search in Splunk and an export of Datadog would give, without the
    /// checkpoints.
    fn export(&self) -> String {
        let mut lines = String::new();
        for event in self.splunk.observer().accepted() {
            if event.json["event"].get("seq").is_some() {
                let raw = event.json["event"].to_string();
                writeln!(lines, "{}", json!({"preview": false, "result": {"_raw": raw}})).unwrap();
            }
        }
        for entry in self.datadog.observer().accepted() {
            if entry.json.get("record").is_some() {
                let inner = json!({"message": entry.json["message"], "attributes": entry.json});
                writeln!(lines, "{}", json!({"id": "x", "attributes": inner})).unwrap();
            }
        }
        lines
    }

    fn open_fields(&self, export: &str) -> Output {
        let input = self.sandbox.path("export.ndjson");
        std::fs::write(&input, export).unwrap();
        let archive = self.sandbox.archive();
        let path = |name| self.sandbox.path(name).display().to_string();
        let (identity, key) = (path("keys/archive.pem"), path("keys/signing.pub"));
        let arguments = ["open", &archive, "--identity", &identity, "--key", &key, "--fields"];
        let mut command = self.sandbox.command(&arguments);
        command.stdin(Stdio::from(File::open(input).unwrap())).output().unwrap()
    }

    /// Everything that either side got opens, and is what the archive has.
    fn check(&self) -> BTreeMap<u64, Value> {
        let of = |line: &str| -> (u64, Value) {
            let record: Value = serde_json::from_str(line).unwrap();
            (record["seq"].as_u64().unwrap(), record)
        };
        let archive: BTreeMap<_, _> = self.sandbox.open().iter().map(|line| of(line)).collect();
        for observer in self.observers() {
            agrees(&self.sandbox, observer);
            observer.with_accepted(|all| all.iter().for_each(|e| has_nothing_clear(e, &archive)));
        }
        let export = self.export();
        assert!(export.matches("enc1.").count() > 100, "nothing is sealed");
        let out = self.open_fields(&export);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let opened = String::from_utf8(out.stdout).unwrap();
        assert!(!opened.contains("enc1."), "something is still sealed");
        let added = |name: &str| {
            let fields = ["text", "masked_sender", "masked_recipient", "business_number"];
            matches!(name, "origin" | "incarnation")
                || name.strip_suffix("_token").is_some_and(|name| fields.contains(&name))
        };
        for line in opened.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let mut record = match line["result"]["_raw"].as_str() {
                Some(raw) => serde_json::from_str(raw).unwrap(),
                None => line["attributes"]["attributes"]["record"].clone(),
            };
            let members = record.as_object_mut().unwrap();
            members.retain(|name, _| !added(name));
            if let Some(source) = members.get_mut("source") {
                source.as_object_mut().unwrap().remove("path_token").unwrap();
            }
            let seq = record["seq"].as_u64().unwrap();
            assert_eq!(record, archive[&seq]);
        }
        archive
    }
}

/// No value of a sealed field is in what arrived of its record, unless another
/// field has the same in clear.
fn has_nothing_clear(event: &Accepted, archive: &BTreeMap<u64, Value>) {
    for clear in ["clear", "ünd", "plain.log"] {
        assert!(!event.raw.contains(clear), "{clear} left in clear: {}", event.raw);
    }
    let record = event.json.get("event").or_else(|| event.json.get("record"));
    let Some(seq) = record.and_then(|r| r["seq"].as_u64()) else { return };
    let mut rest = archive[&seq].clone();
    let of = |pointer: &&str| rest.pointer_mut(pointer).map(Value::take);
    let values: Vec<Value> = SEALED.iter().filter_map(of).collect();
    let rest = rest.to_string();
    for value in values.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)) {
        let written = Value::from(value.as_str()).to_string();
        let written = written.trim_matches('"');
        let left = event.raw.contains(written) && !rest.contains(written);
        assert!(!left, "{value} left in clear: {}", event.raw);
    }
}

#[test]
fn nothing_is_in_clear_and_an_export_opens_to_what_the_archive_has() {
    let world = world();
    let mut log = File::create(world.sandbox.path("logs/gateway-json.log")).unwrap();
    crash_log(500, 5, &mut log).unwrap();
    write_lines(&world.sandbox, 0, 100);
    let samples = repository().join("samples/plain/handler.log");
    std::fs::copy(samples, world.sandbox.path("logs/handler.log")).unwrap();
    let out = world.sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    let archive = world.check();
    let has = |name: &str| archive.values().any(|r| r[name].is_string());
    assert!(has("text") && has("masked_sender"));
    // Equal texts have equal tokens, under which they can be searched for.
    let tokens = |text: &str| {
        let seqs = archive.values().filter(|r| r["text"] == text).map(|r| r["seq"].as_u64());
        let seqs: Vec<_> = seqs.flatten().collect();
        let events = world.splunk.observer().accepted();
        let mut tokens: Vec<_> = events
            .iter()
            .filter(|e| e.json["event"]["seq"].as_u64().is_some_and(|s| seqs.contains(&s)))
            .map(|e| e.json["event"]["text_token"].to_string())
            .collect();
        tokens.dedup();
        tokens
    };
    let text = archive.values().find_map(|r| r["text"].as_str()).unwrap();
    assert_eq!(tokens(text).len(), 1, "{text}");
    // One that was moved to another record does not open, and is named.
    let export = world.export();
    let mut lines: Vec<_> = export.lines().collect();
    let at = lines.iter().position(|l| l.contains("enc1.")).unwrap();
    let sealed = lines[at].replacen("\\\"seq\\\":", "\\\"seq\\\":9", 1);
    assert_ne!(sealed, lines[at]);
    lines[at] = &sealed;
    let out = world.open_fields(&format!("{}\n", lines.join("\n")));
    assert_eq!(out.status.code(), Some(1));
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(stderr.contains(&format!("line {}, /result/_raw/", at + 1)), "{stderr}");
    assert!(String::from_utf8(out.stdout).unwrap().contains(&sealed), "left as it was");
}

/// What is sent again is sealed with a key of the same log that the archive has.
#[test]
fn a_replay_seals_too() {
    let world = world();
    write_lines(&world.sandbox, 0, 100);
    let out = world.sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    let path = |name| world.sandbox.path(name).display().to_string();
    let (archive, identity) = (world.sandbox.archive(), path("keys/archive.pem"));
    let events = world.splunk.observer().accepted();
    let incarnation = events[0].json["fields"]["incarnation"].as_str().unwrap();
    let key = path("keys/signing.pub");
    let replayed = world.sandbox.on_config(&[
        "replay",
        &archive,
        "--sink",
        "splunk",
        "--identity",
        &identity,
        "--key",
        &key,
        "--incarnation",
        incarnation,
        "--from-seq",
        "10",
        "--to-seq",
        "60",
    ]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    let again = |e: &Accepted| e.json["fields"]["possible_duplicate"] == "true";
    let count = |all: &[Accepted]| all.iter().filter(|e| again(e)).count();
    assert_eq!(world.splunk.observer().with_accepted(count), 51);
    world.check();
}

#[test]
fn killed_at_random_everything_that_left_opens() {
    let world = world();
    let mut at = 11_u64;
    for round in 0..12 {
        write_lines(&world.sandbox, round * 200, (round + 1) * 200);
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut agent = world.sandbox.start(&[], false);
        std::thread::park_timeout(Duration::from_millis(10 + (at >> 33) % 200));
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    let out = world.sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    world.check();
    world.sandbox.verify();
}

/// Between the request for a key and its leaf, and around the leaf's commit: the
/// second entry of a life is the key's.
#[cfg(feature = "fault-points")]
#[test]
fn killed_at_fault_points_of_a_field_key_nothing_left_that_does_not_open() {
    use std::os::unix::process::ExitStatusExt as _;
    let world = world();
    let plans = [
        "seal.key:1",
        "outbox.write:2",
        "outbox.sync:2",
        "outbox.rename:2",
        "outbox.sync_dir:2",
        "outbox.done:2",
        "seal.key.done:1",
        "archive.claim:2",
        "archive.object:1",
    ];
    for (n, plan) in plans.iter().enumerate() {
        write_lines(&world.sandbox, n as u64 * 100, (n as u64 + 1) * 100);
        let status = world.sandbox.start(&[("SEALTAIL_FAULT", plan)], true).wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{plan}: {status}");
        // All but the last two are before a key is given out.
        let early = !plan.starts_with("archive");
        assert!(!early || world.export().is_empty(), "{plan}: something left");
    }
    let out = world.sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    world.check();
    world.sandbox.verify();
}

#[test]
fn a_dead_letter_of_such_a_sink_is_kept_and_not_sent_in_clear() {
    let world = world();
    write_lines(&world.sandbox, 0, 20);
    world.datadog.set_poison(|entry| entry["record"]["seq"] == 8);
    let out = world.sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("1 in the dead letters"), "{}", said(&out));
    let listed = world.sandbox.on_config(&["dead-letter", "list", "--json"]);
    let letter: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let name = letter["name"].as_str().unwrap();
    let shown = world.sandbox.on_config(&["dead-letter", "show", name]);
    assert!(said(&shown).contains("clear"), "as in the journal: {}", said(&shown));
    world.datadog.clear_poison();
    let before = world.datadog.observer().stats().accepted;
    let replayed = world.sandbox.on_config(&["dead-letter", "replay", name]);
    assert_eq!(replayed.status.code(), Some(1), "{}", said(&replayed));
    assert!(said(&replayed).contains("it seals fields"), "{}", said(&replayed));
    assert_eq!(world.datadog.observer().stats().accepted, before);
}
