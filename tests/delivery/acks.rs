//! Indexer acknowledgement.

use crate::world::{How, LONG, Run, TOKEN, To, World, halted, key_of};
use sealtail::sink::splunk::Acknowledgements;
use sealtail::sink::{State, Stop};
use sealtail_standins::{Acks, Fault, On, Reply, Splunk, SplunkConfig};

fn start(acks: Acks) -> Splunk {
    Splunk::start(SplunkConfig::new(TOKEN).acks(acks)).unwrap()
}

fn all_there(splunk: &Splunk, records: u64) -> usize {
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..records), [0; 0]);
    assert_eq!(splunk.observer().violations(), []);
    counts.duplicates().len()
}

#[test]
fn a_batch_is_done_when_it_is_acknowledged_and_not_before() {
    for acks in [Acks::AtOnce, Acks::AfterPolls(3)] {
        let splunk = start(acks);
        let world = World::new(100);
        let how = How { max_in_flight: 4, ..How::default() };
        assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
        assert_eq!(all_there(&splunk, 100), 0, "{acks:?}");
        assert_eq!(world.cursor("sink"), 100);
    }
    let splunk = start(Acks::Held);
    let world = World::new(20);
    let mut how = How::default();
    how.times.ack = LONG;
    let run = Run::start(world.engine(&To::Splunk(&splunk.url()), &how));
    assert!(splunk.observer().wait_for(20, LONG));
    assert!(splunk.observer().wait_for_requests(11, LONG), "it goes on asking");
    assert_eq!(world.cursor("sink"), 0, "nothing is done before");
    splunk.configure(|c| c.acks = Acks::AtOnce);
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    assert_eq!((all_there(&splunk, 20), world.cursor("sink")), (0, 20));
}

#[test]
fn what_is_never_acknowledged_is_sent_again_and_marked() {
    let splunk = start(Acks::Lost);
    let world = World::new(20);
    let run = Run::start(world.engine(&To::Splunk(&splunk.url()), &How::default()));
    assert!(splunk.observer().wait_for(40, LONG));
    splunk.configure(|c| c.acks = Acks::AtOnce);
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    assert_eq!(all_there(&splunk, 20), 20);
    let mut seen = std::collections::BTreeSet::new();
    splunk.observer().with_accepted(|all| {
        for event in all {
            let first = seen.insert(key_of(&event.json));
            let marked = event.json["fields"]["possible_duplicate"] == "true";
            assert_eq!(marked, !first, "{}", event.raw);
        }
    });
}

#[test]
fn an_answer_that_cannot_be_understood_acknowledges_nothing() {
    for reply in [
        Reply::new(200).body("<html>"),
        Reply::new(200).body("{\"acks\":[0,1]}"),
        Reply::new(200).body("{\"acks\":{\"0\":1}}"),
        Reply::new(204),
        Reply::splunk(503, 19, "ACK service unavailable"),
    ] {
        let splunk = start(Acks::AtOnce);
        splunk.script().push_times(5, &Fault::reply(reply).on(On::Ack));
        let world = World::new(20);
        let mut how = How::default();
        how.times.ack = LONG;
        assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
        assert_eq!(splunk.script().pending(), 0);
        assert_eq!(all_there(&splunk, 20), 0);
    }
}

#[test]
fn behind_a_balancer_the_same_indexer_is_asked() {
    let splunk = start(Acks::AtOnce);
    splunk.configure(|c| c.indexers = 3);
    let world = World::new(200);
    let mut how = How { max_in_flight: 4, ..How::default() };
    how.times.ack = LONG;
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert_eq!(all_there(&splunk, 200), 0);
}

#[test]
fn a_channel_that_is_refused_is_left_for_a_new_one() {
    let splunk = start(Acks::AtOnce);
    let world = World::new(30);
    splunk.script().push(Fault::none().on(On::Events));
    splunk
        .script()
        .push(Fault::reply(Reply::splunk(400, 11, "Invalid data channel")).on(On::Events));
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &How::default()).ended(), State::Ok);
    assert!(all_there(&splunk, 30) <= 10);
    let channels = splunk.observer().with_accepted(|all| {
        all.iter().filter_map(|e| e.channel.clone()).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(channels.len(), 2);
}

#[test]
fn required_acknowledgement_that_is_off_halts() {
    let splunk = start(Acks::Off);
    let world = World::new(10);
    let how = How { acknowledgements: Acknowledgements::Required, ..How::default() };
    let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &how));
    let state = run.reaches("halted", halted);
    assert!(format!("{state:?}").contains("acknowledgement is not enabled"), "{state:?}");
    assert_eq!(world.cursor("sink"), 0);
    run.kill();
}

#[test]
fn ignored_acknowledgements_are_never_asked_for() {
    let splunk = start(Acks::Lost);
    let world = World::new(30);
    let how = How { acknowledgements: Acknowledgements::Ignored, ..How::default() };
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert_eq!((all_there(&splunk, 30), splunk.observer().stats().requests), (0, 4));
}
