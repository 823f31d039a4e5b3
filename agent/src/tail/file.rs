//! One file that is tailed: what is open, how far it is read, what waits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::identity::{BEFORE, Digest, Digester, HEAD, Identity, Meta};
use super::position::{Encode, Position};
use crate::decode::{Decoder, Format, FormatChoice, Held, Limits, STREAMS};
use crate::source::FileId;

/// What a sink is told of the file that a line is from.
#[derive(Debug, Clone)]
pub struct FileInfo {
    /// Its name in records.
    pub id: FileId,
    /// The path that it was found by, or is known by now; not redacted.
    pub path: PathBuf,
    /// The path without symlinks; not redacted.
    pub resolved: PathBuf,
    /// Its framing, as far as it was known before the chunk of this line.
    pub format: Option<Format>,
    /// A small number for caches by file. It is given again when the file has
    /// been let go: check the cached entry against `id`. `usize::MAX` in a gap
    /// of a file that was never found again.
    pub index: usize,
}

/// One file. Invariants: everything before `read_to` has been delivered or is
/// held by `decoder` (or named in `replay`); `read_to` is a line's start, or
/// lies behind a piece when `decoder.cut` is set.
#[derive(Debug)]
pub(crate) struct TailFile {
    pub(crate) info: FileInfo,
    /// Whose file it is, by index.
    pub(crate) source: usize,
    /// Never given twice, other than `info.index`.
    pub(crate) serial: u64,
    pub(crate) handle: File,
    /// As last seen; its size is what lag and loss are measured by.
    pub(crate) meta: Meta,
    /// None until the head is there; nothing is delivered before.
    pub(crate) identity: Option<Identity>,
    /// Who this inode was before: lives are counted from it.
    pub(crate) former: Option<Identity>,
    pub(crate) read_to: u64,
    pub(crate) before_len: u16,
    pub(crate) before: Digest,
    /// So many bytes from `read_to` on hold no newline.
    pub(crate) searched: usize,
    pub(crate) decoder: Decoder,
    /// Held ranges of a stored position that are still to be read again.
    pub(crate) replay: Vec<Held>,
    /// Since when an unfinished line (or head) has not grown.
    pub(crate) waiting_since: Option<Duration>,
    /// The last read reached the end.
    pub(crate) at_end: bool,
    /// In the ready queue.
    pub(crate) queued: bool,
    /// In the list of files with a deadline.
    pub(crate) timed: bool,
    /// Unfinished lines are to go out now.
    pub(crate) flush: bool,
    /// The scan that last found it by the globs.
    pub(crate) scan: u64,
    /// The path it is known by was among those found in that scan.
    pub(crate) path_seen: bool,
    /// Another path it was found by in that scan.
    pub(crate) other_path: Option<PathBuf>,
    /// The resolved path that it was first known by.
    pub(crate) home: PathBuf,
    /// It has lost the name it was first known by.
    pub(crate) rotated: bool,
    /// Rotated, and read to its end at two scans.
    pub(crate) ended: bool,
    /// Scans at which it was at its end, unchanged, and gone or rotated.
    pub(crate) quiet: u8,
    /// It is gone and quiet: the next read is the last.
    pub(crate) ending: bool,
    /// Its predecessor under the same path (index, serial): read first.
    pub(crate) after: Option<(usize, u64)>,
    /// A line may have begun in the predecessor: it was rotated, not another's.
    pub(crate) inherits: bool,
    /// Others wait for this one's end.
    pub(crate) awaited: bool,
}

impl TailFile {
    pub(crate) fn new(
        info: FileInfo,
        source: usize,
        serial: u64,
        handle: File,
        meta: Meta,
    ) -> Self {
        Self {
            home: info.resolved.clone(),
            info,
            source,
            serial,
            handle,
            meta,
            identity: None,
            former: None,
            read_to: 0,
            before_len: 0,
            before: Digest::default(),
            searched: 0,
            decoder: Decoder::default(),
            replay: Vec::new(),
            waiting_since: None,
            at_end: false,
            queued: false,
            timed: false,
            flush: false,
            scan: 0,
            path_seen: false,
            other_path: None,
            rotated: false,
            ended: false,
            quiet: 0,
            ending: false,
            after: None,
            inherits: false,
            awaited: false,
        }
    }

    /// Goes on where a stored position stopped.
    pub(crate) fn resume(&mut self, id: FileId, position: Position) {
        self.info.id = id;
        self.info.format = position.format.format();
        self.identity = Some(position.identity);
        self.read_to = position.read_to;
        self.before_len = position.before_len;
        self.before = position.before;
        self.rotated = self.info.resolved != position.home;
        self.home = position.home;
        self.ended = position.ended;
        self.decoder = Decoder::new(position.format);
        self.decoder.cut = position.cut;
        for (stream, cut) in STREAMS.into_iter().zip(position.cut_streams) {
            if cut {
                self.decoder.set_cut(stream);
            }
        }
        self.replay = position.held;
    }

    /// Begins anew at the first byte, as nobody yet.
    pub(crate) fn begin_again(&mut self, format: FormatChoice) {
        self.former = self.identity.take().or(self.former);
        self.read_to = 0;
        self.before_len = 0;
        self.searched = 0;
        self.decoder = Decoder::new(format);
        self.replay.clear();
        self.waiting_since = None;
        self.at_end = false;
        self.ended = false;
        self.quiet = 0;
    }

    /// Begins at the end of what is there.
    pub(crate) fn skip_to_end(&mut self, digester: &Digester) -> io::Result<()> {
        let len = self.meta.size.min(BEFORE as u64) as usize;
        let mut bytes = [0; BEFORE];
        let before = bytes.get_mut(..len).unwrap_or_default();
        if read_at(&self.handle, before, self.meta.size - len as u64)? < len {
            return Ok(());
        }
        self.read_to = self.meta.size;
        self.before_len = len as u16;
        self.before = digester.before(before);
        if before.last().is_some_and(|b| *b != b'\n') {
            self.decoder.cut =
                Some(crate::decode::RawCut { stream: crate::line::Stream::None, more: false });
        }
        Ok(())
    }

    /// When something is due though nothing is written.
    pub(crate) fn deadline(&self, limits: Limits) -> Option<Duration> {
        if !self.at_end {
            return None;
        }
        let rest = self.waiting_since.map(|since| since + limits.partial_wait);
        rest.into_iter().chain(self.decoder.deadline(limits)).min()
    }

    /// The bytes that are there and have not been read.
    pub(crate) fn lag(&self) -> u64 {
        self.meta.size.saturating_sub(self.read_to)
    }

    /// Whether it holds, or is to read again, parts from this other file.
    pub(crate) fn borrows_from(&self, id: FileId) -> bool {
        self.replay.iter().chain(self.decoder.held()).any(|h| h.file == Some(id))
    }

    /// Writes its position to `out`; nothing while it has no identity.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> bool {
        let Some(identity) = &self.identity else {
            return false;
        };
        let mut cut_streams = [false; 3];
        for (cut, stream) in cut_streams.iter_mut().zip(STREAMS) {
            *cut = self.decoder.is_cut(stream);
        }
        Encode {
            identity,
            path: &self.info.resolved,
            home: &self.home,
            format: self.decoder.format,
            read_to: self.read_to,
            before_len: self.before_len,
            before: &self.before,
            cut: self.decoder.cut,
            cut_streams,
            ended: self.ended,
            held: self.replay.iter().chain(self.decoder.held()),
        }
        .write(out);
        true
    }
}

/// Opens a log for reading; never waits for a writer (FIFO), never changes it.
pub(crate) fn open(path: &Path) -> io::Result<(File, Meta)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let meta = Meta::from(&file.metadata()?);
    Ok((file, meta))
}

/// Fills `buf` from `offset`; less only at the end of the file.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Whether an open file is the one that the position is of: born then, long
/// enough, the same head, and the same bytes before the offset.
pub(crate) fn verify(
    file: &File,
    meta: &Meta,
    position: &Position,
    digester: &Digester,
) -> io::Result<bool> {
    let identity = &position.identity;
    if meta.place != identity.place
        || !identity.may_be_born(meta.created)
        || meta.size < position.read_to
    {
        return Ok(false);
    }
    let mut bytes = [0; HEAD];
    let head = bytes.get_mut(..usize::from(identity.head_len)).unwrap_or_default();
    if read_at(file, head, 0)? < head.len() || digester.head(head) != identity.head {
        return Ok(false);
    }
    let before = bytes.get_mut(..usize::from(position.before_len)).unwrap_or_default();
    let from = position.read_to - u64::from(position.before_len);
    Ok(before.is_empty()
        || read_at(file, before, from)? == before.len()
            && digester.before(before) == position.before)
}
