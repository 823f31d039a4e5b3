//! What a sink that follows the journal takes, over loopback with TLS, as a ratio
//! to a bare client that sends the same bytes one request after another; and how
//! long a record is on its way, with another sink there and with it away.
//!
//! `cargo bench --bench deliver`. `SEALTAIL_BENCH_RECORDS` (100,000 if not set)
//! says how many. The stand-in reads each body and answers without looking at it.
//! Figures of one run compare with each other and with nothing else.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../delivery/world.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod world;

use sealtail::journal::Seq;
use sealtail::ship::batch::{Batcher, Encode, Filled};
use sealtail::sink::event::{Log, Selection};
use sealtail::sink::{Counters, datadog, splunk};
use sealtail_standins::{Datadog, DatadogConfig, Fault, Pki, Reply, Splunk, SplunkConfig};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{How, Run, TOKEN, To, World};

fn main() {
    let records = std::env::var("SEALTAIL_BENCH_RECORDS");
    let records = records.ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let pki = Pki::new().unwrap();
    let world = World::new(records);
    let ca = world.path("ca.pem");
    std::fs::write(&ca, pki.ca_pem()).unwrap();

    let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki)).unwrap();
    splunk.script().set_default([Fault::reply(Reply::splunk(200, 0, "Success"))]);
    let datadog = Datadog::start(DatadogConfig::new(TOKEN).tls(&pki)).unwrap();
    datadog.script().set_default([Fault::reply(Reply::new(202).body("{}"))]);

    println!(
        "{records} records over loopback with TLS; ratio: time of the sink / time of the floor"
    );
    for (name, to, path) in [
        ("splunk", To::Splunk(&splunk.url()), "services/collector/event"),
        ("datadog", To::Datadog(&datadog.url()), "api/v2/logs"),
    ] {
        let (bodies, raw) = bodies_of(&world, &to, true);
        let (To::Splunk(url) | To::Datadog(url)) = &to;
        let url = format!("{url}/{path}");
        let send = floor(&url, pki.ca_pem(), &bodies, false);
        let plain = bodies_of(&world, &to, false).0;
        let floor = floor(&url, pki.ca_pem(), &plain, true);
        let sent: usize = bodies.iter().map(bytes::Bytes::len).sum();
        println!(
            "{name}: {} bodies, {:.1} MB of events, {:.1} MB as sent; sending alone {:.3} s; the floor, gzip and \
             send, {:.2} s, {:.0} MB/s of events",
            bodies.len(),
            mb(raw),
            mb(sent),
            send.as_secs_f64(),
            floor.as_secs_f64(),
            mb(raw) / floor.as_secs_f64()
        );
        for in_flight in [1, 4] {
            let mut how = How { max_in_flight: in_flight, ..How::default() };
            how.name = if in_flight == 1 { "one" } else { "four" };
            how.max_events = if name == "splunk" { 5000 } else { 1000 };
            how.http.ca = Some(ca.clone());
            how.http.timeout = Duration::from_secs(30);
            // Each begins at the first record, with a cursor of its own.
            let _ = std::fs::remove_dir_all(world.path("cursors"));
            let begun = Instant::now();
            let state = world.deliver(&to, &how).ended();
            let took = begun.elapsed();
            assert_eq!(state, sealtail::sink::State::Ok);
            println!(
                "  {in_flight} in flight: {:.2} s, {:.0} MB/s of events, {:.2} x the floor",
                took.as_secs_f64(),
                mb(raw) / took.as_secs_f64(),
                took.as_secs_f64() / floor.as_secs_f64()
            );
        }
    }
    latency(records);
}

/// From a record's being durable to its being there, at Splunk: while Datadog takes
/// all, and while it is away and a backlog grows.
fn latency(records: u64) {
    const ROUNDS: u64 = 200;
    let a_round = (records / ROUNDS).max(1);
    println!("\nfrom journal to Splunk, {a_round} records at a time, batches of at most 10 ms");
    for away in [false, true] {
        let mut world = World::new(0);
        let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
        let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
        if away {
            datadog.down();
        }
        let how = |name| How { name, max_events: 1000, max_in_flight: 4, ..How::default() };
        let (to_splunk, to_datadog) = (splunk.url(), datadog.url());
        let other = Run::start(world.engine(&To::Datadog(&to_datadog), &how("datadog")));
        let run = Run::start(world.engine(&To::Splunk(&to_splunk), &how("splunk")));
        let mut took: Vec<Duration> = (1..=ROUNDS)
            .map(|round| {
                world.write(a_round);
                let begun = Instant::now();
                let want = usize::try_from(round * a_round).unwrap_or(usize::MAX);
                assert!(splunk.observer().wait_for(want, Duration::from_secs(60)));
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        println!(
            "  Datadog {}: p50 {:.1} ms, p99 {:.1} ms",
            if away { "away " } else { "there" },
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3
        );
        run.kill();
        other.kill();
    }
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// The bodies that a sink would send, and their length before compression.
fn bodies_of(world: &World, to: &To<'_>, compress: bool) -> (Vec<bytes::Bytes>, usize) {
    let log = Log { origin: "wa/test".into(), incarnation: "bench".into() };
    let wanted = Selection::default();
    let encoder: Box<dyn Encode> = match to {
        To::Splunk(_) => Box::new(splunk::Encoder::new(
            log,
            splunk::Metadata::default(),
            wanted,
            (splunk::MAX_BYTES, 5000),
        )),
        To::Datadog(_) => Box::new(datadog::Encoder::new(
            log,
            datadog::Metadata::default(),
            wanted,
            (datadog::MAX_BYTES, 1000),
            Arc::new(Counters::default()),
        )),
    };
    let mut batcher =
        Batcher::new(world.journal.handle(), Seq(0), encoder, compress, u64::MAX).unwrap();
    let (mut bodies, mut raw) = (Vec::new(), 0);
    while let Filled::Batch(batch) = batcher.fill(sealtail::run::now_ms(), true).unwrap() {
        raw += batch.raw_len;
        bodies.push(batch.body);
    }
    (bodies, raw)
}

/// One request after another, each body compressed before if `compress` says so.
fn floor(url: &str, ca: &str, bodies: &[bytes::Bytes], compress: bool) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap())
        .build()
        .unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        for body in bodies {
            let body = if compress { gzip(body) } else { body.clone() };
            let reply = client
                .post(url)
                .header("authorization", format!("Splunk {TOKEN}"))
                .header("dd-api-key", TOKEN)
                .header("content-encoding", "gzip")
                .header("content-type", "application/json")
                .body(body)
                .send()
                .await
                .unwrap();
            assert!(reply.status().is_success());
            reply.bytes().await.unwrap();
        }
        begun.elapsed()
    })
}

fn gzip(raw: &[u8]) -> bytes::Bytes {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(2));
    out.write_all(raw).unwrap();
    out.finish().unwrap().into()
}
