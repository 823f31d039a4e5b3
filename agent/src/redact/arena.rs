//! What the next stages accept: record bodies that have been redacted.
//!
//! Only this module's parent can put anything in, so a `Redacted` in hand is the
//! proof that its bytes went through the policy.

/// What a record is, beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An event out of a log line.
    Line = 0,
    /// A range that could not be delivered.
    Gap = 1,
    /// The agent began.
    Start = 2,
    /// The agent ended in order.
    End = 3,
}

/// Redacted records, one behind the other in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Redacted {
    buf: Vec<u8>,
    /// Where each record ends in `buf`, ascending, and what it is.
    ends: Vec<(usize, Kind)>,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    body: &'a [u8],
    kind: Kind,
}

impl<'a> Record<'a> {
    /// The text of a JSON object without its opening brace: UTF-8, one line.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What the record is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Redacted {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records, in the order in which they were put in.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, kind)| {
            let body = self.buf.get(start..end).unwrap_or_default();
            start = end;
            Record { body, kind }
        })
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all bodies together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Forgets the records; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.ends.clear();
    }

    /// The buffer, to append one body to; [`Redacted::end`] must follow.
    pub(super) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// What has been appended since the last record is a record.
    pub(super) fn end(&mut self, kind: Kind) {
        self.ends.push((self.buf.len(), kind));
    }
}
