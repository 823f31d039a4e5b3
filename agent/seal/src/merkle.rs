//! RFC 6962 Merkle trees over SHA-256: hashing, the growing edge, inclusion.

use sha2::{Digest as _, Sha256};

/// A node or root.
pub type Hash = [u8; 32];

/// RFC 6962 section 2.1: SHA-256(00 || d).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(data).finalize().into()
}

/// RFC 6962 section 2.1: SHA-256(01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a growing tree: the roots of its maximal full subtrees,
/// largest first. Enough to append and to compute the root; 64 hashes at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One hash for each set bit of `size`, highest bit first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Appends a leaf and returns its inclusion path in the new tree: the
    /// peaks before it, smallest (nearest) first.
    pub fn append_with_path(&mut self, leaf: Hash) -> Vec<Hash> {
        let path = self.peaks.iter().rev().copied().collect();
        self.append(leaf);
        path
    }

    /// The root (RFC 6962 section 2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// The tree before and after a leaf, from the inclusion path of that leaf
    /// when it was the last: so one proof is the whole state. `None` when the
    /// path has the wrong length, or the index is the last there could be.
    #[must_use]
    pub fn from_last_leaf(index: u64, leaf: Hash, path: &[Hash]) -> Option<(Self, Self)> {
        if index == u64::MAX || path.len() != usize::try_from(index.count_ones()).ok()? {
            return None;
        }
        let before = Self { size: index, peaks: path.iter().rev().copied().collect() };
        let mut after = before.clone();
        after.append(leaf);
        Some((before, after))
    }
}

/// The root of the tree of `size` leaves that `path` proves `leaf` to be in at
/// `index` (RFC 9162 section 2.1.3.2). `None` when the path does not fit.
#[must_use]
pub fn root_from_inclusion(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The inclusion path of leaf `index` in the tree over `leaves` (RFC 6962
/// section 2.1.1). `None` when there is no such leaf.
#[must_use]
pub fn inclusion_path(index: usize, leaves: &[Hash]) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut index, mut leaves) = (index, leaves);
    while leaves.len() > 1 {
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at_checked(split)?;
        if index < split {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            leaves = right;
            index -= split;
        }
    }
    path.reverse();
    Some(path)
}

/// The root over leaf hashes.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    for leaf in leaves {
        tree.append(*leaf);
    }
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
            .collect()
    }

    /// The leaves and roots of the RFC 6962 reference tree, as every
    /// implementation of Certificate Transparency tests them.
    #[test]
    fn rfc_6962_reference_roots() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::new();
        assert_eq!(
            tree.root().to_vec(),
            unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        for (leaf, expected) in leaves.iter().zip(roots) {
            tree.append(leaf_hash(&unhex(leaf)));
            assert_eq!(tree.root().to_vec(), unhex(expected));
        }
    }

    #[test]
    fn every_path_of_every_small_tree_agrees_with_another_implementation() {
        use ct_merkle::mem_backed_tree::MemoryBackedTree;
        let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut leaves = Vec::new();
        let mut tree = Frontier::new();
        for n in 0_u64..70 {
            let data = n.to_be_bytes().to_vec();
            let hash = leaf_hash(&data);
            oracle.push(data);
            leaves.push(hash);
            let path = tree.append_with_path(hash);
            assert_eq!(tree.root()[..], oracle.root().as_bytes()[..]);
            assert_eq!(root_from_inclusion(n, n + 1, hash, &path), Some(tree.root()));
            let (before, after) = Frontier::from_last_leaf(n, hash, &path).unwrap();
            assert_eq!(after, tree);
            assert_eq!(before.root(), root(&leaves[..leaves.len() - 1]));
            for (i, leaf) in leaves.iter().enumerate() {
                let path = inclusion_path(i, &leaves).unwrap();
                assert_eq!(path.concat(), oracle.prove_inclusion(i).as_bytes());
                assert_eq!(root_from_inclusion(i as u64, n + 1, *leaf, &path), Some(tree.root()));
                assert_ne!(
                    root_from_inclusion(i as u64 + 1, n + 1, *leaf, &path),
                    Some(tree.root())
                );
            }
        }
    }

    #[test]
    fn paths_of_the_wrong_length_are_refused() {
        let leaf = leaf_hash(b"x");
        assert_eq!(root_from_inclusion(0, 1, leaf, &[leaf]), None);
        assert_eq!(root_from_inclusion(0, 2, leaf, &[]), None);
        assert_eq!(root_from_inclusion(2, 2, leaf, &[leaf]), None);
        assert_eq!(Frontier::from_last_leaf(3, leaf, &[leaf]), None);
    }

    #[test]
    fn a_tree_that_could_not_grow_is_refused() {
        let leaf = leaf_hash(b"x");
        assert_eq!(Frontier::from_last_leaf(u64::MAX, leaf, &[leaf; 64]), None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(32))]

        #[test]
        fn any_tree_agrees_with_another_implementation(size in 1_usize..700, at in 0_usize..700) {
            use ct_merkle::mem_backed_tree::MemoryBackedTree;
            let at = at % size;
            let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            let mut leaves = Vec::new();
            for n in 0..size {
                let data = n.to_be_bytes().to_vec();
                leaves.push(leaf_hash(&data));
                oracle.push(data);
            }
            let path = inclusion_path(at, &leaves).unwrap();
            let theirs = oracle.prove_inclusion(at);
            proptest::prop_assert_eq!(path.concat(), theirs.as_bytes());
            proptest::prop_assert_eq!(root(&leaves).to_vec(), oracle.root().as_bytes().to_vec());
            // A wrong index, size or sibling leads elsewhere.
            let root = Some(root(&leaves));
            let (at, size) = (at as u64, size as u64);
            let ours = root_from_inclusion(at, size, leaves[at as usize], &path);
            proptest::prop_assert_eq!(ours, root);
            for i in 0..path.len() {
                let mut bad = path.clone();
                bad[i][0] ^= 1;
                let elsewhere = root_from_inclusion(at, size, leaves[at as usize], &bad);
                proptest::prop_assert_ne!(elsewhere, root);
            }
        }
    }
}
