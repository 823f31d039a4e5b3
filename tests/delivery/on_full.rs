//! A full journal, and nobody who signs what a sink would give up.

use crate::world::{How, Run, TOKEN, To, World, key_of, retrying};
use sealtail::journal::Seq;
use sealtail::sealer::Waivers;
use sealtail::ship::on_full::OnFull;
use sealtail::sink::{State, Stop};
use sealtail_standins::{Fault, On, Reply, Splunk, SplunkConfig};

/// The sealer is held up by an archive that is away: its answer does not come. The
/// sink goes on, and the runtime's one thread is free for others.
#[test]
fn while_no_gap_is_signed_nothing_is_given_up_and_everything_goes_on() {
    let mut world = World::within(4 << 20, 0);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    splunk.down();
    let waivers = Some(Waivers::default());
    let how = How { on_full: OnFull::Gap, waivers, max_events: 20, ..How::default() };
    let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &how));
    let journal = world.journal.handle();
    journal.hold_loosely("sink", Seq(0));
    journal.set_floor(Seq(u64::MAX));
    world.fill();
    assert!(journal.asked_to_yield("sink").is_some(), "it is asked for room");
    run.reaches("away", retrying);
    splunk.up().unwrap();
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..world.written), [0; 0]);
    assert_eq!(world.cursor("sink"), world.written);
}

/// Back-off is kept, and a poison record found, though the journal waits for room.
#[test]
fn a_refused_batch_is_taken_apart_while_the_journal_is_full() {
    let mut world = World::within(4 << 20, 0);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    splunk.configure(|c| c.index_prefix = false);
    splunk.set_poison(false, |event| key_of(event).is_some_and(|(_, seq)| seq == 7));
    let busy = Fault::reply(Reply::splunk(503, 9, "Server is busy")).on(On::Events);
    splunk.script().push_times(2, &Fault::none());
    splunk.script().push_times(3, &busy);
    world.fill();
    for on_full in [OnFull::Block, OnFull::Gap] {
        let waivers = Some(Waivers::default());
        let how = How { on_full, waivers, max_events: 20, dead_bytes: 1 << 20, ..How::default() };
        let journal = world.journal.handle();
        match on_full {
            OnFull::Block => journal.hold("sink", Seq(0)),
            OnFull::Gap => journal.hold_loosely("sink", Seq(0)),
        }
        journal.set_floor(Seq(u64::MAX));
        assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
        assert_eq!(world.dead(0).names().unwrap().len(), 1, "{on_full:?}");
        assert_eq!(world.cursor("sink"), world.written);
        let _ = std::fs::remove_dir_all(world.path("cursors"));
    }
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..world.written), [7]);
}
