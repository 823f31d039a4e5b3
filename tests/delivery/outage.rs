//! Destinations that go away, and agents that die.

use crate::world::{How, LONG, Run, TOKEN, To, World, halted, key_of, retrying};
use sealtail::journal::Kind;
use sealtail::ship::rate::Limits;
use sealtail::ship::window::Breaker;
use sealtail::sink::event::Selection;
use sealtail::sink::{State, Stop};
use sealtail_standins::{Datadog, DatadogConfig, Splunk, SplunkConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

#[test]
fn one_sinks_outage_holds_no_other_up() {
    let mut world = World::new(0);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let how = |name| How { name, max_events: 500, max_in_flight: 4, ..How::default() };
    datadog.down();
    let (to_splunk, to_datadog) = (splunk.url(), datadog.url());
    let mut away = Run::start(world.engine(&To::Datadog(&to_datadog), &how("datadog")));
    let there = Run::start(world.engine(&To::Splunk(&to_splunk), &how("splunk")));
    for round in 1..=20 {
        world.write(5000);
        assert!(splunk.observer().wait_for(round * 5000, LONG), "splunk waits for datadog");
    }
    away.reaches("away", retrying);
    assert_eq!(datadog.observer().stats().accepted, 0);
    datadog.up().unwrap();
    for run in [away, there] {
        run.stop.send_replace(Stop::WhenDone);
        assert_eq!(run.ended(), State::Ok);
    }
    for observer in [splunk.observer(), datadog.observer()] {
        let counts = observer.count_by(key_of);
        assert_eq!(counts.missing("wa/test", 0..100_000), [0; 0]);
        assert_eq!(counts.duplicates(), []);
        assert_eq!(observer.violations(), []);
    }
    assert_eq!((world.cursor("datadog"), world.cursor("splunk")), (100_000, 100_000));
}

/// What metrics say of lag: no halt, no batch that is cut anew and no restart makes
/// what waits look younger than it is.
#[test]
fn what_waits_keeps_its_age_until_it_is_delivered() {
    const LONG_AGO: u64 = 1_700_000_000_000;
    let mut world = World::new(0);
    for n in 0..30 {
        let body = format!("\"event\":\"log\",\"text\":\"{n}\",\"source\":{{}},\"time\":\"x\"}}");
        world.journal.append(Kind::Line, body.as_bytes());
        world.journal.commit(LONG_AGO + n).unwrap();
    }
    let splunk = Splunk::start(SplunkConfig::new("another token")).unwrap();
    let url = splunk.url();
    for _ in 0..2 {
        let mut run = Run::start(world.engine(&To::Splunk(&url), &How::default()));
        for round in 1..=5 {
            let until = Instant::now() + LONG;
            while run.counters.halts.load(Relaxed) < round {
                assert!(Instant::now() < until, "it never halted");
                std::thread::park_timeout(Duration::from_millis(2));
            }
            run.reaches("halted", halted);
            assert_eq!(run.counters.oldest.load(Relaxed), LONG_AGO);
            assert_eq!(run.counters.next.load(Relaxed), 0);
            assert_ne!(run.counters.breaker(), Breaker::Closed);
            assert!(run.counters.last_error().unwrap().1.contains("HTTP 403"));
        }
        run.kill();
    }
    splunk.configure(|c| c.tokens[0].value = TOKEN.to_owned());
    let run = world.deliver(&To::Splunk(&url), &How::default());
    let counters = Arc::clone(&run.counters);
    assert_eq!(run.ended(), State::Ok);
    assert_eq!((counters.oldest.load(Relaxed), counters.next.load(Relaxed)), (0, 30));
    assert_eq!((counters.breaker(), counters.in_flight.load(Relaxed)), (Breaker::Closed, 0));
}

#[test]
fn with_one_request_at_a_time_the_order_is_the_journals() {
    let world = World::new(2000);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    splunk.down();
    let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &How::default()));
    run.reaches("away", retrying);
    splunk.up().unwrap();
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    let order: Vec<_> = splunk
        .observer()
        .with_accepted(|all| all.iter().filter_map(|e| key_of(&e.json)).map(|k| k.1).collect());
    assert_eq!(order, (0..2000).collect::<Vec<_>>());
    assert_eq!(splunk.observer().stats().max_in_flight, 1);
}

#[test]
fn killed_again_and_again_everything_arrives_at_least_once() {
    let mut world = World::new(0);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let how = How { max_in_flight: 3, ..How::default() };
    let url = splunk.url();
    for round in 1..=15_u64 {
        world.write(200);
        let run = Run::start(world.engine(&To::Splunk(&url), &how));
        // Somewhere in the middle.
        assert!(splunk.observer().wait_for((round * 130) as usize, LONG));
        run.kill();
    }
    let before = world.cursor("sink");
    assert_eq!(world.deliver(&To::Splunk(&url), &how).ended(), State::Ok);
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..3000), [0; 0]);
    assert!(before <= 3000 && world.cursor("sink") == 3000);
    // What comes twice is at most what was under way at each kill.
    let twice: u64 = counts.by_key.values().map(|n| n - 1).sum();
    assert!(twice <= 15 * 30 * 2, "{twice}");
}

#[test]
fn the_window_grows_and_stays_within_its_bound() {
    let world = World::new(5000);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    splunk.script().set_default([sealtail_standins::Fault::none().after(Duration::from_millis(5))]);
    let how = How { max_in_flight: 4, ..How::default() };
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    let stats = splunk.observer().stats();
    assert_eq!((stats.max_in_flight, stats.accepted), (4, 5000));
}

#[test]
fn a_rate_limit_is_kept() {
    let world = World::new(30);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let rate = Limits { requests: Some(2), bytes: None };
    let how = How { rate, ..How::default() };
    let begun = Instant::now();
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert!(begun.elapsed() > Duration::from_millis(450), "{:?}", begun.elapsed());
}

#[test]
fn records_that_are_not_wanted_move_the_cursor() {
    let mut world = World::new(50);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    let wanted = Selection { events: vec!["login".into()], ..Selection::default() };
    let how = How { wanted, ..How::default() };
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert_eq!((splunk.observer().stats().requests, world.cursor("sink")), (0, 50));
    world.journal.append(sealtail::journal::Kind::Line, b"\"event\":\"login\"}");
    world.journal.commit(1).unwrap();
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert_eq!((splunk.observer().stats().accepted, world.cursor("sink")), (1, 51));
}
