//! The origin: the name of the one ordered log that this agent writes.

use super::convert::Check;
use std::fmt;

/// Longest origin, in bytes: it stands in every key and every leaf.
const MAX_LEN: usize = 200;

/// The name of an agent's log, such as `wa/prod/gateway-0`.
///
/// Parts of ASCII letters, digits, `.`, `_` and `-`, joined by `/`; no part is
/// empty, `.` or `..`. So it is safe in paths and object keys, and a C2SP key
/// name (no spaces, no `+`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn convert(raw: Option<String>, check: &mut Check<'_>) -> Option<Origin> {
    let text = raw?;
    let what = match wrong(&text) {
        None => return Some(Origin(text)),
        Some(what) => what,
    };
    let what = format!("`{}` {what}", check.shown("origin"));
    check.refuse(
        "origin",
        what,
        "letters, digits, `.`, `_` and `-`, in parts joined by `/`: wa/prod/gateway-0",
    );
    None
}

fn wrong(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > MAX_LEN {
        return Some("is longer than 200 characters");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("begins or ends with `/`, or has two together"),
        "." | ".." => Some("has a part that is `.` or `..`"),
        _ if part.bytes().all(is_name_byte) => None,
        _ => Some("has a character that cannot stand in every key and path"),
    })
}

/// What names of ours are made of.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_in_every_path() {
        for good in ["host", "wa/prod/gateway-0", "a.b_c-D9/x"] {
            assert_eq!(wrong(good), None, "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a b", "a+b", "ä", "a\nb", "a:b", "a\\b"]
        {
            assert!(wrong(bad).is_some(), "{bad:?}");
        }
        assert!(wrong(&"x".repeat(201)).is_some());
    }
}
