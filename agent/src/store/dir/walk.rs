//! Listing a directory in the order in which S3 would list the same keys.
//!
//! Keys are ordered by their bytes, so a folder sorts as if its name ended in a
//! slash: `a-b/x` comes before `a/x`, because `-` is smaller than `/`.

use super::stopped;
use crate::disk::{Disk, SharedDisk};
use crate::store::{Doing, Entry, PAGE, StoreError, key};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Deeper folders than any key can have are a loop of links.
const DEEPEST: usize = 512;

/// A listing under way. Holds the names of the folders it is in, no more.
#[derive(Debug)]
pub struct Walk {
    disk: SharedDisk,
    root: PathBuf,
    /// The folder part of the prefix: empty, or with a slash at its end.
    folder: String,
    /// What names directly in `folder` must begin with.
    begins: String,
    /// `None` before the first page and after an error.
    levels: Option<Vec<Level>>,
}

/// A folder that is being walked.
#[derive(Debug)]
struct Level {
    /// Its key: empty, or with a slash at its end.
    key: String,
    /// The names still to come, last first; those of folders end in a slash.
    names: Vec<String>,
}

impl Walk {
    pub(super) fn new(disk: SharedDisk, root: PathBuf, prefix: &str) -> Self {
        let (folder, begins) = match prefix.rfind('/') {
            Some(at) => prefix.split_at(at + 1),
            None => ("", prefix),
        };
        Self { disk, root, folder: folder.to_owned(), begins: begins.to_owned(), levels: None }
    }

    /// As [`crate::store::Lister::page`].
    ///
    /// # Errors
    /// As there.
    pub async fn page(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        let mut walk = Self {
            disk: Arc::clone(&self.disk),
            root: self.root.clone(),
            folder: self.folder.clone(),
            begins: self.begins.clone(),
            levels: self.levels.take(),
        };
        let step = move || walk.next().map(|entries| (entries, walk.levels));
        match tokio::task::spawn_blocking(step).await {
            Ok(Ok((entries, levels))) => {
                self.levels = levels;
                Ok(Some(entries).filter(|e| !e.is_empty()))
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err(stopped(Doing::List, &self.root.display().to_string())),
        }
    }

    /// Up to a page of entries; none at the end.
    fn next(&mut self) -> Result<Vec<Entry>, StoreError> {
        let mut levels = match self.levels.take() {
            Some(levels) => levels,
            None => self.begin()?,
        };
        let mut page = Vec::new();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.key);
            if name.ends_with('/') {
                if levels.len() >= DEEPEST {
                    let reason = "folders are nested too deep; is a link part of the archive?";
                    return Err(StoreError::refused(Doing::List, &self.named(&key), reason));
                }
                let names = self.names(&key)?;
                levels.push(Level { key, names });
                continue;
            }
            let failed = |e: io::Error| StoreError::disk(Doing::List, &self.named(&key), &e);
            let len = self.disk.open_read(&self.root.join(&key)).map_err(failed)?;
            let len = len.len().map_err(failed)?;
            page.push(Entry { key, len });
            if page.len() == PAGE {
                break;
            }
        }
        self.levels = Some(levels);
        Ok(page)
    }

    fn begin(&self) -> Result<Vec<Level>, StoreError> {
        if !self.disk.is_dir(&self.root) {
            let reason = "there is no such directory";
            return Err(StoreError::refused(Doing::List, &self.named(""), reason));
        }
        if !self.disk.is_dir(&self.root.join(&self.folder)) {
            return Ok(Vec::new());
        }
        let mut names = self.names(&self.folder)?;
        names.retain(|name| name.starts_with(&self.begins));
        Ok(vec![Level { key: self.folder.clone(), names }])
    }

    /// The names in a folder, last first.
    fn names(&self, key: &str) -> Result<Vec<String>, StoreError> {
        sorted(&*self.disk, &self.root.join(key))
            .map_err(|e| StoreError::disk(Doing::List, &self.named(key), &e))
    }

    fn named(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

/// The names in a folder without unfinished writes, those of folders with a
/// slash, last first.
fn sorted(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    let mut names = disk.list(folder)?;
    for name in &mut names {
        if disk.is_dir(&folder.join(&*name)) {
            name.push('/');
        }
    }
    names.retain(|name| !name.ends_with(key::TEMPORARY));
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Removes all files below `folder` that end in `.tmp`.
pub(super) fn sweep(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let failed =
            |e: io::Error| StoreError::disk(Doing::Open, &folder.display().to_string(), &e);
        if depth > DEEPEST || !disk.is_dir(&folder) {
            continue;
        }
        for name in disk.list(&folder).map_err(failed)? {
            let path = folder.join(&name);
            if disk.is_dir(&path) {
                folders.push((path, depth + 1));
            } else if name.ends_with(key::TEMPORARY) {
                match disk.remove(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}
