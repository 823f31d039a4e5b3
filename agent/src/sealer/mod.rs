//! The sealer: follows the journal, cuts batches, seals each once, appends its
//! leaf to the log tree and signs.
//!
//! It promises: a leaf exists when its outbox entry is durable, never before;
//! what was signed is never signed again with other content; each record is in
//! exactly one batch of its incarnation, in order. What it knows (tree state,
//! cursor) it reads from the newest entry at the start, and from nowhere else.
//!
//! Crash points: before the rename of an entry its draft is thrown away and the
//! batch is made again from the journal, with a new key; after it the entry
//! stands, and only it is uploaded. A field key is published in the ring after
//! its entry is durable: a crash before that leaves nothing sealed under it, one
//! after it a key in the archive, used or not.

mod batch;
pub mod datakey;
pub mod entry;
pub mod outbox;
#[cfg(test)]
mod power_tests;
pub mod ring;
#[cfg(test)]
mod tests;
mod waiver;

use crate::fault;
use crate::journal::{Entry, Incarnation, JournalError, Kind, Reader, Seq};
use crate::text::{hex, rfc3339};
use batch::Batch;
pub use batch::{BatchError, Codec};
use datakey::{KeyError, Supply};
use entry::{EntryHead, ObjectHead};
use outbox::{Outbox, OutboxError};
use ring::Maker;
use sealtail_seal::entropy::OsEntropy;
use sealtail_seal::field::FieldKey;
use sealtail_seal::keys::SigningKey;
use sealtail_seal::layout::Layout;
use sealtail_seal::leaf::{Body, Leaf, Missing, Object};
use sealtail_seal::merkle::{Frontier, leaf_hash};
use sealtail_seal::message::{Context, EncryptError, Encryptor};
use sealtail_seal::note::{Checkpoint, Signer};
use sealtail_seal::proof::Proof;
use std::sync::Arc;
pub use waiver::Waivers;

/// Sealed bytes at which a batch is cut on a full volume: it, what the compressor
/// still holds, and the entry before it fit into the room that is kept.
const PRESSED_BYTES: u64 = 512 * 1024;
/// How often it is looked whether the writer waits for an open batch, in ms.
const STARVED_MS: u64 = 250;

/// How batches are cut and sealed.
pub struct Options {
    /// Cut when the sealed bytes reach this.
    pub max_bytes: u64,
    /// Cut when it has so many records.
    pub max_records: u64,
    /// Cut when the batch is this old, in ms.
    pub max_age_ms: u64,
    /// Compression.
    pub codec: Codec,
    /// A leaf at least this often, in ms (`alive`).
    pub heartbeat_ms: u64,
    /// Stop sealing while the outbox holds more than this; the journal fills meanwhile.
    pub outbox_bytes: u64,
    /// Gives data keys, wrapped for everybody who can open the archive.
    pub keys: Supply,
    /// Signs the checkpoints.
    pub signing_key: SigningKey,
    /// SHA-256 of the effective configuration, for the `start` leaf.
    pub config_hash: [u8; 32],
    /// Where sinks ask for gaps.
    pub waivers: Waivers,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Records were taken, or a leaf was made.
    Worked,
    /// Nothing to do before Unix ms `until`, unless the journal grows.
    Idle {
        /// When the open batch or the heartbeat is due.
        until: u64,
    },
    /// The outbox is full, or the volume is.
    Blocked,
    /// There is no data key for the next batch, see [`Sealer::key_trouble`]: try
    /// again soon. Leaves that seal nothing go on.
    NoKey,
}

/// Why the sealer cannot go on. The messages complete "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading the journal.
    #[error("read the journal: {0}")]
    Journal(#[from] JournalError),
    /// Writing the outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Compressing or sealing.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The newest entry does not fit this incarnation.
    #[error(
        "go on with the log: the newest outbox entry {0}. Journal and outbox must be of the same \
         incarnation and are only restored together; or move the whole journal folder away: a new \
         incarnation then reads the log files that are there from their beginning"
    )]
    Contradiction(&'static str),
    /// A leaf or a checkpoint could not be made.
    #[error("make a leaf of the log: {0}")]
    Leaf(String),
}

impl SealError {
    /// Whether there is no space: the same call may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Outbox(e) | Self::Batch(BatchError::Outbox(e)) => e.is_full(),
            Self::Journal(e) => e.is_full(),
            Self::Batch(_) | Self::Contradiction(_) | Self::Leaf(_) => false,
        }
    }
}

/// The sealer of one incarnation.
pub struct Sealer {
    options: Options,
    id: Incarnation,
    signer: Signer,
    layout: Layout,
    outbox: Arc<Outbox>,
    reader: Reader,
    tree: Frontier,
    batch: Option<Batch>,
    /// First record that no leaf covers.
    cursor: Seq,
    /// The gap record at `cursor` has its leaf already.
    gap_named: bool,
    /// When the newest leaf was made, Unix ms.
    last_leaf: u64,
    /// The volume is full: batches are small, in the room that was kept for them.
    pressed: bool,
    /// Where sinks that seal fields ask for keys, if there are any.
    field_keys: Option<Maker>,
    /// A field key that waits for a data key.
    next_key: Option<FieldKey>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("cursor", &self.cursor)
            .field("leaves", &self.tree.size())
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Goes on where the newest outbox entry ends, and makes the `start` leaf
    /// of this process. `handle` is the journal's.
    ///
    /// # Errors
    /// When journal and outbox contradict each other, or the system says no.
    pub fn open(
        options: Options,
        id: Incarnation,
        outbox: Arc<Outbox>,
        handle: crate::journal::writer::Handle,
        now: u64,
    ) -> Result<Self, SealError> {
        let bad_leaf = |e: &dyn std::fmt::Display| SealError::Leaf(e.to_string());
        let log_name = log_name(&id);
        let signer = Signer::new(&id.origin, options.signing_key.clone());
        let layout = Layout::new(&id.origin, &id.incarnation).map_err(|e| bad_leaf(&e))?;
        let newest = outbox.newest()?;
        let (tree, cursor, gap_named, last_leaf) = match &newest {
            None if handle.begin() > Seq(0) => {
                return Err(SealError::Contradiction(
                    "is gone, with the leaves of the records before those in the journal",
                ));
            }
            None => (Frontier::new(), Seq(0), false, 0),
            Some(head) => {
                if head.cursor > handle.end() {
                    return Err(SealError::Contradiction(
                        "reaches further than the journal, which is an older copy",
                    ));
                }
                Checkpoint::verify(&head.checkpoint, &id.origin, &signer.public()).map_err(
                    |_| SealError::Contradiction("was signed with another key than this one"),
                )?;
                let proof = Proof::parse(&head.proof)
                    .map_err(|_| SealError::Contradiction("holds a proof that does not parse"))?;
                if proof.checkpoint.origin != log_name {
                    return Err(SealError::Contradiction("is of another origin or incarnation"));
                }
                let tree = proof
                    .trees()
                    .map(|(_, after)| after)
                    .filter(|tree| {
                        proof.index == head.index && tree.root() == proof.checkpoint.root
                    })
                    .ok_or(SealError::Contradiction(
                        "holds a proof that does not fit its checkpoint",
                    ))?;
                (tree, head.cursor, head.gap_named, head.time)
            }
        };
        handle.set_floor(cursor);
        let reader = Reader::new(handle, cursor)?;
        outbox.reserve();
        let mut sealer = Self {
            options,
            id,
            signer,
            layout,
            outbox,
            reader,
            tree,
            batch: None,
            cursor,
            gap_named,
            last_leaf,
            pressed: false,
            field_keys: None,
            next_key: None,
        };
        sealer.add_start(now)?;
        Ok(sealer)
    }

    /// Makes the field keys that are asked for there from now on.
    pub fn serve(&mut self, field_keys: Maker) {
        self.field_keys = Some(field_keys);
    }

    /// Tells when a field key is asked for: then there is something to do.
    pub fn asked(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.field_keys.as_ref().map(Maker::subscribe)
    }

    /// Takes what the journal has, up to one leaf. `now` is Unix ms.
    ///
    /// # Errors
    /// The process has to end; everything is found again at the next start.
    pub fn step(&mut self, now: u64) -> Result<Step, SealError> {
        match self.try_step(now) {
            Err(e) if e.is_full() => {
                self.go_back()?;
                if !self.outbox.release() {
                    return Ok(Step::Blocked);
                }
                self.pressed = true;
                Ok(Step::Worked)
            }
            other => other,
        }
    }

    /// Back to the first record that no leaf covers, if a batch was lost that
    /// had it: its entry found no space after it was closed.
    fn go_back(&mut self) -> Result<(), SealError> {
        if self.batch.is_none() && self.reader.next_seq() != self.cursor {
            self.reader = Reader::new(self.reader.handle().clone(), self.cursor)?;
        }
        Ok(())
    }

    fn try_step(&mut self, now: u64) -> Result<Step, SealError> {
        if let Some(batch) = &mut self.batch {
            batch.flush()?;
        }
        if self.outbox.bytes() >= self.options.outbox_bytes {
            // A field key is small, and comes once a day: no sink waits with its fields
            // because an archive is away.
            let made = self.batch.is_none() && self.is_key_wanted() && self.make_key(now)?;
            return Ok(if made { Step::Worked } else { Step::Blocked });
        }
        if let Some((sink, first, end)) = self.options.waivers.next() {
            self.waive(sink, first, end, now)?;
            return Ok(Step::Worked);
        }
        let (mut worked, mut no_key) = (false, false);
        if self.is_key_wanted() {
            if self.make_key(now)? {
                return Ok(Step::Worked);
            }
            // Nobody else asks before the answer is there.
            no_key = true;
        }
        while !no_key {
            if self.is_due(now) {
                self.cut(now)?;
                return Ok(Step::Worked);
            }
            match self.take(now)? {
                Taken::Record => worked = true,
                Taken::Leaf => return Ok(Step::Worked),
                Taken::Nothing if self.is_awaited() => {
                    self.cut(now)?;
                    return Ok(Step::Worked);
                }
                Taken::Nothing => break,
                Taken::NoKey => no_key = true,
            }
        }
        if worked {
            return Ok(Step::Worked);
        }
        let heartbeat = self.last_leaf.saturating_add(self.options.heartbeat_ms);
        if now >= heartbeat && self.batch.is_none() {
            self.add(&self.alive(now), None, self.unmoved(), now)?;
            return Ok(Step::Worked);
        }
        if no_key {
            return Ok(Step::NoKey);
        }
        // The writer may come to wait for the open batch: it is looked at again.
        let soon = if self.batch.is_some() { now.saturating_add(STARVED_MS) } else { u64::MAX };
        let batch_due = self
            .batch
            .as_ref()
            .map_or(heartbeat, |b| b.opened.saturating_add(self.options.max_age_ms));
        Ok(Step::Idle { until: batch_due.min(soon) })
    }

    /// Signs what a sink gives up; an open batch has its leaf before.
    fn waive(&mut self, sink: String, first: Seq, end: Seq, now: u64) -> Result<(), SealError> {
        let count = end.0.saturating_sub(first.0);
        if count == 0 {
            self.options.waivers.signed();
            return Ok(());
        }
        self.flush(now)?;
        let missing = Missing::Sink { sink, first: first.0, count };
        let leaf = self.leaf(Body::Gap { time: rfc3339(now), missing });
        fault::point("seal.waiver");
        self.add(&leaf, None, self.unmoved(), now)?;
        self.options.waivers.signed();
        Ok(())
    }

    /// Cuts the open batch now, however young: for the end and for `--once`.
    ///
    /// # Errors
    /// As [`Sealer::step`]; [`OutboxError::is_full`] may be tried again.
    pub fn flush(&mut self, now: u64) -> Result<(), SealError> {
        if self.batch.is_some() { self.cut(now) } else { Ok(()) }
    }

    /// Makes the `end` leaf: the log is complete up to here, on purpose.
    ///
    /// # Errors
    /// As [`Sealer::flush`].
    pub fn end(&mut self, now: u64) -> Result<(), SealError> {
        self.flush(now)?;
        if self.is_key_wanted() {
            self.make_key(now)?;
        }
        let leaf = self.leaf(Body::End { time: rfc3339(now), next: self.cursor.0 });
        self.add(&leaf, None, self.unmoved(), now)
    }

    /// When the oldest record that no leaf covers became durable, Unix ms.
    #[must_use]
    pub fn oldest_unsealed(&mut self) -> Option<u64> {
        match &self.batch {
            Some(batch) => Some(batch.times.0),
            // What cannot be read is the next step's affair.
            None => self.reader.peek().ok().flatten().map(|entry| entry.time()),
        }
    }

    /// The first record that no leaf covers.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Where sinks ask for gaps.
    #[must_use]
    pub fn waivers(&self) -> Waivers {
        self.options.waivers.clone()
    }

    /// Why there was no data key when one was last asked for.
    #[must_use]
    pub fn key_trouble(&self) -> Option<&KeyError> {
        self.options.keys.trouble()
    }

    /// Whether a batch is open.
    #[must_use]
    pub fn has_open_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// The reader's view of the journal, for waiting.
    pub fn journal(&mut self) -> &mut crate::journal::writer::Handle {
        self.reader.handle()
    }

    /// Whether the open batch has to be cut.
    fn is_due(&mut self, now: u64) -> bool {
        let (_, max) = self.reader.handle().usage();
        let Some(batch) = &self.batch else { return false };
        batch.sealed_len() >= self.options.max_bytes
            || batch.count >= self.options.max_records
            || now.saturating_sub(batch.opened) >= self.options.max_age_ms
            // An open batch holds its records in the journal: it may hold a quarter.
            || batch.span >= max / 4
            || self.pressed && batch.sealed_len() >= PRESSED_BYTES
    }

    /// Whether the writer waits for room that only a cut can give.
    fn is_awaited(&mut self) -> bool {
        self.batch.is_some() && self.reader.handle().is_starved()
    }

    fn is_key_wanted(&self) -> bool {
        self.field_keys.as_ref().is_some_and(Maker::is_wanted)
    }

    /// Makes a field key, seals it for the archive, commits its leaf, and then
    /// publishes it. The open batch is cut before: it knows its leaf's index.
    /// `false`: there is no data key to seal it with, now.
    fn make_key(&mut self, now: u64) -> Result<bool, SealError> {
        self.cut(now)?;
        if self.options.keys.is_paused(now) {
            return Ok(false);
        }
        let failed = |e: EncryptError| SealError::from(BatchError::from(e));
        // The one that was asked for before, if it was: the same context is asked for.
        let field_key = match self.next_key.take() {
            Some(key) => key,
            None => FieldKey::generate(&mut OsEntropy).map_err(|_| failed(EncryptError::Random))?,
        };
        let kid = field_key.kid().to_owned();
        let (leaf, key) = (self.tree.size(), self.layout.field_key(&kid));
        let context = Context::from_pairs([
            ("audit:v", "1".to_owned()),
            ("audit:origin", self.id.origin.clone()),
            ("audit:incarnation", self.id.incarnation.clone()),
            ("audit:leaf", leaf.to_string()),
            ("audit:kid", kid.clone()),
            ("audit:key", key.clone()),
        ])
        .map_err(|e| failed(e.into()))?;
        let mut draft = self.outbox.draft(leaf)?;
        let Some(mut encryptor) = self.encryptor(&context, now)? else {
            self.next_key = Some(field_key);
            return Ok(false);
        };
        let body = draft.body();
        encryptor.header(body);
        encryptor.update(field_key.secret().as_slice(), body).map_err(failed)?;
        encryptor.finish(body).map_err(failed)?;
        let (len, sha256) = (body.len() as u64, crate::text::sha256(body));
        fault::point("seal.key");
        let leaf = self.leaf(Body::Key { kid, object: Object { sha256, len, key: key.clone() } });
        let object = ObjectHead { key, len, sha256: hex(&sha256) };
        self.add(&leaf, Some((draft, object)), self.unmoved(), now)?;
        fault::point("seal.key.done");
        if let Some(field_keys) = &self.field_keys {
            field_keys.publish(field_key, now);
        }
        Ok(true)
    }

    /// A message to all recipients, under a data key of its own; `None`: there is
    /// no data key now.
    fn encryptor(&mut self, context: &Context, now: u64) -> Result<Option<Encryptor>, SealError> {
        let fresh = self.options.keys.ask(context, now).map_err(BatchError::from)?;
        let Some((data_key, wrapped)) = fresh else { return Ok(None) };
        let encryptor = Encryptor::with_data_key(context, &data_key, wrapped);
        Ok(Some(encryptor.map_err(BatchError::from)?))
    }

    /// Takes the next record into the batch, or makes the leaf that it needs.
    fn take(&mut self, now: u64) -> Result<Taken, SealError> {
        let open = self.batch.is_some();
        let (seq, time, missing) = match self.reader.peek()? {
            None => return Ok(Taken::Nothing),
            Some(Entry::Hole { first, count, time }) => {
                if open {
                    self.cut(now)?;
                    return Ok(Taken::Leaf);
                }
                let missing = Missing::Records { first: first.0, count };
                let leaf = self.leaf(Body::Gap { time: rfc3339(time), missing });
                self.add(&leaf, None, After { cursor: first.plus(count), gap_named: false }, now)?;
                self.reader.advance();
                return Ok(Taken::Leaf);
            }
            Some(Entry::Record { seq, time, kind, body }) => {
                let missing = (kind == Kind::Gap && !self.gap_named).then(|| missing(seq, body));
                (seq, time, missing)
            }
        };
        if let Some(missing) = missing {
            if open {
                self.cut(now)?;
                return Ok(Taken::Leaf);
            }
            let leaf = self.leaf(Body::Gap { time: rfc3339(time), missing });
            self.add(&leaf, None, After { cursor: seq, gap_named: true }, now)?;
            return Ok(Taken::Leaf);
        }
        if !open {
            self.batch = self.open_batch(seq, time, now)?;
            if self.batch.is_none() {
                return Ok(Taken::NoKey);
            }
        }
        let (Some(batch), Some(Entry::Record { body, .. })) =
            (&mut self.batch, self.reader.peek()?)
        else {
            return Ok(Taken::Nothing);
        };
        let pushed = batch.push(seq, time, body);
        // The batch has the record, also when the draft has no space right now.
        self.reader.advance();
        pushed?;
        Ok(Taken::Record)
    }

    /// `None` while there is no data key for it.
    fn open_batch(&mut self, first: Seq, time: u64, now: u64) -> Result<Option<Batch>, SealError> {
        if self.options.keys.is_paused(now) {
            return Ok(None);
        }
        let codec = self.options.codec;
        let key = self.layout.batch_key(first.0, time / 1000, codec.name());
        let leaf = self.tree.size();
        let context = Context::from_pairs([
            ("audit:v", "1".to_owned()),
            ("audit:origin", self.id.origin.clone()),
            ("audit:incarnation", self.id.incarnation.clone()),
            ("audit:leaf", leaf.to_string()),
            ("audit:first", first.to_string()),
            ("audit:key", key.clone()),
            ("audit:codec", codec.name().to_owned()),
        ])
        .map_err(|e| BatchError::from(EncryptError::from(e)))?;
        // Before the key: a volume without room would else use up one at each try.
        let draft = self.outbox.draft(leaf)?;
        let Some(encryptor) = self.encryptor(&context, now)? else { return Ok(None) };
        let header = format!(
            "{{\"v\":1,\"origin\":\"{}\",\"incarnation\":\"{}\",\"first\":{first}",
            self.id.origin, self.id.incarnation
        );
        fault::point("seal.batch");
        Ok(Some(Batch::new(key, first, (time, now), codec, encryptor, &header, draft)?))
    }

    /// Ends the open batch and commits its leaf.
    fn cut(&mut self, now: u64) -> Result<(), SealError> {
        let Some(batch) = &mut self.batch else { return Ok(()) };
        // From here on only the compressor's rest can need space; make sure of it first.
        batch.make_room()?;
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let (key, first, count, times) = (batch.key.clone(), batch.first, batch.count, batch.times);
        let done = batch.finish()?;
        let leaf = self.leaf(Body::Batch {
            first: first.0,
            count,
            time: (rfc3339(times.0), rfc3339(times.1)),
            records: done.record_root,
            object: Object { sha256: done.sha256, len: done.len, key: key.clone() },
        });
        let object = ObjectHead { key, len: done.len, sha256: hex(&done.sha256) };
        let after = After { cursor: first.plus(count), gap_named: false };
        self.add(&leaf, Some((done.draft, object)), after, now)
    }

    /// Commits a leaf: tree, proof, checkpoint, outbox entry. The tree in
    /// memory moves only after the entry is durable.
    fn add(
        &mut self,
        leaf: &Leaf,
        object: Option<(outbox::Draft, ObjectHead)>,
        after: After,
        now: u64,
    ) -> Result<(), SealError> {
        let text = leaf.encode();
        let index = self.tree.size();
        let mut tree = self.tree.clone();
        let path = tree.append_with_path(leaf_hash(text.as_bytes()));
        let checkpoint =
            Checkpoint { origin: log_name(&self.id), size: tree.size(), root: tree.root() };
        let signed = self.signer.sign(&checkpoint);
        let proof = Proof::new(text.clone().into_bytes(), index, path, signed.clone())
            .map_err(|e| SealError::Leaf(e.to_string()))?;
        let (draft, object) = object.unzip();
        let head = EntryHead {
            index,
            leaf: text,
            proof: proof.encode(),
            checkpoint: signed,
            cursor: after.cursor,
            gap_named: after.gap_named,
            time: now,
            proof_key: self.layout.proof_key(index),
            checkpoint_key: self.layout.checkpoint_key(),
            object,
        };
        match draft {
            Some(draft) => self.outbox.commit(draft, &head)?,
            None => self.outbox.commit_leaf(&head)?,
        }
        self.tree = tree;
        self.cursor = after.cursor;
        self.gap_named = after.gap_named;
        self.last_leaf = now;
        self.reader.handle().set_floor(self.cursor);
        // What this leaf, or one before, may have used.
        let has_room = self.outbox.reserve();
        self.pressed &= !has_room;
        Ok(())
    }

    fn add_start(&mut self, now: u64) -> Result<(), SealError> {
        let leaf = self.leaf(Body::Start {
            time: rfc3339(now),
            key: self.signer.public().to_bytes(),
            config: self.options.config_hash,
            next: self.cursor.0,
            previous: self.id.previous.clone(),
            previous_checkpoint: self.id.previous_checkpoint.clone(),
        });
        self.add(&leaf, None, self.unmoved(), now)
    }

    fn leaf(&self, body: Body) -> Leaf {
        Leaf { origin: self.id.origin.clone(), incarnation: self.id.incarnation.clone(), body }
    }

    /// A leaf that covers no record.
    fn unmoved(&self) -> After {
        After { cursor: self.cursor, gap_named: self.gap_named }
    }

    fn alive(&self, now: u64) -> Leaf {
        self.leaf(Body::Alive { time: rfc3339(now), next: self.cursor.0 })
    }
}

impl Drop for Sealer {
    /// Who waits for a signature is told that none comes.
    fn drop(&mut self) {
        self.options.waivers.close();
    }
}

/// What a gap record says is missing: the leaf says all of it, so that it holds
/// when nobody can read the record any more.
fn missing(seq: Seq, body: &[u8]) -> Missing {
    #[derive(serde::Deserialize)]
    struct Record {
        file: Option<String>,
        from: u64,
        to: Option<u64>,
        why: String,
    }
    let text = [b"{", body].concat();
    let Ok(record) = serde_json::from_slice::<Record>(&text) else {
        return Missing::Source { seq: seq.0 };
    };
    let file = record.file.as_deref().and_then(crate::text::unhex);
    Missing::Span { seq: seq.0, file, from: record.from, to: record.to, why: record.why }
}

/// The log's name in checkpoints.
fn log_name(id: &Incarnation) -> String {
    format!("{}/{}", id.origin, id.incarnation)
}

/// Where the log stands after a leaf.
#[derive(Clone, Copy)]
struct After {
    cursor: Seq,
    gap_named: bool,
}

enum Taken {
    Record,
    Leaf,
    Nothing,
    /// There is no data key for the batch that the next record would open.
    NoKey,
}
