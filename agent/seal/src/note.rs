//! Signed checkpoints: C2SP tlog-checkpoint in a C2SP signed note.
//!
//! Ed25519 signatures, type 0x01; the key id is the first four bytes of
//! SHA-256(name || 0A || 01 || public key). Base64 is canonical or refused.

use crate::base64;
use crate::keys::{SigningKey, VerifyingKey};
use crate::merkle::Hash;
use sha2::{Digest as _, Sha256};

/// Longest note that is read: C2SP asks for room for 16 signatures of up to 5 kB.
pub(crate) const MAX_LEN: usize = 128 * 1024;
/// Most signature lines that are read.
const MAX_SIGNATURES: usize = 32;

/// The state of a log: how many leaves, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: origin, slash, incarnation.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Hash,
}

/// Why a note is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note, or not a checkpoint in it.
    #[error("not a signed checkpoint in canonical form")]
    Malformed,
    /// Nobody with that key signed it.
    #[error("not signed by the given key")]
    NotSigned,
    /// There is a signature that names the key and does not verify.
    #[error("the signature does not verify under the given key")]
    BadSignature,
}

impl Checkpoint {
    /// The note's text: three lines.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64::encode(&self.root))
    }

    /// Parses a note's text. Extension lines are not accepted: we never write any.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse_text(text: &str) -> Result<Self, NoteError> {
        let parse = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let checkpoint = Self {
                origin: lines.next().filter(|o| !o.is_empty())?.to_owned(),
                size: lines.next()?.parse().ok()?,
                root: base64::decode_array(lines.next()?)?,
            };
            (lines.next().is_none() && checkpoint.text() == text).then_some(checkpoint)
        };
        parse().ok_or(NoteError::Malformed)
    }

    /// Reads a signed note without checking its signatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse_unverified(note: &str) -> Result<Self, NoteError> {
        Self::parse_text(split(note)?.0)
    }

    /// Reads a signed note and checks that `key` signed it under `name`.
    ///
    /// # Errors
    /// See [`NoteError`]. Signatures of others are ignored; a second one by this
    /// key is refused: we never write any, so somebody else did.
    pub fn verify(note: &str, name: &str, key: &VerifyingKey) -> Result<Self, NoteError> {
        let (text, signatures) = split(note)?;
        let checkpoint = Self::parse_text(text)?;
        let id = key_id(name, key);
        let mut found = false;
        for line in signatures.split_terminator('\n') {
            let (signer, signature) = signature_line(line)?;
            let Some((named, signature)) = signature.split_first_chunk::<4>() else {
                return Err(NoteError::Malformed);
            };
            if signer != name || *named != id {
                continue;
            }
            if found {
                return Err(NoteError::Malformed);
            }
            let signature = signature.try_into().map_err(|_| NoteError::Malformed)?;
            if !key.verify(text.as_bytes(), &signature) {
                return Err(NoteError::BadSignature);
            }
            found = true;
        }
        if found { Ok(checkpoint) } else { Err(NoteError::NotSigned) }
    }
}

/// Signs checkpoints under a name.
#[derive(Debug)]
pub struct Signer {
    name: String,
    key: SigningKey,
    id: [u8; 4],
}

impl Signer {
    /// A signer; `name` is the key's name in notes (the origin). It must be one
    /// that [`crate::layout::check_origin`] takes, or nobody reads the notes.
    #[must_use]
    pub fn new(name: &str, key: SigningKey) -> Self {
        let id = key_id(name, &key.public());
        Self { name: name.to_owned(), key, id }
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.key.public()
    }

    /// The signed note of a checkpoint.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let signature = [&self.id[..], &self.key.sign(text.as_bytes())].concat();
        format!("{text}\n— {} {}\n", self.name, base64::encode(&signature))
    }
}

/// C2SP signed-note: key id of an Ed25519 key.
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new_with_prefix(name.as_bytes())
        .chain_update([0x0a, 0x01])
        .chain_update(key.to_bytes())
        .finalize();
    let mut id = [0; 4];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    id
}

/// Text (with its last newline) and signature lines.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > MAX_LEN || note.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::Malformed);
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, rest) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed)?;
    let signatures =
        rest.strip_prefix('\n').filter(|s| s.ends_with('\n')).ok_or(NoteError::Malformed)?;
    if signatures.lines().count() > MAX_SIGNATURES {
        return Err(NoteError::Malformed);
    }
    for line in signatures.split_terminator('\n') {
        signature_line(line)?;
    }
    Ok((text, signatures))
}

fn signature_line(line: &str) -> Result<(&str, Vec<u8>), NoteError> {
    let (name, signature) =
        line.strip_prefix("— ").and_then(|l| l.split_once(' ')).ok_or(NoteError::Malformed)?;
    let signature =
        base64::decode(signature).filter(|s| s.len() > 4).ok_or(NoteError::Malformed)?;
    // C2SP signed-note, "Format": no Unicode spaces and no plus in a name.
    if name.is_empty() || name.contains(|c: char| c == '+' || c.is_whitespace()) {
        return Err(NoteError::Malformed);
    }
    Ok((name, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new("wa/prod/gateway-0", SigningKey::from_seed(&[7; 32]))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "wa/prod/gateway-0/i".into(), size: 42, root: [9; 32] }
    }

    #[test]
    fn a_checkpoint_verifies_under_its_key_and_name_only() {
        let signer = signer();
        let note = signer.sign(&checkpoint());
        let key = signer.public();
        assert_eq!(Checkpoint::verify(&note, "wa/prod/gateway-0", &key), Ok(checkpoint()));
        assert_eq!(Checkpoint::verify(&note, "wa/prod/gateway-1", &key), Err(NoteError::NotSigned));
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert_eq!(
            Checkpoint::verify(&note, "wa/prod/gateway-0", &other),
            Err(NoteError::NotSigned)
        );
    }

    #[test]
    fn other_peoples_signatures_are_ignored() {
        let signer = signer();
        let note = signer.sign(&checkpoint());
        let witness =
            Signer::new("witness.example", SigningKey::from_seed(&[1; 32])).sign(&checkpoint());
        let both = format!("{note}{}", witness.rsplit_once("\n\n").unwrap().1);
        assert_eq!(
            Checkpoint::verify(&both, "wa/prod/gateway-0", &signer.public()),
            Ok(checkpoint())
        );
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let signer = signer();
        let note = signer.sign(&checkpoint());
        for at in 0..note.len() {
            let mut bad = note.clone().into_bytes();
            bad[at] ^= 1;
            if let Ok(bad) = String::from_utf8(bad) {
                assert!(
                    Checkpoint::verify(&bad, "wa/prod/gateway-0", &signer.public()).is_err(),
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn another_implementation_agrees() {
        use signed_note::{Note, StandardVerifier, VerifierList};
        let signer = signer();
        let note = signer.sign(&checkpoint());
        // The verifier key of the note format: name+hash+base64(type || key).
        let id = u32::from_be_bytes(key_id("wa/prod/gateway-0", &signer.public()));
        let key = base64::encode(&[&[1][..], &signer.public().to_bytes()].concat());
        let verifier = StandardVerifier::new(&format!("wa/prod/gateway-0+{id:08x}+{key}")).unwrap();
        let theirs = Note::from_bytes(note.as_bytes()).unwrap();
        let (verified, _) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!(verified.len(), 1);
        assert_eq!(theirs.text(), checkpoint().text().as_bytes());
    }

    #[test]
    fn a_second_signature_by_our_key_is_refused() {
        let signer = signer();
        let note = signer.sign(&checkpoint());
        let twice = format!("{note}{}", note.rsplit_once("\n\n").unwrap().1);
        assert_eq!(
            Checkpoint::verify(&twice, "wa/prod/gateway-0", &signer.public()),
            Err(NoteError::Malformed)
        );
    }

    #[test]
    fn key_names_with_spaces_of_any_alphabet_are_refused() {
        let note = signer().sign(&checkpoint());
        for space in ['\u{a0}', '\u{2003}', '\u{3000}', '\u{85}'] {
            let line = format!("— wit{space}ness {}\n", base64::encode(&[7; 68]));
            assert_eq!(
                Checkpoint::parse_unverified(&format!("{note}{line}")),
                Err(NoteError::Malformed),
                "{space:?}"
            );
        }
    }

    #[test]
    fn sixteen_signatures_of_five_kilobytes_are_read() {
        // C2SP signed-note, "Format": verifiers must accept at least that.
        let signer = signer();
        let mut note = signer.sign(&checkpoint());
        for n in 0..15 {
            note.push_str(&format!("— w{n}.example {}\n", base64::encode(&[n; 5000])));
        }
        assert_eq!(
            Checkpoint::verify(&note, "wa/prod/gateway-0", &signer.public()),
            Ok(checkpoint())
        );
    }

    #[test]
    fn the_published_examples_read() {
        // C2SP tlog-checkpoint, the example of its introduction.
        let example = "example.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5\
            /Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let checkpoint = Checkpoint::parse_unverified(example).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        // The verifier key of Go's sumdb/note tests: PeterNeumann+c74f20a3+….
        let key = base64::decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let key = VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
        assert_eq!(key_id("PeterNeumann", &key), [0xc7, 0x4f, 0x20, 0xa3]);
    }

    #[test]
    fn what_another_implementation_signs_verifies() {
        use signed_note::{Note, StandardSigner};
        let ours = signer();
        let id = u32::from_be_bytes(key_id("wa/prod/gateway-0", &ours.public()));
        let seed = base64::encode(&[&[1][..], &[7; 32]].concat());
        let theirs =
            StandardSigner::new(&format!("PRIVATE+KEY+wa/prod/gateway-0+{id:08x}+{seed}")).unwrap();
        let mut note = Note::new(checkpoint().text().as_bytes(), &[]).unwrap();
        note.add_sigs(&[&theirs]).unwrap();
        let note = String::from_utf8(note.to_bytes()).unwrap();
        assert_eq!(note, ours.sign(&checkpoint()), "Ed25519 is deterministic");
        assert_eq!(
            Checkpoint::verify(&note, "wa/prod/gateway-0", &ours.public()),
            Ok(checkpoint())
        );
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in "(\\PC|\n|— )*") {
            drop(Checkpoint::parse_unverified(&text));
        }
    }
}
