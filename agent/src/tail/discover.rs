//! Finds the files that the globs name, by walking the directories.
//!
//! Symlinks are followed. Nothing that is found here is fatal: what cannot be
//! read or followed is warned of once and tried again at the next scan.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::TailError;
use super::identity::{Meta, Place};
use super::warn::{Problem, Warnings};

/// The deepest that `**` reaches.
const MAX_DEPTH: usize = 32;

/// A regular file that the globs name.
#[derive(Debug)]
pub(crate) struct Found {
    /// The first source that names it, by index.
    pub(crate) source: usize,
    pub(crate) path: PathBuf,
    pub(crate) meta: Meta,
}

#[derive(Debug)]
pub(crate) struct Discovery {
    roots: Vec<Root>,
    include: GlobSet,
    exclude: GlobSet,
}

/// Where a glob's fixed part ends, and how many components follow.
#[derive(Debug)]
struct Root {
    dir: PathBuf,
    depth: usize,
}

impl Discovery {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, TailError> {
        let mut roots: Vec<Root> = Vec::new();
        let mut globs = GlobSetBuilder::new();
        for pattern in include {
            if !pattern.starts_with('/') {
                return Err(TailError::Relative(pattern.clone()));
            }
            globs.add(glob(pattern)?);
            roots.push(root(pattern));
        }
        let mut left_out = GlobSetBuilder::new();
        for pattern in exclude {
            let anywhere = if pattern.contains('/') { "" } else { "**/" };
            left_out.add(glob(&format!("{anywhere}{pattern}"))?);
        }
        // A root inside another one of enough depth would be walked twice.
        let covered = |root: &Root, other: &Root| {
            root.dir.strip_prefix(&other.dir).is_ok_and(|below| {
                let below = below.components().count();
                below + root.depth <= other.depth && (below > 0 || root.depth < other.depth)
            })
        };
        let mut keep: Vec<bool> = Vec::new();
        for (at, root) in roots.iter().enumerate() {
            let twin = roots.iter().take(at).any(|o| o.dir == root.dir && o.depth == root.depth);
            keep.push(!twin && !roots.iter().any(|o| covered(root, o)));
        }
        let roots = roots.into_iter().zip(keep).filter_map(|(r, keep)| keep.then_some(r)).collect();
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|e| TailError::Glob { message: e.to_string() })
        };
        Ok(Self { roots, include: build(globs)?, exclude: build(left_out)? })
    }

    /// Fills `found` with the files, and `dirs` with the directories looked at.
    pub(crate) fn walk(
        &self,
        source: usize,
        found: &mut Vec<Found>,
        dirs: &mut HashSet<PathBuf>,
        warnings: &mut Warnings,
    ) {
        let mut walk = Walk { discovery: self, source, found, dirs, warnings, above: Vec::new() };
        for root in &self.roots {
            walk.dir(&root.dir, root.depth);
        }
    }

    /// Whether the globs name this path.
    pub(crate) fn wants(&self, path: &Path) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path)
    }
}

fn glob(pattern: &str) -> Result<Glob, TailError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|e| TailError::Glob { message: e.to_string() })
}

fn root(pattern: &str) -> Root {
    let is_plain = |part: &str| !part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
    let names = parts.len().saturating_sub(1);
    let fixed = parts.iter().take(names).take_while(|p| is_plain(p)).count();
    let mut dir = PathBuf::from("/");
    dir.extend(parts.iter().take(fixed));
    let rest = parts.get(fixed..).unwrap_or_default();
    // `{a,b/c}` and `**` reach deeper than they have components.
    let deep = rest.iter().any(|p| p.contains("**") || p.contains('{'));
    Root { dir, depth: if deep { MAX_DEPTH } else { rest.len() } }
}

struct Walk<'w> {
    discovery: &'w Discovery,
    source: usize,
    found: &'w mut Vec<Found>,
    dirs: &'w mut HashSet<PathBuf>,
    warnings: &'w mut Warnings,
    /// The directories that we are in, to see when a link leads back.
    above: Vec<Place>,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &Path, depth: usize) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => return self.trouble(dir, &e),
        };
        let Ok(meta) = fs::metadata(dir) else { return };
        let place = Meta::from(&meta).place;
        if self.above.contains(&place) {
            return;
        }
        self.warnings.well(dir);
        self.dirs.insert(dir.to_owned());
        self.above.push(place);
        for entry in entries.flatten() {
            self.entry(dir, &entry, depth);
        }
        self.above.pop();
    }

    fn entry(&mut self, dir: &Path, entry: &fs::DirEntry, depth: usize) {
        let Ok(kind) = entry.file_type() else { return };
        if kind.is_dir() {
            if depth > 1 {
                self.dir(&dir.join(entry.file_name()), depth - 1);
            }
            return;
        }
        let path = dir.join(entry.file_name());
        let wanted = self.discovery.wants(&path);
        if !(wanted || kind.is_symlink() && depth > 1) {
            return;
        }
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(e) if wanted => return self.trouble(&path, &e),
            Err(_) => return,
        };
        if meta.is_dir() {
            if depth > 1 {
                self.dir(&path, depth - 1);
            }
        } else if wanted && meta.is_file() {
            self.found.push(Found { source: self.source, path, meta: Meta::from(&meta) });
        }
    }

    fn trouble(&mut self, path: &Path, error: &io::Error) {
        const ELOOP: i32 = 40;
        let problem = match error.kind() {
            _ if error.raw_os_error() == Some(ELOOP) => Problem::SymlinkLoop,
            io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => Problem::Dangling,
            // Not there yet, or no longer.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return,
            _ => Problem::Unreadable,
        };
        self.warnings.say(problem, path);
    }
}

/// The file of this inode in a directory, under whatever name.
pub(crate) fn find_in(dir: &Path, place: Place) -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::DirEntryExt;
    let is_it =
        |entry: &fs::DirEntry| entry.metadata().is_ok_and(|m| Meta::from(&m).place == place);
    // Cheap first: most directories know the inodes (overlays and mounts may not).
    let mut others = false;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.ino() != place.ino {
            others = true;
        } else if is_it(&entry) {
            return Ok(Some(entry.path()));
        }
    }
    if others {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if is_it(&entry) {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// The path without symlinks; as it is, if that cannot be found out.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    fs::canonicalize(path)
        .unwrap_or_else(|_| path.components().filter(|c| !matches!(c, Component::CurDir)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_walked_from_its_fixed_part() {
        for (pattern, dir, depth) in [
            ("/var/log/a.log", "/var/log", 1),
            ("/var/log/*.log", "/var/log", 1),
            ("/var/lib/docker/containers/*/*-json.log", "/var/lib/docker/containers", 2),
            ("/var/log/**/*.log", "/var/log", MAX_DEPTH),
            ("/*.log", "/", 1),
        ] {
            let root = root(pattern);
            assert_eq!((root.dir.as_path(), root.depth), (Path::new(dir), depth), "{pattern}");
        }
    }

    #[test]
    fn relative_and_bad_globs_are_refused() {
        assert!(Discovery::new(&["logs/*.log".to_owned()], &[]).is_err());
        assert!(Discovery::new(&["/logs/[".to_owned()], &[]).is_err());
        assert!(Discovery::new(&["/logs/*".to_owned()], &["{".to_owned()]).is_err());
    }
}
