//! A file's position, as the journal keeps it.
//!
//! It names what joiners hold by ranges and never holds a byte of the log; the
//! digests are keyed. The encoding is compact, has a version, and is read
//! strictly: what is not exactly a position is an error, never a panic.

#![deny(clippy::indexing_slicing)]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::identity::{BEFORE, Digest, HEAD, Identity, Place};
use crate::decode::{FormatChoice, Held, MAX_RANGES, RawCut};
use crate::line::Stream;
use crate::source::FileId;

/// The version that is written. Bump it with the form, and keep reading the old.
const VERSION: u8 = 1;
/// Longest path that is kept, in bytes: Linux's `PATH_MAX`.
const MAX_PATH: u64 = 4096;
/// Joiners and gatherers of three streams.
const MAX_HELD: u64 = 6 * (MAX_RANGES as u64 + 1);

/// Why a stored position is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// It is of a newer version of the program.
    #[error("failed to read a file position: version {0} is not known to this program")]
    Version(u8),
    /// It ends too early, goes on too long, or a value is out of its range.
    #[error("failed to read a file position: it is damaged")]
    Damaged,
}

/// Where a file has been read to, and what is still held before that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) identity: Identity,
    /// The resolved path when the position was taken.
    pub(crate) path: PathBuf,
    /// The resolved path that it was first known by: whoever has that one next
    /// is its successor.
    pub(crate) home: PathBuf,
    pub(crate) format: FormatChoice,
    /// Everything before is delivered or held.
    pub(crate) read_to: u64,
    /// How many bytes before `read_to` the digest is over.
    pub(crate) before_len: u16,
    pub(crate) before: Digest,
    /// Pieces of the raw line at `read_to` have been delivered.
    pub(crate) cut: Option<RawCut>,
    /// The streams whose current line has had pieces delivered.
    pub(crate) cut_streams: [bool; 3],
    /// The file had been rotated away and read to its end: losing it now loses
    /// nothing.
    pub(crate) ended: bool,
    pub(crate) held: Vec<Held>,
}

/// Borrowed twin of [`Position`], so that encoding copies nothing.
pub(crate) struct Encode<'a, H> {
    pub(crate) identity: &'a Identity,
    pub(crate) path: &'a Path,
    pub(crate) home: &'a Path,
    pub(crate) format: FormatChoice,
    pub(crate) read_to: u64,
    pub(crate) before_len: u16,
    pub(crate) before: &'a Digest,
    pub(crate) cut: Option<RawCut>,
    pub(crate) cut_streams: [bool; 3],
    pub(crate) ended: bool,
    pub(crate) held: H,
}

impl<'a, H: Iterator<Item = &'a Held> + Clone> Encode<'a, H> {
    /// Writes the position to `out`, which is emptied first.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.clear();
        out.push(VERSION);
        let id = self.identity;
        number(out, id.place.dev);
        number(out, id.place.ino);
        number(out, id.created);
        number(out, u64::from(id.head_len));
        out.extend_from_slice(&id.head);
        number(out, u64::from(id.life));
        let home = if self.home == self.path { Path::new("") } else { self.home };
        for path in [self.path, home] {
            let path = path.as_os_str().as_bytes();
            number(out, path.len() as u64);
            out.extend_from_slice(path);
        }
        out.extend_from_slice(&self.format.encode());
        number(out, self.read_to);
        number(out, u64::from(self.before_len));
        out.extend_from_slice(self.before);
        out.push(match self.cut {
            None => 0,
            Some(cut) => 1 + stream_code(cut.stream) * 2 + u8::from(cut.more),
        });
        let [none, stdout, stderr] = self.cut_streams.map(u8::from);
        out.push(none | stdout << 1 | stderr << 2 | u8::from(self.ended) << 3);
        number(out, self.held.clone().count() as u64);
        for held in self.held {
            let foreign = u8::from(held.file.is_some()) << 2;
            out.push(stream_code(held.stream) | foreign);
            if let Some(file) = held.file {
                out.extend_from_slice(&file.0);
            }
            number(out, held.start);
            number(out, held.len);
        }
    }
}

impl Position {
    /// Reads what [`Encode::write`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PositionError> {
        let mut input = Input(bytes);
        match input.byte()? {
            VERSION => {}
            other => return Err(PositionError::Version(other)),
        }
        let position = Self::decode_v1(&mut input).ok_or(PositionError::Damaged)?;
        if input.0.is_empty() { Ok(position) } else { Err(PositionError::Damaged) }
    }

    fn decode_v1(input: &mut Input<'_>) -> Option<Self> {
        let place = Place { dev: input.number()?, ino: input.number()? };
        let created = input.number()?;
        let head_len = u16::try_from(input.number()?).ok().filter(|l| usize::from(*l) <= HEAD)?;
        let head = input.array()?;
        let life = u32::try_from(input.number()?).ok()?;
        let identity = Identity { place, created, head_len, head, life };
        let path = input.path()?;
        let home = input.path()?;
        let home = if home.as_os_str().is_empty() { path.clone() } else { home };
        let format = FormatChoice::decode(input.array()?)?;
        let read_to = input.number()?;
        let before_len = u16::try_from(input.number()?).ok()?;
        if usize::from(before_len) > BEFORE || u64::from(before_len) > read_to {
            return None;
        }
        let before = input.array()?;
        let cut = match input.byte().ok()? {
            0 => None,
            code @ 1..=6 => {
                Some(RawCut { stream: stream_of((code - 1) / 2)?, more: (code - 1) % 2 == 1 })
            }
            _ => return None,
        };
        let flags = input.byte().ok().filter(|f| *f < 16)?;
        let count = input.number().filter(|c| *c <= MAX_HELD)?;
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(Self::decode_held(input, read_to)?);
        }
        Some(Self {
            identity,
            path,
            home,
            format,
            read_to,
            before_len,
            before,
            cut,
            cut_streams: [flags & 1 != 0, flags & 2 != 0, flags & 4 != 0],
            ended: flags & 8 != 0,
            held,
        })
    }

    fn decode_held(input: &mut Input<'_>, read_to: u64) -> Option<Held> {
        let code = input.byte().ok().filter(|c| *c < 8)?;
        let file = if code & 4 == 0 { None } else { Some(FileId(input.array()?)) };
        let start = input.number()?;
        let len = input.number().filter(|l| *l > 0)?;
        let end = start.checked_add(len)?;
        if file.is_none() && end > read_to {
            return None;
        }
        Some(Held { file, start, len, stream: stream_of(code & 3)? })
    }
}

fn stream_code(stream: Stream) -> u8 {
    match stream {
        Stream::None => 0,
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

fn stream_of(code: u8) -> Option<Stream> {
    match code {
        0 => Some(Stream::None),
        1 => Some(Stream::Stdout),
        2 => Some(Stream::Stderr),
        _ => None,
    }
}

/// A number in seven-bit groups, the lowest first (LEB128).
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*front)
    }

    fn path(&mut self) -> Option<PathBuf> {
        let length = self.number().filter(|l| *l <= MAX_PATH)?;
        let bytes = self.take(usize::try_from(length).ok()?)?;
        Some(PathBuf::from(OsString::from_vec(bytes.to_vec())))
    }

    fn byte(&mut self) -> Result<u8, PositionError> {
        let (first, rest) = self.0.split_first().ok_or(PositionError::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte().ok()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // One form a number: no padding with empty groups.
                return (byte != 0 || shift == 0).then_some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Format;

    fn encode(p: &Position) -> Vec<u8> {
        let mut out = Vec::new();
        Encode {
            identity: &p.identity,
            path: &p.path,
            home: &p.home,
            format: p.format,
            read_to: p.read_to,
            before_len: p.before_len,
            before: &p.before,
            cut: p.cut,
            cut_streams: p.cut_streams,
            ended: p.ended,
            held: p.held.iter(),
        }
        .write(&mut out);
        out
    }

    fn sample() -> Position {
        let range = |file, start, stream| Held { file, start, len: 300, stream };
        Position {
            identity: Identity {
                place: Place { dev: 64, ino: u64::MAX },
                created: 1_700_000_000_000_000_000,
                head_len: 1024,
                head: [7; 16],
                life: 3,
            },
            path: PathBuf::from(OsString::from_vec(b"/var/log/a\xff.log".to_vec())),
            home: PathBuf::from("/var/log/a.log"),
            format: FormatChoice::fixed(Format::Cri),
            read_to: 1 << 40,
            before_len: 256,
            before: [9; 16],
            cut: Some(RawCut { stream: Stream::Stderr, more: true }),
            cut_streams: [false, true, true],
            ended: true,
            held: vec![
                range(Some(FileId([5; 16])), u64::MAX - 300, Stream::Stdout),
                range(None, 0, Stream::Stderr),
            ],
        }
    }

    #[test]
    fn a_position_comes_back_as_it_was() {
        let sample = sample();
        assert_eq!(Position::decode(&encode(&sample)), Ok(sample.clone()));
        let plain = Position { cut: None, held: vec![], format: FormatChoice::auto(), ..sample };
        assert_eq!(Position::decode(&encode(&plain)), Ok(plain));
    }

    #[test]
    fn the_stored_form_of_version_1_is_still_read() {
        // Written by the first release; never change these bytes.
        let stored = [
            1, 1, 2, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, b'/', b'a', 0, 3,
            0, 5, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 2, 1, 1, 0, 4,
        ];
        let position = Position::decode(&stored).unwrap();
        assert_eq!(
            (position.path.as_path(), position.home.as_path()),
            (Path::new("/a"), Path::new("/a"))
        );
        assert_eq!((position.read_to, position.before_len), (5, 5));
        assert_eq!(position.format.format(), Some(Format::Text));
        assert_eq!(position.cut_streams, [false, true, false]);
        assert_eq!(position.held.len(), 1);
        assert_eq!(encode(&position), stored);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let whole = encode(&sample());
        for cut in 0..whole.len() {
            assert!(Position::decode(whole.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(Position::decode(&longer), Err(PositionError::Damaged));
        for at in 0..whole.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut bad = whole.clone();
                *bad.get_mut(at).unwrap() ^= flip;
                let _ = Position::decode(&bad);
            }
        }
        assert_eq!(Position::decode(&[9]), Err(PositionError::Version(9)));
    }
}
