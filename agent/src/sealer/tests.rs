//! When batches are cut.

use super::*;
use crate::disk::sim::SimDisk;
use crate::journal::{self, Journal, JournalKey};
use datakey::{DataKeys, Fresh, LocalKeys};
use sealtail_seal::message::Recipient;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

const MAX: u64 = 8 << 20;

struct World {
    journal: Journal,
    outbox: Arc<Outbox>,
    sealer: Sealer,
}

fn world() -> World {
    world_of(&SimDisk::new(), MAX, 512 << 10)
}

fn world_of(disk: &SimDisk, max_bytes: u64, segment_bytes: u64) -> World {
    world_with(disk, max_bytes, segment_bytes, options_of())
}

fn world_with(disk: &SimDisk, max_bytes: u64, segment_bytes: u64, sealing: Options) -> World {
    let disk: crate::disk::SharedDisk = Arc::new(disk.clone());
    let options = journal::Options { path: "/j".into(), max_bytes, segment_bytes };
    let key = JournalKey::new([5; 32]);
    let journal = Journal::open(Arc::clone(&disk), options, &key, "wa/test", 1).unwrap();
    let outbox = Arc::new(Outbox::open(disk, "/j/outbox".into(), journal.handle()).unwrap());
    let id = journal.id().clone();
    let sealer = Sealer::open(sealing, id, Arc::clone(&outbox), journal.handle(), 1).unwrap();
    World { journal, outbox, sealer }
}

fn options_of() -> Options {
    Options {
        max_bytes: 1 << 30,
        max_records: u64::MAX,
        max_age_ms: u64::MAX,
        codec: Codec::Zstd(1),
        heartbeat_ms: u64::MAX,
        outbox_bytes: MAX / 4,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", [4; 32])]))),
        signing_key: SigningKey::from_seed(&[1; 32]),
        config_hash: [2; 32],
        waivers: Waivers::default(),
    }
}

/// Appends until the journal takes no more: how many bytes.
fn fill(journal: &mut Journal) -> u64 {
    let body = format!("\"event\":\"log\",\"text\":\"{}\"}}", "x".repeat(1000));
    let mut bytes = 0;
    loop {
        for _ in 0..50 {
            journal.append(Kind::Line, body.as_bytes());
        }
        match journal.commit(1) {
            Ok(_) => bytes += 50 * body.len() as u64,
            Err(e) => {
                assert!(e.is_backpressure(), "{e}");
                return bytes;
            }
        }
    }
}

/// Found with 300 records a batch over a full journal: each batch was cut as
/// soon as it was opened, three records to an object.
#[test]
fn a_full_journal_is_not_sealed_in_crumbs() {
    let World { mut journal, outbox, mut sealer } = world();
    let bytes = fill(&mut journal);
    while matches!(sealer.step(1).unwrap(), Step::Worked) {}
    let batches = outbox.end() - 1;
    assert!(bytes > MAX / 2 && (1..=6).contains(&batches), "{bytes} bytes, {batches} batches");
}

#[test]
fn a_full_journal_is_emptied_without_the_passing_of_time() {
    let World { mut journal, outbox, mut sealer } = world();
    let mut written = 0;
    for round in 0.. {
        written += fill(&mut journal);
        while matches!(sealer.step(1).unwrap(), Step::Worked) {}
        outbox.uploaded("archive", outbox.end()).unwrap();
        journal.trim().unwrap();
        if written > 5 * MAX {
            break;
        }
        assert!(round < 50, "{written} bytes in {round} rounds");
    }
}

/// Found with a journal of 64 MiB on a volume of 20: it took all of it, and the
/// sealer, which alone could make room, had none to work in.
#[test]
fn a_volume_that_the_journal_has_filled_is_emptied_by_sealing() {
    let disk = SimDisk::new();
    disk.set_space(Some(20 << 20));
    let World { mut journal, outbox, mut sealer } = world_of(&disk, 64 << 20, 4 << 20);
    let mut written = 0;
    for round in 0.. {
        written += fill(&mut journal);
        for _ in 0..1000 {
            match sealer.step(1).unwrap() {
                Step::Worked | Step::Blocked | Step::NoKey => {}
                Step::Idle { .. } => break,
            }
            outbox.uploaded("archive", outbox.end()).unwrap();
        }
        journal.trim().unwrap();
        if written > 40 << 20 {
            break;
        }
        assert!(round < 100, "{written} bytes in {round} rounds");
    }
    let batches = outbox.end();
    assert!(batches < 400, "{batches} leaves for {written} bytes");
}

/// Found by a review: the second leaf on a full volume removed a reserve that
/// was used up, and "not found" ended the process.
#[test]
fn leaves_on_a_full_volume_use_the_reserve_and_then_wait() {
    let disk = SimDisk::new();
    disk.set_space(Some(20 << 20));
    let World { mut journal, outbox, mut sealer } = world_of(&disk, 64 << 20, 4 << 20);
    fill(&mut journal);
    // Whatever the journal left is taken by somebody else.
    disk.set_space(Some(0));
    let mut waited = false;
    for _ in 0..50 {
        match sealer.end(1) {
            Ok(()) => {}
            Err(e) => {
                assert!(e.is_full(), "{e}");
                waited = true;
            }
        }
    }
    assert!(waited, "there was room without end");
    disk.set_space(Some(64 << 20));
    sealer.end(1).unwrap();
    outbox.uploaded("archive", outbox.end()).unwrap();
    assert!(outbox.reserve(), "it is kept again");
}

/// Found by a review: a volume that was full at the start ended the agent.
#[test]
fn a_start_on_a_full_volume_says_that_it_may_be_tried_again() {
    let disk = SimDisk::new();
    drop(world_of(&disk, MAX, 512 << 10));
    disk.set_space(Some(0));
    let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
    let options = journal::Options { path: "/j".into(), max_bytes: MAX, segment_bytes: 512 << 10 };
    let key = JournalKey::new([5; 32]);
    for _ in 0..3 {
        let full = Journal::open(Arc::clone(&shared), options.clone(), &key, "wa/test", 1);
        assert!(full.unwrap_err().is_full());
    }
    disk.set_space(None);
    Journal::open(shared, options, &key, "wa/test", 1).unwrap();
}

#[test]
fn an_outbox_of_another_key_or_without_its_leaves_is_refused() {
    let disk = SimDisk::new();
    drop(world_of(&disk, MAX, 512 << 10));
    let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
    let options = journal::Options { path: "/j".into(), max_bytes: MAX, segment_bytes: 512 << 10 };
    let key = JournalKey::new([5; 32]);
    let journal = Journal::open(Arc::clone(&shared), options, &key, "wa/test", 1).unwrap();
    let outbox = Outbox::open(shared, "/j/outbox".into(), journal.handle()).unwrap();
    let mut other = options_of();
    other.signing_key = SigningKey::from_seed(&[9; 32]);
    let refused = Sealer::open(other, journal.id().clone(), Arc::new(outbox), journal.handle(), 1)
        .unwrap_err();
    assert!(refused.to_string().contains("another key"), "{refused}");
}

/// A source of keys that refuses until it is told otherwise, and counts.
#[derive(Clone, Default)]
struct Switch {
    gives: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl DataKeys for Switch {
    fn data_key(&mut self, context: &Context) -> Result<Fresh, KeyError> {
        self.asked.fetch_add(1, Relaxed);
        if !self.gives.load(Relaxed) {
            return Err(KeyError::Refused { from: "key".into(), reason: "disabled".into() });
        }
        LocalKeys::new(vec![Recipient::aes("dev", [4; 32])]).data_key(context)
    }
}

impl Switch {
    fn options(&self) -> Options {
        Options { keys: Supply::new(Box::new(self.clone())), heartbeat_ms: 1000, ..options_of() }
    }
}

#[test]
fn without_a_data_key_nothing_is_sealed_and_heartbeats_go_on() {
    let switch = Switch::default();
    let World { mut journal, outbox, mut sealer } =
        world_with(&SimDisk::new(), MAX, 512 << 10, switch.options());
    for _ in 0..3 {
        journal.append(Kind::Line, b"\"event\":\"log\"}");
    }
    journal.commit(1).unwrap();
    assert_eq!(sealer.step(2).unwrap(), Step::NoKey);
    assert!(sealer.key_trouble().is_some_and(KeyError::is_halt));
    assert_eq!((outbox.end(), sealer.cursor()), (1, Seq(0)), "the start leaf alone");
    assert_eq!(sealer.step(1001).unwrap(), Step::Worked, "a heartbeat");
    assert_eq!(sealer.step(1002).unwrap(), Step::NoKey);
    assert_eq!((outbox.end(), switch.asked.load(Relaxed)), (2, 1), "it is left alone for a while");

    switch.gives.store(true, Relaxed);
    assert_eq!(sealer.step(40_000).unwrap(), Step::Worked);
    sealer.end(40_001).unwrap();
    assert_eq!((sealer.key_trouble(), sealer.cursor()), (None, Seq(3)));
}

/// A data key costs a call: without room for a batch none is asked for.
#[test]
fn a_full_volume_uses_up_no_data_keys() {
    let (switch, disk) = (Switch::default(), SimDisk::new());
    switch.gives.store(true, Relaxed);
    let World { mut journal, mut sealer, .. } = world_with(&disk, MAX, 512 << 10, switch.options());
    journal.append(Kind::Line, b"\"event\":\"log\"}");
    journal.commit(1).unwrap();
    disk.set_space(Some(0));
    for _ in 0..5 {
        let step = sealer.step(2);
        assert!(matches!(step, Ok(Step::Blocked | Step::Worked)), "{step:?}");
    }
    assert!(switch.asked.load(Relaxed) <= 2, "{}", switch.asked.load(Relaxed));
}

/// The entries of the outbox, each by its leaf's kind.
fn kinds(outbox: &Outbox) -> Vec<String> {
    let leaf = |index| Leaf::parse(&outbox.head(index).unwrap().leaf).unwrap();
    (outbox.begin()..outbox.end()).map(|index| leaf(index).kind().to_owned()).collect()
}

#[test]
fn a_field_key_is_given_out_when_its_leaf_is_durable() {
    use super::ring::{NoKey, Ring};
    use sealtail_seal::message::{Decryptor, Identity};
    let disk = SimDisk::new();
    let World { mut journal, outbox, mut sealer } = world_of(&disk, MAX, 512 << 10);
    let (ring, maker) = Ring::new();
    sealer.serve(maker);
    assert_eq!(ring.key(1).unwrap_err(), NoKey::Yet);
    assert_eq!(sealer.step(1).unwrap(), Step::Worked);
    let key = ring.key(1).unwrap();
    // Next day, with a batch open: it is cut before, for it knows its leaf's index.
    journal.append(Kind::Line, b"\"event\":\"log\"}");
    journal.commit(1).unwrap();
    while sealer.step(2).unwrap() == Step::Worked {}
    assert!(sealer.has_open_batch());
    assert_eq!(ring.key(86_400_001).unwrap_err(), NoKey::Yet);
    assert_eq!(sealer.step(86_400_001).unwrap(), Step::Worked);
    let next = ring.key(86_400_001).unwrap();
    assert_eq!(kinds(&outbox), ["start", "key", "batch", "key"]);
    // What is durable opens, and is the key that was given out.
    let disk = disk.after_power_cut(&mut || 0);
    for (index, key) in [(1, key), (3, next)] {
        let object = outbox.head(index).unwrap().object.unwrap();
        assert!(object.key.ends_with(&format!("/keys/{}.esdk", key.kid())), "{}", object.key);
        let (_, path, offset) = outbox.body(index);
        let mut bytes = vec![0; usize::try_from(object.len).unwrap()];
        let file = crate::disk::Disk::open_read(&disk, &path).unwrap();
        assert_eq!(file.read_at(&mut bytes, offset).unwrap(), bytes.len());
        let mut decryptor = Decryptor::new(vec![Identity::aes("dev", [4; 32])]);
        let mut plain = Vec::new();
        decryptor.update(&bytes, &mut plain).unwrap();
        decryptor.finish().unwrap();
        assert_eq!(plain, key.secret().as_slice());
    }
    // What is asked for at the very end is still answered, before the end.
    assert_eq!(ring.key(3 * 86_400_000).unwrap_err(), NoKey::Yet);
    sealer.end(3 * 86_400_000).unwrap();
    assert_eq!(kinds(&outbox)[4..], ["key", "end"]);
    drop(sealer);
    assert!(ring.key(9 * 86_400_000).is_ok(), "the last one, for what is under way");
}

#[test]
fn without_a_data_key_there_is_no_field_key() {
    use super::ring::{NoKey, Ring};
    let switch = Switch::default();
    let World { outbox, mut sealer, .. } =
        world_with(&SimDisk::new(), MAX, 512 << 10, switch.options());
    let (ring, maker) = Ring::new();
    sealer.serve(maker);
    for now in 2..5 {
        assert_eq!(sealer.step(now).unwrap(), Step::NoKey);
    }
    assert_eq!(sealer.step(1001).unwrap(), Step::Worked, "a heartbeat");
    assert_eq!((ring.key(1001).unwrap_err(), switch.asked.load(Relaxed)), (NoKey::Yet, 1));
    switch.gives.store(true, Relaxed);
    assert_eq!(sealer.step(40_000).unwrap(), Step::Worked);
    assert!(ring.key(40_000).is_ok());
    assert_eq!(kinds(&outbox), ["start", "alive", "key"]);
}

#[test]
fn while_the_outbox_is_full_a_field_key_is_made_all_the_same() {
    use super::ring::Ring;
    let World { outbox, mut sealer, .. } = world();
    let (ring, maker) = Ring::new();
    sealer.options.outbox_bytes = outbox.bytes();
    sealer.serve(maker);
    let leaves = outbox.end();
    assert_eq!(sealer.step(1).unwrap(), Step::Worked);
    assert!(ring.key(1).is_ok(), "no sink waits with its fields because an archive is away");
    assert_eq!(outbox.end(), leaves + 1);
    assert_eq!(sealer.step(2).unwrap(), Step::Blocked, "and nothing else");
}
