//! What an archive in a directory promises; power cuts are in [`super::power_tests`].

use super::*;
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, RealDisk};
use crate::store::{Class, Entry, Reader, Store};

const KEY: &str = "wa/prod/g-0/i/log/00000000000000000007.tlog-proof";

pub(super) fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn bytes(data: &[u8]) -> Body {
    Body::Bytes(Bytes::copy_from_slice(data))
}

fn real() -> (tempfile::TempDir, DirStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::create(Arc::new(RealDisk), &dir.path().join("archive/a")).unwrap();
    (dir, store)
}

async fn read(store: &DirStore, key: &str) -> Vec<u8> {
    Reader::Dir(store.get(key).await.unwrap()).read_all(64 << 20).await.unwrap()
}

pub(super) async fn all(store: &DirStore, prefix: &str) -> Vec<Entry> {
    let (mut out, mut walk) = (Vec::new(), store.list(prefix).unwrap());
    while let Some(page) = walk.page().await.unwrap() {
        assert!(!page.is_empty() && page.len() <= 1000);
        out.extend(page);
    }
    out
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.key.as_str()).collect()
}

/// Every file name below `root`, unfinished ones too.
fn files(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => out.extend(files(&path)),
            false => out.push(path.display().to_string()),
        }
    }
    out
}

#[tokio::test]
async fn an_object_is_created_once_and_found_again() {
    let (_dir, store) = real();
    let put = async |data: &[u8]| store.put_new(KEY, &bytes(data), sha(data)).await;
    assert_eq!(put(b"proof").await.unwrap(), PutOutcome::Created);
    assert_eq!(put(b"proof").await.unwrap(), PutOutcome::Same);

    let error = put(b"other").await.unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains(KEY), "{error}");
    let error = put(b"longer than it").await.unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("5 bytes instead of 14"), "{error}");

    assert_eq!(read(&store, KEY).await, b"proof");
    assert_eq!(store.head(KEY).await.unwrap(), Some(ObjectInfo { len: 5, sha256: None }));
    assert_eq!(store.head("not/there").await.unwrap(), None);
    assert_eq!(store.head("wa/prod").await.unwrap(), None, "a folder is no object");
    assert_eq!(store.get("not/there").await.unwrap_err().class(), Class::NotFound);
    assert_eq!(files(&store.0.root).len(), 1, "nothing unfinished is left");
}

#[tokio::test]
async fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, store) = real();
    store.put_new("a/b", &bytes(b"x"), sha(b"x")).await.unwrap();
    let mode = |p: &str| store.0.root.join(p).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/b")), (0o700, 0o600));
}

#[tokio::test]
async fn a_part_of_a_file_is_copied_whole() {
    let (dir, store) = real();
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let path = dir.path().join("entry");
    std::fs::write(&path, &data).unwrap();
    let part =
        |offset, len| Body::File { disk: Arc::new(RealDisk), path: path.clone(), offset, len };
    for (key, offset, len) in [("a", 0, 3_000_000), ("b", 777, 2_000_001), ("c", 3_000_000, 0)] {
        let want = &data[offset..offset + len];
        let body = part(offset as u64, len as u64);
        assert_eq!(store.put_new(key, &body, sha(want)).await.unwrap(), PutOutcome::Created);
        assert_eq!(store.put_new(key, &body, sha(want)).await.unwrap(), PutOutcome::Same);
        assert!(read(&store, key).await == want, "{key}");
    }

    // More than there is, and no file at all: a fault of ours, not a missing object.
    let error = store.put_new("d", &part(1, 3_000_000), sha(&data)).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    let gone = Body::File { disk: Arc::new(RealDisk), path: "/no/such".into(), offset: 0, len: 1 };
    let error = store.put_new("d", &gone, sha(&data)).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    assert!(error.to_string().contains("/no/such"), "{error}");
    assert_eq!(files(&store.0.root).len(), 3, "nothing unfinished is left");
}

#[tokio::test]
async fn bytes_that_are_not_the_sealed_ones_are_refused() {
    let (_dir, store) = real();
    let error = store.put_new(KEY, &bytes(b"rotten"), sha(b"sealed")).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt);
    assert!(error.to_string().contains("hash"), "{error}");
    assert_eq!(store.head(KEY).await.unwrap(), None);
    assert!(files(&store.0.root).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_writers_one_creates() {
    let (_dir, store) = real();
    let race = |same: bool, key: &'static str| {
        let store = store.clone();
        async move {
            let tasks: Vec<_> = (0..16_u8)
                .map(|n| {
                    let store = store.clone();
                    let data = vec![if same { 0 } else { n }; 100_000];
                    tokio::spawn(async move { store.put_new(key, &bytes(&data), sha(&data)).await })
                })
                .collect();
            let mut ends = [0; 3];
            for task in tasks {
                ends[match task.await.unwrap() {
                    Ok(PutOutcome::Created) => 0,
                    Ok(PutOutcome::Same) => 1,
                    Err(e) => {
                        assert_eq!(e.class(), Class::Conflict, "{e}");
                        2
                    }
                }] += 1;
            }
            ends
        }
    };
    assert_eq!(race(true, "same").await, [1, 15, 0]);
    assert_eq!(race(false, "other").await, [1, 0, 15]);
    assert_eq!(files(&store.0.root).len(), 2);
}

#[tokio::test]
async fn a_mutable_object_is_replaced_whole() {
    let (_dir, store) = real();
    for data in [&b"size 1"[..], b"size 2 and longer", b""] {
        store.put("o/i/checkpoint", Bytes::from_static(data)).await.unwrap();
        assert_eq!(read(&store, "o/i/checkpoint").await, data);
    }
    assert_eq!(files(&store.0.root).len(), 1);
}

#[tokio::test]
async fn keys_that_leave_the_root_are_refused_everywhere() {
    let (_dir, store) = real();
    for key in ["../x", "/etc/passwd", "a/../../x", "", "a//b", "x.tmp"] {
        assert_eq!(store.get(key).await.unwrap_err().class(), Class::Halt);
        assert_eq!(store.head(key).await.unwrap_err().class(), Class::Halt);
        assert_eq!(store.put(key, Bytes::new()).await.unwrap_err().class(), Class::Halt);
        let put = store.put_new(key, &bytes(b""), sha(b"")).await;
        assert_eq!(put.unwrap_err().class(), Class::Halt);
    }
    assert!(store.list("../").is_err());
}

#[tokio::test]
async fn listings_come_in_the_order_of_keys() {
    let (_dir, store) = real();
    let want = ["a", "a-b/x", "a0", "b/1", "b/10", "b/2", "ba", "log/x.esdk"];
    for key in want {
        store.put(key, Bytes::from_static(b"123")).await.unwrap();
    }
    std::fs::write(store.0.root.join("b/unfinished.tmp"), "x").unwrap();
    let got = all(&store, "").await;
    assert_eq!(keys(&got), want);
    assert!(got.iter().all(|e| e.len == 3));
    assert_eq!(keys(&all(&store, "b").await), ["b/1", "b/10", "b/2", "ba"]);
    assert_eq!(keys(&all(&store, "b/").await), ["b/1", "b/10", "b/2"]);
    assert_eq!(keys(&all(&store, "b/1").await), ["b/1", "b/10"]);
    assert_eq!(all(&store, "nothing/here").await, []);
}

#[tokio::test]
async fn folders_are_ordered_as_if_they_ended_in_a_slash() {
    let (_dir, store) = real();
    for key in ["a/x", "a-b/x", "a.b/x", "a0/x"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    assert_eq!(keys(&all(&store, "").await), ["a-b/x", "a.b/x", "a/x", "a0/x"]);
}

#[tokio::test]
async fn long_listings_come_in_pages() {
    let (_dir, store) = real();
    for n in 0..2345 {
        let path = store.0.root.join(format!("log/{:02}", n % 7));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(format!("{n:020}")), "").unwrap();
    }
    let got = all(&store, "log/").await;
    assert_eq!(got.len(), 2345);
    assert!(got.is_sorted());
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_said_so() {
    let (dir, store) = real();
    let missing = dir.path().join("missing");
    let error = DirStore::open(Arc::new(RealDisk), &missing).unwrap_err();
    assert_eq!(error.class(), Class::Halt);
    assert!(error.to_string().contains("no such directory"), "{error}");
    std::fs::remove_dir_all(&store.0.root).unwrap();
    assert_eq!(store.list("").unwrap().page().await.unwrap_err().class(), Class::Halt);
    // A writer makes it again.
    store.put_new("a/b", &bytes(b"x"), sha(b"x")).await.unwrap();
    std::fs::remove_dir_all(&store.0.root).unwrap();
    let error = store.put_new("a/c", &bytes(b"x"), sha(b"x")).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry { after: None }, "{error}");
    store.put_new("a/c", &bytes(b"x"), sha(b"x")).await.unwrap();
}

#[tokio::test]
async fn leftovers_are_swept_below_the_prefix_only() {
    let (_dir, store) = real();
    store.put("mine/i/checkpoint", Bytes::from_static(b"x")).await.unwrap();
    store.put("theirs/i/checkpoint", Bytes::from_static(b"x")).await.unwrap();
    for who in ["mine", "theirs"] {
        std::fs::write(store.0.root.join(who).join("i/left.0123456789abcdef.tmp"), "x").unwrap();
    }
    assert_eq!(all(&store, "").await.len(), 2, "leftovers are never listed");
    store.sweep("mine/").await.unwrap();
    store.sweep("nobody/").await.unwrap();
    let left = files(&store.0.root);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().filter(|p| p.ends_with(".tmp")).all(|p| p.contains("theirs")));
}

#[tokio::test]
async fn no_space_is_retried_and_leaves_nothing() {
    let disk = SimDisk::new();
    let store = DirStore::create(Arc::new(disk.clone()), Path::new("/a")).unwrap();
    disk.set_space(Some(1000));
    let big = vec![7; 2000];
    let error = store.put_new("x/y", &bytes(&big), sha(&big)).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry { after: None }, "{error}");
    assert!(disk.list(Path::new("/a/x")).unwrap().is_empty());
    disk.set_space(None);
    store.put_new("x/y", &bytes(&big), sha(&big)).await.unwrap();
}

/// A disk on which every fsync from now on fails.
#[derive(Debug)]
struct NoSync(SimDisk, AtomicBool);

#[derive(Debug)]
struct NoSyncFile(Box<dyn DiskFile>, bool);

impl DiskFile for NoSyncFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1 { Err(io::Error::from_raw_os_error(5)) } else { self.0.sync() }
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl Disk for NoSync {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.create_new(path)?;
        Ok(Box::new(NoSyncFile(file, self.1.load(Ordering::SeqCst))))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open_read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }
    fn is_dir(&self, path: &Path) -> bool {
        self.0.is_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn crate::disk::DiskLock>> {
        self.0.lock(path)
    }
}

#[tokio::test]
async fn a_failed_fsync_is_not_tried_again() {
    let disk = Arc::new(NoSync(SimDisk::new(), AtomicBool::new(true)));
    let store = DirStore::create(disk.clone(), Path::new("/a")).unwrap();
    let error = store.put_new("x/y", &bytes(b"z"), sha(b"z")).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt);
    assert!(error.to_string().contains("fsync failed"), "{error}");

    disk.1.store(false, Ordering::SeqCst);
    let error = store.put_new("x/y", &bytes(b"z"), sha(b"z")).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "not before a new start: {error}");
    let error = store.put("checkpoint", Bytes::new()).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt);

    let store = DirStore::create(disk, Path::new("/a")).unwrap();
    store.put_new("x/y", &bytes(b"z"), sha(b"z")).await.unwrap();
}

#[tokio::test]
async fn the_store_says_where_it_is() {
    let (_dir, store) = real();
    let place = store.place().to_owned();
    assert!(place.ends_with("/archive/a/"), "{place}");
    assert_eq!(Store::Dir(store).to_string(), place);
}
