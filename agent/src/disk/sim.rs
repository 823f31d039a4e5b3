//! A disk in memory whose power can be cut.
//!
//! Stricter than any real disk: a write, a length, a new name, a rename or a
//! removal survives the cut for certain only if the `sync` or `sync_dir` that
//! covers it returned before. What was not covered survives or not, each on its
//! own (so also in another order), and writes can be torn at 512 bytes.
//!
//! It also runs out of space, fails the n-th call, and can be told to ignore
//! chosen syncs: a power-cut test that still passes then proves nothing.

use super::{Disk, DiskFile, DiskLock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that survive or vanish together.
const SECTOR: usize = 512;

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

/// What a sync call covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// A file's content.
    Content,
    /// A folder in which something was made or renamed.
    NewNames,
    /// A folder in which files were only removed.
    Removals,
    /// A folder in which nothing had changed.
    Nothing,
}

/// Which sync calls to skip: `(path, what) -> skip`.
pub type SyncFilter = fn(&Path, Synced) -> bool;

#[derive(Debug, Default)]
struct World {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Folder operations since the last `sync_dir` of their folder, oldest first.
    pending_names: Vec<NameOp>,
    folders: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    next_inode: u64,
    /// Changing calls so far.
    calls: u64,
    /// The call at which the power goes; every call from then on fails.
    cut_at: Option<u64>,
    /// Bytes that may be allocated in all.
    space: Option<u64>,
    skip_sync: Option<SyncFilter>,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    live: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Clone)]
enum NameOp {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameOp {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Link(p, _) | Self::Unlink(p) | Self::Rename(p, _, _) => p.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changing calls made so far (writes, syncs, names).
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Lets the power go at the `call`-th changing call from the beginning.
    pub fn cut_power_at(&self, call: u64) {
        self.world().cut_at = Some(call);
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let world = self.world();
        world.cut_at.is_some_and(|at| world.calls >= at)
    }

    /// Bounds what can be allocated, in bytes; `None` lifts the bound.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.world().space = bytes;
    }

    /// Makes chosen syncs do nothing (and say that they did).
    pub fn skip_syncs(&self, filter: SyncFilter) {
        self.world().skip_sync = Some(filter);
    }

    /// What a machine finds after the cut: everything that was synced, and of
    /// the rest what `random` (uniform `u64`s) lets survive.
    #[must_use]
    pub fn after_power_cut(&self, random: &mut dyn FnMut() -> u64) -> Self {
        let world = self.world();
        let inodes =
            world.inodes.iter().map(|(id, inode)| (*id, inode.survivors(random))).collect();
        let mut names = world.durable_names.clone();
        for op in &world.pending_names {
            if random().is_multiple_of(2) {
                op.apply(&mut names);
            }
        }
        Self {
            world: Arc::new(Mutex::new(World {
                inodes,
                durable_names: names.clone(),
                names,
                folders: world.folders.clone(),
                next_inode: world.next_inode,
                space: world.space,
                skip_sync: world.skip_sync,
                ..World::default()
            })),
        }
    }

    /// What the next process finds after a mere crash: all that was written.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let world = self.world();
        Self {
            world: Arc::new(Mutex::new(World {
                inodes: world.inodes.clone(),
                names: world.names.clone(),
                durable_names: world.durable_names.clone(),
                pending_names: world.pending_names.clone(),
                folders: world.folders.clone(),
                next_inode: world.next_inode,
                space: world.space,
                skip_sync: world.skip_sync,
                ..World::default()
            })),
        }
    }

    /// Changes one byte of a file as bit rot would, durably.
    ///
    /// # Errors
    /// `NotFound` if there is no such byte.
    pub fn flip_byte(&self, path: &Path, at: usize) -> io::Result<()> {
        let mut world = self.world();
        let id = world.inode_of(path)?;
        let inode = world.inodes.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        for copy in [&mut inode.durable, &mut inode.live] {
            *copy.get_mut(at).ok_or(io::ErrorKind::NotFound)? ^= 0x40;
        }
        Ok(())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, inode: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode })
    }
}

impl World {
    /// Counts a changing call; fails once the power is gone.
    fn change(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.cut_at {
            Some(at) if self.calls >= at => Err(io::Error::other("the power is cut")),
            _ => Ok(()),
        }
    }

    fn inode_of(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<_> = self.names.values().collect();
        linked.iter().filter_map(|id| self.inodes.get(id)).map(|i| i.live.len() as u64).sum()
    }

    fn record(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending_names.push(op);
    }

    fn pending_in(&self, folder: &Path) -> Synced {
        let mut here =
            self.pending_names.iter().filter(|op| op.folder() == Some(folder)).peekable();
        if here.peek().is_none() {
            Synced::Nothing
        } else if here.all(|op| matches!(op, NameOp::Unlink(_))) {
            Synced::Removals
        } else {
            Synced::NewNames
        }
    }

    /// Room for `more` bytes, or `StorageFull`.
    fn reserve(&self, more: u64) -> io::Result<()> {
        match self.space {
            Some(space) if self.used() + more > space => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Inode {
    fn apply(content: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Length(len) => content.resize(*len, 0),
            Change::Write { at, data } => {
                let end = at + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(data);
            }
        }
    }

    fn survivors(&self, random: &mut dyn FnMut() -> u64) -> Self {
        let mut content = self.durable.clone();
        for change in &self.pending {
            match (random() % 3, change) {
                (0, _) => {}
                (1, _) | (_, Change::Length(_)) => Self::apply(&mut content, change),
                (_, Change::Write { at, data }) => {
                    for (i, part) in data.chunks(SECTOR).enumerate() {
                        if random().is_multiple_of(2) {
                            let torn = Change::Write { at: at + i * SECTOR, data: part.to_vec() };
                            Self::apply(&mut content, &torn);
                        }
                    }
                }
            }
        }
        Self { durable: content.clone(), live: content, pending: Vec::new() }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        let live = &world.inode(self.inode)?.live;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(live.len());
        let n = buf.len().min(live.len() - from);
        buf[..n].copy_from_slice(&live[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let grows = (at + data.len()).saturating_sub(world.inode(self.inode)?.live.len());
        world.reserve(grows as u64)?;
        let inode = world.inode(self.inode)?;
        let change = Change::Write { at, data: data.to_vec() };
        Inode::apply(&mut inode.live, &change);
        inode.pending.push(change);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let have = world.inode(self.inode)?.live.len();
        if len <= have {
            return Ok(());
        }
        world.reserve((len - have) as u64)?;
        let inode = world.inode(self.inode)?;
        inode.live.resize(len, 0);
        inode.pending.push(Change::Length(len));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let inode = world.inode(self.inode)?;
        inode.live.resize(len, 0);
        inode.pending.push(Change::Length(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        if let Some(skip) = world.skip_sync {
            let path = world.names.iter().find(|(_, id)| **id == self.inode).map(|(p, _)| p);
            if path.is_some_and(|p| skip(p, Synced::Content)) {
                return Ok(());
            }
        }
        let inode = world.inode(self.inode)?;
        for change in std::mem::take(&mut inode.pending) {
            Inode::apply(&mut inode.durable, &change);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.world().inode(self.inode)?.live.len() as u64)
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.world().locks.remove(&self.path);
    }
}

impl Disk for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        world.change()?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|p| world.folders.contains(p)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.next_inode += 1;
        let id = world.next_inode;
        world.inodes.insert(id, Inode::default());
        world.record(NameOp::Link(path.to_owned(), id));
        Ok(self.handle(id))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.world().inode_of(path)?;
        Ok(self.handle(inode))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let inode = world.inode_of(from)?;
        world.record(NameOp::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.world().names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.inode_of(path)?;
        world.record(NameOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        if world.skip_sync.is_some_and(|skip| skip(path, world.pending_in(path))) {
            return Ok(());
        }
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut world.pending_names)
            .into_iter()
            .partition(|op| op.folder() == Some(path));
        world.pending_names = later;
        for op in now {
            op.apply(&mut world.durable_names);
        }
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        if !world.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names: BTreeSet<_> = world
            .names
            .keys()
            .chain(&world.folders)
            .filter(|p| p.parent() == Some(path))
            .filter_map(|p| p.file_name())
            .map(|n| n.to_string_lossy().into_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.world().folders.contains(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        if !self.world().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lose_everything() -> impl FnMut() -> u64 {
        // 0 % 3 drops a change; odd drops a name.
        let mut turn = 0_u64;
        move || {
            turn += 1;
            3 * (turn % 2) // 3 or 0: 3 % 3 == 0, 0 % 3 == 0
        }
    }

    #[test]
    fn only_what_was_synced_is_certain() {
        let disk = SimDisk::new();
        let dir = Path::new("/d");
        disk.create_dir_all(dir).unwrap();
        super::super::replace(&disk, Path::new("/d/safe"), b"safe").unwrap();
        let open = disk.open(Path::new("/d/safe")).unwrap();
        open.write_at(b"LOST", 0).unwrap();
        let after = disk.after_power_cut(&mut lose_everything());
        assert_eq!(after.read(Path::new("/d/safe")).unwrap(), b"safe");
        assert_eq!(disk.after_crash().read(Path::new("/d/safe")).unwrap(), b"LOST");
    }

    #[test]
    fn a_name_is_lost_without_its_folder_sync() {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.create_new(Path::new("/d/f")).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync().unwrap();
        let after = disk.after_power_cut(&mut || 1);
        assert!(after.read(Path::new("/d/f")).is_err());
    }

    #[test]
    fn space_runs_out_before_anything_is_written() {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.set_space(Some(10));
        let file = disk.create_new(Path::new("/d/f")).unwrap();
        assert_eq!(file.allocate(11).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.allocate(10).unwrap();
        file.write_at(b"0123456789", 0).unwrap();
    }

    #[test]
    fn one_holder_a_lock() {
        let disk = SimDisk::new();
        let held = disk.lock(Path::new("/d/lock")).unwrap();
        assert_eq!(disk.lock(Path::new("/d/lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        disk.lock(Path::new("/d/lock")).unwrap();
    }
}
