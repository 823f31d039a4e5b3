//! Every file that sealtail *writes* goes through [`Disk`], so that tests can
//! cut the power: see `sim`.
//!
//! The trait states what is durable and when. Nothing is durable before a
//! `sync_*` call returns `Ok`; a `sync_*` that fails is never tried again as if
//! nothing had happened (the kernel may have dropped the dirty pages): the
//! caller ends the process instead.
//!
//! Log files that are only read (the tail) do not come through here.

mod real;
#[cfg(test)]
pub mod sim;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealDisk;

/// A shared handle to the disk.
pub type SharedDisk = Arc<dyn Disk>;

/// A file open for reading and writing at offsets.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Fills `buf` from `offset`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// Any read error of the system.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `data` at `offset`. Not durable until [`DiskFile::sync`].
    ///
    /// # Errors
    /// `StorageFull` when there is no space; any other write error.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space so that writes below `len` cannot fail for want of it,
    /// and makes the file `len` bytes long (new bytes read as zero).
    ///
    /// # Errors
    /// `StorageFull` when there is no space: nothing has been lost then.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// Any error of the system.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Content, length and allocation are durable when this returns.
    ///
    /// # Errors
    /// Any error of the system; the content is then in doubt for good.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Any error of the system.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// Any error of the system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Held while it lives; another process (or handle) cannot take it meanwhile.
pub trait DiskLock: Send + Sync + std::fmt::Debug {}

/// A directory tree that sealtail writes to. Paths are absolute.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Makes a new file (mode 0600). The name is durable only after
    /// [`Disk::sync_dir`] of its folder.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken; any other error of the system.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none; any other error of the system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is none; any other error of the system.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames over whatever is there. Atomic; durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Any error of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames unless the target exists. Atomic; durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `AlreadyExists` if the target is there; any other error of the system.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound` if there is none; any other error of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names made, renamed and removed in this folder are durable when this returns.
    ///
    /// # Errors
    /// Any error of the system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and its parents (mode 0700 for those that are new) and
    /// makes their names durable. Those that are there are left as they are.
    ///
    /// # Errors
    /// Any error of the system.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder; any other error of the system.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether the path is a folder.
    fn is_dir(&self, path: &Path) -> bool;

    /// Takes the exclusive lock at `path` (the file is made if need be).
    ///
    /// # Errors
    /// `WouldBlock` when somebody else holds it; any other error of the system.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// Reads a whole (small) file.
    ///
    /// # Errors
    /// `NotFound` if there is none; any other error of the system.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut buf = vec![0; len];
        let n = file.read_at(&mut buf, 0)?;
        buf.truncate(n);
        Ok(buf)
    }
}

/// Where a file is prepared before it gets its name.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Replaces `path` by `data`, whole or not at all. Durable when this returns.
///
/// Temporary name, fsync, rename, fsync of the folder: the rename is the commit.
///
/// # Errors
/// Any error of the system; the old content stands then, or the new one.
pub fn replace(disk: &dyn Disk, path: &Path, data: &[u8]) -> io::Result<()> {
    let tmp = temporary(path);
    match disk.remove(&tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.create_new(&tmp)?;
    file.allocate(data.len() as u64)?;
    file.write_at(data, 0)?;
    file.sync()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// Whether a call failed because the volume, or a quota, is full.
#[must_use]
pub fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
