//! Power cuts and crashes, simulated: what was acknowledged is there, what was
//! seen is there, and positions never disagree with records.

use super::*;
use crate::disk::Disk as _;
use crate::disk::sim::{SimDisk, Synced};
use crate::source::FileId;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const FILE: FileId = FileId([9; 16]);

fn options() -> Options {
    Options { path: "/j".into(), max_bytes: 1 << 20, segment_bytes: 48 << 10 }
}

fn open(disk: &SimDisk) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk.clone()), options(), &JournalKey::new([5; 32]), "wa/test", 1000)
}

/// A small generator (SplitMix64), so that a seed names a run for ever.
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

/// What the outside world has been told: it must never be taken back.
#[derive(Default, Clone)]
struct Told {
    /// Bodies in order of their numbers: acknowledged, or seen by a reader.
    records: Vec<Vec<u8>>,
    /// Read, delivered and no longer needed.
    floor: u64,
}

/// Records carry their own number and some filler.
fn body(seq: u64, random: &mut Random) -> Vec<u8> {
    let filler = random.below(900) as usize;
    format!("\"n\":{seq},\"f\":\"{}\"}}", "x".repeat(filler)).into_bytes()
}

/// Appends, commits, reads, trims, until the power goes or `steps` are done.
fn work(disk: &SimDisk, told: &mut Told, random: &mut Random, steps: u32) -> Result<(), String> {
    let Ok(mut journal) = open_or_cut(disk)? else {
        return Ok(());
    };
    check(&mut journal, told)?;
    let mut reader = Reader::new(journal.handle(), Seq(told.floor)).map_err(|e| e.to_string())?;
    let mut pending = Vec::new();
    for _ in 0..steps {
        for _ in 0..=random.below(6) {
            let seq = (told.records.len() + pending.len()) as u64;
            let body = body(seq, random);
            journal.append(Kind::Line, &body);
            pending.push(body);
        }
        let lines = (told.records.len() + pending.len()) as u64;
        journal.set_position(FILE, &lines.to_le_bytes());
        match journal.commit(1000) {
            Ok(_) => told.records.append(&mut pending),
            Err(e) if e.is_backpressure() => {}
            Err(_) => return Ok(()),
        }
        if random.below(3) == 0 {
            loop {
                match reader.read() {
                    Ok(Some(Entry::Record { seq, body, .. })) => {
                        if told.records.get(seq.0 as usize).map(Vec::as_slice) != Some(body) {
                            return Err(format!("record {seq} was shown before it was durable"));
                        }
                        told.floor = seq.0 + 1;
                    }
                    Ok(Some(Entry::Hole { .. })) => return Err("a hole".to_owned()),
                    Ok(None) => break,
                    Err(e) => return Err(e.to_string()),
                }
            }
            journal.handle().set_floor(Seq(told.floor));
            if journal.trim().is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `Err(())` inside: the power went during recovery, which is no failure.
fn open_or_cut(disk: &SimDisk) -> Result<Result<Journal, ()>, String> {
    match open(disk) {
        Ok(journal) => Ok(Ok(journal)),
        Err(JournalError::Io { source, .. }) if source.to_string().contains("power") => Ok(Err(())),
        Err(e) => Err(format!("failed to open the journal: {e}")),
    }
}

/// Everything told is there; records beyond it are whole, in order, and agree
/// with the position.
fn check(journal: &mut Journal, told: &mut Told) -> Result<(), String> {
    let position = journal
        .positions()
        .find(|(f, _)| *f == FILE)
        .map_or(0, |(_, p)| u64::from_le_bytes(p.try_into().expect("eight bytes")));
    if position != journal.end().0 {
        return Err(format!("position {position}, but {} records", journal.end()));
    }
    if journal.end().0 < told.records.len() as u64 {
        return Err(format!("{} acknowledged, {} found", told.records.len(), journal.end()));
    }
    if journal.begin().0 > told.floor {
        return Err(format!("begins at {}, needed from {}", journal.begin(), told.floor));
    }
    let mut reader = Reader::new(journal.handle(), Seq(told.floor)).map_err(|e| e.to_string())?;
    let mut expected = told.floor;
    while let Some(entry) = reader.read().map_err(|e| e.to_string())? {
        let Entry::Record { seq, body, .. } = entry else {
            return Err("a hole".to_owned());
        };
        if seq.0 != expected || !body.starts_with(format!("\"n\":{seq},").as_bytes()) {
            return Err(format!("record {seq} where {expected} was due"));
        }
        match told.records.get(seq.0 as usize) {
            Some(known) if known != body => return Err(format!("record {seq} has changed")),
            Some(_) => {}
            None => told.records.push(body.to_vec()),
        }
        expected += 1;
    }
    if expected != journal.end().0 {
        return Err(format!("read up to {expected} of {}", journal.end()));
    }
    Ok(())
}

/// Runs with a cut at a random call, several lives in a row.
fn campaign(seed: u64, skip: Option<fn(&Path, Synced) -> bool>) -> Result<(), String> {
    let mut random = Random(seed);
    let mut disk = SimDisk::new();
    let mut told = Told::default();
    for life in 0..4 {
        if let Some(skip) = skip {
            disk.skip_syncs(skip);
        }
        disk.cut_power_at(1 + random.below(160));
        work(&disk, &mut told, &mut random, 60)
            .map_err(|e| format!("seed {seed}, life {life}: {e}"))?;
        disk = if random.below(8) == 0 {
            disk.after_crash()
        } else {
            disk.after_power_cut(&mut || random.next())
        };
    }
    work(&disk, &mut told, &mut random, 10).map_err(|e| format!("seed {seed}, at the end: {e}"))
}

#[test]
fn nothing_told_is_taken_back_by_a_power_cut() {
    for seed in 0..400 {
        campaign(seed, None).unwrap();
    }
}

/// Whether a sync of this path is left out.
type Rule = fn(&Path, Synced) -> bool;

#[test]
fn the_power_cut_test_bites_when_any_fsync_is_removed() {
    let removed: [(&str, Rule); 6] = [
        ("of a block", |p, _| p.extension().is_some_and(|e| e == "seg")),
        ("of a new segment", |p, _| p.to_string_lossy().ends_with(".seg.tmp")),
        ("of the folder after a new segment", |p, s| {
            p.ends_with("segments") && s == Synced::NewNames
        }),
        ("of the folder after a trim", |p, s| p.ends_with("segments") && s == Synced::Removals),
        ("of the incarnation file", |p, _| p.ends_with("incarnation.tmp")),
        ("of the folder after the incarnation file", |p, s| {
            p == Path::new("/j") && s == Synced::NewNames
        }),
    ];
    for (name, skip) in removed {
        let caught = (0..400).any(|seed| campaign(seed, Some(skip)).is_err());
        assert!(caught, "without the fsync {name}, no run failed: the test does not bite");
    }
}

#[test]
fn a_full_volume_is_backpressure_and_loses_nothing() {
    let disk = SimDisk::new();
    let mut journal = open(&disk).unwrap();
    disk.set_space(Some(100 << 10));
    let mut random = Random(1);
    let mut count = 0;
    let full = loop {
        journal.append(Kind::Line, &body(count, &mut random));
        count += 1;
        if let Err(e) = journal.commit(1) {
            break e;
        }
    };
    assert!(full.is_backpressure(), "{full}");
    assert!(full.to_string().contains("no space left"), "{full}");
    assert!(journal.commit(1).is_err());
    disk.set_space(None);
    journal.commit(1).unwrap();
    assert_eq!(journal.end(), Seq(count));
}

#[test]
fn a_full_journal_is_backpressure_until_the_floor_moves() {
    let disk = SimDisk::new();
    let mut journal = open(&disk).unwrap();
    let mut count = 0;
    let full = loop {
        journal.append(Kind::Line, &[b'x'; 20_000]);
        count += 1;
        if let Err(e) = journal.commit(1) {
            break e;
        }
    };
    assert!(matches!(full, AppendError::Full { max, .. } if max == 1 << 20), "{full}");
    let (used, max) = journal.handle().usage();
    assert!(used <= max);
    journal.handle().set_floor(Seq(count - 1));
    journal.trim().unwrap();
    journal.commit(1).unwrap();
    assert_eq!(journal.end(), Seq(count));
}

#[test]
fn a_second_process_and_a_wrong_key_are_refused() {
    let disk = SimDisk::new();
    let journal = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(JournalError::Locked(_))));
    drop(journal);
    let wrong =
        Journal::open(Arc::new(disk.clone()), options(), &JournalKey::new([6; 32]), "wa/test", 1);
    assert!(matches!(wrong, Err(JournalError::WrongKey(_))));
    let moved = Journal::open(Arc::new(disk), options(), &JournalKey::new([5; 32]), "wa/other", 1);
    assert!(matches!(moved, Err(JournalError::OriginChanged { .. })));
}

/// A cut at every operation: the old origin or the new one opens, with the
/// positions, and the old one only as long as the new one has not begun.
#[test]
fn a_changed_origin_begins_a_new_incarnation_whenever_the_power_goes() {
    let open_as = |disk: &SimDisk, origin: &str| {
        Journal::open(Arc::new(disk.clone()), options(), &JournalKey::new([5; 32]), origin, 1)
    };
    let (disk, bodies) = filled();
    let refused = open_as(&disk, "wa/test").unwrap();
    assert!(matches!(
        refused.succeed(&JournalKey::new([5; 32]), "wa/other", None, 2),
        Err(JournalError::OriginChanged { .. })
    ));
    let mut random = Random(11);
    let (mut whole, mut begun) = (false, 0);
    for cut in 1.. {
        let disk = disk.after_crash();
        let journal = open_as(&disk, "wa/test").unwrap();
        journal.handle().set_floor(Seq(bodies.len() as u64));
        disk.cut_power_at(disk.calls() + cut);
        let made = journal.succeed(&JournalKey::new([5; 32]), "wa/other", Some("c".into()), 2);
        whole = made.is_ok() && !disk.is_cut();
        drop(made);
        let disk = disk.after_power_cut(&mut || random.next());
        let (journal, origin) = match open_as(&disk, "wa/test") {
            Ok(journal) => (journal, "wa/test"),
            Err(JournalError::OriginChanged { .. }) => {
                (open_as(&disk, "wa/other").unwrap(), "wa/other")
            }
            Err(e) => panic!("cut {cut}: {e}"),
        };
        let position = journal.positions().next().map(|(file, p)| (file, p.to_vec()));
        assert_eq!(position, Some((FILE, 40_u64.to_le_bytes().to_vec())), "cut {cut}, {origin}");
        if origin == "wa/other" {
            begun += 1;
            assert_eq!((journal.begin(), journal.end()), (Seq(0), Seq(0)));
            assert_eq!(journal.id().previous_checkpoint.as_deref(), Some("c"));
        } else {
            assert!(!whole, "cut {cut}");
            assert_eq!(journal.end(), Seq(40));
        }
        if whole {
            break;
        }
    }
    assert!(whole && begun > 0);
}

/// Fills a journal with 40 one-record blocks in several segments.
fn filled() -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new();
    let mut journal = open(&disk).unwrap();
    let mut random = Random(3);
    let bodies: Vec<_> = (0..40).map(|n| body(n, &mut random)).collect();
    for (n, body) in bodies.iter().enumerate() {
        journal.append(Kind::Line, body);
        journal.set_position(FILE, &(n as u64 + 1).to_le_bytes());
        journal.commit(n as u64).unwrap();
    }
    (disk, bodies)
}

#[test]
fn damage_is_refused_repaired_and_named() {
    let (pristine, bodies) = filled();
    let segments = pristine.list(Path::new("/j/segments")).unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    for (i, name) in segments.iter().enumerate() {
        let path = Path::new("/j/segments").join(name);
        // The third block of the segment: not at a torn end.
        let disk = pristine.after_crash();
        disk.flip_byte(&path, 3 * 4096 + 70).unwrap();
        let refused = open(&disk).unwrap_err();
        assert!(matches!(refused, JournalError::Damaged { .. }), "{name}: {refused}");
        assert!(refused.to_string().contains("journal repair"), "{refused}");

        let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
        let repaired =
            repair::repair(&shared, &options(), &JournalKey::new([5; 32]), Some(Seq(0)), 7)
                .unwrap();
        assert_eq!(repaired.len(), 1, "segment {i}");
        assert_eq!(repaired[0].lost.iter().map(|l| l.1).sum::<u64>(), 1);
        let journal = open(&disk).unwrap();
        assert_eq!(journal.end(), Seq(40));
        let mut reader = Reader::new(journal.handle(), Seq(0)).unwrap();
        let mut next = 0;
        let mut holes = 0;
        while let Some(entry) = reader.read().unwrap() {
            match entry {
                Entry::Record { seq, body, .. } => {
                    assert_eq!((seq.0, body), (next, &bodies[next as usize][..]));
                    next += 1;
                }
                Entry::Hole { first, count, .. } => {
                    assert_eq!((first, count), (repaired[0].lost[0].0, 1));
                    next += count;
                    holes += 1;
                }
            }
        }
        assert_eq!((next, holes), (40, 1));
    }
}

/// Repairs, and reads from `sealed` on: what is missing there is what was called
/// lost, and it is the range that was asked for.
fn repaired_reads(
    disk: &SimDisk,
    bodies: &[Vec<u8>],
    sealed: u64,
    missing: Range<u64>,
    note: &str,
) {
    let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
    let key = JournalKey::new([5; 32]);
    let repaired = repair::repair(&shared, &options(), &key, Some(Seq(sealed)), 7).unwrap();
    let mut lost: Vec<_> = repaired.iter().flat_map(|r| r.lost.clone()).collect();
    lost.sort_unstable();
    assert_eq!(
        lost.iter().map(|l| l.1).sum::<u64>(),
        missing.end - missing.start,
        "{note}: {lost:?}"
    );
    let journal = open(disk).unwrap_or_else(|e| panic!("{note}: {e}"));
    let mut reader = Reader::new(journal.handle(), Seq(sealed)).unwrap();
    let mut next = sealed;
    while let Some(entry) = reader.read().unwrap() {
        match entry {
            Entry::Record { seq, body, .. } => {
                assert!(!missing.contains(&seq.0), "{note}: {seq}");
                assert_eq!((seq.0, body), (next, &bodies[next as usize][..]), "{note}");
                next += 1;
            }
            Entry::Hole { first, count, .. } => {
                let behind = first.0 + count;
                assert!(
                    first.0 <= next && missing.contains(&next) && behind <= missing.end,
                    "{note}"
                );
                next = behind;
            }
        }
    }
    assert_eq!(next, journal.end().0, "{note}");
    let again = repair::repair(&shared, &options(), &key, Some(Seq(sealed)), 8);
    assert!(matches!(again, Err(JournalError::Locked(_))));
    drop(reader);
    drop(journal);
    assert_eq!(repair::repair(&shared, &options(), &key, Some(Seq(sealed)), 8).unwrap(), []);
}

/// Found by a review: a segment without its header could only be moved away by
/// hand, and then its records were missing without a word.
#[test]
fn a_segment_without_its_header_becomes_a_hole() {
    let (pristine, bodies) = filled();
    let names = pristine.list(Path::new("/j/segments")).unwrap();
    let key = JournalKey::new([5; 32]);
    let first_of = |name: &String| {
        let number = name.strip_suffix(".seg").unwrap().parse().unwrap();
        let id = Incarnation::load(&pristine, Path::new("/j")).unwrap().unwrap();
        let folder = Path::new("/j/segments");
        segment::Segment::open(&pristine, folder, number, &key, &id.incarnation)
            .unwrap()
            .start
            .first
            .0
    };
    let firsts: Vec<u64> = names.iter().map(first_of).collect();
    for (i, name) in names.iter().enumerate() {
        // In the magic, and in what the key authenticates.
        for byte in [3, 40] {
            for sealed in [0, firsts[i], firsts[i] + 1, 40] {
                let disk = pristine.after_crash();
                disk.flip_byte(&Path::new("/j/segments").join(name), byte).unwrap();
                open(&disk).unwrap_err();
                let behind = firsts.get(i + 1).copied();
                // What was in the last one and not sealed is read from the files again.
                let end = behind.unwrap_or(sealed.max(firsts[i]));
                let missing = sealed.max(firsts[i]).min(end)..end;
                let note = format!("segment {i} of {firsts:?}, byte {byte}, sealed {sealed}");
                repaired_reads(&disk, &bodies, sealed, missing, &note);
            }
        }
    }
}

/// Found by a review: the next start began again at number 0, beside an outbox
/// that reached further, and what it journaled was never sealed.
#[test]
fn no_segments_beside_an_outbox_are_refused_and_repaired() {
    let (disk, bodies) = filled();
    let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
    shared.create_dir_all(Path::new("/j/outbox")).unwrap();
    drop(shared.create_new(Path::new("/j/outbox/00000000000000000003.entry")).unwrap());
    for name in disk.list(Path::new("/j/segments")).unwrap() {
        disk.remove(&Path::new("/j/segments").join(name)).unwrap();
    }
    let refused = open(&disk).unwrap_err();
    assert!(matches!(refused, JournalError::SegmentsGone(_)), "{refused}");
    repaired_reads(&disk, &bodies, 25, 25..25, "all gone");
    assert_eq!(open(&disk).unwrap().end(), Seq(25));
}

#[test]
fn a_wrong_key_is_no_damage() {
    let (disk, _) = filled();
    let shared: crate::disk::SharedDisk = Arc::new(disk.clone());
    let refused = repair::repair(&shared, &options(), &JournalKey::new([6; 32]), Some(Seq(0)), 7);
    assert!(matches!(refused, Err(JournalError::WrongKey(_))));
}

/// Found by a review: another token key had all files read again, and a gap
/// signed for each.
#[test]
fn the_key_of_file_ids_stays_with_the_journal() {
    let disk = SimDisk::new();
    let key = JournalKey::new([5; 32]);
    for first in [[1; 32], [2; 32]] {
        let mut journal = open(&disk).unwrap();
        assert_eq!(*journal.file_id_key(&key, &first).unwrap(), [1; 32]);
    }
    let disk = disk.after_power_cut(&mut || 0);
    let mut journal = open(&disk).unwrap();
    assert_eq!(*journal.file_id_key(&key, &[3; 32]).unwrap(), [1; 32]);
    journal.file_id_key(&JournalKey::new([6; 32]), &[1; 32]).unwrap_err();
}

#[test]
fn a_torn_tail_is_cut() {
    let (disk, _) = filled();
    let last = disk.list(Path::new("/j/segments")).unwrap().pop().unwrap();
    let path = Path::new("/j/segments").join(last);
    let bytes = disk.read(&path).unwrap();
    let end = bytes.chunks(4096).rposition(|page| page.iter().any(|b| *b != 0)).unwrap();
    disk.flip_byte(&path, end * 4096 + 66).unwrap();
    let journal = open(&disk).unwrap();
    assert_eq!(journal.end(), Seq(39));
    assert_eq!(journal.positions().next().unwrap().1, 39_u64.to_le_bytes());
}

#[test]
fn a_cursor_beyond_the_end_says_that_the_journal_was_rolled_back() {
    let (disk, _) = filled();
    let journal = open(&disk).unwrap();
    let refused = Reader::new(journal.handle(), Seq(41)).unwrap_err();
    assert!(refused.to_string().contains("older copy"), "{refused}");
}

#[test]
fn append_durable_survives_the_cut_that_follows_it() {
    let disk = SimDisk::new();
    let mut journal = open(&disk).unwrap();
    let seq = journal.append_durable(Kind::Line, b"\"webhook\":1}", 5).unwrap();
    assert_eq!(seq, Seq(0));
    let mut random = Random(2);
    let disk = disk.after_power_cut(&mut || random.next());
    let journal = open(&disk).unwrap();
    let mut reader = Reader::new(journal.handle(), Seq(0)).unwrap();
    assert_eq!(
        reader.read().unwrap(),
        Some(Entry::Record { seq: Seq(0), time: 1000, kind: Kind::Line, body: b"\"webhook\":1}" })
    );
}
