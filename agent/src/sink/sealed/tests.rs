use super::*;
use crate::disk::sim::SimDisk;
use crate::journal::{self, Journal, JournalKey, Kind, Seq};
use crate::sealer::datakey::{LocalKeys, Supply};
use crate::sealer::outbox::Outbox;
use crate::sealer::{self, Codec, Sealer};
use crate::ship::batch::{Batch, Batcher, Encode, FillError, Filled, How, Record};
use crate::sink::event::{Selection, Template};
use crate::sink::{datadog, splunk};
use sealtail_seal::field::Token;
use sealtail_seal::keys::SigningKey;
use sealtail_seal::message::Recipient;
use serde_json::Value;

const BODY: &[u8] = br#""event":"log","level":"W","text":"secret \"text\"","user":"u-1","user_token":"t1.theirs","source":{"path":"/secret/x","n":[1, 2]},"detail":{"a":[{"b":"secret 1"},{"b":7}],"c":null},"time":"2026-11-22T10:06:08.249Z"}"#;
const NOW: u64 = 1_795_341_970_000;
const TOKEN_KEY: [u8; 32] = [7; 32];

fn log() -> Log {
    Log { origin: "wa/a".into(), incarnation: "i".into() }
}

fn selection(fields: &[&str]) -> Selection {
    let sealed = fields.iter().map(|f| Pointer::parse(f).unwrap()).collect();
    Selection { sealed, ..Selection::default() }
}

/// A journal, its sealer, and what sinks seal with.
struct World {
    journal: Journal,
    sealer: Sealer,
    ring: Arc<Ring>,
    keys: FieldKeys,
}

fn world() -> World {
    let disk: crate::disk::SharedDisk = Arc::new(SimDisk::new());
    let options =
        journal::Options { path: "/j".into(), max_bytes: 8 << 20, segment_bytes: 512 << 10 };
    let key = JournalKey::new([5; 32]);
    let journal = Journal::open(Arc::clone(&disk), options, &key, "wa/a", NOW).unwrap();
    let outbox = Arc::new(Outbox::open(disk, "/j/outbox".into(), journal.handle()).unwrap());
    let options = sealer::Options {
        max_bytes: 1 << 30,
        max_records: u64::MAX,
        max_age_ms: u64::MAX,
        codec: Codec::Zstd(1),
        heartbeat_ms: u64::MAX,
        outbox_bytes: 2 << 20,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", [4; 32])]))),
        signing_key: SigningKey::from_seed(&[1; 32]),
        config_hash: [2; 32],
        waivers: sealer::Waivers::default(),
    };
    let id = journal.id().clone();
    let mut sealer = Sealer::open(options, id, outbox, journal.handle(), NOW).unwrap();
    let (ring, maker) = Ring::new();
    sealer.serve(maker);
    let keys = FieldKeys::new(Arc::clone(&ring), ValueTokens::new(&TOKEN_KEY));
    World { journal, sealer, ring, keys }
}

fn with_key() -> World {
    let mut world = world();
    world.sealer.step(NOW).unwrap();
    world
}

fn hec(world: &World, wanted: Selection) -> splunk::Encoder {
    splunk::Encoder::new(log(), splunk::Metadata::default(), wanted, (100_000, 1000))
        .sealing(Some(world.keys.clone()))
}

fn dd(world: &World, wanted: Selection) -> datadog::Encoder {
    let limits = (datadog::MAX_BYTES, datadog::MAX_ENTRIES);
    datadog::Encoder::new(log(), datadog::Metadata::default(), wanted, limits, Arc::default())
        .sealing(Some(world.keys.clone()))
}

/// The text of the one entry of a record.
fn encoded(encoder: &mut dyn Encode, body: &[u8]) -> String {
    let mut out = Vec::new();
    let record = Record { seq: Seq(7), journaled: 0, body };
    let how = How { now: NOW, ..How::default() };
    assert_eq!(encoder.encode(&record, how, &mut out), Ok(1));
    String::from_utf8(out).unwrap()
}

fn opened(world: &World, pointer: &str, token: &Value) -> String {
    let place = Place { origin: "wa/a", incarnation: "i", seq: 7, pointer };
    let key = world.ring.key(NOW).unwrap();
    let value = key.open(&place, &Token::parse(token.as_str().unwrap()).unwrap()).unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn pointers_have_one_form() {
    for (text, form) in [
        ("text", "/text"),
        ("/text", "/text"),
        ("/source/path", "/source/path"),
        ("/a~1b/~0/0", "/a~1b/~0/0"),
    ] {
        assert_eq!(Pointer::parse(text).unwrap().to_string(), form);
    }
    for bad in ["", "/", "a/b", "~0", "/a~2", "/a~", "/a//b", "/a/"] {
        assert!(Pointer::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Pointer::parse(&"x".repeat(1001)).is_err());
    let of = |text| Pointer::parse(text).unwrap();
    assert!(of("source").covers(&of("/source/path")) && of("text").covers(&of("/text")));
    assert!(!of("/source/path").covers(&of("source")) && !of("a").covers(&of("ab")));
    assert_eq!(of("/a~1b/c").first(), "a/b");
}

#[test]
fn what_is_named_leaves_sealed_and_everything_else_as_it_is() {
    let world = with_key();
    let fields = ["text", "user", "/source/path", "/detail/a/0/b", "/detail/c", "/nothing/here"];
    let of_splunk = encoded(&mut hec(&world, selection(&fields)), BODY);
    let of_datadog = encoded(&mut dd(&world, selection(&fields)), BODY);
    assert!(!of_splunk.contains("secret") && !of_datadog.contains("secret"), "{of_datadog}");
    let splunk: Value = serde_json::from_str(&of_splunk).unwrap();
    let datadog: Value = serde_json::from_str(&of_datadog).unwrap();
    assert_eq!(datadog["message"], "log", "the text's place is taken by the event's name");
    for record in [&splunk["event"], &datadog["record"]] {
        for (pointer, value) in [
            ("/text", r#""secret \"text\"""#),
            ("/user", "\"u-1\""),
            ("/source/path", "\"/secret/x\""),
            ("/detail/a/0/b", "\"secret 1\""),
            ("/detail/c", "null"),
        ] {
            assert_eq!(opened(&world, pointer, record.pointer(pointer).unwrap()), value);
        }
        // Texts can be searched for by a token, unless they had one already.
        let token = |text| {
            let token = ValueTokens::new(&TOKEN_KEY).token(text);
            Value::from(std::str::from_utf8(&token).unwrap())
        };
        assert_eq!(record["text_token"], token("secret \"text\""));
        assert_eq!(record["source"]["path_token"], token("/secret/x"));
        assert_eq!(record["detail"]["a"][0]["b_token"], token("secret 1"));
        assert_eq!(record["user_token"], "t1.theirs");
        assert_eq!(of_splunk.matches("user_token").count(), 1);
        assert!(record["detail"].get("c_token").is_none());
        // Who opens it has to know which record it is, also from the record alone.
        assert_eq!(record["origin"], "wa/a");
        assert_eq!(record["incarnation"], "i");
        assert_eq!((&record["seq"], &record["event"]), (&7.into(), &"log".into()));
        assert_eq!(record["source"]["n"], serde_json::json!([1, 2]));
        assert_eq!(record["detail"]["a"][1]["b"], 7);
        assert!(record.get("nothing").is_none());
    }
}

#[test]
fn a_whole_object_is_sealed_and_a_token_gets_no_token() {
    let world = with_key();
    let mut wanted = selection(&["source", "user_token"]);
    wanted.fields = vec!["source".into(), "user_token".into(), "level".into()];
    let event: Value = serde_json::from_str(&encoded(&mut hec(&world, wanted), BODY)).unwrap();
    let names: Vec<_> = event["event"].as_object().unwrap().keys().map(String::as_str).collect();
    let all = [
        "event",
        "incarnation",
        "journaled",
        "level",
        "origin",
        "seq",
        "source",
        "time",
        "user_token",
    ];
    assert_eq!(names, all);
    let source = opened(&world, "/source", &event["event"]["source"]);
    assert_eq!(source, r#"{"path":"/secret/x","n":[1, 2]}"#);
}

/// The configuration refuses such a template; if one came through, it would copy
/// nothing.
#[test]
fn no_template_copies_what_is_sealed() {
    let world = with_key();
    let template = Some(Template::parse("{level}{path}").unwrap());
    let metadata = splunk::Metadata { source: template, ..splunk::Metadata::default() };
    for sealed in [&["level", "source"], &["level", "/source/path"]] {
        let limits = (100_000, 1000);
        let mut encoder = splunk::Encoder::new(log(), metadata.clone(), selection(sealed), limits)
            .sealing(Some(world.keys.clone()));
        let event: Value = serde_json::from_str(&encoded(&mut encoder, BODY)).unwrap();
        assert_eq!(event["source"], "");
    }
}

#[test]
fn a_text_that_is_sealed_is_not_in_the_parts_of_a_long_entry() {
    let world = with_key();
    let body = format!("\"event\":\"log\",\"text\":\"{}\"}}", "secret ".repeat(100_000));
    let mut out = Vec::new();
    let record = Record { seq: Seq(7), journaled: 0, body: body.as_bytes() };
    let how = How { now: NOW, ..How::default() };
    let parts = dd(&world, selection(&["text"])).encode(&record, how, &mut out).unwrap();
    assert!(parts > 1 && memchr::memmem::find(&out, b"secret").is_none());
}

#[test]
fn without_a_key_nothing_is_encoded() {
    let world = world();
    let record = Record { seq: Seq(7), journaled: 0, body: BODY };
    let how = How { now: NOW, ..How::default() };
    let mut out = Vec::new();
    let waits = hec(&world, selection(&["text"])).encode(&record, how, &mut out).unwrap_err();
    assert!(waits.is_waiting() && out.is_empty());
    let limits = (100_000, 1000);
    let wanted = selection(&["text"]);
    let mut encoder = splunk::Encoder::new(log(), splunk::Metadata::default(), wanted, limits);
    let never = encoder.encode(&record, how, &mut out).unwrap_err();
    assert_eq!((never, out.is_empty()), (NotSealed::NoKey(NoKey::Ever), true));
    // Where nothing is sealed nobody waits.
    assert_eq!(hec(&world, selection(&[])).encode(&record, how, &mut out), Ok(1));
}

/// What the batcher has now, if it has a batch.
fn filled(batcher: &mut Batcher, now: u64) -> Result<Option<Batch>, FillError> {
    Ok(match batcher.fill(now, true)? {
        Filled::Batch(batch) => Some(batch),
        Filled::Nothing { .. } => None,
    })
}

#[test]
fn a_batcher_waits_for_the_key_and_never_repeats_a_nonce() {
    let mut world = world();
    for _ in 0..10 {
        world.journal.append(Kind::Line, BODY);
    }
    world.journal.commit(NOW).unwrap();
    let encoder = Box::new(hec(&world, selection(&["text"])));
    let mut batcher = Batcher::new(world.journal.handle(), Seq(0), encoder, false, 1000).unwrap();
    let mut keys = batcher.keys().unwrap();
    assert!(filled(&mut batcher, NOW).unwrap().is_none());
    assert_eq!(batcher.next_seq(), Seq(0));
    while world.sealer.step(NOW).unwrap() == sealer::Step::Worked {}
    assert!(keys.has_changed().unwrap());
    keys.mark_unchanged();
    let batch = filled(&mut batcher, NOW).unwrap().unwrap();
    assert_eq!(batch.seqs.len(), 10);
    // Yesterday's is encoded again today, before there is a key of today.
    let tomorrow = NOW + 86_400_000;
    world.journal.append(Kind::Line, BODY);
    world.journal.commit(tomorrow).unwrap();
    assert!(filled(&mut batcher, tomorrow).unwrap().is_none());
    let how = How { now: tomorrow, ..How::default() };
    let again = batcher.again((batch.first, batch.end), &batch.seqs, how).unwrap();
    let tokens = |batch: &Batch| -> Vec<String> {
        let text = std::str::from_utf8(&batch.body).unwrap();
        let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines().map(|l| event(l)["event"]["text"].as_str().unwrap().to_owned()).collect()
    };
    let mut nonces: Vec<String> =
        tokens(&batch).into_iter().chain(tokens(&again)).map(|t| t[14..30].to_owned()).collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 20);
    // When no key can come any more, it says so.
    while world.sealer.step(tomorrow).unwrap() == sealer::Step::Worked {}
    assert_eq!(filled(&mut batcher, tomorrow).unwrap().unwrap().seqs, [Seq(10)]);
    let (ring, maker) = Ring::new();
    drop(maker);
    let keys = FieldKeys::new(ring, ValueTokens::new(&TOKEN_KEY));
    let limits = (100_000, 1000);
    let wanted = selection(&["text"]);
    let encoder = splunk::Encoder::new(log(), splunk::Metadata::default(), wanted, limits)
        .sealing(Some(keys));
    let mut batcher =
        Batcher::new(world.journal.handle(), Seq(0), Box::new(encoder), false, 1000).unwrap();
    let refused = batcher.fill(NOW, true).unwrap_err().to_string();
    assert!(refused.starts_with("seal the fields of a record: there is no key"), "{refused}");
}
