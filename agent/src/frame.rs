//! Cuts a chunk of a file into lines without copying.
//!
//! Promise: every byte of the chunk is in exactly one frame, in its newline, or
//! in [`Frames::rest`]. A line longer than the limit comes in pieces, is never
//! dropped, and never makes the reader wait for its end. What a line means is
//! not known here: see [`crate::decode`].

use memchr::memchr;

/// One frame: a whole line, or the first piece of one that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line that ended in a newline, which is not part of the text.
    Line(&'a [u8]),
    /// The first bytes of a line that is longer than the limit; the next frame
    /// goes on with it. Ends at a character's end where the text is UTF-8.
    Piece(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// The text, without a newline.
    #[must_use]
    pub fn text(self) -> &'a [u8] {
        match self {
            Self::Line(text) | Self::Piece(text) => text,
        }
    }

    /// How many bytes of the file the frame took, its newline included.
    #[must_use]
    pub fn taken(self) -> usize {
        match self {
            Self::Line(text) => text.len() + 1,
            Self::Piece(text) => text.len(),
        }
    }
}

/// The frames of one chunk, front to back.
#[derive(Debug)]
pub struct Frames<'a> {
    /// What has not been handed out.
    rest: &'a [u8],
    /// The first so many bytes of `rest` hold no newline.
    searched: usize,
    /// Longest text of a frame, in bytes; at least one.
    limit: usize,
}

impl<'a> Frames<'a> {
    /// Frames of `chunk`, which begins where a line (or a piece) begins.
    ///
    /// `searched`: how many of the first bytes are known to hold no newline.
    /// `limit`: the longest text of one frame, in bytes.
    #[must_use]
    pub fn new(chunk: &'a [u8], searched: usize, limit: usize) -> Self {
        Self { rest: chunk, searched: searched.min(chunk.len()), limit: limit.max(1) }
    }

    /// What is left: the beginning of a line whose end is not in the chunk.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes off the front.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        front
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let unsearched = self.rest.get(self.searched..).unwrap_or(&[]);
        let end = memchr(b'\n', unsearched).map(|at| self.searched + at);
        let length = end.unwrap_or(self.rest.len());
        if length > self.limit {
            let piece = self.take(boundary(self.rest, self.limit));
            self.searched = length - piece.len();
            return Some(Frame::Piece(piece));
        }
        let Some(end) = end else {
            self.searched = self.rest.len();
            return None;
        };
        let line = self.take(end + 1);
        self.searched = 0;
        Some(Frame::Line(line.get(..end).unwrap_or(line)))
    }
}

/// The last place at or before `limit` that does not split a UTF-8 character.
fn boundary(text: &[u8], limit: usize) -> usize {
    let continues = |at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    (limit.saturating_sub(3).max(1)..=limit).rev().find(|at| !continues(*at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'a>(chunk: &'a [u8], searched: usize, limit: usize) -> (Vec<Frame<'a>>, &'a [u8]) {
        let mut frames = Frames::new(chunk, searched, limit);
        let got: Vec<_> = frames.by_ref().collect();
        (got, frames.rest())
    }

    #[test]
    fn lines_and_an_unfinished_one() {
        let (got, rest) = all(b"one\n\ntwo\r\nthr", 0, 10);
        assert_eq!(got, [Frame::Line(b"one"), Frame::Line(b""), Frame::Line(b"two\r")]);
        assert_eq!(rest, b"thr");
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let (got, _) = all(b"12345\n123456\n", 0, 5);
        assert_eq!(got, [Frame::Line(b"12345"), Frame::Piece(b"12345"), Frame::Line(b"6")]);
        // Without its newline nobody can know yet.
        assert_eq!(all(b"12345", 0, 5), (vec![], &b"12345"[..]));
        assert_eq!(all(b"123456", 0, 5), (vec![Frame::Piece(b"12345")], &b"6"[..]));
    }

    #[test]
    fn pieces_end_between_characters() {
        let (got, rest) = all("aé漢字".as_bytes(), 0, 4);
        assert_eq!(got, [Frame::Piece("aé".as_bytes()), Frame::Piece("漢".as_bytes())]);
        assert_eq!(rest, "字".as_bytes());
        // Bytes that only look like the middle of a character are still cut.
        let (got, _) = all(&[0x80; 9], 0, 4);
        assert_eq!(got.iter().map(|f| f.taken()).sum::<usize>() + 1, 9);
    }

    #[test]
    fn any_hint_gives_the_same_frames() {
        let chunk = b"abcdefghijklmnop\nq\n";
        for searched in 0..=16 {
            assert_eq!(all(chunk, searched, 6), all(chunk, 0, 6), "searched {searched}");
        }
    }

    #[test]
    fn a_limit_of_one_still_moves() {
        let (got, rest) = all("é".as_bytes(), 0, 1);
        assert_eq!(got.len(), 1);
        assert_eq!(rest.len(), 1);
    }
}
