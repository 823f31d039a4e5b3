//! Proofs: C2SP tlog-proof@v1 with the leaf as extra data.
//!
//! A leaf's proof is made when it is the last leaf, so it proves inclusion,
//! gives the tree before and after it, and is all that is needed to go on.

use crate::base64;
use crate::keys::VerifyingKey;
use crate::leaf::Leaf;
use crate::merkle::{Frontier, Hash, leaf_hash, root_from_inclusion};
use crate::note::{self, Checkpoint, NoteError};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest path in a tree of 2^64 leaves.
const MAX_PATH: usize = 64;
/// Longest proof that is read: a note of full length, and as much again for leaf
/// and path.
pub const MAX_LEN: usize = 2 * note::MAX_LEN;

/// The proof of one leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// Its inclusion path, nearest sibling first.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as it stands.
    pub note: String,
    /// What the checkpoint says; signatures are not checked by parsing.
    pub checkpoint: Checkpoint,
}

/// Why a proof is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a tlog-proof.
    #[error("not a tlog-proof@v1 in canonical form")]
    Malformed,
    /// The path does not lead from the leaf to the root.
    #[error("the leaf is not in the tree that the checkpoint signs")]
    NotIncluded,
    /// The leaf is none of ours, or of another log than the checkpoint.
    #[error("the leaf is not one of the log that the checkpoint signs")]
    OtherLog,
    /// The checkpoint's signature.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Proof {
    /// A proof of these parts.
    ///
    /// # Errors
    /// When `note` is no checkpoint, or the path does not lead to its root.
    pub fn new(
        leaf: Vec<u8>,
        index: u64,
        path: Vec<Hash>,
        note: String,
    ) -> Result<Self, ProofError> {
        let checkpoint = Checkpoint::parse_unverified(&note)?;
        let proof = Self { leaf, index, path, note, checkpoint };
        proof.check_inclusion()?;
        Ok(proof)
    }

    /// The proof's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out =
            format!("{HEADER}\nextra {}\nindex {}\n", base64::encode(&self.leaf), self.index);
        for hash in &self.path {
            out.push_str(&base64::encode(hash));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.note);
        out
    }

    /// Parses a proof and checks that its path leads to its checkpoint's root.
    /// Signatures are not checked: see [`Proof::verify`].
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_LEN {
            return Err(ProofError::Malformed);
        }
        let proof = parse(text).ok_or(ProofError::Malformed)?;
        if proof.encode() != text {
            return Err(ProofError::Malformed);
        }
        proof.check_inclusion()?;
        Ok(proof)
    }

    /// Checks that `key` signed the checkpoint under `name`.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn verify(&self, name: &str, key: &VerifyingKey) -> Result<(), NoteError> {
        Checkpoint::verify(&self.note, name, key).map(drop)
    }

    /// Checks the signature as [`Proof::verify`] does, and that leaf and checkpoint
    /// speak of the same log: a true proof of another log proves nothing of this
    /// one, even when one key signs both. Returns the leaf.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify_leaf(&self, name: &str, key: &VerifyingKey) -> Result<Leaf, ProofError> {
        self.verify(name, key)?;
        let leaf = std::str::from_utf8(&self.leaf).ok().and_then(|text| Leaf::parse(text).ok());
        leaf.filter(|leaf| {
            self.checkpoint.origin == format!("{}/{}", leaf.origin, leaf.incarnation)
        })
        .ok_or(ProofError::OtherLog)
    }

    /// The trees before and after the leaf, if it was the last one.
    #[must_use]
    pub fn trees(&self) -> Option<(Frontier, Frontier)> {
        if self.checkpoint.size != self.index.checked_add(1)? {
            return None;
        }
        Frontier::from_last_leaf(self.index, leaf_hash(&self.leaf), &self.path)
    }

    fn check_inclusion(&self) -> Result<(), ProofError> {
        let root = root_from_inclusion(
            self.index,
            self.checkpoint.size,
            leaf_hash(&self.leaf),
            &self.path,
        );
        if root == Some(self.checkpoint.root) { Ok(()) } else { Err(ProofError::NotIncluded) }
    }
}

fn parse(text: &str) -> Option<Proof> {
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    (lines.next()? == HEADER).then_some(())?;
    let leaf = base64::decode(lines.next()?.strip_prefix("extra ")?)?;
    let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
    let path: Vec<Hash> =
        lines.take(MAX_PATH + 1).map(base64::decode_array).collect::<Option<_>>()?;
    (path.len() <= MAX_PATH).then_some(())?;
    let checkpoint = Checkpoint::parse_unverified(note).ok()?;
    Some(Proof { leaf, index, path, note: note.to_owned(), checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;
    use crate::note::Signer;

    fn log(n: u64) -> (Vec<String>, Signer) {
        let signer = Signer::new("o", SigningKey::from_seed(&[3; 32]));
        let mut tree = Frontier::new();
        let proofs = (0..n)
            .map(|i| {
                let leaf = format!("leaf {i}\n").into_bytes();
                let path = tree.append_with_path(leaf_hash(&leaf));
                let checkpoint =
                    Checkpoint { origin: "o/i".into(), size: i + 1, root: tree.root() };
                Proof::new(leaf, i, path, signer.sign(&checkpoint)).unwrap().encode()
            })
            .collect();
        (proofs, signer)
    }

    #[test]
    fn each_proof_is_the_whole_state() {
        let (proofs, signer) = log(20);
        let mut expected = Frontier::new();
        for (i, text) in proofs.iter().enumerate() {
            let proof = Proof::parse(text).unwrap();
            proof.verify("o", &signer.public()).unwrap();
            let (before, after) = proof.trees().unwrap();
            assert_eq!(before, expected);
            assert_eq!((proof.index, after.size()), (i as u64, i as u64 + 1));
            expected = after;
        }
    }

    #[test]
    fn a_leaf_of_another_log_is_refused_though_the_same_key_signed_it() {
        use crate::leaf::{Body, Leaf};
        let signer = Signer::new("o", SigningKey::from_seed(&[3; 32]));
        let leaf = Leaf {
            origin: "o".into(),
            incarnation: "i".into(),
            body: Body::Alive { time: "2026-11-22T09:59:30.000Z".into(), next: 4 },
        };
        let proof = |origin: &str, leaf: &[u8]| {
            let checkpoint = Checkpoint { origin: origin.into(), size: 1, root: leaf_hash(leaf) };
            Proof::new(leaf.to_vec(), 0, vec![], signer.sign(&checkpoint)).unwrap()
        };
        let text = leaf.encode();
        let key = signer.public();
        assert_eq!(proof("o/i", text.as_bytes()).verify_leaf("o", &key), Ok(leaf));
        for (origin, leaf) in [("o/j", text.as_bytes()), ("o", text.as_bytes()), ("o/i", b"x")] {
            let refused = proof(origin, leaf).verify_leaf("o", &key);
            assert_eq!(refused, Err(ProofError::OtherLog), "{origin}");
        }
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let (proofs, signer) = log(6);
        let text = &proofs[5];
        for at in 0..text.len() {
            for bit in [1, 0x20] {
                let mut bad = text.clone().into_bytes();
                bad[at] ^= bit;
                let Ok(bad) = String::from_utf8(bad) else { continue };
                let verified = Proof::parse(&bad).map(|p| p.verify("o", &signer.public()).is_ok());
                assert_ne!(verified, Ok(true), "byte {at}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in "(c2sp.org/tlog-proof@v1\n)?(extra |index |[0-9A-Za-z+/=]|\n|\\PC)*") {
            drop(Proof::parse(&text));
        }
    }
}
