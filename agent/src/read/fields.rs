//! `sealtail open --fields`: sealed fields opened in what Splunk and Datadog
//! give back, as NDJSON.
//!
//! It promises: a value that it puts in place was sealed by an agent for this
//! field of this record of this log, under a key that the archive vouches for;
//! everything else of a line stays as it was. What does not open stays too, and
//! is named.
//!
//! Which record a token is of says the innermost object around it that names
//! origin, incarnation and sequence number; its pointer is counted from there.
//! Such an object may be the line itself, lie deeper (`event`, `record`,
//! `attributes`), or be a text that is JSON (Splunk's `_raw`). Where Splunk has
//! spread a record out, `source.path` is `/source/path`, and numbers are texts.

use super::archive::{Archive, ReadError};
use super::field_keys::{FieldKeys, Name};
use super::identity::Identities;
use crate::sink::event::{Fields, push_json};
use sealtail_seal::field::{self, Place, Token};
use sealtail_seal::keys::VerifyingKey;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{self, BufRead, Read as _, Write};

/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 256 * 1024 * 1024;
/// How deep objects, lists and texts of JSON may lie in each other.
const MAX_DEPTH: usize = 64;

/// Who opens, and whom to believe.
pub struct Request {
    /// Opens the keys.
    pub identities: Identities,
    /// If any are given, the leaf of a key must be signed by one of them.
    pub keys: Vec<VerifyingKey>,
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Lines read.
    pub lines: u64,
    /// Fields that were opened.
    pub fields: u64,
    /// Fields that stay sealed.
    pub failed: u64,
}

/// A field that stays sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which line, from 1.
    pub line: u64,
    /// Where in the line, as a JSON Pointer; a text of JSON counts as what it holds.
    pub pointer: String,
    /// Why.
    pub reason: String,
}

/// Why it cannot go on. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum FieldsError {
    /// The archive.
    #[error("read the archive: {0}")]
    Archive(#[from] ReadError),
    /// The input.
    #[error("read standard input: {0}")]
    Input(io::Error),
    /// The output.
    #[error("write standard output: {0}")]
    Output(io::Error),
}

/// Copies lines from `input` to `out`, with fields opened; `tell` hears of each
/// that stays sealed.
///
/// # Errors
/// See [`FieldsError`].
pub async fn open(
    archive: &Archive,
    request: Request,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&Sealed),
) -> Result<Opened, FieldsError> {
    let mut keys = FieldKeys::new(archive, request.identities, request.keys);
    let mut done = Opened::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        input.take(MAX_LINE).read_until(b'\n', &mut line).map_err(FieldsError::Input)?;
        if line.is_empty() {
            break;
        }
        done.lines += 1;
        if memchr::memmem::find(&line, field::PREFIX.as_bytes()).is_none() {
            out.write_all(&line).map_err(FieldsError::Output)?;
            continue;
        }
        // Until no key is asked for that was not fetched.
        let (text, found) = loop {
            let mut found = Found::new(&keys, done.lines);
            let text = found.line_of(&line);
            let wanted = std::mem::take(&mut found.wanted);
            let found = (found.opened, found.failed);
            if wanted.is_empty() {
                break (text, found);
            }
            for name in wanted {
                keys.fetch(name).await?;
            }
        };
        out.write_all(text.as_deref().unwrap_or(&line)).map_err(FieldsError::Output)?;
        done.fields += found.0;
        done.failed += found.1.len() as u64;
        found.1.iter().for_each(&mut *tell);
    }
    out.flush().map_err(FieldsError::Output)?;
    Ok(done)
}

/// Whether the reader of our output has gone (`| head`), which is no error.
#[must_use]
pub fn is_broken_pipe(error: &FieldsError) -> bool {
    matches!(error, FieldsError::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
}

/// An object that says which record it is.
struct Root {
    origin: String,
    incarnation: String,
    seq: u64,
    /// How long the path to it is.
    depth: usize,
}

/// One pass over one line.
struct Found<'k> {
    line: u64,
    keys: &'k FieldKeys<'k>,
    /// Objects around, outermost first.
    roots: Vec<Root>,
    /// Names and places from the line's beginning.
    path: Vec<String>,
    /// Keys that have to be fetched before the pass can be a good one.
    wanted: Vec<Name>,
    opened: u64,
    failed: Vec<Sealed>,
}

impl<'k> Found<'k> {
    fn new(keys: &'k FieldKeys<'k>, line: u64) -> Self {
        let (roots, path, wanted, failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { line, keys, roots, path, wanted, opened: 0, failed }
    }

    /// The line with its fields opened; `None`: as it was.
    fn line_of(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let Ok(text) = std::str::from_utf8(line) else {
            self.stays("the line is not UTF-8");
            return None;
        };
        let json = text.trim();
        let start = text.len() - text.trim_start().len();
        let Some(value) = as_json(json) else {
            if field::find(json).is_some() {
                self.stays("the line is no JSON");
            }
            return None;
        };
        let mut out = text.get(..start)?.as_bytes().to_vec();
        self.value(value, &mut out);
        out.extend_from_slice(text.get(start + json.len()..)?.as_bytes());
        (self.opened > 0).then_some(out)
    }

    fn value(&mut self, value: &RawValue, out: &mut Vec<u8>) {
        let raw = value.get();
        let deep = self.path.len() >= MAX_DEPTH;
        match raw.as_bytes().first() {
            _ if !raw.contains(field::PREFIX) => out.extend_from_slice(raw.as_bytes()),
            Some(b'"') => self.text(raw, out),
            Some(b'{') if !deep => self.object(raw, out),
            Some(b'[') if !deep => self.list(raw, out),
            _ => {
                if deep && field::find(raw).is_some() {
                    self.stays("it lies too deep");
                }
                out.extend_from_slice(raw.as_bytes());
            }
        }
    }

    fn object(&mut self, raw: &str, out: &mut Vec<u8>) {
        let fields: Fields<'_> = match serde_json::from_str(raw) {
            Ok(fields) => fields,
            Err(_) => return out.extend_from_slice(raw.as_bytes()),
        };
        let root = root_of(&fields, self.path.len());
        let roots = self.roots.len();
        self.roots.extend(root);
        out.push(b'{');
        for (n, (name, value)) in fields.0.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            push_json(out, name);
            out.push(b':');
            self.path.push(name.to_string());
            self.value(value, out);
            self.path.pop();
        }
        out.push(b'}');
        self.roots.truncate(roots);
    }

    fn list(&mut self, raw: &str, out: &mut Vec<u8>) {
        let items: Vec<&RawValue> = match serde_json::from_str(raw) {
            Ok(items) => items,
            Err(_) => return out.extend_from_slice(raw.as_bytes()),
        };
        out.push(b'[');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            self.path.push(n.to_string());
            self.value(item, out);
            self.path.pop();
        }
        out.push(b']');
    }

    /// A text with the prefix of a token in it: one, or JSON, or neither.
    fn text(&mut self, raw: &str, out: &mut Vec<u8>) {
        let text: String = serde_json::from_str(raw).unwrap_or_default();
        let json = text.trim();
        if json.starts_with(['{', '['])
            && self.path.len() < MAX_DEPTH
            && let Some(value) = as_json(json)
        {
            let before = self.opened;
            let mut inside = Vec::new();
            self.value(value, &mut inside);
            if self.opened > before
                && let Ok(inside) = std::str::from_utf8(&inside)
            {
                return push_json(out, inside);
            }
        } else if is_token(&text) {
            match self.token(&text) {
                Ok(value) => {
                    self.opened += 1;
                    return out.extend_from_slice(value.as_bytes());
                }
                Err(reason) => self.stays(&reason),
            }
        } else if field::find(&text).is_some() {
            self.stays("it stands inside a text: the entry was split, or cut out of its record");
        }
        out.extend_from_slice(raw.as_bytes());
    }

    /// The value in a token, as JSON.
    fn token(&mut self, text: &str) -> Result<String, String> {
        let token = Token::parse(text).map_err(|e| e.to_string())?;
        let mut reason =
            "nothing around it says which record it is of (origin, incarnation, seq)".to_owned();
        // The innermost last: its reason is the one to tell.
        for root in &self.roots {
            let name = Name {
                origin: root.origin.clone(),
                incarnation: root.incarnation.clone(),
                kid: token.kid().to_owned(),
            };
            let key = match self.keys.find(&name) {
                Some(Ok(key)) => key,
                Some(Err(e)) => {
                    e.clone_into(&mut reason);
                    continue;
                }
                None => {
                    if !self.wanted.contains(&name) {
                        self.wanted.push(name);
                    }
                    continue;
                }
            };
            let below = self.path.get(root.depth..).unwrap_or_default();
            for pointer in pointers(below) {
                let place = Place {
                    origin: &root.origin,
                    incarnation: &root.incarnation,
                    seq: root.seq,
                    pointer: &pointer,
                };
                match key.open(&place, &token) {
                    Ok(value) => {
                        let value = std::str::from_utf8(&value).ok();
                        let value = value.filter(|value| as_json(value).is_some());
                        return value
                            .map(str::to_owned)
                            .ok_or_else(|| "it holds no JSON".to_owned());
                    }
                    Err(e) => reason = e.to_string(),
                }
            }
        }
        Err(reason)
    }

    fn stays(&mut self, reason: &str) {
        let (line, reason) = (self.line, reason.to_owned());
        self.failed.push(Sealed { line, pointer: pointer(&self.path), reason });
    }
}

/// Which record an object says that it is.
fn root_of(fields: &Fields<'_>, depth: usize) -> Option<Root> {
    let value = |wanted: &str| {
        let mut found = fields.0.iter().filter(|(name, _)| name == wanted);
        let value = single(serde_json::from_str(found.next()?.1.get()).ok()?)?;
        // Which of two it would be, nobody could say.
        found.next().is_none().then_some(value)
    };
    let seq = match value("seq")? {
        Value::String(text) => text.parse().ok()?,
        number => number.as_u64()?,
    };
    match (value("origin")?, value("incarnation")?) {
        (Value::String(origin), Value::String(incarnation)) => {
            Some(Root { origin, incarnation, seq, depth })
        }
        _ => None,
    }
}

/// Splunk gives a list where it knows a field twice: of the same, it is one.
fn single(value: Value) -> Option<Value> {
    match value {
        Value::Array(items) => {
            let first = items.first()?.clone();
            items.iter().all(|item| *item == first).then_some(first)
        }
        other => Some(other),
    }
}

/// One value of JSON, and nothing behind it.
fn as_json(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// Whether the whole text is meant as a token.
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    field::find(text) == Some(0) && text.bytes().all(plain)
}

/// The pointers that a path can mean: itself, and what Splunk wrote with dots.
fn pointers(path: &[String]) -> Vec<String> {
    let mut all = vec![pointer(path)];
    if let [name] = path
        && name.contains('.')
    {
        let parts: Vec<_> = name.split('.').map(str::to_owned).collect();
        all.push(pointer(&parts));
    }
    all
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests;
