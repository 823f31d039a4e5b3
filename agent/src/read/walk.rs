//! Walking one log from leaf 0: what `verify` and `open` share.

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
    key: Option<&'a VerifyingKey>,
    tree: Frontier,
    /// Root after each leaf: checkpoints are compared with them.
    pub(super) roots: Vec<Hash>,
    /// The next record's number.
    pub(super) next: u64,
    /// Index behind the last proof that is listed.
    pub(super) end: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        origin: &'a str,
        incarnation: &'a str,
        key: Option<&'a VerifyingKey>,
    ) -> Option<Self> {
        let layout = Layout::new(origin, incarnation).ok()?;
        let end = archive
            .keys()
            .filter_map(|k| match layout.place(k) {
                Some(sealtail_seal::layout::Place::Proof(i)) => Some(i + 1),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        Some(Self {
            archive,
            layout,
            origin,
            incarnation,
            key,
            tree: Frontier::new(),
            roots: Vec::new(),
            next: 0,
            end,
        })
    }

    /// The next leaf; `None` behind the last. After a fault the walk goes on
    /// with the next leaf if the proof gives the state, and ends otherwise.
    pub(super) async fn step(&mut self) -> Result<Option<Result<Step, Fault>>, ReadError> {
        let index = self.roots.len() as u64;
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
        if let Some(key) = self.key {
            proof.verify(self.origin, key).map_err(|e| e.to_string())?;
        }
        if proof.index != index {
            return Err(format!("it is the proof of leaf {}", proof.index));
        }
        if proof.checkpoint.origin != format!("{}/{}", self.origin, self.incarnation) {
            return Err("its checkpoint is of another log".to_owned());
        }
        let (before, after) = proof.trees().ok_or("it was not made when its leaf was the last")?;
        if before != self.tree {
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

    /// Sequence ranges meet without hole or overlap.
    fn check_records(&mut self, index: u64, leaf: &Leaf) -> Result<(), String> {
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
            Body::Key { .. } => (self.next, self.next),
        };
        if at != self.next {
            return Err(format!("it begins at record {at}, but record {} is the next", self.next));
        }
        if index == 0 && !matches!(leaf.body, Body::Start { .. }) {
            return Err("the log does not begin with a start leaf".to_owned());
        }
        if let (Body::Start { key, .. }, Some(expected)) = (&leaf.body, self.key)
            && *key != expected.to_bytes()
        {
            return Err("its start leaf names another signing key".to_owned());
        }
        self.next = end;
        Ok(())
    }
}
