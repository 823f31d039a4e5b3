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
use super::{Known, LineSink, StartAt, Tailer};
use crate::decode::{Decoder, Held, STREAMS};
use crate::line::Stream;
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
        for (source, discovery) in self.discovery.iter().enumerate() {
            discovery.walk(source, &mut found, &mut self.dirs, &mut self.warnings);
        }
        // Oldest first: what was rotated away comes before what came after it.
        found.sort_by(|a, b| {
            let age = a.meta.age().cmp(&b.meta.age());
            // Clocks of filesystems are coarse: of equals, the live one is last.
            let live =
                || before_rotation(&a.path).is_none().cmp(&before_rotation(&b.path).is_none());
            // The same file, by another source or another name.
            let source = || a.source.cmp(&b.source);
            age.then_with(live).then_with(source).then_with(|| a.path.cmp(&b.path))
        });

        let mut former = Former::default();
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
    fn found_file(&mut self, found: &Found, former: &Former) {
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
        if self.known.iter().any(|k| k.position.identity.place == place) {
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
        let home = self.home(&resolved);
        let source = found.source;
        let index = self.add(found.path.clone(), resolved, home, source, handle, meta);
        let at_end = self.options.sources.get(source).is_some_and(|s| s.start_at == StartAt::End);
        let fresh = self.fresh.get(source).is_some_and(|fresh| *fresh);
        let start_at_end = at_end && fresh && self.scans == 1;
        let digester = self.digester.clone();
        let mut failed = false;
        if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) {
            file.former = former.lives.get(&place).copied();
            let cut = former.cut.iter().filter(|(home, _)| *home == file.home);
            for (_, stream) in cut {
                file.decoder.set_cut(*stream);
            }
            if start_at_end && meta.size > 0 {
                failed = file.skip_to_end(&digester).is_err();
            }
        }
        if failed {
            self.warnings.say(Problem::ReadFailed, &found.path);
        }
    }

    /// The path that a file with this one was first written under: rotations
    /// that come faster than scans show a file only by its later name.
    fn home(&self, resolved: &Path) -> PathBuf {
        match before_rotation(resolved) {
            Some(home) if self.by_path.contains_key(&home) || home.exists() => home,
            _ => resolved.to_owned(),
        }
    }

    /// Takes an open file into the list and the queue.
    fn add(
        &mut self,
        path: PathBuf,
        resolved: PathBuf,
        home: PathBuf,
        source: usize,
        handle: fs::File,
        meta: Meta,
    ) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        self.serials += 1;
        // Whoever had its path before is read first; but one that still has it
        // is no predecessor (this one is an older one, or a copy).
        let holder = self.by_path.get(&home).copied().filter(|h| {
            let place = self.file(*h).map(|f| f.meta.place);
            home == resolved
                || fs::metadata(&home).map_or(true, |m| Some(Meta::from(&m).place) != place)
        });
        let before =
            holder.or_else(|| self.by_path.get(&path).copied().filter(|_| home == resolved));
        let after = before.and_then(|b| Some((b, self.file(b)?.serial)));
        let inherits = holder.is_some();
        if holder.is_some() || !self.by_path.contains_key(&home) {
            self.by_path.insert(home.clone(), index);
        }
        self.by_path.insert(path.clone(), index);
        self.by_path.insert(resolved.clone(), index);
        let format = self.options.sources.get(source).and_then(|s| s.format);
        let info = FileInfo { id: FileId([0; 16]), path, resolved, format, index };
        let mut file = TailFile::new(info, source, self.serials, handle, meta);
        file.decoder = Decoder::new(self.format_choice(source));
        file.rotated = file.info.resolved != home;
        file.home = home;
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
                file.ending = !self.is_lent(file.info.id) && !self.has_heir_to_come(&file);
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

    /// Whether its successor has no first line yet, which may be the rest of one
    /// that began here.
    fn has_heir_to_come(&self, file: &TailFile) -> bool {
        let after = Some((file.info.index, file.serial));
        file.decoder.is_joining()
            && self
                .files
                .iter()
                .flatten()
                .any(|f| f.inherits && f.after == after && f.identity.is_none())
    }

    /// Looks for the files of stored positions: by inode, wherever the globs
    /// lead, and in the directory that they were last in.
    fn find_known(
        &mut self,
        found: &[Found],
        former: &mut Former,
        now: Duration,
        sink: &mut dyn LineSink,
    ) {
        // Of several that are one file the first has its source.
        let places: HashMap<Place, &Found> =
            found.iter().rev().map(|f| (f.meta.place, f)).collect();
        let known = std::mem::take(&mut self.known);
        let mut resumed = Vec::new();
        let mut lent = Vec::new();
        for Known { file: id, source, position } in known {
            match self.find_one(&places, &position) {
                Search::Is(path, handle, meta) => {
                    let resolved = discover::resolve(&path);
                    self.warnings.well(&path);
                    let home = position.home.clone();
                    // The configuration may give it to another source now.
                    let named = places.get(&meta.place).map(|found| found.source);
                    let source = named.or(source).unwrap_or_else(|| self.source_of(&home));
                    let index = self.add(path, resolved, home, source, handle, meta);
                    if let Some(file) = self.files.get_mut(index).and_then(Option::as_deref_mut) {
                        file.resume(id, position);
                        // Its predecessor, if it had one, is resumed as well.
                        file.after = None;
                    }
                    resumed.push((meta.modified, index));
                }
                Search::Replaced(place) => {
                    self.lost(id, &position, "replaced-while-stopped", sink);
                    former.cut(&position);
                    lent.push(position.held);
                    former.lives.insert(place, position.identity);
                }
                Search::Gone(true) if position.ended && position.held.is_empty() => {
                    sink.forget(id);
                }
                Search::Gone(dir) if dir || now >= self.started + MISSING_DIR_WAIT => {
                    self.lost(id, &position, "file-vanished", sink);
                    former.cut(&position);
                    lent.push(position.held);
                }
                Search::Gone(_) => self.known.push(Known { file: id, source, position }),
                Search::Unreadable(path) => {
                    self.warnings.say(Problem::Unreadable, &path);
                    self.known.push(Known { file: id, source, position });
                }
            }
        }
        for held in lent {
            self.give_back(held, sink);
        }
        // Whoever has a rotated file's path now comes after the newest of them.
        resumed.sort_unstable();
        for (_, index) in resumed {
            let Some(home) = self.file(index).map(|f| f.home.clone()) else {
                continue;
            };
            let holder = self.by_path.get(&home).and_then(|i| self.file(*i));
            if holder.is_none_or(|h| h.info.resolved != home) {
                self.by_path.insert(home, index);
            }
        }
    }

    /// A successor is lost that held the beginnings of lines: the newest of those
    /// who lent them goes on with them, in the order in which they were taken.
    fn give_back(&mut self, held: Vec<Held>, sink: &mut dyn LineSink) {
        let is_open = |id: FileId| self.files.iter().flatten().any(|f| f.info.id == id);
        let newest = held.iter().rev().filter_map(|h| h.file).find(|id| is_open(*id));
        let mut lender = self.files.iter_mut().flatten().find(|f| Some(f.info.id) == newest);
        for held in held.into_iter().filter(|h| h.file.is_some()) {
            match &mut lender {
                Some(lender) => {
                    let file = held.file.filter(|id| *id != lender.info.id);
                    lender.replay.push(Held { file, ..held });
                }
                None => {
                    let (from, to) = (held.start, Some(held.end()));
                    sink.gap(None, &Gap { file: held.file, from, to, why: "held-file-gone" });
                }
            }
        }
    }

    /// The first source that names a path; the first of all if none does.
    fn source_of(&self, path: &Path) -> usize {
        self.discovery.iter().position(|d| d.wants(path)).unwrap_or(0)
    }

    fn find_one(&self, places: &HashMap<Place, &Found>, position: &Position) -> Search {
        let place = position.identity.place;
        let dir = position.path.parent().unwrap_or(Path::new("/"));
        let path = if let Some(found) = places.get(&place) {
            found.path.clone()
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
        sink.forget(id);
    }
}

/// What is known of files that were lost while nobody looked.
#[derive(Default)]
struct Former {
    /// Who an inode was before.
    lives: HashMap<Place, Identity>,
    /// The streams whose line was unfinished, by the path that a successor has:
    /// what comes first there may be the rest of it.
    cut: Vec<(PathBuf, Stream)>,
}

impl Former {
    fn cut(&mut self, position: &Position) {
        let held = position.held.iter().map(|h| h.stream);
        let cut = STREAMS.into_iter().zip(position.cut_streams);
        let cut = cut.filter_map(|(stream, is_cut)| is_cut.then_some(stream));
        // Gathered statements hold ranges too, but of whole lines.
        let streams = held.filter(|s| *s != Stream::None).chain(cut);
        self.cut.extend(streams.map(|stream| (position.home.clone(), stream)));
    }
}

/// `app.log` of `app.log.1`, `app.log-20260101` and `app.log.20260101-000000`.
fn before_rotation(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stamp = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | ':' | 'T' | 'Z');
    let home = name.trim_end_matches(stamp);
    let suffix = name.strip_prefix(home)?;
    let mut suffix = suffix.chars();
    let separated = matches!(suffix.next(), Some('.' | '-' | '_'));
    let numbered = suffix.next().is_some_and(|c| c.is_ascii_digit());
    (separated && numbered && !home.is_empty()).then(|| path.with_file_name(home))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotators_give() {
        for (path, home) in [
            ("/l/app.log.1", Some("/l/app.log")),
            ("/l/app.log-20260101", Some("/l/app.log")),
            ("/l/0.log.20260101-000000", Some("/l/0.log")),
            ("/l/x-json.log.12", Some("/l/x-json.log")),
            ("/l/app.log", None),
            ("/l/app1", None),
            ("/l/app.log.gz", None),
            ("/l/1", None),
        ] {
            assert_eq!(before_rotation(Path::new(path)).as_deref(), home.map(Path::new), "{path}");
        }
    }
}
