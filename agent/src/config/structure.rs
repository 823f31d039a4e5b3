//! A tree against the JSON Schema: keys, types and words, all errors at once.
//!
//! The schema is derived from the private twins of the configuration's types
//! ([`super::document`]), and is the very one that `sealtail schema` prints: so
//! what the schema says and what is accepted cannot drift apart. What passes
//! is handed on for serde; what does not is reported and left out, so that the
//! rest is still judged.
//!
//! Only the part of JSON Schema is read that the twins make: `type`,
//! `properties`, `additionalProperties`, `required`, `items`, `enum`, `const` in
//! `oneOf`, and our own `x-secret`.

use super::error::{Problems, nearest};
use super::planned;
use super::tree::{Kind, Node, Scalar, join};
use serde_json::{Map, Value};

/// Checks a value; gives what of it is sound, `None` when nothing is.
pub(super) fn check(
    node: &Node,
    schema: &Value,
    path: &str,
    problems: &mut Problems,
) -> Option<Value> {
    let mut checker = Checker { problems };
    checker.value(node, schema, path)
}

/// The words that a schema allows, if it is a list of words.
pub(super) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.iter().filter_map(Value::as_str).collect());
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return Some(vec![word]);
    }
    let variants = schema.get("oneOf")?.as_array()?;
    variants.iter().map(words).collect::<Option<Vec<_>>>().map(|w| w.concat())
}

struct Checker<'p> {
    problems: &'p mut Problems,
}

impl Checker<'_> {
    fn value(&mut self, node: &Node, schema: &Value, path: &str) -> Option<Value> {
        if let Kind::Scalar(scalar) = &node.kind
            && scalar.is_null()
        {
            let hint = format!("write {}, or delete the key", wanted(schema));
            self.problems.add(node.pos, path, "has no value", Some(hint));
            return None;
        }
        let kind = schema.get("type").and_then(Value::as_str);
        match (kind, &node.kind) {
            (_, Kind::Refused) => None,
            (Some("object"), Kind::Map(_)) => self.object(node, schema, path),
            (Some("array"), Kind::List(items)) => Some(self.array(items, schema, path)),
            (_, Kind::Scalar(scalar)) if words(schema).is_some() => {
                self.word(node, scalar, &words(schema)?, path)
            }
            (Some("string"), Kind::Scalar(scalar)) => match scalar.as_text() {
                Some(text) => Some(text.into()),
                None => {
                    let shown = scalar.shown();
                    let (what, hint) = match schema.get("pattern") {
                        Some(_) => (
                            format!("`{shown}` has no unit"),
                            format!("write it as in {}", wanted(schema)),
                        ),
                        None => ("has to be text".into(), format!("put it in quotes: \"{shown}\"")),
                    };
                    self.problems.add(node.pos, path, what, Some(hint));
                    None
                }
            },
            (Some("boolean"), Kind::Scalar(scalar)) => match scalar.as_bool() {
                Some(truth) => Some(truth.into()),
                None => self.mismatch(node, schema, path),
            },
            (Some("integer"), Kind::Scalar(scalar)) => match scalar.as_integer() {
                Some(number) => self.integer(node, number, schema, path),
                None => self.mismatch(node, schema, path),
            },
            _ => self.mismatch(node, schema, path),
        }
    }

    fn object(&mut self, node: &Node, schema: &Value, path: &str) -> Option<Value> {
        let empty = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        // A map whose keys are the operator's own; a closed one has `false` here.
        let any = schema.get("additionalProperties").filter(|s| s.is_object());
        if self.is_planned_as_a_whole(node, path) {
            return None;
        }
        let mut sound = Map::new();
        for entry in node.entries() {
            let inner = join(path, &entry.key);
            if let Some(reason) = planned::refusal(&inner, None) {
                self.problems.add(entry.pos, inner, reason, None);
                continue;
            }
            let Some(schema) = known.get(&entry.key).or(any) else {
                let hint = match nearest(&entry.key, known.keys().map(String::as_str)) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("known here: {}", list(known.keys().map(String::as_str))),
                };
                self.problems.add(entry.pos, inner, "unknown key", Some(hint));
                continue;
            };
            if let Some(value) = self.value(&entry.value, schema, &inner) {
                sound.insert(entry.key.clone(), value);
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if node.get(key).is_none() {
                let example = known.get(key).map(wanted).unwrap_or_default();
                let what = format!("`{key}` is missing");
                self.problems.add(node.pos, path, what, Some(format!("{key}: {example}")));
            }
        }
        Some(Value::Object(sound))
    }

    /// Whether one word in it (a sink's `type`) makes the whole entry one that
    /// this version does not have: then its other keys are not judged.
    fn is_planned_as_a_whole(&mut self, node: &Node, path: &str) -> bool {
        let Some((kind, word)) = node.get("type").and_then(|n| n.scalar().map(|s| (n, s))) else {
            return false;
        };
        let inner = join(path, "type");
        let Some(reason) = planned::refusal(&inner, Some(&word.text)) else {
            return false;
        };
        self.problems.add(kind.pos, inner, reason, None);
        true
    }

    /// Keeps the places: what is not sound becomes null.
    fn array(&mut self, items: &[Node], schema: &Value, path: &str) -> Value {
        let any = Value::Bool(true);
        let schema = schema.get("items").unwrap_or(&any);
        let item = |(n, item)| self.value(item, schema, &format!("{path}[{n}]"));
        items.iter().enumerate().map(item).map(Option::unwrap_or_default).collect()
    }

    fn word(&mut self, node: &Node, scalar: &Scalar, known: &[&str], path: &str) -> Option<Value> {
        if known.contains(&scalar.text.as_str()) {
            return Some(scalar.text.as_str().into());
        }
        if let Some(reason) = planned::refusal(path, Some(&scalar.text)) {
            self.problems.add(node.pos, path, reason, None);
            return None;
        }
        let hint = match nearest(&scalar.text, known.iter().copied()) {
            Some(word) if known.len() > 1 => format!("did you mean `{word}`?"),
            _ if known.len() == 1 => format!("it has to be {}", list(known.iter().copied())),
            _ => format!("one of {}", list(known.iter().copied())),
        };
        let what = format!("`{}` is not known here", scalar.shown());
        self.problems.add(node.pos, path, what, Some(hint));
        None
    }

    fn integer(&mut self, node: &Node, number: u64, schema: &Value, path: &str) -> Option<Value> {
        let bound =
            |key: &str, otherwise| schema.get(key).and_then(Value::as_u64).unwrap_or(otherwise);
        let (least, most) = (bound("minimum", 0), bound("maximum", u64::MAX));
        if (least..=most).contains(&number) {
            return Some(number.into());
        }
        let hint = format!("a number from {least} to {most}");
        self.problems.add(node.pos, path, format!("{number} is out of range"), Some(hint));
        None
    }

    fn mismatch(&mut self, node: &Node, schema: &Value, path: &str) -> Option<Value> {
        let secret = schema.get("x-secret").is_some();
        if secret && matches!(node.kind, Kind::Scalar(_)) {
            let hint = "a secret does not stand in the configuration: put it in a file and write \
                        {file: /path/to/it}, or {env: NAME} for an environment variable";
            self.problems.add(node.pos, path, "is not a reference to a secret", Some(hint.into()));
            return None;
        }
        let found = match &node.kind {
            Kind::Map(_) => "keys and values".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Refused => return None,
            Kind::Scalar(scalar) => format!("`{}`", scalar.shown()),
        };
        let what = format!("{found} cannot stand here");
        self.problems.add(node.pos, path, what, Some(format!("write {}", wanted(schema))));
        None
    }
}

/// What a schema asks for, as people write it.
fn wanted(schema: &Value) -> String {
    if let Some(words) = words(schema) {
        return list(words.into_iter());
    }
    let example = schema.get("examples").and_then(|e| e.get(0));
    if let Some(example) = example {
        return match example {
            Value::String(text) => text.clone(),
            Value::Array(items) => format!("[{}]", list_plain(items)),
            other => other.to_string(),
        };
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => "true or false".into(),
        Some("integer") => "a whole number".into(),
        Some("array") => {
            let item = schema.get("items").map(wanted).unwrap_or_default();
            format!("a list: [{item}]")
        }
        Some("object") if schema.get("x-secret").is_some() => "{file: /path/to/it}".into(),
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            "names and values: {name: value}".into()
        }
        Some("object") => {
            let known = schema.get("properties").and_then(Value::as_object);
            let keys = known.map(|k| list(k.keys().map(String::as_str))).unwrap_or_default();
            format!("keys and values ({keys})")
        }
        _ => "text".into(),
    }
}

fn list_plain(items: &[Value]) -> String {
    items.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// `a`, `b` or `c`.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.map(|w| format!("`{w}`")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}
