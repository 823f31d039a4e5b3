//! A journal that is full because one sink is away: the others go on, what was
//! given up is signed, and `replay` sends it.

use crate::sandbox::{Sandbox, files, said};
use sealtail_standins::{Splunk, SplunkConfig};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const TOKEN: &str = "11111111-2222-4333-8444-555555555555";
const LINES: u64 = 24_000;

/// A sandbox whose log is more than the journal holds, and whose Splunk is not there.
fn sandbox(splunk: &Splunk, more: &str) -> Sandbox {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.journal_max = "64MiB";
    sandbox.settings.batch_records = 2000;
    std::fs::write(sandbox.path("token"), TOKEN).unwrap();
    sandbox.settings.more_sinks = format!(
        "  - {{name: splunk, type: splunk_hec, url: '{}', token: {{file: '{{root}}/token'}}{more}}}\n",
        splunk.url()
    );
    splunk.down();
    sandbox
}

/// Writes lines `from` to `to` of the log, about 3.6 KB each.
fn write(sandbox: &Sandbox, from: u64, to: u64) {
    let path = sandbox.path("logs/plain.log");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut log = std::io::BufWriter::new(log);
    let filler = "lorem ipsum ".repeat(300);
    for n in from..=to {
        writeln!(log, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n} {filler}").unwrap();
    }
}

fn until(what: &str, agent: &mut Child, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < end, "it never {what}");
        assert!(agent.try_wait().unwrap().is_none(), "the agent ended before it {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn terminate(agent: &mut Child) {
    Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
    let status = agent.wait().unwrap();
    assert!(status.success(), "{status}");
}

fn log_of(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("agent.log")).unwrap_or_default()
}

/// How often each record came, and how often of those it said that it may be there already.
fn counts(splunk: &Splunk) -> BTreeMap<u64, (u64, u64)> {
    let mut counts = BTreeMap::new();
    splunk.observer().with_accepted(|all| {
        for event in all {
            let Some(seq) = event.json["fields"]["seq"].as_u64() else { continue };
            let (times, marked): &mut (u64, u64) = counts.entry(seq).or_default();
            *times += 1;
            *marked += u64::from(event.json["fields"]["possible_duplicate"] == "true");
        }
    });
    counts
}

/// First record and how many, of each.
type Ranges = Vec<(u64, u64)>;

/// The gaps that the log signs for the sink, and those that Splunk was told of.
fn gaps(sandbox: &Sandbox, splunk: &Splunk) -> (Ranges, Ranges) {
    let mut signed = Vec::new();
    for file in files(&sandbox.path("archive")) {
        let name = file.display().to_string();
        if !name.ends_with(".tlog-proof") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let proof = sealtail_seal::proof::Proof::parse(&text).unwrap();
        let leaf = String::from_utf8(proof.leaf).unwrap();
        let Some((_, range)) = leaf.split_once("sink splunk\nrecords ") else { continue };
        let (first, count) = range.trim().split_once(' ').unwrap();
        signed.push((first.parse().unwrap(), count.parse().unwrap()));
    }
    let mut told = Vec::new();
    splunk.observer().with_accepted(|all| {
        for event in all.iter().map(|e| &e.json["event"]).filter(|e| e["why"] == "journal-full") {
            assert_eq!((&event["event"], &event["sink"]), (&"gap".into(), &"splunk".into()));
            told.push((event["first"].as_u64().unwrap(), event["records"].as_u64().unwrap()));
        }
    });
    signed.sort_unstable();
    (signed, told)
}

/// Each record of the archive has come, or a signed gap names it.
fn accounted(sandbox: &Sandbox, splunk: &Splunk) -> Vec<u64> {
    let there = counts(splunk);
    let (signed, _) = gaps(sandbox, splunk);
    let named =
        |seq: u64| signed.iter().any(|(first, count)| (*first..first + count).contains(&seq));
    let seq = |r: &String| serde_json::from_str::<Value>(r).unwrap()["seq"].as_u64().unwrap();
    let archive: Vec<u64> = sandbox.open().iter().map(seq).collect();
    assert_eq!(archive, (0..archive.len() as u64).collect::<Vec<_>>(), "the archive has all");
    assert!(archive.len() as u64 > LINES);
    let missing: Vec<_> = archive.into_iter().filter(|seq| !there.contains_key(seq)).collect();
    let unnamed: Vec<_> = missing.iter().filter(|seq| !named(**seq)).collect();
    assert!(unnamed.is_empty(), "neither delivered nor named: {unnamed:?} of {signed:?}");
    missing
}

fn replay(sandbox: &Sandbox, more: &[&str]) -> std::process::Output {
    let (archive, identity) = (sandbox.archive(), sandbox.path("keys/archive.pem"));
    let key = sandbox.path("keys/signing.pub");
    let arguments = [
        "replay",
        &archive,
        "--sink",
        "splunk",
        "--identity",
        identity.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    sandbox.on_config(&[&arguments[..], more].concat())
}

#[test]
fn one_sinks_oldest_records_are_given_up_signed_and_replayed() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let sandbox = sandbox(&splunk, "");
    write(&sandbox, 1, LINES);
    let mut agent = sandbox.start(&[], false);
    until("gave up records", &mut agent, || log_of(&sandbox).contains("are given up"));
    // The archive was not held up: all lines are in it while Splunk is away.
    let esdk = |f: &std::path::PathBuf| f.extension().is_some_and(|e| e == "esdk");
    until("archived it all", &mut agent, || {
        files(&sandbox.path("archive")).iter().filter(|f| esdk(f)).count() as u64 >= LINES / 2000
    });
    splunk.up().unwrap();
    until("delivered the rest", &mut agent, || {
        splunk.observer().with_accepted(|all| {
            all.last().is_some()
                && all.iter().rev().take(500).any(|e| e.raw.contains(&format!("round {LINES} ")))
        })
    });
    // An agent that runs has the journal.
    let locked = replay(&sandbox, &[]);
    assert_eq!(locked.status.code(), Some(1), "{}", said(&locked));
    assert!(said(&locked).contains("another journal.path"), "{}", said(&locked));
    terminate(&mut agent);

    let missing = accounted(&sandbox, &splunk);
    assert!(!missing.is_empty());
    let (signed, told) = gaps(&sandbox, &splunk);
    let count = |gaps: &[(u64, u64)]| gaps.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(told.len(), 1, "one word for all of it: {told:?}");
    assert_eq!(count(&told), count(&signed));
    assert_eq!(missing.len() as u64, count(&signed));
    let report = sandbox.verify();
    assert!(report.contains("complete   yes"), "{report}");
    assert!(!report.contains(" 0 signed gaps"), "{report}");
    assert!(log_of(&sandbox).contains("given up under a signed gap"), "the summary says it");

    let done = replay(&sandbox, &[]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(
        said(&done).contains(&format!("{} records were sent", missing.len())),
        "{}",
        said(&done)
    );
    assert!(accounted(&sandbox, &splunk).is_empty());
    let there = counts(&splunk);
    assert!(missing.iter().all(|seq| there[seq] == (1, 1)), "once, and marked");
    let again = replay(&sandbox, &[]);
    assert!(said(&again).contains("sent by an earlier replay"), "{}", said(&again));
    assert_eq!(counts(&splunk), there);
    assert_eq!(splunk.observer().violations(), []);
}

#[test]
fn with_block_reading_stops_and_nothing_is_given_up() {
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let sandbox = sandbox(&splunk, ", on_full: block");
    write(&sandbox, 1, LINES);
    let mut agent = sandbox.start(&[], false);
    let full = || {
        let status = sandbox.on_config(&["journal", "status"]);
        let text = said(&status);
        let bytes = text.lines().find(|l| l.starts_with("segments")).map(str::to_owned);
        bytes.and_then(|l| l.split(' ').rev().nth(2)?.parse::<u64>().ok()).unwrap_or(0)
    };
    until("filled the journal", &mut agent, || full() > 50 << 20);
    splunk.up().unwrap();
    until("delivered all", &mut agent, || splunk.observer().stats().accepted > LINES);
    terminate(&mut agent);
    assert!(accounted(&sandbox, &splunk).is_empty());
    assert!(!log_of(&sandbox).contains("are given up"));
    let nothing = replay(&sandbox, &[]);
    assert!(said(&nothing).contains("nothing was given up"), "{}", said(&nothing));
}

/// Killed between the signature, the cursor and the letting go.
#[cfg(feature = "fault-points")]
#[test]
fn killed_while_giving_up_at_every_fault_point() {
    use std::os::unix::process::ExitStatusExt as _;
    for point in ["seal.waiver", "ship.waiver", "ship.gave-up", "ship.cursor"] {
        let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
        let sandbox = sandbox(&splunk, "");
        write(&sandbox, 1, LINES);
        if point == "ship.cursor" {
            let mut agent = sandbox.start(&[], false);
            until("gave up records", &mut agent, || log_of(&sandbox).contains("are given up"));
            agent.kill().unwrap();
            agent.wait().unwrap();
            splunk.up().unwrap();
        }
        let status =
            sandbox.start(&[("SEALTAIL_FAULT", &format!("{point}:1"))], false).wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
        if point != "ship.cursor" {
            splunk.up().unwrap();
        }
        let out = sandbox.once();
        assert!(out.status.success(), "{point}: {}", said(&out));
        accounted(&sandbox, &splunk);
        let done = replay(&sandbox, &[]);
        assert!(done.status.success(), "{point}: {}", said(&done));
        assert!(accounted(&sandbox, &splunk).is_empty(), "{point}");
        sandbox.verify();
    }
}
