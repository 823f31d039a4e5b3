//! Walking one log from its first leaf: what `verify` and `open` share.
//!
//! The first one that is here, that is: the log of an archive that was moved
//! begins in its middle. The walk then trusts the signed state before it, and
//! says so; whether that is enough is for the caller.

use super::archive::{Archive, ReadError};
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::layout::Layout;
use sealtail_seal::leaf::{Body, Leaf, Missing};
use sealtail_seal::merkle::{Frontier, Hash};
use sealtail_seal::proof::Proof;

/// A leaf that has been checked as far as the log goes.
pub(super) struct Step {
    pub(super) index: u64,
    pub(super) leaf: Leaf,
}

/// What is wrong with a leaf.
pub(super) enum Fault {
    /// The bytes are not what was signed, or do not follow.
    Altered(String),
    /// Something is not there.
    Missing(String),
}

/// A log that is being walked.
pub(super) struct Walk<'a> {
    archive: &'a Archive,
    pub(super) layout: Layout,
    origin: &'a str,
    incarnation: &'a str,
    /// Who may have signed it; nobody is asked for when it is empty.
    keys: &'a [VerifyingKey],
    /// The one of them that signed the first leaf: it has signed all, or the log
    /// is not intact.
    signer: Option<&'a VerifyingKey>,
    tree: Frontier,
    /// Index of the first leaf that is here: 0 in a whole log.
    pub(super) begin: u64,
    /// Root after each leaf from `begin` on: checkpoints are compared with them.
    roots: Vec<Hash>,
    /// The number of the first record that the walked leaves may cover, and of the
    /// next: unknown before a leaf of a log that begins in its middle names one.
    records: Option<(u64, u64)>,
    /// Index behind the last proof that is listed.
    pub(super) end: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        origin: &'a str,
        incarnation: &'a str,
        keys: &'a [VerifyingKey],
    ) -> Option<Self> {
        let layout = Layout::new(origin, incarnation).ok()?;
        let proof = |k| match layout.place(k) {
            Some(sealtail_seal::layout::Place::Proof(i)) => Some(i),
            _ => None,
        };
        let proofs = || archive.keys().filter_map(proof);
        let (begin, end) = (proofs().min().unwrap_or(0), proofs().max().map_or(0, |i| i + 1));
        Some(Self {
            archive,
            layout,
            origin,
            incarnation,
            keys,
            signer: None,
            tree: Frontier::new(),
            begin,
            roots: Vec::new(),
            records: (begin == 0).then_some((0, 0)),
            end,
        })
    }

    /// The key that vouches for this log: that of its first leaf, or any that was
    /// given when there is no such leaf.
    pub(super) fn signer(&self) -> Option<&'a VerifyingKey> {
        self.signer.or(self.keys.first())
    }

    /// Leaves of the log up to the last one that was walked.
    pub(super) fn size(&self) -> u64 {
        self.begin + self.roots.len() as u64
    }

    /// How many records the walked leaves cover.
    pub(super) fn records(&self) -> u64 {
        self.records.map_or(0, |(first, next)| next - first)
    }

    /// Whether the log had this root when it had this size; `None` when that was
    /// before the first leaf that is here, or after the last.
    pub(super) fn agrees(&self, size: u64, root: &Hash) -> Option<bool> {
        let at = usize::try_from(size.checked_sub(self.begin + 1)?).ok()?;
        self.roots.get(at).map(|known| known == root)
    }

    /// The next leaf; `None` behind the last. After a fault the walk goes on
    /// with the next leaf if the proof gives the state, and ends otherwise.
    pub(super) async fn step(&mut self) -> Result<Option<Result<Step, Fault>>, ReadError> {
        let index = self.size();
        if index >= self.end {
            return Ok(None);
        }
        let key = self.layout.proof_key(index);
        let name = self.archive.name(&key);
        let Some(text) = self.archive.bytes(&key).await? else {
            self.end = 0;
            return Ok(Some(Err(Fault::Missing(format!(
                "{name} is missing, later leaves are there: the log is not complete"
            )))));
        };
        let checked = self.check(index, &text);
        Ok(Some(checked.map_err(|what| {
            self.end = 0;
            Fault::Altered(format!("{name}: {what}"))
        })))
    }

    fn check(&mut self, index: u64, text: &[u8]) -> Result<Step, String> {
        let text = std::str::from_utf8(text).map_err(|_| "not text".to_owned())?;
        let proof = Proof::parse(text).map_err(|e| e.to_string())?;
        self.check_signature(&proof)?;
        if proof.index != index {
            return Err(format!("it is the proof of leaf {}", proof.index));
        }
        if proof.checkpoint.origin != format!("{}/{}", self.origin, self.incarnation) {
            return Err("its checkpoint is of another log".to_owned());
        }
        let (before, after) = proof.trees().ok_or("it was not made when its leaf was the last")?;
        let is_first = self.roots.is_empty();
        if before != self.tree && !(is_first && self.begin > 0) {
            return Err(
                "it does not follow on the leaves before it: the log was rewritten".to_owned()
            );
        }
        let leaf = std::str::from_utf8(&proof.leaf).ok().and_then(|t| Leaf::parse(t).ok());
        let leaf = leaf.ok_or("its leaf is not in canonical form")?;
        if leaf.origin != self.origin || leaf.incarnation != self.incarnation {
            return Err("its leaf is of another log".to_owned());
        }
        self.check_records(index, &leaf)?;
        self.roots.push(after.root());
        self.tree = after;
        Ok(Step { index, leaf })
    }

    /// One key signs a whole log: the one that signed its first leaf.
    fn check_signature(&mut self, proof: &Proof) -> Result<(), String> {
        let Some(first) = self.keys.first() else { return Ok(()) };
        let signed_by = |key: &&VerifyingKey| proof.verify(self.origin, key).is_ok();
        let signer = self.signer.or_else(|| self.keys.iter().find(signed_by)).unwrap_or(first);
        proof.verify(self.origin, signer).map_err(|e| e.to_string())?;
        self.signer = Some(signer);
        Ok(())
    }

    /// Sequence ranges meet without hole or overlap.
    fn check_records(&mut self, index: u64, leaf: &Leaf) -> Result<(), String> {
        if index == 0 && !matches!(leaf.body, Body::Start { .. }) {
            return Err("the log does not begin with a start leaf".to_owned());
        }
        let (at, end) = match &leaf.body {
            Body::Batch { first, count, .. }
            | Body::Gap { missing: Missing::Records { first, count }, .. } => {
                (*first, first.checked_add(*count).ok_or("its range is not possible")?)
            }
            Body::Start { next, .. } | Body::Alive { next, .. } | Body::End { next, .. } => {
                (*next, *next)
            }
            Body::Gap { missing: Missing::Source { seq } | Missing::Span { seq, .. }, .. } => {
                (*seq, *seq)
            }
            // They say nothing of which records come next.
            Body::Key { .. } | Body::Gap { missing: Missing::Sink { .. }, .. } => return Ok(()),
        };
        let (first, next) = self.records.unwrap_or((at, at));
        if at != next {
            return Err(format!("it begins at record {at}, but record {next} is the next"));
        }
        if let (Body::Start { key, .. }, Some(expected)) = (&leaf.body, self.signer)
            && *key != expected.to_bytes()
        {
            return Err("its start leaf names another signing key".to_owned());
        }
        self.records = Some((first, end));
        Ok(())
    }
}
