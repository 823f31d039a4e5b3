//! `sealtail journal repair`: saves what can be read of damaged segments.
//!
//! The damaged file is kept under `quarantine/`; its whole blocks go into a
//! segment of the same number, and each range of records that could not be read
//! becomes a hole, for which the sealer signs a gap.

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
    /// Where the damaged file is kept.
    pub quarantined: PathBuf,
    /// The first number that is lost, and how many are: all ranges.
    pub lost: Vec<(Seq, u64)>,
    /// Records that were saved.
    pub saved: u64,
}

/// Repairs every damaged segment. `end` is the number up to which records were
/// shipped already: a journal that ends before it goes on from there.
///
/// # Errors
/// When the journal is in use, the key is wrong, or the system says no. What
/// was repaired before stays repaired.
pub fn repair(
    disk: &SharedDisk,
    options: &Options,
    key: &JournalKey,
    end: Seq,
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
    let numbers = segment::list(disk, &folder)?;
    let mut report = Vec::new();
    for (i, number) in numbers.iter().enumerate() {
        let next =
            numbers.get(i + 1).map(|n| Segment::open(disk, &folder, *n, key, &id.incarnation));
        let upto = match next {
            Some(Ok(next)) if next.start.replaces == *number => continue, // a leftover of recovery
            Some(Ok(next)) => Some(next.start.first),
            _ => (i + 1 == numbers.len()).then_some(end),
        };
        let segment = match Segment::open(disk, &folder, *number, key, &id.incarnation) {
            Err(JournalError::WrongKey(path))
                if i == 0 || report.is_empty() && i + 1 == numbers.len() =>
            {
                return Err(JournalError::WrongKey(path));
            }
            Err(JournalError::Damaged { .. } | JournalError::WrongKey(_)) => None,
            other => Some(other?),
        };
        let Some(segment) = segment else {
            return Err(JournalError::Damaged {
                path: segment::path(&folder, *number),
                offset: 0,
                what: "its header is gone, so its key is: move the file out of the folder by hand, \
                       its records are lost; the next start names them",
            });
        };
        let found = survey(&segment)?;
        let is_last = i + 1 == numbers.len();
        let reached = found.last().map_or(segment.start.first, |p| p.header.end());
        let behind = upto.filter(|upto| *upto > reached);
        let contiguous = found
            .windows(2)
            .all(|w| matches!(w, [a, b] if a.header.end() == b.header.first && a.next == b.offset))
            && found.first().is_none_or(|f| f.offset == FIRST_BLOCK);
        let torn_only = is_last && behind.is_none();
        if contiguous && !found.is_empty() && (behind.is_none() || torn_only) {
            continue;
        }
        report.push(rewrite(
            disk,
            &options.path,
            &folder,
            key,
            &id,
            &segment,
            &found,
            behind,
            now,
        )?);
    }
    Ok(report)
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

#[expect(clippy::too_many_arguments, reason = "one call site; the arguments are what a segment is")]
fn rewrite(
    disk: &dyn Disk,
    journal: &Path,
    folder: &Path,
    key: &JournalKey,
    id: &Incarnation,
    old: &Segment,
    found: &[Piece],
    behind: Option<Seq>,
    now: u64,
) -> Result<Repaired, JournalError> {
    let start = Start { replaces: 0, ..old.start };
    let failed = |e: segment::DraftError| e.at(&old.path);
    let mut draft =
        Draft::new(disk, folder, key, &id.incarnation, start, old.len).map_err(failed)?;
    let mut lost = Vec::new();
    let mut saved = 0;
    let mut next = start.first;
    let mut buf = Vec::new();
    if found.first().is_none_or(|p| p.offset != FIRST_BLOCK) {
        // The snapshot itself is lost: files are read again from what later
        // blocks say, or from their beginning. Repeats are better than loss.
        draft.snapshot(next, now, &Positions::new()).map_err(failed)?;
    }
    for piece in found {
        if piece.header.first > next {
            lost.push((next, piece.header.first.0 - next.0));
            draft.copy(&hole(next, piece.header.first, now), &[]).map_err(failed)?;
        }
        let Some((header, payload)) = old.block(piece.offset, &mut buf)? else {
            return Err(old.damaged(piece.offset, "it read differently a moment ago"));
        };
        if header.form == Form::Data && Payload::new(payload).is_none() {
            return Err(old.damaged(piece.offset, "a block that does not parse"));
        }
        draft.copy(&header, payload).map_err(failed)?;
        saved += u64::from(header.records);
        next = header.end();
    }
    if let Some(end) = behind {
        lost.push((next, end.0 - next.0));
        draft.copy(&hole(next, end, now), &[]).map_err(failed)?;
    }
    let quarantine = journal.join("quarantine");
    disk.create_dir_all(&quarantine).map_err(JournalError::io("make", &quarantine))?;
    let kept = quarantine
        .join(old.path.file_name().unwrap_or_default())
        .with_extension(format!("seg.{now}"));
    keep_copy(disk, old, &kept)?;
    // The rename of `publish` replaces the damaged file in one step.
    draft.publish(disk).map_err(failed)?;
    Ok(Repaired { quarantined: kept, lost, saved })
}

fn hole(first: Seq, end: Seq, time: u64) -> Header {
    let count = u32::try_from(end.0.saturating_sub(first.0)).unwrap_or(u32::MAX);
    Header { form: Form::Hole, payload_len: 0, records: count, number: 0, first, time }
}

/// Copies the damaged file aside, durably, before it is replaced.
fn keep_copy(disk: &dyn Disk, old: &Segment, to: &Path) -> Result<(), JournalError> {
    let copy = || -> io::Result<()> {
        let from = disk.open_read(&old.path)?;
        let file = disk.create_new(to)?;
        file.allocate(old.len)?;
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
        disk.sync_dir(to.parent().unwrap_or(Path::new("/")))
    };
    copy().map_err(JournalError::io("quarantine to", to))
}

const _: () = assert!(block::ALIGN.is_power_of_two());
