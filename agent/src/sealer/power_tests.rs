//! The sealer under simulated power cuts: what has left is never contradicted,
//! and every record is in the log exactly once.

use super::*;
use crate::disk::sim::{SimDisk, Synced};
use crate::journal::{self, Journal, JournalKey};
use crate::sealer::ring::Ring;
use crate::sink::cursor::{Cursor, Cursors, Next};
use datakey::LocalKeys;
use sealtail_seal::message::{Decryptor, Identity, Recipient};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

const DEV: [u8; 32] = [4; 32];

/// SplitMix64: a seed names a run for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn options() -> Options {
    Options {
        max_bytes: 4000,
        max_records: 40,
        max_age_ms: 50,
        codec: Codec::Gzip(1),
        heartbeat_ms: 500,
        outbox_bytes: 1 << 20,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", DEV)]))),
        signing_key: SigningKey::from_seed(&[1; 32]),
        config_hash: [2; 32],
        waivers: Waivers::default(),
    }
}

/// The archive: it outlives every power cut, and takes nothing back.
#[derive(Default)]
struct Archive {
    proofs: BTreeMap<String, Vec<u8>>,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// As a store with "only if absent" does: the same bytes again are fine.
    fn put_new(
        map: &mut BTreeMap<String, Vec<u8>>,
        key: &str,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        match map.get(key) {
            Some(there) if *there == bytes => Ok(()),
            Some(_) => Err(format!("{key} was uploaded before with other bytes")),
            None => {
                map.insert(key.to_owned(), bytes);
                Ok(())
            }
        }
    }
}

struct World {
    disk: SimDisk,
    archive: Archive,
    random: Random,
    now: u64,
    /// Bodies that were acknowledged as durable, by number.
    told: Vec<String>,
    serial: u64,
    /// Field keys that a sink got: from then on a token may have left.
    given: BTreeMap<String, [u8; 32]>,
}

/// The power is gone, or something is wrong.
enum Stop {
    Power,
    Wrong(String),
}

impl World {
    fn new(seed: u64) -> Self {
        let random = Random(seed);
        Self {
            disk: SimDisk::new(),
            archive: Archive::default(),
            random,
            now: 1_000_000,
            told: Vec::new(),
            serial: 0,
            given: BTreeMap::new(),
        }
    }

    fn check<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, Stop> {
        result
            .map_err(|e| if self.disk.is_cut() { Stop::Power } else { Stop::Wrong(e.to_string()) })
    }

    /// One life of the process.
    fn live(&mut self, turns: u64, finish: bool) -> Result<(), Stop> {
        let shared: crate::disk::SharedDisk = Arc::new(self.disk.clone());
        let journal_options =
            journal::Options { path: "/j".into(), max_bytes: 4 << 20, segment_bytes: 32 << 10 };
        let key = JournalKey::new([5; 32]);
        let mut journal =
            self.check(Journal::open(shared.clone(), journal_options, &key, "wa/test", self.now))?;
        let outbox = Arc::new(self.check(Outbox::open(
            shared.clone(),
            "/j/outbox".into(),
            journal.handle(),
        ))?);
        let cursors = self.check(Cursors::open(shared, "/j/cursors".into()))?;
        let mut sealer = self.check(Sealer::open(
            options(),
            journal.id().clone(),
            Arc::clone(&outbox),
            journal.handle(),
            self.now,
        ))?;
        let (ring, maker) = Ring::new();
        sealer.serve(maker);
        let mut next = match self.check(cursors.load("archive"))? {
            Some(Cursor { next: Next::Leaf(next), .. }) => next,
            _ => 0,
        };
        if next < outbox.begin() && outbox.begin() > 0 {
            return Err(Stop::Wrong(format!(
                "entry {next} is needed, the outbox begins at {}",
                outbox.begin()
            )));
        }
        self.check(outbox.uploaded("archive", next))?;
        // What was durable but not acknowledged before the cut counts from now on.
        self.told.truncate(usize::try_from(journal.end().0).unwrap());
        if journal.end().0 > self.told.len() as u64 {
            let mut reader =
                self.check(Reader::new(journal.handle(), Seq(self.told.len() as u64)))?;
            while let Some(Entry::Record { body, .. }) = self.check(reader.read())? {
                self.told.push(String::from_utf8(body.to_vec()).unwrap());
            }
        }
        for _ in 0..turns {
            self.now += self.random.below(30);
            if self.random.below(100) == 0 {
                self.now += 86_400_000;
            }
            match self.random.below(4) {
                0 => self.append(&mut journal)?,
                1 | 2 => {
                    let stepped = sealer.step(self.now);
                    // Also when the power is gone: another thread may have it by now.
                    if let Ok(key) = ring.key(self.now) {
                        self.given.insert(key.kid().to_owned(), **key.secret());
                    }
                    self.check(stepped)?;
                }
                _ => next = self.upload(&outbox, &cursors, next)?,
            }
            self.check(journal.trim())?;
        }
        if finish {
            while matches!(self.check(sealer.step(self.now))?, Step::Worked) {}
            self.check(sealer.end(self.now))?;
            while next < outbox.end() {
                next = self.upload(&outbox, &cursors, next)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, journal: &mut Journal) -> Result<(), Stop> {
        let mut bodies = Vec::new();
        for _ in 0..=self.random.below(12) {
            let kind = if self.random.below(40) == 0 { Kind::Gap } else { Kind::Line };
            let of_kind = match kind {
                Kind::Gap => "\"event\":\"gap\",\"from\":7,\"to\":9,\"why\":\"test\"",
                _ => "\"event\":\"log\"",
            };
            let (serial, x) = (self.serial, self.random.next());
            let body = format!("{of_kind},\"serial\":{serial},\"x\":\"{x:x}\"}}");
            journal.append(kind, body.as_bytes());
            bodies.push(body);
            self.serial += 1;
        }
        match journal.commit(self.now) {
            Ok(_) => self.told.extend(bodies),
            Err(e) if e.is_backpressure() => {}
            Err(e) => return self.check(Err(e)),
        }
        Ok(())
    }

    fn upload(&mut self, outbox: &Outbox, cursors: &Cursors, next: u64) -> Result<u64, Stop> {
        if next >= outbox.end() {
            return Ok(next);
        }
        let head = self.check(outbox.head(next))?;
        let wrong = Stop::Wrong;
        Archive::put_new(
            &mut self.archive.proofs,
            &head.proof_key,
            head.proof.clone().into_bytes(),
        )
        .map_err(wrong)?;
        if let Some(object) = &head.object {
            let (disk, path, offset) = outbox.body(next);
            let mut bytes = vec![0; usize::try_from(object.len).unwrap()];
            self.check(disk.open_read(&path).and_then(|f| f.read_at(&mut bytes, offset)))?;
            if hex(&crate::text::sha256(&bytes)) != object.sha256 {
                return Err(Stop::Wrong(format!(
                    "object {} is not what its leaf says",
                    object.key
                )));
            }
            Archive::put_new(&mut self.archive.objects, &object.key, bytes).map_err(Stop::Wrong)?;
        }
        let cursor = Cursor { next: Next::Leaf(next + 1), place: None, gave_up: None };
        self.check(cursors.save("archive", &cursor))?;
        self.check(outbox.uploaded("archive", next + 1))?;
        Ok(next + 1)
    }

    /// The log in the archive: dense, linked, and every record exactly once.
    fn verify(&self) -> Result<(), String> {
        let mut tree = Frontier::new();
        let mut next = 0;
        let mut gaps = Vec::new();
        let mut given = self.given.clone();
        for (i, proof) in self.archive.proofs.values().enumerate() {
            let proof =
                Proof::parse(std::str::from_utf8(proof).unwrap()).map_err(|e| e.to_string())?;
            let (before, after) = proof.trees().ok_or("not a last leaf")?;
            if before != tree || proof.index != i as u64 {
                return Err(format!("leaf {i} does not follow on the one before"));
            }
            tree = after;
            let leaf = Leaf::parse(std::str::from_utf8(&proof.leaf).unwrap())
                .map_err(|e| e.to_string())?;
            match leaf.body {
                Body::Batch { first, count, object, .. } => {
                    if first != next {
                        return Err(format!("a batch begins at {first}, {next} was due"));
                    }
                    let lines = open(&self.archive.objects[&object.key]);
                    if lines.len() as u64 != count + 1 {
                        return Err(format!("{} lines, the leaf says {count}", lines.len() - 1));
                    }
                    for line in &lines[1..] {
                        let told = self.told.get(usize::try_from(next).unwrap());
                        let same = line.starts_with(&format!("{{\"seq\":{next},\"journaled\":\""))
                            && told.is_some_and(|body| line.ends_with(&format!("\",{body}")));
                        if !same {
                            return Err(format!("record {next} is not what was acknowledged"));
                        }
                        next += 1;
                    }
                }
                Body::Key { kid, object } => {
                    let key = decrypt(&self.archive.objects[&object.key]);
                    if given.remove(&kid).is_some_and(|given| given != *key) {
                        return Err(format!("the archive has another field key {kid}"));
                    }
                }
                Body::Gap { missing: Missing::Span { seq, from: 7, to: Some(9), .. }, .. } => {
                    gaps.push((seq, next));
                }
                _ => {}
            }
        }
        if next != self.told.len() as u64 {
            return Err(format!("{next} records in the log, {} acknowledged", self.told.len()));
        }
        if let Some(kid) = given.keys().next() {
            return Err(format!("field key {kid} was given out and is not in the archive"));
        }
        gaps.sort_unstable();
        let named = gaps.len();
        gaps.dedup();
        if named != gaps.len() || gaps.iter().any(|(seq, at)| seq != at) {
            return Err("a gap is named twice, or in the wrong place".to_owned());
        }
        Ok(())
    }
}

fn decrypt(object: &[u8]) -> Vec<u8> {
    let mut decryptor = Decryptor::new(vec![Identity::aes("dev", DEV)]);
    let mut plain = Vec::new();
    decryptor.update(object, &mut plain).unwrap();
    decryptor.finish().unwrap();
    plain
}

fn open(object: &[u8]) -> Vec<String> {
    let plain = decrypt(object);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&plain[..]).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn campaign(seed: u64, skip: Option<fn(&Path, Synced) -> bool>) -> Result<(), String> {
    let mut world = World::new(seed);
    for life in 0..4 {
        if let Some(skip) = skip {
            world.disk.skip_syncs(skip);
        }
        world.disk.cut_power_at(1 + world.random.below(260));
        match world.live(120, false) {
            Err(Stop::Wrong(e)) => return Err(format!("seed {seed}, life {life}: {e}")),
            Err(Stop::Power) | Ok(()) => {}
        }
        let random = &mut world.random;
        world.disk = world.disk.after_power_cut(&mut || random.next());
    }
    match world.live(20, true) {
        Ok(()) => world.verify().map_err(|e| format!("seed {seed}, at the end: {e}")),
        Err(Stop::Wrong(e)) => Err(format!("seed {seed}, last life: {e}")),
        Err(Stop::Power) => Err(format!("seed {seed}: no power in the last life")),
    }
}

#[test]
fn nothing_that_has_left_is_contradicted_after_a_power_cut() {
    for seed in 0..200 {
        campaign(seed, None).unwrap();
    }
}

/// Whether a sync of this path is left out.
type Rule = fn(&Path, Synced) -> bool;

#[test]
fn the_power_cut_test_bites_when_any_fsync_is_removed() {
    let removed: [(&str, Rule); 4] = [
        ("of an outbox entry", |p, _| p.to_string_lossy().ends_with(".entry.tmp")),
        ("of the outbox folder after a commit", |p, s| {
            p.ends_with("outbox") && s == Synced::NewNames
        }),
        ("of the outbox folder after a removal", |p, s| {
            p.ends_with("outbox") && s == Synced::Removals
        }),
        ("of a cursor", |p, _| p.to_string_lossy().ends_with(".cursor.tmp")),
    ];
    for (name, skip) in removed {
        let caught = (0..400).any(|seed| campaign(seed, Some(skip)).is_err());
        assert!(caught, "without the fsync {name}, no run failed: the test does not bite");
    }
}
