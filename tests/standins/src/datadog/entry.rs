//! The entries of one request: a JSON array of objects. One bad entry refuses them all.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use crate::json::{self, Fault, Kind, Node};

/// The longest entry, in bytes of its JSON.
const MAX_ENTRY: usize = 1_000_000;
/// The oldest entry that is taken, and how far ahead of us one may be.
const OLDEST: Duration = Duration::from_secs(18 * 3600);
const AHEAD: Duration = Duration::from_secs(2 * 3600);
/// The limits on what an entry may hold beside the message: levels, and attributes.
const MAX_DEPTH: usize = 20;
const MAX_ATTRIBUTES: usize = 256;
const MAX_TAG: usize = 200;

/// The attributes that mean something to Datadog and must be strings.
const RESERVED: [&str; 8] =
    ["message", "ddsource", "ddtags", "service", "hostname", "host", "status", "source"];

/// What an array held.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Text and value of what is indexed.
    pub(super) kept: Vec<(String, Value)>,
    /// Why others vanish although the client is told 202.
    pub(super) dropped: Vec<String>,
}

pub(super) fn read(text: &str, now: SystemTime, most: usize) -> Result<Read, String> {
    let parsed = match json::first(text) {
        None => return Err("no data".into()),
        Some(Err(Fault::Syntax(why))) => return Err(why),
        Some(Err(Fault::Duplicate(key))) => return Err(format!("the key {key:?} stands twice")),
        Some(Ok(parsed)) => parsed,
    };
    if !text.get(parsed.end..).unwrap_or_default().trim().is_empty() {
        return Err("something after the array".into());
    }
    let (Kind::Array(entries), Value::Array(values)) = (&parsed.node.kind, parsed.value) else {
        return Err("not an array".into());
    };
    if entries.is_empty() || entries.len() > most {
        return Err(format!("{} entries", entries.len()));
    }
    let mut read = Read::default();
    for (number, (entry, value)) in entries.iter().zip(values).enumerate() {
        check(entry).map_err(|why| format!("entry {number}: {why}"))?;
        match entry.get("timestamp").map(moment) {
            Some(Err(why)) => return Err(format!("entry {number}: {why}")),
            Some(Ok(at)) if at + OLDEST < now => {
                read.dropped.push(format!("entry {number} is older than 18 h and dropped"));
                continue;
            }
            Some(Ok(at)) if at > now + AHEAD => {
                read.dropped.push(format!("entry {number} is over 2 h ahead and dropped"));
                continue;
            }
            Some(Ok(_)) => {}
            None => return Err(format!("entry {number}: no timestamp, so it gets one of arrival")),
        }
        read.kept.push((entry.raw.to_owned(), value));
    }
    Ok(read)
}

fn check(entry: &Node<'_>) -> Result<(), String> {
    let Some(members) = entry.members() else { return Err("no object".into()) };
    if entry.raw.len() > MAX_ENTRY {
        return Err(format!("{} bytes, cut at 1 MB by the real one", entry.raw.len()));
    }
    if members.len() > MAX_ATTRIBUTES || entry.depth() > MAX_DEPTH {
        return Err("too many attributes, or nested too deep".into());
    }
    for (key, node) in members {
        if RESERVED.contains(&key.as_str()) && node.as_str().is_none() {
            return Err(format!("{key} is no string"));
        }
        if matches!(node.kind, Kind::Null) {
            return Err(format!("{key} is null"));
        }
    }
    match entry.get("message").and_then(Node::as_str) {
        None => return Err("no message".into()),
        Some(message) if message.trim().is_empty() => return Err("a blank message".into()),
        Some(_) => {}
    }
    entry.get("ddtags").and_then(Node::as_str).map_or(Ok(()), tags)
}

/// A comma list of `key` or `key:value`; begins with a letter; letters, digits and `_-:./` in it;
/// no colon at its end, at most 200 characters.
fn tags(list: &str) -> Result<(), String> {
    for tag in list.split(',') {
        let inside = |c: char| c.is_alphanumeric() || "_-:./".contains(c);
        let good = tag.starts_with(char::is_alphabetic)
            && tag.chars().all(inside)
            && !tag.ends_with(':')
            && tag.chars().count() <= MAX_TAG;
        if !good {
            return Err(format!("the tag {tag:?} would be changed or dropped"));
        }
    }
    Ok(())
}

/// Milliseconds since 1970 as an integer, or a time as RFC 3339 writes it.
fn moment(node: &Node<'_>) -> Result<SystemTime, String> {
    let at = match &node.kind {
        Kind::Number => node.raw.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        Kind::String(text) => text.parse::<Timestamp>().ok(),
        _ => None,
    };
    at.map(SystemTime::from).ok_or_else(|| format!("timestamp is {:.40}", node.raw))
}
