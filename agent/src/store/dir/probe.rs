//! What a directory can do: see [`Store::probe`](crate::store::Store::probe).

use super::{DirStore, Inner};
use crate::store::probe::{Mark, PROBE, Row};
use crate::store::{Body, StoreError};
use bytes::Bytes;
use std::io;
use std::path::Path;

/// What was found out about a directory. A file was made there, fsynced,
/// renamed "only if absent" and removed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirProbe {
    /// The directory, with a slash at its end.
    pub place: String,
    /// The number of its file system: the same as the journal's means that a
    /// full archive is a full journal.
    pub device: Option<u64>,
    /// The kind of file system, where it says much.
    pub kind: Option<Kind>,
    /// Bytes that are free for us.
    pub free: Option<u64>,
}

/// Kinds of file systems that an operator should know to be under an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In memory: gone with the machine.
    Memory,
    /// A container's own layer: gone with the container.
    Overlay,
    /// Another machine's: its fsync is a promise of that machine.
    Network,
}

impl DirStore {
    pub(in crate::store) async fn probe(&self) -> Result<DirProbe, StoreError> {
        self.blocking(Inner::probe).await
    }
}

impl Inner {
    fn probe(&self) -> Result<DirProbe, StoreError> {
        let path = self.root.join(PROBE);
        let place = self.named(PROBE);
        self.healthy(&place)?;
        let body = Body::Bytes(Bytes::from_static(b"sealtail"));
        let first = self.stage(&path, &body, None, &place)?;
        let tried = self.stage(&path, &body, None, &place).and_then(|second| {
            let renamed = self.disk.rename_new(&second, &first);
            if renamed.is_err() {
                drop(self.disk.remove(&second));
            }
            match renamed {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(e) => Err(self.write_failed(&place, &e)),
                Ok(()) => Err(self.write_failed(
                    &place,
                    &io::Error::other("a file was renamed over another one in spite of us"),
                )),
            }
        });
        drop(self.disk.remove(&first));
        tried?;
        self.synced(self.disk.sync_dir(&self.root), &place)?;
        let (kind, free) = file_system(&self.root);
        let device = rustix::fs::stat(&self.root).ok().map(|stat| stat.st_dev);
        Ok(DirProbe { place: self.place.clone(), device, kind, free })
    }
}

/// By the magic numbers of statfs(2).
fn file_system(path: &Path) -> (Option<Kind>, Option<u64>) {
    let Ok(found) = rustix::fs::statfs(path) else {
        return (None, None);
    };
    let kind = match u32::try_from(found.f_type).unwrap_or(0) {
        0x0102_1994 | 0x8584_58f6 => Some(Kind::Memory),
        0x794c_7630 => Some(Kind::Overlay),
        0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x517b | 0x00c3_6400 | 0x0102_1997 => {
            Some(Kind::Network)
        }
        _ => None,
    };
    let block = u64::try_from(found.f_bsize).unwrap_or(0);
    (kind, Some(found.f_bavail.saturating_mul(block)))
}

impl DirProbe {
    pub(in crate::store) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            Row::new("writable", Mark::Good, format!("yes, {}", self.place)),
            Row::new("written once", Mark::Good, "yes, nothing is renamed over what is there"),
            Row::new(
                "locked",
                Mark::Warning,
                "no: who may write in the directory can delete evidence",
            ),
        ];
        rows.push(match self.kind {
            None => Row::new("file system", Mark::Good, "on a disk of this machine"),
            Some(Kind::Memory) => {
                Row::new("file system", Mark::Warning, "in memory: gone with the machine")
            }
            Some(Kind::Overlay) => Row::new(
                "file system",
                Mark::Warning,
                "the container's own layer: gone with the container; mount a volume",
            ),
            Some(Kind::Network) => Row::new(
                "file system",
                Mark::Warning,
                "over the network: durable when the server says so",
            ),
        });
        if let Some(free) = self.free {
            let mark = if free < 1 << 30 { Mark::Warning } else { Mark::Good };
            rows.push(Row::new("free space", mark, format!("{} MiB", free >> 20)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::store::{Class, Probe, Store};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_directory_is_tried_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::create(Arc::new(RealDisk), dir.path()).unwrap();
        let probe = Store::Dir(store).probe("wa/g-0").await.unwrap();
        assert!(probe.verdict().is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let Probe::Dir(found) = &probe else { panic!("{probe:?}") };
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(found.device, Some(std::fs::metadata(dir.path()).unwrap().dev()));
        assert!(found.free.is_some());
        let table = probe.to_string();
        assert!(table.starts_with("ok   writable           yes, /"), "{table}");
        assert_eq!(table.lines().count(), probe.rows().len());
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("gone");
        let store = DirStore::create(Arc::new(RealDisk), &root).unwrap();
        std::fs::remove_dir(&root).unwrap();
        let e = Store::Dir(store).probe("").await.unwrap_err();
        assert!(matches!(e.class(), Class::Retry { .. }), "{e}");
    }

    #[test]
    fn memory_is_told_from_a_disk() {
        assert_eq!(file_system(Path::new("/proc/none/none")), (None, None));
        if std::fs::read_to_string("/proc/mounts").unwrap().contains("tmpfs /dev/shm tmpfs") {
            assert_eq!(file_system(Path::new("/dev/shm")).0, Some(Kind::Memory));
        }
    }
}
