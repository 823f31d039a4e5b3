//! The read side against archives that the write side made, whole and altered.

use super::open::{self as opening, Filter};
use super::verify::{self as verifying, Report, Verdict};
use super::{Archive, Identities};
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{self, Journal, JournalKey, Kind};
use crate::sealer::datakey::{LocalKeys, Supply};
use crate::sealer::outbox::Outbox;
use crate::sealer::{self, Codec, Sealer};
use crate::sink::archive::{self, ArchiveSink};
use crate::sink::cursor::Cursors;
use crate::store::{DirStore, ObjectMeta, Place, Store};
use sealtail_seal::keys::SigningKey;
use sealtail_seal::message::{Identity, Recipient};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const DEV: [u8; 32] = [4; 32];
pub(super) const NOW: u64 = 1_795_341_600_000;

pub(super) fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Makes an archive of `batches` batches of `each` records; `end`: ends in order.
fn make(root: &Path, name: &str, batches: u64, each: u64, codec: Codec, end: bool) -> PathBuf {
    let disk: SharedDisk = Arc::new(RealDisk);
    let home = root.join(name);
    let archive = root.join("archive");
    let options =
        journal::Options { path: home.clone(), max_bytes: 64 << 20, segment_bytes: 1 << 20 };
    let mut journal =
        Journal::open(disk.clone(), options, &JournalKey::new([5; 32]), "wa/test", NOW).unwrap();
    let outbox =
        Arc::new(Outbox::open(disk.clone(), home.join("outbox"), journal.handle()).unwrap());
    let options = sealer::Options {
        max_bytes: 1 << 20,
        max_records: each,
        max_age_ms: 1000,
        codec,
        heartbeat_ms: 300_000,
        outbox_bytes: 16 << 20,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", DEV)]))),
        signing_key: signing_key(),
        config_hash: [2; 32],
        waivers: crate::sealer::Waivers::default(),
    };
    let mut sealer =
        Sealer::open(options, journal.id().clone(), Arc::clone(&outbox), journal.handle(), NOW)
            .unwrap();
    for n in 0..batches * each {
        let kind = if n == each + 1 { Kind::Gap } else { Kind::Line };
        let body = format!(
            "\"event\":\"{}\",\"x\":{n},\"source\":{{\"file\":\"f\",\"offset\":{n}}}}}",
            if n % 3 == 0 { "log" } else { "api_request" }
        );
        journal.append(kind, body.as_bytes());
    }
    journal.commit(NOW).unwrap();
    while sealer.step(NOW).unwrap() == sealer::Step::Worked {}
    sealer.flush(NOW).unwrap();
    if end {
        sealer.end(NOW).unwrap();
    }
    let mut sink = sink(disk, &archive, &home, outbox);
    while wait(sink.step(NOW)).unwrap() {}
    archive
}

pub(super) fn sink(
    disk: SharedDisk,
    archive: &Path,
    home: &Path,
    outbox: Arc<Outbox>,
) -> ArchiveSink {
    let cursors = Cursors::open(disk.clone(), home.join("cursors")).unwrap();
    let options = archive::Options {
        name: "a".into(),
        place: Place::Directory(disk, archive.to_owned()),
        folder: "wa/".to_owned(),
        origin: "wa".to_owned(),
        meta: ObjectMeta::default(),
        backup: None,
    };
    ArchiveSink::new(options, outbox, cursors).unwrap()
}

pub(super) fn request(decrypt: bool) -> verifying::Request {
    verifying::Request {
        keys: vec![signing_key().public()],
        identities: if decrypt {
            vec![Identity::aes("dev", DEV)].into()
        } else {
            Identities::default()
        },
        expect: None,
        max_age: None,
        in_flight: 600_000,
        begins_at: 0,
        now: NOW + 1000,
    }
}

pub(super) fn archive(path: &Path) -> Archive {
    let disk: SharedDisk = Arc::new(RealDisk);
    wait(Archive::open(Store::Dir(DirStore::open(disk, path).unwrap()))).unwrap()
}

pub(super) fn verify(path: &Path) -> Report {
    wait(verifying::verify(&archive(path), request(true))).unwrap()
}

fn open_all(path: &Path, filter: Filter, dedupe: bool) -> Vec<String> {
    let request = opening::Request {
        identities: vec![Identity::aes("dev", DEV)].into(),
        keys: vec![signing_key().public()],
        filter,
        dedupe,
    };
    let mut out = Vec::new();
    wait(opening::open(&archive(path), request, &mut out)).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(super) fn find(path: &Path, what: &str) -> PathBuf {
    files(path).into_iter().find(|f| f.to_string_lossy().contains(what)).unwrap()
}

#[test]
fn a_whole_archive_holds_and_opens_with_either_codec() {
    for codec in [Codec::Gzip(6), Codec::Zstd(1)] {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "j", 4, 10, codec, true);
        let report = verify(&path);
        assert!(report.holds(), "{report}");
        assert_eq!(report.fresh, Verdict::NotAsked);
        assert_eq!(
            (report.logs[0].records, report.logs[0].gaps, report.logs[0].ended),
            (40, 1, true)
        );
        let lines = open_all(&path, Filter::default(), false);
        assert_eq!(lines.len(), 40);
        for (n, line) in lines.iter().enumerate() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (value["seq"].as_u64(), value["x"].as_u64()),
                (Some(n as u64), Some(n as u64))
            );
        }
    }
}

#[test]
fn filters_choose_records() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 4, 10, Codec::Gzip(1), true);
    let some = |filter| open_all(&path, filter, false).len();
    assert_eq!(some(Filter { from_seq: Some(5), to_seq: Some(14), ..Filter::default() }), 10);
    assert_eq!(some(Filter { events: vec!["log".into()], ..Filter::default() }), 14);
    let before = Some(crate::text::rfc3339(NOW));
    assert_eq!(some(Filter { until: before.clone(), ..Filter::default() }), 0);
    assert_eq!(some(Filter { since: before, ..Filter::default() }), 40);
}

#[test]
fn two_incarnations_are_joined_by_dedupe() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), "j1", 2, 10, Codec::Gzip(1), false);
    let path = make(root.path(), "j2", 2, 10, Codec::Gzip(1), true);
    let report = verify(&path);
    assert!(report.holds(), "{report}");
    assert_eq!(report.logs.len(), 2);
    assert!(report.notes.iter().any(|n| n.contains("no end leaf")), "{report}");
    assert_eq!(open_all(&path, Filter::default(), false).len(), 40);
    assert_eq!(open_all(&path, Filter::default(), true).len(), 20);
}

/// One thing done to an archive; `verify` must fail and name the file.
fn tampered(path: &Path, file: &Path, change: impl FnOnce(&Path)) {
    let before = std::fs::read(file).unwrap();
    change(file);
    let report = verify(path);
    assert!(!report.holds(), "{} was changed and nobody noticed:\n{report}", file.display());
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(report.problems.iter().any(|p| p.contains(&name)), "{name} is not named:\n{report}");
    std::fs::write(file, before).unwrap();
}

#[test]
fn a_thousand_flipped_bytes_are_each_found_and_named() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 3, 6, Codec::Gzip(6), true);
    let files = files(&path);
    let sizes: Vec<u64> = files.iter().map(|f| f.metadata().unwrap().len()).collect();
    let total: u64 = sizes.iter().sum();
    let mut at = 12_345_u64;
    for _ in 0..1000 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut rest = (at >> 16) % total;
        let mut chosen = 0;
        while rest >= sizes[chosen] {
            rest -= sizes[chosen];
            chosen += 1;
        }
        tampered(&path, &files[chosen], |file| {
            let mut bytes = std::fs::read(file).unwrap();
            bytes[usize::try_from(rest).unwrap()] ^= 1 << (at % 8);
            std::fs::write(file, bytes).unwrap();
        });
    }
    assert!(verify(&path).holds());
}

#[test]
fn deleting_truncating_and_lengthening_anything_is_found() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 3, 6, Codec::Gzip(6), true);
    for file in files(&path) {
        tampered(&path, &file, |f| std::fs::remove_file(f).unwrap());
        tampered(&path, &file, |f| {
            let bytes = std::fs::read(f).unwrap();
            std::fs::write(f, &bytes[..bytes.len() / 2]).unwrap();
        });
        tampered(&path, &file, |f| {
            let mut bytes = std::fs::read(f).unwrap();
            bytes.push(b'\n');
            std::fs::write(f, bytes).unwrap();
        });
        tampered(&path, &file, |f| std::fs::write(f, b"").unwrap());
    }
    assert!(verify(&path).holds());
}

#[test]
fn swapping_and_copying_objects_is_found() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 3, 6, Codec::Gzip(6), true);
    let all = files(&path);
    for a in &all {
        for b in all.iter().filter(|b| *b > a) {
            let other = std::fs::read(b).unwrap();
            tampered(&path, b, |b| {
                let ours = std::fs::read(a).unwrap();
                std::fs::write(a, &other).unwrap();
                std::fs::write(b, &ours).unwrap();
                let report = verify(&path);
                assert!(!report.holds());
                std::fs::write(a, &ours).unwrap();
                std::fs::write(b, &ours).unwrap();
            });
        }
        let copy = a.with_file_name(format!("copy-{}", a.file_name().unwrap().to_string_lossy()));
        std::fs::copy(a, &copy).unwrap();
        let report = verify(&path);
        assert_eq!(report.intact, Verdict::No);
        assert!(
            report.problems.iter().any(|p| p.contains("copy-") && p.contains("unlisted")),
            "{report}"
        );
        std::fs::remove_file(copy).unwrap();
    }
    assert!(verify(&path).holds());
}

#[test]
fn an_archive_that_was_cut_short_is_found_by_an_older_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 3, 6, Codec::Gzip(6), true);
    let checkpoint = find(&path, "checkpoint");
    let newest = std::fs::read_to_string(&checkpoint).unwrap();
    // Cut the last two leaves and put the matching older checkpoint in place.
    let proofs: Vec<_> = files(&path)
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "tlog-proof"))
        .collect();
    let keep = proofs.len() - 2;
    let old = std::fs::read_to_string(&proofs[keep - 1]).unwrap();
    let (_, note) = old.split_once("\n\n").unwrap();
    std::fs::write(&checkpoint, note).unwrap();
    for proof in &proofs[keep..] {
        let text = std::fs::read_to_string(proof).unwrap();
        let leaf = sealtail_seal::proof::Proof::parse(&text).unwrap().leaf;
        let leaf = sealtail_seal::leaf::Leaf::parse(std::str::from_utf8(&leaf).unwrap()).unwrap();
        if let Some(object) = leaf.object() {
            std::fs::remove_file(path.join(&object.key)).unwrap();
        }
        std::fs::remove_file(proof).unwrap();
    }
    let alone = verify(&path);
    assert!(alone.holds(), "it says up to when it reaches, no more:\n{alone}");
    let mut request = request(true);
    request.expect = Some(newest);
    let report = wait(verifying::verify(&archive(&path), request)).unwrap();
    assert_eq!((report.fresh, report.complete), (Verdict::No, Verdict::No), "{report}");
    assert!(report.problems.iter().any(|p| p.contains("cut short")), "{report}");
}

#[test]
fn nothing_checked_is_never_a_pass() {
    let root = tempfile::tempdir().unwrap();
    assert!(!verify(root.path()).holds());
    let path = make(root.path(), "j", 1, 3, Codec::Gzip(1), true);
    let mut wrong = request(false);
    wrong.keys = vec![SigningKey::from_seed(&[99; 32]).public()];
    let report = wait(verifying::verify(&archive(&path), wrong)).unwrap();
    assert!(!report.holds(), "{report}");
    assert!(report.problems.iter().any(|p| p.contains("not signed by the given key")), "{report}");
}

#[test]
fn the_wrong_identity_is_a_verdict_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 1, 3, Codec::Gzip(1), true);
    let mut wrong = request(false);
    wrong.identities = vec![Identity::aes("dev", [9; 32])].into();
    let report = wait(verifying::verify(&archive(&path), wrong)).unwrap();
    assert_eq!(
        (report.intact, report.complete, report.decrypted),
        (Verdict::Yes, Verdict::Yes, Verdict::No),
        "{report}"
    );
}

#[test]
fn an_object_on_its_way_is_in_flight_and_later_missing() {
    let root = tempfile::tempdir().unwrap();
    let path = make(root.path(), "j", 1, 3, Codec::Gzip(1), false);
    std::fs::remove_file(find(&path, ".esdk")).unwrap();
    let report = verify(&path);
    assert!(report.holds(), "{report}");
    assert!(report.notes.iter().any(|n| n.contains("in flight")), "{report}");
    let mut later = request(true);
    later.now = NOW + 3_600_000;
    let report = wait(verifying::verify(&archive(&path), later)).unwrap();
    assert_eq!(report.complete, Verdict::No, "{report}");
}

#[test]
fn a_second_writer_of_the_same_log_is_a_conflict() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), "j", 2, 3, Codec::Gzip(1), true);
    // The same journal, restored from a copy that was older: it seals anew.
    let disk: SharedDisk = Arc::new(RealDisk);
    let home = root.path().join("j");
    for file in files(&home.join("outbox")).into_iter().chain(files(&home.join("cursors"))) {
        std::fs::remove_file(file).unwrap();
    }
    let options =
        journal::Options { path: home.clone(), max_bytes: 64 << 20, segment_bytes: 1 << 20 };
    let journal =
        Journal::open(disk.clone(), options, &JournalKey::new([5; 32]), "wa/test", NOW + 5)
            .unwrap();
    let outbox =
        Arc::new(Outbox::open(disk.clone(), home.join("outbox"), journal.handle()).unwrap());
    let options = sealer::Options {
        max_bytes: 1 << 20,
        max_records: 3,
        max_age_ms: 1000,
        codec: Codec::Gzip(1),
        heartbeat_ms: 300_000,
        outbox_bytes: 16 << 20,
        keys: Supply::new(Box::new(LocalKeys::new(vec![Recipient::aes("dev", DEV)]))),
        signing_key: signing_key(),
        config_hash: [2; 32],
        waivers: crate::sealer::Waivers::default(),
    };
    let sealer =
        Sealer::open(options, journal.id().clone(), Arc::clone(&outbox), journal.handle(), NOW + 5)
            .unwrap();
    drop(sealer);
    let mut sink = sink(disk, &root.path().join("archive"), &home, outbox);
    let refused = wait(sink.step(NOW)).unwrap_err();
    assert!(refused.to_string().contains("another object is there already"), "{refused}");
    assert!(verify(&root.path().join("archive")).holds());
}
