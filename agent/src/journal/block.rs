//! A block: the unit of commit. Records, and the positions after them.
//!
//! ```text
//! header, 64 bytes, the additional data of the encryption:
//!   "SBK1" | u8 form | u8 0 | u16 0 | u32 payload length | u32 records |
//!   u64 block number in the segment | u64 first sequence number |
//!   u64 time, Unix ms | 24 bytes 0
//! payload, encrypted | tag[16] | zeros up to the next multiple of 4096
//!
//! payload of form 0 (data): u32 n | n × (file id[16], u32 length + 1, position)
//!                           then records × (u8 kind, u32 length, body)
//!   length + 1 = 0: the file is forgotten
//! payload of form 1 (hole): empty; `records` numbers are lost (journal repair)
//! ```
//! All integers little-endian. A block starts at a multiple of 4096 bytes, so a
//! torn write never touches a page of an older block.

use super::crypt::{SegmentCipher, TAG_LEN};
use super::{Kind, Seq};
use crate::source::FileId;
use std::collections::BTreeMap;

/// Blocks begin at multiples of this.
pub(crate) const ALIGN: u64 = 4096;
/// Bytes of a block's header.
pub(super) const HEADER_LEN: usize = 64;
const MAGIC: &[u8; 4] = b"SBK1";

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Records and positions.
    Data,
    /// A range of numbers whose records are lost.
    Hole,
}

/// A block's header, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: Form,
    /// Bytes of payload, without the tag.
    pub(super) payload_len: u32,
    pub(super) records: u32,
    /// Number in the segment: the nonce.
    pub(super) number: u64,
    pub(super) first: Seq,
    /// When it was committed, Unix ms.
    pub(super) time: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let fields: [&[u8]; 7] = [
            MAGIC,
            &[matches!(self.form, Form::Hole).into(), 0, 0, 0],
            &self.payload_len.to_le_bytes(),
            &self.records.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.first.0.to_le_bytes(),
            &self.time.to_le_bytes(),
        ];
        for (to, from) in out.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        out
    }

    /// `None` if these bytes are no header: zeros, or torn.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes.get(..HEADER_LEN)?);
        let magic = input.take(4)?;
        let form = input.u32()?;
        let header = Self {
            form: match form {
                0 => Form::Data,
                1 => Form::Hole,
                _ => return None,
            },
            payload_len: input.u32()?,
            records: input.u32()?,
            number: input.u64()?,
            first: Seq(input.u64()?),
            time: input.u64()?,
        };
        (magic == MAGIC && input.0.iter().all(|b| *b == 0)).then_some(header)
    }

    /// Bytes on disk from header to tag.
    pub(super) fn len(&self) -> u64 {
        (HEADER_LEN + TAG_LEN) as u64 + u64::from(self.payload_len)
    }

    /// Where the next block begins, if this one begins at `offset`.
    pub(super) fn next_offset(&self, offset: u64) -> u64 {
        (offset + self.len()).next_multiple_of(ALIGN)
    }

    /// The sequence number behind this block.
    pub(super) fn end(&self) -> Seq {
        self.first.plus(u64::from(self.records))
    }
}

/// The positions that a block sets (`Some`) or forgets (`None`).
pub type Positions = BTreeMap<FileId, Option<Vec<u8>>>;

/// A block that is being filled; kept whole until its commit has succeeded.
#[derive(Debug, Default)]
pub(super) struct OpenBlock {
    records: Vec<u8>,
    count: u32,
    positions: Positions,
}

impl OpenBlock {
    pub(super) fn push(&mut self, kind: Kind, body: &[u8]) {
        // A body is bounded by the longest line: far below 4 GiB.
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.records.push(kind as u8);
        self.records.extend_from_slice(&len.to_le_bytes());
        self.records.extend_from_slice(body);
        self.count += 1;
    }

    pub(super) fn set_position(&mut self, file: FileId, position: Option<&[u8]>) {
        match (self.positions.get_mut(&file), position) {
            (Some(Some(old)), Some(new)) => {
                old.clear();
                old.extend_from_slice(new);
            }
            (_, new) => {
                self.positions.insert(file, new.map(<[u8]>::to_vec));
            }
        }
    }

    /// Bytes of records so far.
    pub(super) fn bytes(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.positions.is_empty()
    }

    pub(super) fn positions(&self) -> &Positions {
        &self.positions
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
        self.positions.clear();
    }

    /// Writes header, ciphertext and tag to `out` (cleared first).
    pub(super) fn seal(
        &self,
        cipher: &SegmentCipher,
        number: u64,
        first: Seq,
        time: u64,
        out: &mut Vec<u8>,
    ) -> Option<Header> {
        seal(cipher, number, first, time, &self.positions, (self.count, &self.records), out)
    }
}

/// A block that only sets positions: the snapshot at the head of a segment.
pub(super) fn seal_snapshot(
    cipher: &SegmentCipher,
    number: u64,
    first: Seq,
    time: u64,
    positions: &Positions,
    out: &mut Vec<u8>,
) -> Option<Header> {
    seal(cipher, number, first, time, positions, (0, &[]), out)
}

fn seal(
    cipher: &SegmentCipher,
    number: u64,
    first: Seq,
    time: u64,
    positions: &Positions,
    (count, records): (u32, &[u8]),
    out: &mut Vec<u8>,
) -> Option<Header> {
    out.clear();
    out.resize(HEADER_LEN, 0);
    out.extend_from_slice(&u32::try_from(positions.len()).ok()?.to_le_bytes());
    for (file, position) in positions {
        out.extend_from_slice(&file.0);
        let len = position.as_ref().map_or(0, |p| p.len() + 1);
        out.extend_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        out.extend_from_slice(position.as_deref().unwrap_or_default());
    }
    out.extend_from_slice(records);
    let header = Header {
        form: Form::Data,
        payload_len: u32::try_from(out.len() - HEADER_LEN).ok()?,
        records: count,
        number,
        first,
        time,
    };
    encrypt(cipher, header, out)
}

/// Encrypts `out[HEADER_LEN..]`, fills the header in and appends the tag.
pub(super) fn encrypt(cipher: &SegmentCipher, header: Header, out: &mut Vec<u8>) -> Option<Header> {
    let head = header.encode();
    let (front, payload) = out.split_at_mut_checked(HEADER_LEN)?;
    front.copy_from_slice(&head);
    let tag = cipher.seal(header.number, &head, payload).ok()?;
    out.extend_from_slice(&tag);
    Some(header)
}

/// Decrypts `block` (header to tag) in place; the payload is what is returned.
pub(super) fn decrypt<'a>(
    cipher: &SegmentCipher,
    header: &Header,
    block: &'a mut [u8],
) -> Option<&'a [u8]> {
    let (front, rest) = block.split_at_mut_checked(HEADER_LEN)?;
    let (payload, tag) = rest.split_at_mut_checked(usize::try_from(header.payload_len).ok()?)?;
    let tag: [u8; TAG_LEN] = tag.get(..TAG_LEN)?.try_into().ok()?;
    cipher.open(header.number, front, payload, &tag).ok()?;
    Some(payload)
}

/// Reads a decrypted payload: positions first, then records.
pub(super) struct Payload<'a> {
    input: Input<'a>,
    positions: u32,
}

impl<'a> Payload<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let positions = input.u32()?;
        Some(Self { input, positions })
    }

    /// The next position change; `None` at their end or when malformed.
    pub(super) fn position(&mut self) -> Option<(FileId, Option<&'a [u8]>)> {
        self.positions = self.positions.checked_sub(1)?;
        let id = FileId(self.input.take(16)?.try_into().ok()?);
        let position = match self.input.u32()? {
            0 => None,
            n => Some(self.input.take(usize::try_from(n - 1).ok()?)?),
        };
        Some((id, position))
    }

    /// The next record, after all positions.
    pub(super) fn record(&mut self) -> Option<(Kind, &'a [u8])> {
        let kind = Kind::from_byte(*self.input.take(1)?.first()?)?;
        let len = usize::try_from(self.input.u32()?).ok()?;
        Some((kind, self.input.take(len)?))
    }

    /// Whether every position was read.
    pub(super) fn at_records(&self) -> bool {
        self.positions == 0
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.input.0.len()
    }
}

/// The record at the head of `bytes`, and how many bytes are left behind it.
pub(super) fn next_record(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let mut payload = Payload { input: Input(bytes), positions: 0 };
    let (kind, body) = payload.record()?;
    Some((kind, body, payload.left()))
}

/// A cursor over bytes that came from disk.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::crypt::JournalKey;
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_a_flipped_bit_does_not() {
        let cipher = JournalKey::new([1; 32]).segment(&[2; 32], "i", 1);
        let mut open = OpenBlock::default();
        open.push(Kind::Line, b"first");
        open.push(Kind::Gap, b"");
        open.set_position(FileId([1; 16]), Some(b"here"));
        open.set_position(FileId([2; 16]), None);
        let mut out = Vec::new();
        let header = open.seal(&cipher, 3, Seq(40), 99, &mut out).unwrap();
        assert_eq!(Header::parse(&out), Some(header));
        assert_eq!(header.len(), out.len() as u64);
        assert_eq!(header.end(), Seq(42));

        let mut copy = out.clone();
        let mut payload = Payload::new(decrypt(&cipher, &header, &mut copy).unwrap()).unwrap();
        assert_eq!(payload.position(), Some((FileId([1; 16]), Some(&b"here"[..]))));
        assert_eq!(payload.position(), Some((FileId([2; 16]), None)));
        assert_eq!(payload.position(), None);
        assert!(payload.at_records());
        assert_eq!(payload.record(), Some((Kind::Line, &b"first"[..])));
        assert_eq!(payload.record(), Some((Kind::Gap, &b""[..])));
        assert_eq!(payload.left(), 0);

        for at in 0..out.len() {
            let mut bad = out.clone();
            bad[at] ^= 1;
            let opened = Header::parse(&bad)
                .filter(|h| h.len() <= bad.len() as u64)
                .and_then(|h| decrypt(&cipher, &h, &mut bad).map(<[u8]>::to_vec));
            assert_eq!(opened, None, "byte {at}");
        }
    }
}
