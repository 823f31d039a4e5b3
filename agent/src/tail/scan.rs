//! The look at the directories: what came, what was renamed, what is gone.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discover::{self, Found};
use super::file::{self, FileInfo, TailFile};
use super::identity::{Identity, Meta, Place};
use super::position::Position;
use super::warn::Problem;
use super::{LineSink, StartAt, Tailer};
use crate::source::{FileId, Gap};

/// How long a stored position waits for a directory that is not there (it may
/// be mounted later) before its file is given up.
const MISSING_DIR_WAIT: Duration = Duration::from_secs(60);

impl Tailer {
    /// Looks at all directories once.
    pub(super) fn scan(&mut self, now: Duration, sink: &mut dyn LineSink) {
        self.scans += 1;
        self.last_scan = now;
        self.next_scan = now + self.options.scan_every;
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.dirs.clear();
        self.discovery.walk(&mut found, &mut self.dirs, &mut self.warnings);
        // Oldest first: what was rotated away comes before what came after it.
        found.sort_by(|a, b| (a.meta.modified, &a.path).cmp(&(b.meta.modified, &b.path)));

        let mut former = HashMap::new();
        if !self.known.is_empty() {
            self.find_known(&found, &mut former, now, sink);
        }
        let found_places = found.iter().map(|f| f.meta.place);
        if !self.own.is_empty() {
            let there: std::collections::HashSet<Place> = found_places.collect();
            self.own.retain(|place| there.contains(place));
        }
        for file in &found {
            self.found_file(file, &former);
        }
        for index in 0..self.files.len() {
            self.look_after(index, sink);
        }
        if self.scans == 1 {
            let files = &self.files;
            let age =
                |i: &usize| files.get(*i).and_then(Option::as_ref).map_or(0, |f| f.meta.modified);
            self.ready.make_contiguous().sort_by_key(age);
        }
        for file in self.files.iter().flatten() {
            if let Some(dir) = file.info.resolved.parent()
                && !self.dirs.contains(dir)
            {
                self.dirs.insert(dir.to_owned());
            }
        }
        self.watch.set(&self.dirs, &mut self.warnings);
        self.found = found;
    }

    fn is_own(&self, place: Place) -> bool {
        self.own.contains(&place) || self.options.own.contains(&(place.dev, place.ino))
    }

    /// A file that the globs name: known, or new.
    fn found_file(&mut self, found: &Found, former: &HashMap<Place, Identity>) {
        let place = found.meta.place;
        if self.is_own(place) {
            return;
        }
        if let Some(index) = self.by_place.get(&place).copied() {
            let scans = self.scans;
            let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) else {
                return;
            };
            if file.scan != scans {
                file.scan = scans;
                file.path_seen = false;
                file.other_path = None;
            }
            if file.info.path == found.path {
                file.path_seen = true;
            } else if file.other_path.is_none() {
                file.other_path = Some(found.path.clone());
            }
            return;
        }
        // A stored position waits for this very file, which cannot be read yet.
        if self.known.iter().any(|(_, p)| p.identity.place == place) {
            self.warnings.say(Problem::Unreadable, &found.path);
            return;
        }
        let (handle, meta) = match file::open(&found.path) {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(_) => return self.warnings.say(Problem::Unreadable, &found.path),
        };
        // Another file may have taken the path meanwhile; the next scan has it.
        if meta.place != place || !meta.is_file {
            return;
        }
        self.warnings.well(&found.path);
        let resolved = discover::resolve(&found.path);
        let index = self.add(found.path.clone(), resolved, handle, meta);
        let start_at_end = self.options.start_at == StartAt::End && self.scans == 1 && self.fresh;
        let digester = self.digester.clone();
        let mut failed = false;
        if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) {
            file.former = former.get(&place).copied();
            if start_at_end && meta.size > 0 {
                failed = file.skip_to_end(&digester).is_err();
            }
        }
        if failed {
            self.warnings.say(Problem::ReadFailed, &found.path);
        }
    }

    /// Takes an open file into the list and the queue.
    fn add(&mut self, path: PathBuf, resolved: PathBuf, handle: fs::File, meta: Meta) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        self.serials += 1;
        // Whoever had this path before is read first.
        let before = [self.by_path.get(&resolved), self.by_path.get(&path)];
        let before = before.into_iter().flatten().copied().find(|b| *b != index);
        let first = before.and_then(|b| Some((b, self.file(b)?)));
        let after = first.map(|(b, f)| (b, f.serial));
        let inherits = self.by_path.get(&resolved).is_some_and(|b| Some(*b) == before);
        self.by_path.insert(path.clone(), index);
        self.by_path.insert(resolved.clone(), index);
        let format = self.options.format;
        let info = FileInfo { id: FileId([0; 16]), path, resolved, format, index };
        let mut file = TailFile::new(info, self.serials, handle, meta);
        file.decoder = self.new_decoder();
        file.scan = self.scans;
        file.path_seen = true;
        file.after = after;
        file.inherits = inherits;
        self.by_place.insert(meta.place, index);
        self.put_back(index, Box::new(file));
        self.queue(index);
        index
    }

    /// What has become of a file since the last scan.
    fn look_after(&mut self, index: usize, sink: &mut dyn LineSink) {
        let Some(mut file) = self.files.get_mut(index).and_then(Option::take) else {
            return;
        };
        let Ok(meta) = file.handle.metadata().map(|m| Meta::from(&m)) else {
            return self.put_back(index, file);
        };
        let changed = meta.size != file.meta.size || meta.modified != file.meta.modified;
        file.meta.links = meta.links;
        let gone = self.follow(&mut file, meta.links, sink);
        let at_rest = file.at_end && !changed && !file.queued;
        if at_rest && (gone || file.rotated) {
            file.quiet = file.quiet.saturating_add(1);
            if file.quiet >= 2 && gone {
                file.ending = !self.is_lent(file.info.id);
            } else if file.quiet >= 2 && !file.ended && file.lag() == 0 {
                file.ended = true;
                self.report(&file, sink);
            }
        } else {
            file.quiet = 0;
        }
        let wanted = changed || file.ending;
        self.put_back(index, file);
        if wanted {
            self.queue(index);
        }
    }

    /// Follows a file to its new name: whether it has none left.
    fn follow(&mut self, file: &mut TailFile, links: u64, sink: &mut dyn LineSink) -> bool {
        let index = file.info.index;
        if file.scan == self.scans {
            if !file.path_seen
                && let Some(path) = file.other_path.take()
            {
                let resolved = discover::resolve(&path);
                self.rename(file, index, path, resolved, sink);
            }
            return false;
        }
        if links == 0 {
            return true;
        }
        let place = file.meta.place;
        let there = fs::metadata(&file.info.resolved);
        if there.is_ok_and(|m| Meta::from(&m).place == place) {
            return false;
        }
        let dir = file.info.resolved.parent().unwrap_or(Path::new("/"));
        match discover::find_in(dir, place) {
            Ok(Some(path)) => {
                self.rename(file, index, path.clone(), path, sink);
                false
            }
            Ok(None) => true,
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }

    fn rename(
        &mut self,
        file: &mut TailFile,
        index: usize,
        path: PathBuf,
        resolved: PathBuf,
        sink: &mut dyn LineSink,
    ) {
        for old in [&file.info.path, &file.info.resolved] {
            if self.by_path.get(old) == Some(&index) {
                self.by_path.remove(old);
            }
        }
        self.by_path.insert(path.clone(), index);
        self.by_path.insert(resolved.clone(), index);
        // Rotations that fail are taken back (kubelet does so).
        file.rotated = resolved != file.home;
        file.ended &= file.rotated;
        file.info.path = path;
        file.info.resolved = resolved;
        self.report(file, sink);
    }

    /// Whether another file still holds, by name, the beginning of a line here.
    fn is_lent(&self, id: FileId) -> bool {
        self.files.iter().flatten().any(|f| f.borrows_from(id))
    }

    /// Looks for the files of stored positions: by inode, wherever the globs
    /// lead, and in the directory that they were last in.
    fn find_known(
        &mut self,
        found: &[Found],
        former: &mut HashMap<Place, Identity>,
        now: Duration,
        sink: &mut dyn LineSink,
    ) {
        let places: HashMap<Place, &Path> =
            found.iter().map(|f| (f.meta.place, f.path.as_path())).collect();
        let known = std::mem::take(&mut self.known);
        for (id, position) in known {
            match self.find_one(&places, &position) {
                Search::Is(path, handle, meta) => {
                    let resolved = discover::resolve(&path);
                    let recorded = position.path.clone();
                    self.warnings.well(&path);
                    let index = self.add(path, resolved, handle, meta);
                    if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) {
                        file.resume(id, position);
                        // Its predecessor, if it had one, is resumed as well.
                        file.after = None;
                    }
                    // Who has its old path now comes after it.
                    self.by_path.entry(recorded).or_insert(index);
                }
                Search::Replaced(place) => {
                    self.lost(id, &position, "replaced-while-stopped", sink);
                    former.insert(place, position.identity);
                }
                Search::Gone(true) if position.ended && position.held.is_empty() => {
                    sink.forget(id);
                }
                Search::Gone(dir) if dir || now >= self.started + MISSING_DIR_WAIT => {
                    self.lost(id, &position, "file-vanished", sink);
                }
                Search::Gone(_) => self.known.push((id, position)),
                Search::Unreadable(path) => {
                    self.warnings.say(Problem::Unreadable, &path);
                    self.known.push((id, position));
                }
            }
        }
    }

    fn find_one(&self, places: &HashMap<Place, &Path>, position: &Position) -> Search {
        let place = position.identity.place;
        let dir = position.path.parent().unwrap_or(Path::new("/"));
        let path = if let Some(path) = places.get(&place) {
            (*path).to_owned()
        } else if fs::metadata(&position.path).is_ok_and(|m| Meta::from(&m).place == place) {
            position.path.clone()
        } else {
            match discover::find_in(dir, place) {
                Ok(Some(path)) => path,
                Ok(None) => return Search::Gone(true),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Search::Gone(false),
                Err(_) => return Search::Unreadable(dir.to_owned()),
            }
        };
        // A second life of an inode that is taken already.
        if self.by_place.contains_key(&place) {
            return Search::Replaced(place);
        }
        let verified = file::open(&path).and_then(|(handle, meta)| {
            Ok((file::verify(&handle, &meta, position, &self.digester)?, handle, meta))
        });
        match verified {
            Ok((true, handle, meta)) if meta.is_file => Search::Is(path, handle, meta),
            Ok(_) => Search::Replaced(place),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Search::Gone(true),
            Err(_) => Search::Unreadable(path),
        }
    }

    /// Gives up a stored position: what was not read of it is a gap.
    fn lost(&self, id: FileId, position: &Position, why: &'static str, sink: &mut dyn LineSink) {
        let own = position.held.iter().filter(|h| h.file.is_none()).map(|h| h.start);
        let from = own.fold(position.read_to, u64::min);
        let info = FileInfo {
            id,
            path: position.path.clone(),
            resolved: position.path.clone(),
            format: position.format.format(),
            index: usize::MAX,
        };
        sink.gap(Some(&info), &Gap { file: Some(id), from, to: None, why });
        for held in position.held.iter().filter(|h| h.file.is_some()) {
            let gap = Gap {
                file: held.file,
                from: held.start,
                to: Some(held.end()),
                why: "held-file-gone",
            };
            sink.gap(None, &gap);
        }
        sink.forget(id);
    }
}

/// What became of a stored position's file.
enum Search {
    /// It is here, and verified.
    Is(PathBuf, fs::File, Meta),
    /// The inode is another file now, or was written anew.
    Replaced(Place),
    /// It is nowhere; whether its directory is there.
    Gone(bool),
    /// Cannot be looked for now.
    Unreadable(PathBuf),
}
