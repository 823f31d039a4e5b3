//! Records that a destination refuses.

use crate::world::{How, Run, TOKEN, To, World, halted, key_of};
use sealtail::sink::{State, Stop};
use sealtail_standins::{Datadog, DatadogConfig, Fault, Reply, Splunk, SplunkConfig};

fn is(n: u64) -> impl Fn(&serde_json::Value) -> bool + Send + Sync + 'static {
    move |event| key_of(event).is_some_and(|(_, seq)| seq == n)
}

#[test]
fn one_poison_record_of_a_thousand() {
    let most = 2.0 * 1000_f64.log2();
    for poison in [0, 1, 499, 777, 998, 999] {
        let world = World::new(1000);
        let how = How { max_events: 1000, ..How::default() };
        let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
        datadog.set_poison(is(poison));
        assert_eq!(world.deliver(&To::Datadog(&datadog.url()), &how).ended(), State::Ok);
        let counts = datadog.observer().count_by(key_of);
        assert_eq!(counts.missing("wa/test", 0..1000), [poison]);
        assert_eq!(counts.duplicates(), []);
        // One asked whether the key is valid.
        let requests = datadog.observer().stats().requests - 1;
        assert!((requests as f64) < most, "{poison}: {requests} requests");
        let dead = world.dead(0);
        let names = dead.names().unwrap();
        assert_eq!(names.len(), 1);
        let letter = dead.read(&names[0]).unwrap();
        assert_eq!((letter.seq, letter.status, letter.sink.as_str()), (poison, 400, "sink"));
        assert_eq!(letter.record["text"], format!("record {poison}"));
        assert!(letter.reason.contains("refuses"), "{}", letter.reason);
        assert_eq!(world.cursor("sink"), 1000);
    }
}

#[test]
fn splunk_names_the_event_and_few_requests_are_made() {
    for (named, poison) in [(true, 500), (false, 500), (true, 0), (true, 999)] {
        let world = World::new(1000);
        let how = How { max_events: 1000, ..How::default() };
        let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
        // Real HEC indexes what stands before the event that it refuses: those
        // come twice, and nothing can be done about it.
        splunk.configure(|c| c.index_prefix = false);
        splunk.set_poison(named, is(poison));
        assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
        let counts = splunk.observer().count_by(key_of);
        assert_eq!(counts.missing("wa/test", 0..1000), [poison]);
        assert_eq!(counts.duplicates(), []);
        // One asked for health.
        let requests = splunk.observer().stats().requests - 1;
        assert!(requests <= if named { 4 } else { 15 }, "{requests} requests");
        assert_eq!(world.dead(0).names().unwrap().len(), 1);
    }
}

#[test]
fn a_destination_that_refuses_everything_condemns_nothing() {
    let world = World::new(50);
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    datadog.script().set_default([Fault::reply(Reply::new(400).body("{}"))]);
    let mut run = Run::start(world.engine(&To::Datadog(&datadog.url()), &How::default()));
    let state = run.reaches("halted", halted);
    assert!(format!("{state:?}").contains("nothing is given up"), "{state:?}");
    assert_eq!(world.dead(0).names().unwrap().len(), 0);
    assert_eq!(world.cursor("sink"), 0);
    datadog.script().clear();
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    let counts = datadog.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..50), [0; 0]);
    assert_eq!(counts.duplicates(), []);
}

#[test]
fn a_record_that_is_alone_is_condemned_when_another_has_come() {
    let mut world = World::new(1);
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    datadog.set_poison(is(0));
    let mut run = Run::start(world.engine(&To::Datadog(&datadog.url()), &How::default()));
    run.reaches("halted", halted);
    assert_eq!(world.dead(0).names().unwrap().len(), 0);
    world.write(1);
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    assert_eq!(world.dead(0).names().unwrap().len(), 1);
    assert_eq!(datadog.observer().count_by(key_of).missing("wa/test", 0..2), [0]);
}

#[test]
fn full_dead_letters_halt_the_sink_and_drop_nothing() {
    let world = World::new(50);
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    datadog.set_poison(|event| key_of(event).is_some_and(|(_, seq)| seq % 7 == 0));
    let how = How { dead_bytes: 1500, ..How::default() };
    let mut run = Run::start(world.engine(&To::Datadog(&datadog.url()), &how));
    let state = run.reaches("full", |s| format!("{s:?}").contains("limits.dead_letters"));
    assert!(halted(&state));
    run.kill();
    let room = How { dead_bytes: 1 << 20, ..how };
    assert_eq!(world.deliver(&To::Datadog(&datadog.url()), &room).ended(), State::Ok);
    assert_eq!(world.dead(0).names().unwrap().len(), 8);
    let missing = datadog.observer().count_by(key_of).missing("wa/test", 0..50);
    assert_eq!(missing, (0..50).step_by(7).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_too_large_is_halved() {
    let world = World::new(400);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    // Bytes on the wire, compressed.
    splunk.configure(|c| c.max_content_length = 3000);
    let how = How { max_events: 400, ..How::default() };
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..400), [0; 0]);
    assert_eq!(counts.duplicates(), []);
    assert_eq!(world.dead(0).names().unwrap().len(), 0);
}
