//! The field keys of an archive, fetched as they are asked for.
//!
//! A key is believed when its leaf is: the object says which leaf that is, the
//! leaf's proof is signed, and the leaf names the object by its hash. So nothing
//! but these two objects is read, however long the log is.

use super::archive::{Archive, ReadError};
use super::batch::KeyObject;
use super::identity::Identities;
use sealtail_seal::field::FieldKey;
use sealtail_seal::keys::VerifyingKey;
use sealtail_seal::layout::Layout;
use sealtail_seal::leaf::{Body, Leaf};
use sealtail_seal::proof::Proof;
use std::collections::BTreeMap;

/// A field key of this log that can be opened: to seal what is sent again. `None`:
/// the log has none.
///
/// # Errors
/// When the archive cannot be read.
pub async fn any(
    archive: &Archive,
    identities: &mut Identities,
    signers: &[VerifyingKey],
    (origin, incarnation): (&str, &str),
) -> Result<Option<FieldKey>, ReadError> {
    let Ok(layout) = Layout::new(origin, incarnation) else { return Ok(None) };
    let folder = format!("{}keys/", layout.base());
    let kid = |key: &str| Some(key.strip_prefix(&folder)?.strip_suffix(".esdk")?.to_owned());
    let kids: Vec<String> = archive.keys().filter_map(kid).collect();
    let mut keys = FieldKeys::new(archive, std::mem::take(identities), signers.to_vec());
    let mut found = Ok(None);
    for kid in kids {
        let (origin, incarnation) = (origin.to_owned(), incarnation.to_owned());
        match keys.read(&Name { origin, incarnation, kid }).await {
            Ok(Ok(key)) => found = Ok(Some(key)),
            Ok(Err(_)) => continue,
            Err(e) => found = Err(e),
        }
        break;
    }
    *identities = keys.identities;
    found
}

/// Which key: origin, incarnation and the key's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) origin: String,
    pub(super) incarnation: String,
    pub(super) kid: String,
}

/// The keys that were asked for so far.
pub(super) struct FieldKeys<'a> {
    archive: &'a Archive,
    identities: Identities,
    signers: Vec<VerifyingKey>,
    /// What became of each; a key that is not to be had is not asked for twice.
    known: BTreeMap<Name, Result<FieldKey, String>>,
}

impl<'a> FieldKeys<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        identities: Identities,
        signers: Vec<VerifyingKey>,
    ) -> Self {
        Self { archive, identities, signers, known: BTreeMap::new() }
    }

    /// A key, or why it is not to be had; `None` when it was not fetched yet.
    pub(super) fn find(&self, name: &Name) -> Option<Result<&FieldKey, &str>> {
        self.known.get(name).map(|known| known.as_ref().map_err(String::as_str))
    }

    /// Fetches a key.
    pub(super) async fn fetch(&mut self, name: Name) -> Result<(), ReadError> {
        let fetched = self.read(&name).await?;
        self.known.insert(name, fetched);
        Ok(())
    }

    async fn read(&mut self, name: &Name) -> Result<Result<FieldKey, String>, ReadError> {
        let Ok(layout) = Layout::new(&name.origin, &name.incarnation) else {
            return Ok(Err("its origin or incarnation is not one".to_owned()));
        };
        let key = layout.field_key(&name.kid);
        let object = self.archive.name(&key);
        let Some(bytes) = self.archive.bytes(&key).await? else {
            return Ok(Err(format!("its key {object} is not in this archive")));
        };
        let opened = KeyObject::open(&bytes, &mut self.identities).await;
        let (opened, index) = match opened.and_then(|o| o.leaf().map(|index| (o, index))) {
            Ok(opened) => opened,
            Err(e) => return Ok(Err(format!("its key {object} does not open: {e}"))),
        };
        let proof_key = layout.proof_key(index);
        let proof_name = self.archive.name(&proof_key);
        let Some(proof) = self.archive.text(&proof_key).await? else {
            return Ok(Err(format!("{proof_name}, which has to name its key, is missing")));
        };
        let leaf = match self.leaf(&proof, index, name) {
            Ok(leaf) => leaf,
            Err(e) => return Ok(Err(format!("{proof_name}: {e}"))),
        };
        let names = |leaf: &Leaf| {
            let Body::Key { kid, object } = &leaf.body else { return false };
            *kid == name.kid
                && object.key == key
                && object.len == bytes.len() as u64
                && object.sha256 == crate::text::sha256(&bytes)
        };
        if !names(&leaf) {
            return Ok(Err(format!("its key {object} is not what leaf {index} names")));
        }
        Ok(opened.key(&leaf, index).map_err(|e| format!("its key {object} does not open: {e}")))
    }

    /// The leaf in a proof, if it is of this log and signed as is asked.
    fn leaf(&self, proof: &str, index: u64, name: &Name) -> Result<Leaf, String> {
        let proof = Proof::parse(proof).map_err(|e| e.to_string())?;
        let leaf = match self.signers.split_first() {
            None => std::str::from_utf8(&proof.leaf).ok().and_then(|text| Leaf::parse(text).ok()),
            Some((first, others)) => {
                let of = |key| proof.verify_leaf(&name.origin, key);
                let signed =
                    others.iter().fold(of(first), |signed, key| signed.or_else(|_| of(key)));
                Some(signed.map_err(|e| e.to_string())?)
            }
        };
        let is_ours = |leaf: &Leaf| {
            proof.index == index
                && leaf.origin == name.origin
                && leaf.incarnation == name.incarnation
        };
        leaf.filter(is_ours).ok_or_else(|| "it is the proof of another leaf".to_owned())
    }
}
