//! What sinks sealed, opened from the archive that the same log went to.

use super::super::tests::{DEV, NOW, archive, files, find, request, sink, verify, wait};
use super::super::verify as verifying;
use super::super::verify::Verdict;
use super::*;
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{self, Journal, JournalKey, Kind, Seq};
use crate::redact::ValueTokens;
use crate::sealer::datakey::{LocalKeys, Supply};
use crate::sealer::outbox::Outbox;
use crate::sealer::ring::Ring;
use crate::sealer::{self, Codec, Sealer};
use crate::ship::batch::{Encode, How, Record};
use crate::sink::event::{Log, Selection};
use crate::sink::sealed::{self, Pointer};
use crate::sink::{datadog, splunk};
use sealtail_seal::keys::SigningKey;
use sealtail_seal::message::{Identity, Recipient};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

const TEXT: &str = "a \"quoted\" täxt \\ {enc1.}";

/// An archive with a field key in it, and what Splunk and Datadog were sent of
/// record 0.
struct World {
    _root: tempfile::TempDir,
    path: PathBuf,
    log: Log,
    splunk: Value,
    datadog: Value,
}

fn body() -> Vec<u8> {
    let record = json!({
        "event": "log", "text": TEXT, "time": "2026-11-22T10:06:08.249Z",
        "source": {"path": "/l/x.log", "offset": 7}, "list": [{"a": null}, 1.50],
    });
    record.to_string().as_bytes()[1..].to_vec()
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let (home, path) = (root.path().join("j"), root.path().join("archive"));
    let options =
        journal::Options { path: home.clone(), max_bytes: 64 << 20, segment_bytes: 1 << 20 };
    let mut journal =
        Journal::open(disk.clone(), options, &JournalKey::new([5; 32]), "wa/test", NOW).unwrap();
    let outbox =
        Arc::new(Outbox::open(disk.clone(), home.join("outbox"), journal.handle()).unwrap());
    let options = sealer::Options {
        max_bytes: 1 << 20,
        max_records: 5,
        max_age_ms: 1000,
        codec: Codec::Gzip(1),
        heartbeat_ms: 300_000,
        outbox_bytes: 16 << 20,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", DEV)]))),
        signing_key: SigningKey::from_seed(&[1; 32]),
        config_hash: [2; 32],
        waivers: sealer::Waivers::default(),
    };
    let id = journal.id().clone();
    let mut sealer =
        Sealer::open(options, id.clone(), Arc::clone(&outbox), journal.handle(), NOW).unwrap();
    let (ring, maker) = Ring::new();
    sealer.serve(maker);
    journal.append(Kind::Line, &body());
    journal.commit(NOW).unwrap();
    while sealer.step(NOW).unwrap() == sealer::Step::Worked {}
    let log = Log { origin: id.origin, incarnation: id.incarnation };
    let fields = ["text", "/source/path", "/list/0/a", "/list/1"];
    let sealed = fields.iter().map(|f| Pointer::parse(f).unwrap()).collect();
    let wanted = Selection { sealed, ..Selection::default() };
    let keys = sealed::FieldKeys::new(ring, ValueTokens::new(&[7; 32]));
    let encoded = |encoder: &mut dyn Encode| -> Value {
        let mut out = Vec::new();
        let record = Record { seq: Seq(0), journaled: NOW, body: &body() };
        encoder.encode(&record, How { now: NOW, ..How::default() }, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let metadata = splunk::Metadata::default();
    let splunk = splunk::Encoder::new(log.clone(), metadata, wanted.clone(), (1 << 20, 10));
    let splunk = encoded(&mut splunk.sealing(Some(keys.clone())));
    let metadata = datadog::Metadata::default();
    let limits = (1 << 20, 10);
    let datadog = datadog::Encoder::new(log.clone(), metadata, wanted, limits, Arc::default());
    let datadog = encoded(&mut datadog.sealing(Some(keys)));
    sealer.end(NOW).unwrap();
    let mut sink = sink(disk, &path, &home, outbox);
    while wait(sink.step(NOW)).unwrap() {}
    World { _root: root, path, log, splunk, datadog }
}

impl World {
    fn open(&self, input: &str) -> (String, Opened, Vec<Sealed>) {
        self.open_with(input, &[1; 32])
    }

    fn open_with(&self, input: &str, seed: &[u8; 32]) -> (String, Opened, Vec<Sealed>) {
        let request = Request {
            identities: vec![Identity::aes("dev", DEV)].into(),
            keys: vec![SigningKey::from_seed(seed).public()],
        };
        let (mut out, mut sealed) = (Vec::new(), Vec::new());
        let mut tell = |one: &Sealed| sealed.push(one.clone());
        let archive = archive(&self.path);
        let mut input = input.as_bytes();
        let opened = wait(open(&archive, request, &mut input, &mut out, &mut tell)).unwrap();
        (String::from_utf8(out).unwrap(), opened, sealed)
    }

    /// The record as Splunk got it, sealed.
    fn record(&self) -> &Value {
        &self.splunk["event"]
    }
}

/// Whether these are the archive's values.
#[track_caller]
fn is_open(record: &Value) {
    assert_eq!(record["text"], TEXT);
    assert_eq!(record["source"]["path"], "/l/x.log");
    assert_eq!(record["list"], json!([{"a": null}, 1.5]));
    assert_eq!(record["source"]["offset"], 7);
    assert!(record["text_token"].as_str().unwrap().starts_with("t1."));
}

#[test]
fn every_form_that_an_export_has_is_opened() {
    let world = world();
    let record = world.record();
    assert!(!record.to_string().contains("quoted") && record["text"] != TEXT);
    // A record alone; what HEC was sent; Splunk's search results; what Datadog
    // was sent; what Datadog exports.
    let result = json!({
        "preview": false, "offset": 0,
        "result": {"_raw": record.to_string(), "_time": "2026-11-22 10:06:08.249 UTC", "seq": "0"},
    });
    let spread = json!({"result": {
        "text": record["text"], "source.path": record["source"]["path"], "seq": ["0", "0"],
        "origin": world.log.origin, "incarnation": [world.log.incarnation, world.log.incarnation],
    }});
    let export = json!({"id": "AAA", "type": "log", "attributes": {
        "message": "log", "service": "wa", "attributes": world.datadog,
    }});
    let forms = [record, &world.splunk, &result, &spread, &world.datadog, &export];
    let lines: String = forms.iter().map(|form| format!("{form}\n")).collect();
    let (out, opened, sealed) = world.open(&lines);
    assert_eq!(sealed, []);
    assert_eq!((opened.lines, opened.fields, opened.failed), (6, 5 * 4 + 2, 0));
    let out: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    is_open(&out[0]);
    is_open(&out[1]["event"]);
    is_open(&serde_json::from_str(out[2]["result"]["_raw"].as_str().unwrap()).unwrap());
    assert_eq!(out[3]["result"]["text"], TEXT);
    assert_eq!(out[3]["result"]["source.path"], "/l/x.log");
    is_open(&out[4]["record"]);
    is_open(&out[5]["attributes"]["attributes"]["record"]);
    // A number comes back as it was written.
    assert!(lines.contains("1.5") || out[0].to_string().contains("1.5"));
}

#[test]
fn lines_without_a_token_pass_as_they_are() {
    let world = world();
    let lines =
        "\n{ \"a\" : 1.0 }\r\n  not JSON\n{\"text\":\"about enc1. and enc1.x.y\"}\nenc1.\n[]";
    let (out, opened, sealed) = world.open(lines);
    assert_eq!((out.as_str(), opened.lines, opened.fields), (lines, 6, 0));
    assert_eq!(sealed, []);
    // What is opened keeps what is around it.
    let line = format!("  {} \r\n", world.record());
    let (out, opened, _) = world.open(&line);
    assert!(out.starts_with("  {") && out.ends_with("} \r\n"), "{out}");
    assert_eq!(opened.fields, 4);
}

#[test]
fn what_does_not_open_stays_and_is_named() {
    let world = world();
    let record = world.record();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = record.clone();
        change(&mut changed);
        // One token alone, so that a line is one case.
        changed["source"].as_object_mut().unwrap().remove("path");
        changed["list"] = json!([]);
        changed
    };
    let token = record["text"].as_str().unwrap().to_owned();
    let mut flipped = token.clone().into_bytes();
    flipped[60] = if flipped[60] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let other_key = token.replace(&token[5..13], "AAAAAAAA");
    let cases = [
        (changed(&|r| r["text"] = flipped.clone().into()), "/text", "does not open"),
        (changed(&|r| r["seq"] = 1.into()), "/text", "does not open"),
        (changed(&|r| r["origin"] = "wa/other".into()), "/text", "is not in this archive"),
        (changed(&|r| r["incarnation"] = "../x".into()), "/text", "is not one"),
        (changed(&|r| r["text"] = other_key.clone().into()), "/text", "is not in this archive"),
        (changed(&|r| r["text"] = token[..54].into()), "/text", "does not open"),
        (changed(&|r| r["text"] = token[..30].into()), "/text", "cut short"),
        (changed(&|r| r["text"] = format!("see {token}").into()), "/text", "inside a text"),
        (
            changed(&|r| {
                r["other"] = r["text"].take();
            }),
            "/other",
            "does not open",
        ),
        (json!({"result": {"text": token}}), "/result/text", "nothing around it says"),
        (json!({"message": &record.to_string()[..400]}), "/message", "inside a text"),
    ];
    for (line, pointer, reason) in cases {
        let line = format!("{{}}\n{line}\n");
        let (out, opened, sealed) = world.open(&line);
        assert_eq!(out, line);
        assert_eq!((opened.fields, opened.failed), (0, 1), "{line}");
        assert_eq!((sealed[0].line, sealed[0].pointer.as_str()), (2, pointer));
        assert!(sealed[0].reason.contains(reason), "{line}{}", sealed[0].reason);
    }
    let (_, _, sealed) = world.open(&format!("so: {token}\n"));
    assert_eq!(sealed[0].reason, "the line is no JSON");
    // One that does not open keeps nobody else from it.
    let mut some = record.clone();
    some["text"] = flipped.into();
    let (out, opened, sealed) = world.open(&some.to_string());
    assert_eq!((opened.fields, opened.failed, sealed.len()), (3, 1, 1));
    assert!(out.contains("/l/x.log"));
}

#[test]
fn a_key_is_believed_when_the_signed_log_names_it() {
    let world = world();
    let line = world.record().to_string();
    let (_, opened, sealed) = world.open_with(&line, &[9; 32]);
    assert_eq!((opened.fields, opened.failed), (0, 4));
    assert!(sealed[0].reason.contains("not signed by the given key"), "{}", sealed[0].reason);
    let object = find(&world.path, "/keys/");
    let before = std::fs::read(&object).unwrap();
    // Anyone can seal to the recipients: another key under the same id.
    let said = |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => std::fs::write(&object, bytes).unwrap(),
            None => std::fs::remove_file(&object).unwrap(),
        }
        let (out, opened, sealed) = world.open(&line);
        std::fs::write(&object, &before).unwrap();
        assert_eq!((out.as_str(), opened.failed), (line.as_str(), 4));
        sealed[0].reason.clone()
    };
    let forged = forged(&world);
    assert!(said(Some(&forged)).contains("is not what leaf"));
    assert!(said(Some(&before[..before.len() - 1])).contains("truncated"));
    assert!(said(None).contains("is not in this archive"));
    assert_eq!(world.open(&line).1.fields, 4);
}

/// A key object with the right context and another key.
fn forged(world: &World) -> Vec<u8> {
    use sealtail_seal::message::{Decryptor, Encryptor};
    let mut decryptor = Decryptor::new(vec![Identity::aes("dev", DEV)]);
    let mut plain = Vec::new();
    decryptor.update(&std::fs::read(find(&world.path, "/keys/")).unwrap(), &mut plain).unwrap();
    decryptor.finish().unwrap();
    assert_eq!(plain.len(), 32);
    let context = decryptor.context().unwrap();
    let mut encryptor = Encryptor::new(context, &[Recipient::aes("dev", DEV)]).unwrap();
    let mut out = Vec::new();
    encryptor.header(&mut out);
    encryptor.update(&[7; 32], &mut out).unwrap();
    encryptor.finish(&mut out).unwrap();
    out
}

#[test]
fn verify_looks_at_field_keys_as_at_batches() {
    let world = world();
    let report = verify(&world.path);
    assert!(report.holds(), "{report}");
    assert_eq!((report.logs[0].objects, report.logs[0].records), (2, 1));
    let object = find(&world.path, "/keys/");
    let name = object.file_name().unwrap().to_string_lossy().into_owned();
    let named = |report: &verifying::Report| report.problems.iter().any(|p| p.contains(&name));
    let before = std::fs::read(&object).unwrap();
    for bytes in [&before[..before.len() - 1], &forged(&world)] {
        std::fs::write(&object, bytes).unwrap();
        let report = verify(&world.path);
        assert_eq!(report.intact, Verdict::No, "{report}");
        assert!(named(&report), "{report}");
    }
    std::fs::remove_file(&object).unwrap();
    let report = verify(&world.path);
    assert_eq!((report.intact, report.complete), (Verdict::Yes, Verdict::No), "{report}");
    assert!(named(&report), "{report}");
    std::fs::write(&object, &before).unwrap();
    let copy = object.with_file_name("AAAAAAAA.esdk");
    std::fs::copy(&object, &copy).unwrap();
    let report = verify(&world.path);
    assert!(report.problems.iter().any(|p| p.contains("AAAAAAAA") && p.contains("unlisted")));
    std::fs::remove_file(copy).unwrap();
    let mut wrong = request(false);
    wrong.identities = vec![Identity::aes("dev", [9; 32])].into();
    let report = wait(verifying::verify(&archive(&world.path), wrong)).unwrap();
    assert_eq!((report.intact, report.decrypted), (Verdict::Yes, Verdict::No), "{report}");
    assert!(named(&report), "{report}");
}

/// A key leaf has no time of its own.
#[test]
fn a_field_key_on_its_way_is_in_flight_and_later_missing() {
    let world = world();
    // Cut the log behind its key leaf.
    for file in files(&world.path) {
        let name = file.to_string_lossy().into_owned();
        let index = name.rsplit('/').next().unwrap().strip_suffix(".tlog-proof");
        let later = index.is_some_and(|index| index.parse::<u64>().unwrap() > 1);
        if later || name.contains("/batch/") || name.contains("/keys/") {
            std::fs::remove_file(&file).unwrap();
        }
    }
    let proof = std::fs::read_to_string(find(&world.path, "01.tlog-proof")).unwrap();
    let (_, note) = proof.split_once("\n\n").unwrap();
    std::fs::write(find(&world.path, "checkpoint"), note).unwrap();
    let report = verify(&world.path);
    assert!(report.holds(), "{report}");
    assert!(report.notes.iter().any(|n| n.contains("in flight")), "{report}");
    let mut later = request(true);
    later.now = NOW + 3_600_000;
    let report = wait(verifying::verify(&archive(&world.path), later)).unwrap();
    assert_eq!(report.complete, Verdict::No, "{report}");
}
