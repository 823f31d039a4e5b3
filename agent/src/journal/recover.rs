//! What is done before anything is served.
//!
//! All segments are read and authenticated. Only the end of the last one may be
//! torn; damage anywhere else is refused. The last segment's blocks are copied
//! into a new segment, which is fsynced under a temporary name and then named:
//! what was read back may have been in the page cache only (an fsync that
//! failed before the crash says nothing), and must not leave the machine before
//! it is durable.
//!
//! Crash points: before the rename the old segment stands and the draft is
//! removed at the next start; after it the new one says which segment it
//! replaces, and that one is removed if it is still there.

use super::block::{Form, Payload};
use super::segment::{self, Draft, FIRST_BLOCK, Segment, Start};
use super::writer::{Known, Options};
use super::{Incarnation, JournalError, JournalKey, Seq};
use crate::disk::{Disk, SharedDisk};
use crate::source::FileId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

/// What the writer goes on from.
pub(super) struct Recovered {
    pub(super) id: Incarnation,
    pub(super) known: VecDeque<Known>,
    /// The new last segment.
    pub(super) segment: Segment,
    pub(super) offset: u64,
    pub(super) number: u64,
    pub(super) next: Seq,
    pub(super) positions: BTreeMap<FileId, Vec<u8>>,
    pub(super) last_time: u64,
}

/// What a journal is begun with, where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning<'a> {
    /// The agent's name; that of a journal that is there has to be the same.
    pub(super) origin: &'a str,
    /// The incarnation whose records this is a copy of, and the first of them;
    /// `None`: a log of its own, from record 0 on.
    pub(super) copy: Option<(&'a str, Seq)>,
}

impl Beginning<'_> {
    fn id(&self, now: u64) -> Result<Incarnation, JournalError> {
        let mut id = Incarnation::new(self.origin, now)?;
        if let Some((incarnation, _)) = self.copy {
            incarnation.clone_into(&mut id.incarnation);
        }
        Ok(id)
    }

    fn first(&self) -> Seq {
        self.copy.map_or(Seq(0), |(_, first)| first)
    }
}

pub(super) fn recover(
    disk: &SharedDisk,
    options: &Options,
    key: &JournalKey,
    beginning: Beginning<'_>,
    now: u64,
) -> Result<Recovered, JournalError> {
    let origin = beginning.origin;
    let disk = &**disk;
    let found = Incarnation::load(disk, &options.path)?;
    let base = found.as_ref().map_or_else(|| options.path.clone(), |id| id.base(&options.path));
    let folder = segment::folder(&base);
    disk.create_dir_all(&folder).map_err(JournalError::io("make", &folder))?;
    let numbers = segment::list(disk, &folder)?;
    let id = match found {
        Some(id) if id.origin != origin => {
            return Err(JournalError::OriginChanged { old: id.origin, new: origin.to_owned() });
        }
        Some(id) => id,
        None if !numbers.is_empty() => {
            return Err(JournalError::Incarnation {
                path: options.path.join(super::incarnation::FILE),
                what: "it is gone, but there are segments".to_owned(),
            });
        }
        None => {
            let id = beginning.id(now)?;
            id.save(disk, &options.path)?;
            id
        }
    };
    if numbers.is_empty() {
        if has_outbox(disk, &base)? {
            return Err(JournalError::SegmentsGone(folder));
        }
        return begin(disk, options, key, id, (beginning.first(), now), BTreeMap::new());
    }
    let mut segments = Vec::new();
    for number in numbers {
        segments.push(Segment::open(disk, &folder, number, key, &id.incarnation)?);
    }
    remove_replaced(disk, &folder, &mut segments)?;
    let Some(last) = segments.pop() else {
        return begin(disk, options, key, id, (beginning.first(), now), BTreeMap::new());
    };
    let mut state = State::default();
    let mut known = VecDeque::new();
    let mut buf = Vec::new();
    for segment in &segments {
        known.push_back(Known {
            number: segment.start.number,
            first: segment.start.first,
            bytes: segment.len,
        });
        state.read_all(segment, false, &mut buf)?;
    }
    // The scan of the last one comes before its copy: if it is damaged, nothing is made.
    state.read_all(&last, true, &mut buf)?;
    let start = Start {
        number: last.start.number + 1,
        first: last.start.first,
        replaces: last.start.number,
    };
    let target = segment::path(&folder, start.number);
    let mut draft =
        Draft::new(disk, &folder, key, &id.incarnation, start, options.segment_bytes.max(last.len))
            .map_err(|e| e.at(&target))?;
    let mut offset = FIRST_BLOCK;
    while offset < state.torn_at {
        let Some((header, payload)) = last.block(offset, &mut buf)? else {
            return Err(last.damaged(offset, "it read differently a moment ago"));
        };
        draft.copy(&header, payload).map_err(|e| e.at(&target))?;
        offset = header.next_offset(offset);
    }
    let (segment, offset, number) = draft.publish(disk).map_err(|e| e.at(&target))?;
    remove(disk, &last.path)?;
    disk.sync_dir(&folder).map_err(JournalError::io("sync", &folder))?;
    known.push_back(Known { number: start.number, first: start.first, bytes: segment.len });
    Ok(Recovered {
        id,
        known,
        segment,
        offset,
        number,
        next: state.next.unwrap_or(start.first),
        positions: state.positions,
        last_time: state.last_time,
    })
}

/// Whether anything was ever sealed here: then there were segments, too.
fn has_outbox(disk: &dyn Disk, base: &Path) -> Result<bool, JournalError> {
    let outbox = base.join("outbox");
    match disk.list(&outbox) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        names => Ok(names
            .map_err(JournalError::io("list", &outbox))?
            .iter()
            .any(|name| name.ends_with(".entry"))),
    }
}

/// The first segment of an incarnation, with its first record's number, the time
/// (Unix ms), and the positions that it goes on from.
pub(super) fn begin(
    disk: &dyn Disk,
    options: &Options,
    key: &JournalKey,
    id: Incarnation,
    (first, now): (Seq, u64),
    positions: BTreeMap<FileId, Vec<u8>>,
) -> Result<Recovered, JournalError> {
    let start = Start { number: 1, first, replaces: 0 };
    let folder = &segment::folder(&id.base(&options.path));
    let target = segment::path(folder, 1);
    let made = Draft::new(disk, folder, key, &id.incarnation, start, options.segment_bytes)
        .and_then(|mut draft| {
            let snapshot = positions.iter().map(|(file, p)| (*file, Some(p.clone()))).collect();
            draft.snapshot(first, now, &snapshot)?;
            draft.publish(disk)
        });
    let (segment, offset, number) = made.map_err(|e| e.at(&target))?;
    Ok(Recovered {
        id,
        known: VecDeque::from([Known { number: 1, first, bytes: segment.len }]),
        segment,
        offset,
        number,
        next: first,
        positions,
        last_time: now,
    })
}

/// Removes segments whose content another has taken over.
fn remove_replaced(
    disk: &dyn Disk,
    folder: &Path,
    segments: &mut Vec<Segment>,
) -> Result<(), JournalError> {
    let replaced: Vec<u64> = segments.iter().map(|s| s.start.replaces).collect();
    let mut removed = false;
    for segment in segments.extract_if(.., |s| replaced.contains(&s.start.number)) {
        remove(disk, &segment.path)?;
        removed = true;
    }
    if removed {
        disk.sync_dir(folder).map_err(JournalError::io("sync", folder))?;
    }
    Ok(())
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), JournalError> {
    match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(JournalError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// What reading the blocks in order yields.
#[derive(Default)]
struct State {
    /// Behind the last block read; `None` before the first.
    next: Option<Seq>,
    positions: BTreeMap<FileId, Vec<u8>>,
    last_time: u64,
    /// Where the last segment's whole blocks end.
    torn_at: u64,
}

impl State {
    fn read_all(
        &mut self,
        segment: &Segment,
        is_last: bool,
        buf: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        if self.next.is_some_and(|next| next != segment.start.first) {
            return Err(
                segment.damaged(0, "its records do not follow on those of the segment before")
            );
        }
        self.next = Some(segment.start.first);
        let mut offset = FIRST_BLOCK;
        let mut number = 0;
        while offset < segment.len {
            let Some((header, payload)) = segment.block(offset, buf)? else {
                break;
            };
            if header.number != number || Some(header.first) != self.next {
                return Err(segment.damaged(offset, "a block out of order"));
            }
            if header.form == Form::Data {
                self.apply(payload)
                    .ok_or_else(|| segment.damaged(offset, "a block that does not parse"))?;
            }
            self.next = Some(header.end());
            self.last_time = self.last_time.max(header.time);
            offset = header.next_offset(offset);
            number += 1;
        }
        if number == 0 {
            return Err(segment.damaged(offset, "the snapshot of positions is not readable"));
        }
        if segment.block_behind(offset, buf)? {
            return Err(segment.damaged(offset, "a block is not readable and whole ones follow it"));
        }
        if !is_last && segment.header(offset)?.is_some() {
            return Err(segment.damaged(offset, "its last block is not readable"));
        }
        self.torn_at = offset;
        Ok(())
    }

    fn apply(&mut self, payload: &[u8]) -> Option<()> {
        let mut payload = Payload::new(payload)?;
        while let Some((file, position)) = payload.position() {
            match position {
                Some(position) => {
                    let old = self.positions.entry(file).or_default();
                    old.clear();
                    old.extend_from_slice(position);
                }
                None => {
                    self.positions.remove(&file);
                }
            }
        }
        payload.at_records().then_some(())
    }
}
