//! `sealtail journal repair`: saves what can be read of damaged segments.
//!
//! The damaged file is kept under `quarantine/`; its whole blocks go into a
//! segment of the same number, and each range of records that could not be read
//! becomes a hole, for which the sealer signs a gap. Nothing is called lost that
//! was sealed already. What was in a last segment that is gone, and not sealed,
//! is read again from the log files: the positions go back with it.

use super::block::{self, ALIGN, Form, Header, Payload, Positions};
use super::segment::{self, Draft, FIRST_BLOCK, Segment, Start};
use super::writer::Options;
use super::{Incarnation, JournalError, JournalKey, Seq};
use crate::disk::{Disk, SharedDisk};
use std::io;
use std::path::{Path, PathBuf};

/// What a repair did to one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Where the damaged file is kept; `None` for one that was not there.
    pub quarantined: Option<PathBuf>,
    /// The first number that is lost, and how many are: all ranges.
    pub lost: Vec<(Seq, u64)>,
    /// Records that were saved.
    pub saved: u64,
}

/// Repairs every damaged segment. `sealed` is the number up to which records
/// have their leaves already, if that is known: a journal that ends before it
/// goes on from there.
///
/// # Errors
/// When the journal is in use, the key is wrong, or the system says no. What
/// was repaired before stays repaired.
pub fn repair(
    disk: &SharedDisk,
    options: &Options,
    key: &JournalKey,
    sealed: Option<Seq>,
    now: u64,
) -> Result<Vec<Repaired>, JournalError> {
    let disk = &**disk;
    let _lock = disk.lock(&options.path.join("lock")).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => JournalError::Locked(options.path.clone()),
        _ => JournalError::io("lock", &options.path)(e),
    })?;
    let Some(id) = Incarnation::load(disk, &options.path)? else {
        return Err(JournalError::Incarnation {
            path: options.path.join(super::incarnation::FILE),
            what: "there is none: no journal here".to_owned(),
        });
    };
    let folder = segment::folder(&id.base(&options.path));
    disk.create_dir_all(&folder).map_err(JournalError::io("make", &folder))?;
    let work = Work { disk, options, folder: &folder, key, id: &id, sealed, now };
    let files = work.open_all()?;
    if files.is_empty() {
        let first = sealed.filter(|first| *first > Seq(0));
        return first.map(|first| work.begin(first)).into_iter().collect();
    }
    let mut report = Vec::new();
    // Where the segments before end; before the first one nothing is needed
    // that is sealed.
    let mut reached: Option<Seq> = None;
    for (i, (number, segment)) in files.iter().enumerate() {
        let rest = files.get(i + 1..).unwrap_or_default();
        if rest.iter().flat_map(|(_, s)| s).any(|s| s.start.replaces == *number) {
            continue; // a leftover of recovery
        }
        let behind = rest.iter().find_map(|(_, s)| s.as_ref()).map(|s| s.start.first);
        // What comes next needs its records to follow on; at the end, what is sealed.
        let upto = behind.or(sealed).unwrap_or_default();
        let one = match segment {
            Some(segment) => work.mend(segment, reached, upto)?,
            None => Some(work.replace_headless(*number, reached, upto)?),
        };
        reached = match (&one, segment) {
            (Some((_, end)), _) => Some(*end),
            (None, Some(segment)) => Some(end_of(segment)?),
            (None, None) => reached,
        };
        report.extend(one.map(|(repaired, _)| repaired));
    }
    Ok(report)
}

/// What all steps of a repair share.
struct Work<'a> {
    disk: &'a dyn Disk,
    options: &'a Options,
    folder: &'a Path,
    key: &'a JournalKey,
    id: &'a Incarnation,
    sealed: Option<Seq>,
    now: u64,
}

/// A repaired segment, and where its records end now.
type Mended = (Repaired, Seq);

impl Work<'_> {
    /// All segments; `None` for one whose header, and with it the key, is gone.
    fn open_all(&self) -> Result<Vec<(u64, Option<Segment>)>, JournalError> {
        let mut files = Vec::new();
        let mut refused = None;
        for number in segment::list(self.disk, self.folder)? {
            match Segment::open(self.disk, self.folder, number, self.key, &self.id.incarnation) {
                Err(JournalError::WrongKey(path)) => {
                    refused = Some(path);
                    files.push((number, None));
                }
                Err(JournalError::Damaged { .. }) => files.push((number, None)),
                other => files.push((number, Some(other?))),
            }
        }
        // A key that opens anything at all is the right one.
        let fits = files.iter().any(|(_, s)| s.is_some()) || self.id.is_key(self.key);
        match refused {
            Some(path) if !fits => Err(JournalError::WrongKey(path)),
            _ => Ok(files),
        }
    }

    /// Repairs a segment whose header can be read; `None` if nothing is wrong.
    fn mend(
        &self,
        segment: &Segment,
        reached: Option<Seq>,
        upto: Seq,
    ) -> Result<Option<Mended>, JournalError> {
        let found = survey(segment)?;
        let end = found.last().map_or(segment.start.first, |p| p.header.end());
        let contiguous = found
            .windows(2)
            .all(|w| matches!(w, [a, b] if a.header.end() == b.header.first && a.next == b.offset))
            && found.first().is_some_and(|f| f.offset == FIRST_BLOCK);
        let from = reached.or(self.sealed).unwrap_or(segment.start.first).min(segment.start.first);
        if contiguous && from == segment.start.first && upto <= end {
            return Ok(None);
        }
        let start = Start { replaces: 0, first: from, ..segment.start };
        let mut copy = Copy::new(self, start, segment.len)?;
        if from < segment.start.first || found.first().is_none_or(|p| p.offset != FIRST_BLOCK) {
            // The snapshot itself is lost, or belongs behind what is missing: files
            // are read again from what later blocks say, or from their beginning.
            // Repeats are better than loss.
            copy.snapshot()?;
        }
        for piece in &found {
            copy.hole_up_to(piece.header.first)?;
            copy.block(segment, piece)?;
        }
        copy.hole_up_to(upto)?;
        let kept = self.keep_copy(&segment.path, segment.len)?;
        copy.publish(Some(kept)).map(Some)
    }

    /// Puts a hole in the place of a segment that nobody can read; nothing, when
    /// nothing of it is needed.
    fn replace_headless(
        &self,
        number: u64,
        reached: Option<Seq>,
        upto: Seq,
    ) -> Result<Mended, JournalError> {
        let path = segment::path(self.folder, number);
        let from = reached.unwrap_or(self.sealed.unwrap_or_default().min(upto));
        let file = self.disk.open_read(&path).map_err(JournalError::io("open", &path))?;
        let len = file.len().map_err(JournalError::io("read the length of", &path))?;
        let kept = self.keep_copy(&path, len)?;
        if upto > from || number == 1 {
            let start = Start { number, first: from, replaces: 0 };
            let mut copy = Copy::new(self, start, self.options.segment_bytes)?;
            copy.snapshot()?;
            copy.hole_up_to(upto)?;
            return copy.publish(Some(kept));
        }
        self.disk.remove(&path).map_err(JournalError::io("remove", &path))?;
        self.disk.sync_dir(self.folder).map_err(JournalError::io("sync", self.folder))?;
        let repaired = Repaired { quarantined: Some(kept), lost: Vec::new(), saved: 0 };
        Ok((repaired, from))
    }

    /// A first segment that goes on behind what is sealed, where there is none.
    fn begin(&self, first: Seq) -> Result<Repaired, JournalError> {
        let start = Start { number: 1, first, replaces: 0 };
        let mut copy = Copy::new(self, start, self.options.segment_bytes)?;
        copy.snapshot()?;
        Ok(copy.publish(None)?.0)
    }

    /// Copies a damaged file aside, durably, before it is replaced.
    fn keep_copy(&self, path: &Path, len: u64) -> Result<PathBuf, JournalError> {
        let quarantine = self.options.path.join("quarantine");
        self.disk.create_dir_all(&quarantine).map_err(JournalError::io("make", &quarantine))?;
        let kept = quarantine
            .join(path.file_name().unwrap_or_default())
            .with_extension(format!("seg.{}", self.now));
        let copy = || -> io::Result<()> {
            let from = self.disk.open_read(path)?;
            let file = self.disk.create_new(&kept)?;
            file.allocate(len)?;
            let mut buf = vec![0; 256 * 1024];
            let mut at = 0;
            loop {
                let n = from.read_at(&mut buf, at)?;
                if n == 0 {
                    break;
                }
                file.write_at(buf.get(..n).unwrap_or_default(), at)?;
                at += n as u64;
            }
            file.sync()?;
            self.disk.sync_dir(&quarantine)
        };
        copy().map_err(JournalError::io("quarantine to", &kept))?;
        Ok(kept)
    }
}

/// The segment that takes a damaged one's place.
struct Copy<'a> {
    work: &'a Work<'a>,
    draft: Draft,
    path: PathBuf,
    next: Seq,
    lost: Vec<(Seq, u64)>,
    saved: u64,
}

impl<'a> Copy<'a> {
    fn new(work: &'a Work<'a>, start: Start, len: u64) -> Result<Self, JournalError> {
        let path = segment::path(work.folder, start.number);
        let incarnation = &work.id.incarnation;
        let draft = Draft::new(work.disk, work.folder, work.key, incarnation, start, len)
            .map_err(|e| e.at(&path))?;
        Ok(Self { work, draft, path, next: start.first, lost: Vec::new(), saved: 0 })
    }

    /// The first block of a segment that has lost its own.
    fn snapshot(&mut self) -> Result<(), JournalError> {
        self.draft
            .snapshot(self.next, self.work.now, &Positions::new())
            .map_err(|e| e.at(&self.path))
    }

    /// Records up to here cannot be read. Of those that are not sealed yet it is
    /// said that they are lost.
    fn hole_up_to(&mut self, end: Seq) -> Result<(), JournalError> {
        while self.next < end {
            let count = u32::try_from(end.0 - self.next.0).unwrap_or(u32::MAX);
            let (first, time) = (self.next, self.work.now);
            let hole =
                Header { form: Form::Hole, payload_len: 0, records: count, number: 0, first, time };
            self.draft.copy(&hole, &[]).map_err(|e| e.at(&self.path))?;
            self.next = first.plus(u64::from(count));
            let lost = first.max(self.work.sealed.unwrap_or_default());
            if self.next > lost {
                self.lost.push((lost, self.next.0 - lost.0));
            }
        }
        Ok(())
    }

    fn block(&mut self, old: &Segment, piece: &Piece) -> Result<(), JournalError> {
        let mut buf = Vec::new();
        let Some((header, payload)) = old.block(piece.offset, &mut buf)? else {
            return Err(old.damaged(piece.offset, "it read differently a moment ago"));
        };
        if header.form == Form::Data && Payload::new(payload).is_none() {
            return Err(old.damaged(piece.offset, "a block that does not parse"));
        }
        self.draft.copy(&header, payload).map_err(|e| e.at(&self.path))?;
        self.saved += u64::from(header.records);
        self.next = header.end();
        Ok(())
    }

    /// Takes the damaged file's place in one step. Durable when this returns.
    fn publish(self, quarantined: Option<PathBuf>) -> Result<Mended, JournalError> {
        self.draft.publish(self.work.disk).map_err(|e| e.at(&self.path))?;
        Ok((Repaired { quarantined, lost: self.lost, saved: self.saved }, self.next))
    }
}

/// Where the records of a whole segment end.
fn end_of(segment: &Segment) -> Result<Seq, JournalError> {
    Ok(survey(segment)?.last().map_or(segment.start.first, |p| p.header.end()))
}

/// A block that can be read.
struct Piece {
    offset: u64,
    next: u64,
    header: Header,
}

/// All whole blocks, wherever they stand.
fn survey(segment: &Segment) -> Result<Vec<Piece>, JournalError> {
    let mut found: Vec<Piece> = Vec::new();
    let mut buf = Vec::new();
    let mut offset = FIRST_BLOCK;
    while offset < segment.len {
        match segment.block(offset, &mut buf)? {
            Some((header, _)) => {
                let next = header.next_offset(offset);
                found.push(Piece { offset, next, header });
                offset = next;
            }
            None => offset += ALIGN,
        }
    }
    Ok(found)
}

const _: () = assert!(block::ALIGN.is_power_of_two());
