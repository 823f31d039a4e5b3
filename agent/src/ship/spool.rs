//! Records out of an archive, in a journal of their own: what `sealtail replay`
//! sends from.
//!
//! It promises: the records have the numbers, times and bytes that they had, so a
//! sink gets the same events again; it is bounded (while it is full, reading the
//! archive waits); after a crash it goes on where it was, like any journal.

use crate::journal::{AppendError, Journal, JournalError, Kind, Seq};
use std::io;
use std::time::Duration;

/// Bytes after which a block is written, though the time is still the same.
const BLOCK: usize = 256 * 1024;
/// How long a full spool is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes records, in order.
pub struct Spool {
    journal: Journal,
    /// The number of the next record, and when those of the open block were durable.
    next: Seq,
    time: u64,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Spool {
    /// Goes on behind what the journal has (see [`Journal::open_copy`]).
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let next = journal.end();
        Self { journal, next, time: 0 }
    }

    /// The number of the next record; those before are here, or were.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Takes a record's line as the archive has it. One that was taken before is
    /// passed over. While the spool is full it waits, as long as `go_on` says so.
    ///
    /// # Errors
    /// When a line does not follow or is no record, when the disk says no, and
    /// when it was told not to go on.
    pub fn take(&mut self, seq: u64, line: &[u8], go_on: &dyn Fn() -> bool) -> io::Result<()> {
        if seq < self.next.0 {
            return Ok(());
        }
        let bad = |what: &str| io::Error::other(format!("record {seq} {what}"));
        if seq != self.next.0 {
            return Err(bad("does not follow on the one before"));
        }
        let (time, body) = parts(seq, line).ok_or_else(|| bad("is not as sealtail writes it"))?;
        if time != self.time || self.journal.pending_bytes() >= BLOCK {
            self.commit(go_on)?;
        }
        self.time = time;
        let is_gap = body.starts_with(b"\"event\":\"gap\"");
        self.journal.append(if is_gap { Kind::Gap } else { Kind::Line }, body);
        self.next = self.next.plus(1);
        Ok(())
    }

    /// Makes durable what was taken.
    ///
    /// # Errors
    /// As [`Spool::take`].
    pub fn commit(&mut self, go_on: &dyn Fn() -> bool) -> io::Result<()> {
        let disk = |e: &JournalError| io::Error::other(format!("failed to {e}"));
        loop {
            match self.journal.commit(self.time) {
                Ok(_) => return Ok(()),
                Err(e @ AppendError::NoSpace(_)) => return Err(io::Error::other(e.to_string())),
                Err(e) if !e.is_backpressure() => return Err(io::Error::other(e.to_string())),
                Err(_) if !go_on() => return Err(io::ErrorKind::Interrupted.into()),
                Err(_) => {
                    self.journal.trim().map_err(|e| disk(&e))?;
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// A line of an archive is `{"seq":N,"journaled":"T",` and the record's body:
/// the time (Unix ms), and the body.
fn parts(seq: u64, line: &[u8]) -> Option<(u64, &[u8])> {
    let line = line.strip_prefix(format!("{{\"seq\":{seq},\"journaled\":\"").as_bytes())?;
    let end = line.iter().position(|b| *b == b'"')?;
    let (time, rest) = line.split_at_checked(end)?;
    let time = crate::text::parse_rfc3339(std::str::from_utf8(time).ok()?)?;
    Some((time, rest.strip_prefix(b"\",")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::journal::{Entry, JournalKey, Options, Reader};
    use std::sync::Arc;

    fn open(disk: &SimDisk) -> Journal {
        let options = Options { path: "/s".into(), max_bytes: 8 << 20, segment_bytes: 1 << 20 };
        let log = ("wa/test", "20261122T100000Z-00000001");
        Journal::open_copy(Arc::new(disk.clone()), options, &JournalKey::new([1; 32]), log, Seq(40))
            .unwrap()
    }

    fn line(seq: u64, ms: u64) -> Vec<u8> {
        let time = crate::text::rfc3339(ms);
        format!("{{\"seq\":{seq},\"journaled\":\"{time}\",\"event\":\"log\",\"n\":{seq}}}")
            .into_bytes()
    }

    #[test]
    fn records_keep_number_time_and_bytes_through_a_power_cut() {
        let disk = SimDisk::new();
        let mut spool = Spool::new(open(&disk));
        for seq in 40..50 {
            spool.take(seq, &line(seq, 1000 + seq / 3), &|| true).unwrap();
        }
        spool.commit(&|| true).unwrap();
        spool.take(50, &line(50, 2000), &|| true).unwrap();
        drop(spool);
        let disk = disk.after_power_cut(&mut || 0);
        let journal = open(&disk);
        assert_eq!(journal.id().incarnation, "20261122T100000Z-00000001");
        let mut reader = Reader::new(journal.handle(), Seq(40)).unwrap();
        let mut spool = Spool::new(journal);
        assert_eq!(spool.next(), Seq(50), "what was not committed is taken again");
        // The archive is read from the beginning of an object.
        for seq in 38..52 {
            spool.take(seq, &line(seq, 1000 + seq / 3), &|| true).unwrap();
        }
        spool.commit(&|| true).unwrap();
        for want in 40..52 {
            let Some(Entry::Record { seq, time, body, .. }) = reader.read().unwrap() else {
                panic!()
            };
            assert_eq!((seq.0, time), (want, 1000 + want / 3));
            assert_eq!(body, format!("\"event\":\"log\",\"n\":{want}}}").as_bytes());
        }
        assert!(reader.read().unwrap().is_none());
        let e = spool.take(60, &line(60, 1), &|| true).unwrap_err();
        assert!(e.to_string().contains("does not follow"), "{e}");
        for bad in [&b""[..], b"{\"seq\":52}", b"{\"seq\":52,\"journaled\":\"soon\",}"] {
            spool.take(52, bad, &|| true).unwrap_err();
        }
    }
}
