//! With which log this start goes on: the one that the journal holds, or a new
//! incarnation that follows it.
//!
//! A new one is begun when the old one cannot go on as it is: the origin was
//! changed, the signing key was, or a sink sends to another place, where the log
//! would begin in its middle. It is begun only when all records of the old log
//! are sealed and sent; until then the old configuration is asked for.
//!
//! What does not belong together (an outbox without its segments, cursors that
//! are newer than the outbox) is refused before anything is made or removed.

use super::AssembleError;
use crate::disk::SharedDisk;
use crate::journal::{self, Journal, JournalError, JournalKey};
use crate::sealer::outbox::Outbox;
use crate::sink::cursor::{Cursor, Cursors, Next};
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::note::Checkpoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the configuration says of the log.
pub(super) struct Wanted<'a> {
    pub(super) disk: SharedDisk,
    pub(super) options: journal::Options,
    pub(super) key: &'a JournalKey,
    pub(super) origin: &'a str,
    pub(super) signed_by: VerifyingKey,
    /// The archive sinks' names and places.
    pub(super) archives: BTreeMap<String, String>,
    /// The names of the sinks that follow the journal.
    pub(super) feeds: Vec<String>,
}

/// The log that this start goes on with.
pub(super) struct Log {
    pub(super) journal: Journal,
    pub(super) outbox: Arc<Outbox>,
    pub(super) cursors: Cursors,
}

/// Why the old log cannot go on.
enum Reason {
    Origin {
        old: String,
        new: String,
    },
    Key,
    /// The sink has sent to another place.
    Moved {
        sink: String,
        from: String,
        to: String,
    },
    /// A new sink, for which the outbox does not have the log's beginning.
    Late {
        sink: String,
        begin: u64,
    },
    /// The first archive of a log whose first records are gone unsealed.
    Unsealed,
}

/// Opens the journal with its outbox and cursors.
///
/// # Errors
/// When they are not usable, or a new log has to begin and cannot yet.
pub(super) fn open(wanted: &Wanted<'_>, now: u64) -> Result<Log, AssembleError> {
    let open = |origin: &str| {
        let disk = Arc::clone(&wanted.disk);
        Journal::open(disk, wanted.options.clone(), wanted.key, origin, now)
    };
    let mut reason = None;
    let journal = match open(wanted.origin) {
        Err(JournalError::OriginChanged { old, new }) => {
            let journal = open(&old)?;
            reason = Some(Reason::Origin { old, new });
            journal
        }
        other => other?,
    };
    let log = Log::of(wanted, journal)?;
    let cursors: BTreeMap<_, _> = log.cursors.all()?.into_iter().collect();
    log.belongs_together(&cursors)?;
    let reason = match reason {
        Some(reason) => Some(reason),
        None => log.reason(wanted, &cursors)?,
    };
    match reason {
        None => Ok(log),
        Some(reason) => log.follow(wanted, &reason, &cursors, now),
    }
}

impl Log {
    fn of(wanted: &Wanted<'_>, journal: Journal) -> Result<Self, AssembleError> {
        let base = journal.base();
        let disk = || Arc::clone(&wanted.disk);
        let outbox = Outbox::open(disk(), base.join("outbox"), journal.handle());
        let cursors = Cursors::open(disk(), base.join("cursors"));
        Ok(Self { journal, outbox: Arc::new(outbox?), cursors: cursors? })
    }

    /// Nothing was sent that the outbox does not know of.
    fn belongs_together(&self, cursors: &BTreeMap<String, Cursor>) -> Result<(), AssembleError> {
        let end = self.outbox.end();
        for (sink, cursor) in cursors {
            if let Next::Leaf(next) = cursor.next
                && next > end
            {
                return Err(AssembleError::Failed(format!(
                    "go on with the log: sink {sink} has uploaded the leaves before {next}, the \
                     outbox in {} knows {end}. Part of the journal folder was removed, or is an older copy: \
                     put back the newest copy of the whole folder, or move it away (a new incarnation then \
                     reads the log files that are there from their beginning)",
                    self.journal.base().display()
                )));
            }
        }
        Ok(())
    }

    /// Why this log cannot go on under this configuration, if it cannot.
    fn reason(
        &self,
        wanted: &Wanted<'_>,
        cursors: &BTreeMap<String, Cursor>,
    ) -> Result<Option<Reason>, AssembleError> {
        let newest = self.outbox.newest()?;
        let by_us = |checkpoint: &str| {
            Checkpoint::verify(checkpoint, &self.journal.id().origin, &wanted.signed_by).is_ok()
        };
        if newest.is_some_and(|head| !by_us(&head.checkpoint)) {
            return Ok(Some(Reason::Key));
        }
        let never = self.outbox.end() == 0 && !cursors.values().any(Cursor::is_leaf);
        if never && self.journal.begin().0 > 0 && !wanted.archives.is_empty() {
            return Ok(Some(Reason::Unsealed));
        }
        let begin = self.outbox.begin();
        for (sink, place) in &wanted.archives {
            match cursors.get(sink) {
                Some(Cursor { place: Some(old), .. }) if old != place => {
                    let (sink, from, to) = (sink.clone(), old.clone(), place.clone());
                    return Ok(Some(Reason::Moved { sink, from, to }));
                }
                None if begin > 0 => {
                    return Ok(Some(Reason::Late { sink: sink.clone(), begin }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Begins the log that follows this one, when all of this one is sent.
    fn follow(
        self,
        wanted: &Wanted<'_>,
        reason: &Reason,
        cursors: &BTreeMap<String, Cursor>,
        now: u64,
    ) -> Result<Self, AssembleError> {
        if let Some(waits) = self.unsent(wanted, cursors)? {
            return match reason {
                Reason::Late { sink, begin } => {
                    tracing::warn!(
                        sink,
                        begin,
                        "this sink is new: in its archive the log begins at leaf {begin}, what was before \
                         is in the other archives alone"
                    );
                    Ok(self)
                }
                _ => Err(AssembleError::Failed(reason.refusal(&waits))),
            };
        }
        let newest = self.outbox.newest()?;
        // All of it is sent; where nothing is sealed, no leaf says so.
        let sent = newest.as_ref().map_or(self.journal.end(), |head| head.cursor);
        self.journal.handle().set_floor(sent);
        let before = self.journal.id().incarnation.clone();
        let checkpoint = newest.map(|head| head.checkpoint);
        let journal = self.journal.succeed(wanted.key, wanted.origin, checkpoint, now)?;
        tracing::info!(before, "a new incarnation begins: {}", reason.text());
        Self::of(wanted, journal)
    }

    /// What of this log is not everywhere yet, in words.
    fn unsent(
        &self,
        wanted: &Wanted<'_>,
        cursors: &BTreeMap<String, Cursor>,
    ) -> Result<Option<String>, AssembleError> {
        let (begin, end) = (self.outbox.begin(), self.outbox.end());
        let newest = self.outbox.newest()?;
        let (sealed, records) = (newest.map_or(0, |head| head.cursor.0), self.journal.end().0);
        let is_sealed = end > 0 || self.journal.begin().0 == 0 && !wanted.archives.is_empty();
        if is_sealed && sealed < records {
            return Ok(Some(format!("{} records are not sealed yet", records - sealed)));
        }
        let none = Cursor { next: Next::Leaf(0), place: None, gave_up: None };
        let new = Cursor { next: Next::Record(self.journal.begin().0), place: None, gave_up: None };
        // One that nobody knows while the beginning is gone never had any of it.
        let configured = wanted.archives.keys().filter(|_| begin == 0).map(|name| (name, &none));
        let mut all: BTreeMap<_, _> = configured.collect();
        if wanted.archives.is_empty() {
            all.extend(wanted.feeds.iter().map(|name| (name, &new)));
        }
        all.extend(cursors);
        for (sink, cursor) in all {
            let waits = match cursor.next {
                Next::Leaf(next) => end.saturating_sub(next),
                Next::Record(next) => records.saturating_sub(next),
            };
            if waits > 0 {
                return Ok(Some(format!("{waits} leaves or records wait for sink {sink}")));
            }
        }
        // Of what nobody is known to have had, nobody can say that it was sent.
        Ok((cursors.is_empty() && end > 0).then(|| "no sink is known to have it".to_owned()))
    }
}

impl Reason {
    fn text(&self) -> String {
        match self {
            Self::Origin { old, new } => format!("the origin has changed from {old} to {new}"),
            Self::Key => "seal.signing_key is another one than before".to_owned(),
            Self::Moved { sink, from, to } => {
                format!("sink {sink} was at {from} and is at {to} now")
            }
            Self::Late { sink, .. } => format!("sink {sink} is new"),
            Self::Unsealed => {
                "there is an archive now, and the log's first records were never sealed".to_owned()
            }
        }
    }

    /// Completes "failed to …".
    fn refusal(&self, waits: &str) -> String {
        let forget = match self {
            Self::Moved { sink, .. } => format!(
                "; or, if the old place is gone for good, `sealtail forget-sink {sink}`: what is kept is then \
                 sent to the new one, where the log begins in its middle"
            ),
            _ => String::new(),
        };
        format!(
            "begin a new log: {}, which takes a new incarnation, but {waits}. Run once with the old \
             configuration (`sealtail run --once`), then again with the new one{forget}",
            self.text()
        )
    }
}
