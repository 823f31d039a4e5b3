//! A segment: a preallocated file of blocks under one key.
//!
//! A segment appears under its name only when its header, its snapshot of all
//! positions and whatever it copies are durable: it is prepared under a
//! temporary name, fsynced, renamed, and the folder fsynced. So a named segment
//! with a bad header is damage, never a crash.
//!
//! ```text
//! header, one page: "SEALTAIL-JOURNAL" | u16 version 1 | u64 number | u64 first sequence
//!   number | u64 number of the segment that this one replaces (0: none) | salt[32] |
//!   u16 length, incarnation | zeros up to 1024 | tag[16] | zeros
//! then blocks; the first is the snapshot
//! ```

use super::block::{self, ALIGN, HEADER_LEN, Header, Input, Positions};
use super::crypt::{HEADER_BLOCK, JournalKey, SegmentCipher, TAG_LEN};
use super::{JournalError, Seq};
use crate::disk::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"SEALTAIL-JOURNAL";
const VERSION: u16 = 1;
/// Bytes of the header that are authenticated.
const SIGNED_LEN: usize = 1024;
const SUFFIX: &str = ".seg";

/// The sub-folder of the journal folder that holds the segments.
pub(super) fn folder(journal: &Path) -> PathBuf {
    journal.join("segments")
}

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{SUFFIX}"))
}

/// The numbers of the segments in the folder, ascending; temporary files are removed.
pub(super) fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for name in disk.list(folder).map_err(JournalError::io("list", folder))? {
        if name.ends_with(".tmp") {
            let path = folder.join(&name);
            disk.remove(&path).map_err(JournalError::io("remove", path))?;
        } else if let Some(number) = name.strip_suffix(SUFFIX).and_then(|n| n.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) number: u64,
    pub(super) first: Seq,
    /// The segment whose content this one took over in recovery; 0 for none.
    pub(super) replaces: u64,
}

/// A segment file that is open.
pub(super) struct Segment {
    pub(super) start: Start,
    pub(super) path: PathBuf,
    pub(super) cipher: SegmentCipher,
    file: Box<dyn DiskFile>,
    /// Length of the file in bytes: all of it is allocated.
    pub(super) len: u64,
}

/// A place in a segment where a block begins or may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// Offset of the first block.
pub(super) const FIRST_BLOCK: u64 = ALIGN;

impl Segment {
    /// Opens and authenticates the header.
    pub(super) fn open(
        disk: &dyn Disk,
        folder: &Path,
        number: u64,
        key: &JournalKey,
        incarnation: &str,
    ) -> Result<Self, JournalError> {
        let path = path(folder, number);
        let file = disk.open(&path).map_err(JournalError::io("open", &path))?;
        let len = file.len().map_err(JournalError::io("read the length of", &path))?;
        let mut page = [0; SIGNED_LEN + TAG_LEN];
        file.read_at(&mut page, 0).map_err(JournalError::io("read", &path))?;
        let damaged = |what| JournalError::Damaged { path: path.clone(), offset: 0, what };
        let (start, salt) = parse_header(&page, incarnation).map_err(damaged)?;
        if start.number != number {
            return Err(damaged("the header bears another segment's number"));
        }
        let cipher = key.segment(&salt, incarnation, number);
        let (signed, tag) = page.split_at(SIGNED_LEN);
        let tag: [u8; TAG_LEN] = tag.try_into().map_err(|_| damaged("short header"))?;
        if cipher.open(HEADER_BLOCK, signed, &mut [], &tag).is_err() {
            return Err(JournalError::WrongKey(path));
        }
        Ok(Self { start, path, cipher, file, len })
    }

    /// The header of the block at `offset`; `None` where there is none.
    pub(super) fn header(&self, offset: u64) -> Result<Option<Header>, JournalError> {
        let mut bytes = [0; HEADER_LEN];
        let n =
            self.file.read_at(&mut bytes, offset).map_err(JournalError::io("read", &self.path))?;
        Ok((n == HEADER_LEN)
            .then(|| Header::parse(&bytes))
            .flatten()
            .filter(|h| offset + h.len() <= self.len))
    }

    /// Reads and decrypts the block at `offset` into `buf`.
    /// `None` if there is no block, or one that does not authenticate.
    pub(super) fn block<'a>(
        &self,
        offset: u64,
        buf: &'a mut Vec<u8>,
    ) -> Result<Option<(Header, &'a [u8])>, JournalError> {
        let Some(header) = self.header(offset)? else {
            return Ok(None);
        };
        let Ok(len) = usize::try_from(header.len()) else {
            return Ok(None);
        };
        buf.resize(len, 0);
        let n = self.file.read_at(buf, offset).map_err(JournalError::io("read", &self.path))?;
        if n < len {
            return Ok(None);
        }
        Ok(block::decrypt(&self.cipher, &header, buf).map(|payload| (header, payload)))
    }

    /// Whether any whole block stands behind `offset`: then what is at
    /// `offset` is damage, because each block was fsynced before the next.
    pub(super) fn block_behind(
        &self,
        offset: u64,
        buf: &mut Vec<u8>,
    ) -> Result<bool, JournalError> {
        let mut at = offset + ALIGN;
        while at < self.len {
            if self.block(at, buf)?.is_some() {
                return Ok(true);
            }
            at += ALIGN;
        }
        Ok(false)
    }

    pub(super) fn write(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(data, offset)
    }

    /// What was written is durable when this returns.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    pub(super) fn damaged(&self, offset: u64, what: &'static str) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), offset, what }
    }
}

/// A segment under its temporary name.
pub(super) struct Draft {
    segment: Segment,
    temporary: PathBuf,
    folder: PathBuf,
    number: u64,
    offset: u64,
    buf: Vec<u8>,
}

impl Draft {
    /// Makes the file, reserves its space and writes the header. Nothing of it
    /// counts before [`Draft::publish`].
    ///
    /// # Errors
    /// `StorageFull` leaves nothing behind: the caller may try again later.
    pub(super) fn new(
        disk: &dyn Disk,
        folder: &Path,
        key: &JournalKey,
        incarnation: &str,
        start: Start,
        len: u64,
    ) -> Result<Self, DraftError> {
        let path = path(folder, start.number);
        let temporary = path.with_extension("seg.tmp");
        match disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        let file = disk.create_new(&temporary)?;
        let len = len.next_multiple_of(ALIGN);
        if let Err(e) = file.allocate(len) {
            drop(file);
            disk.remove(&temporary)?;
            return Err(e.into());
        }
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(DraftError::Random)?;
        let cipher = key.segment(&salt, incarnation, start.number);
        let mut page = encode_header(start, &salt, incarnation);
        let tag =
            cipher.seal(HEADER_BLOCK, &page, &mut []).map_err(|_| io::ErrorKind::InvalidInput)?;
        page.extend_from_slice(&tag);
        file.write_at(&page, 0)?;
        Ok(Self {
            segment: Segment { start, path, cipher, file, len },
            temporary,
            folder: folder.to_owned(),
            number: 0,
            offset: FIRST_BLOCK,
            buf: Vec::new(),
        })
    }

    /// Adds the snapshot of all positions.
    pub(super) fn snapshot(
        &mut self,
        first: Seq,
        time: u64,
        positions: &Positions,
    ) -> Result<(), DraftError> {
        let mut buf = std::mem::take(&mut self.buf);
        let header = block::seal_snapshot(
            &self.segment.cipher,
            self.number,
            first,
            time,
            positions,
            &mut buf,
        );
        self.buf = buf;
        self.add(header.ok_or(io::ErrorKind::InvalidInput)?)
    }

    /// Adds a copy of a block of another segment (`payload` decrypted).
    pub(super) fn copy(&mut self, header: &Header, payload: &[u8]) -> Result<(), DraftError> {
        self.buf.clear();
        self.buf.resize(HEADER_LEN, 0);
        self.buf.extend_from_slice(payload);
        let header = Header { number: self.number, ..*header };
        let header = block::encrypt(&self.segment.cipher, header, &mut self.buf);
        self.add(header.ok_or(io::ErrorKind::InvalidInput)?)
    }

    fn add(&mut self, header: Header) -> Result<(), DraftError> {
        let next = header.next_offset(self.offset);
        if next > self.segment.len {
            self.segment.file.allocate(next)?;
            self.segment.len = next;
        }
        self.segment.write(&self.buf, self.offset)?;
        self.offset = next;
        self.number += 1;
        Ok(())
    }

    /// Gives the segment its name. Durable, with all it holds, when this returns.
    /// Returns it with the offset and the number of its next block.
    ///
    /// # Errors
    /// After the fsync or the rename has failed nothing may be served any more.
    pub(super) fn publish(self, disk: &dyn Disk) -> Result<(Segment, u64, u64), DraftError> {
        self.segment.sync()?;
        disk.rename(&self.temporary, &self.segment.path)?;
        disk.sync_dir(&self.folder)?;
        Ok((self.segment, self.offset, self.number))
    }
}

/// Why a segment could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DraftError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

impl From<io::ErrorKind> for DraftError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl DraftError {
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io(e) if crate::disk::is_full(e))
    }

    pub(super) fn at(self, path: &Path) -> JournalError {
        match self {
            Self::Io(source) => JournalError::Io { what: "make", path: path.to_owned(), source },
            Self::Random(e) => JournalError::Random(e),
        }
    }
}

fn encode_header(start: Start, salt: &[u8; 32], incarnation: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(SIGNED_LEN + TAG_LEN);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&start.number.to_le_bytes());
    out.extend_from_slice(&start.first.0.to_le_bytes());
    out.extend_from_slice(&start.replaces.to_le_bytes());
    out.extend_from_slice(salt);
    let len = u16::try_from(incarnation.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(incarnation.as_bytes());
    out.resize(SIGNED_LEN, 0);
    out
}

fn parse_header(page: &[u8], incarnation: &str) -> Result<(Start, [u8; 32]), &'static str> {
    let mut input = Input(page);
    let mut parse = || {
        let magic = input.take(MAGIC.len())?;
        let version = input.u16()?;
        let start =
            Start { number: input.u64()?, first: Seq(input.u64()?), replaces: input.u64()? };
        let salt: [u8; 32] = input.take(32)?.try_into().ok()?;
        let len = usize::from(input.u16()?);
        Some((magic, version, start, salt, input.take(len)?))
    };
    match parse() {
        Some((magic, ..)) if magic != MAGIC => Err("not a journal segment"),
        Some((_, version, ..)) if version != VERSION => {
            Err("written by another version of sealtail")
        }
        Some((.., name)) if name != incarnation.as_bytes() => {
            Err("it belongs to another incarnation")
        }
        Some((_, _, start, salt, _)) => Ok((start, salt)),
        None => Err("short header"),
    }
}
