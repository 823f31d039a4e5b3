//! Layers of one configuration: the built-in defaults, what a governance
//! document means, what the operator wrote. Later layers win.
//!
//! Sections are joined key by key. Everything below (a list, a reference to a
//! secret) is replaced whole: half of a default and half of one's own would
//! surprise. What an entry of a list does not say comes from `each` in the
//! defaults.

use super::tree::{Entry, Kind, Node, Scalar};
use super::url::ArchiveUrl;

/// Puts `overlay` over the defaults, and `yours` over both.
pub(super) fn layers(mut defaults: Node, overlay: Node, yours: Node) -> Node {
    let each = take(&mut defaults, "each");
    let mut tree = join(join(defaults, overlay, 0), yours, 0);
    if let Some(each) = each {
        complete(&mut tree, &each);
    }
    tree
}

/// How deep maps are joined: the document, its sections, and `seal.batch`.
fn join(below: Node, above: Node, depth: usize) -> Node {
    let (pos, kind) = (above.pos, above.kind);
    match (below.kind, kind) {
        (Kind::Map(mut entries), Kind::Map(above)) => {
            for entry in above {
                match entries.iter_mut().find(|e| e.key == entry.key) {
                    Some(old) if depth == 0 || entry.key == "batch" => {
                        let empty = Node::map(old.value.pos, Vec::new());
                        let below = std::mem::replace(&mut old.value, empty);
                        old.value = join(below, entry.value, depth + 1);
                        old.pos = entry.pos;
                    }
                    Some(old) => *old = entry,
                    None => entries.push(entry),
                }
            }
            Node::map(pos, entries)
        }
        (_, kind) => Node { pos, kind },
    }
}

/// Fills what the entries of lists leave out.
fn complete(tree: &mut Node, each: &Node) {
    let empty = Vec::new();
    let template = |key: &str| each.get(key).map_or(empty.clone(), |n| n.entries().to_vec());
    for source in items(tree, "sources") {
        fill(source, &template("sources"));
    }
    for sink in items(tree, "sinks") {
        let url = sink.get("url").and_then(Node::scalar).map(|s| ArchiveUrl::parse(&s.text));
        if matches!(url, Some(Ok(ArchiveUrl::S3 { .. }))) {
            fill(sink, &template("s3_sinks"));
        }
    }
    let codec = tree.find("seal.codec").and_then(Node::scalar).map(Scalar::shown);
    let level = codec.and_then(|codec| each.find("level")?.get(codec)).cloned();
    if let Some(value) = level
        && let Some(seal) = entry(tree, "seal")
    {
        fill(seal, &[Entry { key: "level".into(), pos: value.pos, value }]);
    }
}

fn fill(node: &mut Node, template: &[Entry]) {
    if let Kind::Map(entries) = &mut node.kind {
        for default in template {
            if !entries.iter().any(|e| e.key == default.key) {
                entries.push(default.clone());
            }
        }
    }
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.kind {
        Kind::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
        _ => None,
    }
}

fn items<'a>(node: &'a mut Node, key: &str) -> impl Iterator<Item = &'a mut Node> {
    let items = match entry(node, key).map(|n| &mut n.kind) {
        Some(Kind::List(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    items.iter_mut()
}

fn take(node: &mut Node, key: &str) -> Option<Node> {
    let Kind::Map(entries) = &mut node.kind else {
        return None;
    };
    let place = entries.iter().position(|e| e.key == key)?;
    Some(entries.remove(place).value)
}
