//! An archive in a directory, with the power cut at every call.
//!
//! Promised is what `put_new` returned `Ok` for. It must be there after the cut,
//! nothing may be there damaged, and a new process must be able to finish.

use super::tests::{all, bytes, sha};
use super::*;
use crate::disk::Disk as _;
use crate::disk::sim::{SimDisk, Synced};
use crate::store::Reader;

/// Xorshift, so that a failure can be repeated.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    }
}

/// Writes three objects with the power going at the `cut`-th call, then looks at
/// what a machine finds. Returns what is wrong, and whether the cut was reached.
async fn cut(cut: u64, seed: u64, crash_only: bool, skip: Option<Skip>) -> (Option<String>, bool) {
    let disk = SimDisk::new();
    if let Some(skip) = skip {
        disk.skip_syncs(skip);
    }
    let root = Path::new("/srv/archive");
    let big: Vec<u8> = (0..5000_u32).map(|n| (n % 253) as u8).collect();
    let objects: [(&str, &[u8]); 3] =
        [("o/i/log/0", b"proof"), ("o/i/batch/h=1/0", &big), ("o/i/log/1", b"")];

    let write = async |disk: SimDisk| {
        let Ok(store) = DirStore::create(Arc::new(disk), root) else {
            return Vec::new();
        };
        let mut done = Vec::new();
        for (key, data) in objects {
            if store.put_new(key, &bytes(data), sha(data)).await.is_err() {
                break;
            }
            done.push(key);
        }
        done
    };
    disk.cut_power_at(cut);
    let promised = write(disk.clone()).await;
    let reached = disk.calls() >= cut;
    let mut draw = random(seed);
    // A crash first: the next process finds names that are not durable yet.
    let (promised, disk) = if crash_only {
        let disk = disk.after_crash();
        let promised = write(disk.clone()).await;
        (promised, disk.after_power_cut(&mut draw))
    } else {
        (promised, disk.after_power_cut(&mut draw))
    };

    let store = DirStore::create(Arc::new(disk.clone()), root).unwrap();
    for (key, data) in objects {
        let found = match store.get(key).await {
            Ok(reader) => Some(Reader::Dir(reader).read_all(1 << 20).await.unwrap()),
            Err(_) => None,
        };
        match found {
            None if promised.contains(&key) => return (Some(format!("{key} is lost")), reached),
            Some(found) if found != data => return (Some(format!("{key} is damaged")), reached),
            _ => {}
        }
    }
    store.sweep("o").await.unwrap();
    let again = write(disk.clone()).await;
    if again.len() != objects.len() {
        return (Some("it cannot be finished".to_owned()), reached);
    }
    let listed = all(&store, "").await.len();
    let kept = disk.list(Path::new("/srv/archive/o/i/log")).unwrap();
    if listed != 3 || kept != ["0", "1"] {
        return (Some(format!("{listed} objects, {kept:?}")), reached);
    }
    (None, reached)
}

type Skip = fn(&Path, Synced) -> bool;

/// All cuts with some seeds each; the first thing that is wrong.
async fn campaign(skip: Option<Skip>) -> Option<String> {
    for crash_only in [false, true] {
        for at in 1.. {
            let mut any = false;
            for seed in 0..20 {
                let (wrong, reached) = cut(at, at * 1000 + seed, crash_only, skip).await;
                if let Some(wrong) = wrong {
                    return Some(format!("cut at {at}, seed {seed}: {wrong}"));
                }
                any |= reached;
            }
            if !any {
                assert!(at > 15, "the power was hardly ever cut");
                break;
            }
        }
    }
    None
}

#[tokio::test]
async fn power_cuts_lose_nothing_that_was_promised() {
    assert_eq!(campaign(None).await, None);
}

#[tokio::test]
async fn the_power_cut_test_bites() {
    let without: [(&str, Skip); 2] = [
        ("the file's fsync", |_, what| what == Synced::Content),
        ("the folder's fsync", |_, what| what == Synced::NewNames),
    ];
    for (name, skip) in without {
        assert!(campaign(Some(skip)).await.is_some(), "nothing was lost without {name}");
    }
}
