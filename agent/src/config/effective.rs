//! The effective configuration as text: defaults filled in, variables
//! substituted, secrets as references.
//!
//! It is a configuration itself: read again, it means the same.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What is in force, as `sealtail check` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effective(Value);

impl Effective {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        block(&self.0, 0, &mut out);
        f.write_str(out.trim_start_matches('\n'))?;
        f.write_str("\n")
    }
}

/// The order in which people expect the keys; others follow by the alphabet.
const ORDER: [&str; 64] = [
    "origin",
    "sources",
    "redact",
    "journal",
    "seal",
    "sinks",
    "residency",
    "regions",
    "sites",
    "admin",
    "limits",
    "log",
    "governance",
    "name",
    "type",
    "url",
    "path",
    "include",
    "exclude",
    "format",
    "start_at",
    "max_line",
    "partial_wait",
    "profile",
    "include_payload",
    "mask",
    "allow_clear",
    "token_key",
    "signing_key",
    "recipients",
    "rsa",
    "aes",
    "kms",
    "file",
    "env",
    "batch",
    "max_bytes",
    "max_age",
    "max_records",
    "codec",
    "level",
    "heartbeat",
    "region",
    "endpoint",
    "allow_insecure",
    "path_style",
    "checksums",
    "credentials",
    "assume_role",
    "role_arn",
    "external_id",
    "session_name",
    "expected_owner",
    "server_side_encryption",
    "key_id",
    "bucket_key",
    "storage_class",
    "tags",
    "object_lock",
    "mode",
    "retain_days",
    "legal_hold",
    "access_key",
    "secret_key",
];

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let place = |key: &str| ORDER.iter().position(|k| *k == key).unwrap_or(ORDER.len());
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| (place(key), *key));
    entries
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(map) if !is_small(value, indent) => {
            for (key, value) in sorted(map) {
                out.push_str(&format!("\n{margin}{}:", scalar(key)));
                block(value, indent + 2, out);
            }
        }
        Value::Array(items) if !is_small(value, indent) => {
            for item in items {
                let mut inner = String::new();
                block(item, indent + 2, &mut inner);
                out.push_str(&format!("\n{margin}- {}", inner.trim_start()));
            }
        }
        _ => {
            out.push(' ');
            flow(value, out);
        }
    }
}

/// Whether it is better read on one line: words, references to secrets.
fn is_small(value: &Value, indent: usize) -> bool {
    let leaf = |v: &Value| !v.is_object() && !v.is_array();
    match value {
        Value::Object(map) => indent > 2 && map.len() <= 3 && map.values().all(leaf),
        Value::Array(items) => items.iter().all(leaf),
        _ => true,
    }
}

fn flow(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                let mut text = format!("{}: ", scalar(key));
                flow(value, &mut text);
                text
            };
            let entries: Vec<_> = sorted(map).into_iter().map(entry).collect();
            out.push_str(&format!("{{{}}}", entries.join(", ")));
        }
        Value::Array(items) => {
            let item = |value| {
                let mut text = String::new();
                flow(value, &mut text);
                text
            };
            out.push_str(&format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(", ")));
        }
        Value::String(text) => out.push_str(&scalar(text)),
        other => out.push_str(&other.to_string()),
    }
}

/// Plain where nothing can be read into it, in JSON's quotes elsewhere.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./-".contains(&b))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    let unit = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphabetic())
        && text.parse::<f64>().is_err()
        && !text.starts_with("0x")
        && !text.starts_with("0o");
    if plain || unit {
        return text.to_owned();
    }
    // A dollar sign is doubled, or it would be substituted when read again.
    Value::String(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_like_a_configuration() {
        let value = json!({
            "sinks": [{"url": "s3://a/", "name": "archive", "credentials": {"access_key": {"env": "A"}}}],
            "journal": {"path": "/j", "key": {"file": "/k y"}, "max_bytes": "1GiB"},
            "origin": "on", "redact": {"mask": true, "profile": "a: $b"},
            "sources": [{"include": ["/a/*.log", "123"]}],
        });
        let expected = r#"origin: "on"
sources:
  - include: ["/a/*.log", "123"]
redact:
  profile: "a: $$b"
  mask: true
journal:
  path: /j
  max_bytes: 1GiB
  key: {file: "/k y"}
sinks:
  - name: archive
    url: "s3://a/"
    credentials:
      access_key: {env: A}
"#;
        assert_eq!(Effective::new(value).to_string(), expected);
    }
}
