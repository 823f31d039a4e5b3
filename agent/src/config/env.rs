//! `${NAME}` and `${NAME:-default}` in values.
//!
//! Done after the text was parsed, so a variable can change a value but never
//! the document's structure. `$$` is a dollar sign; one that stands before
//! anything but `{` is left alone. Keys are not touched.

use super::error::Problems;
use super::tree::{Kind, Node, join};

/// Looks an environment variable up.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Substitutes in every value of the tree.
pub(super) fn substitute(node: &mut Node, path: &str, env: &Env<'_>, problems: &mut Problems) {
    match &mut node.kind {
        Kind::Scalar(scalar) if scalar.text.contains('$') => match expand(&scalar.text, env) {
            Ok(text) => {
                scalar.written = Some(std::mem::replace(&mut scalar.text, text));
            }
            Err(error) => {
                let (what, hint) = error.words();
                problems.add(node.pos, path, what, Some(hint));
                node.kind = Kind::Refused;
            }
        },
        Kind::Scalar(_) | Kind::Refused => {}
        Kind::List(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                substitute(item, &format!("{path}[{n}]"), env, problems);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                substitute(&mut entry.value, &join(path, &entry.key), env, problems);
            }
        }
    }
}

/// Why a value cannot be substituted.
#[derive(Debug, PartialEq, Eq)]
enum Unexpanded {
    Unset(String),
    Unclosed,
    BadName(String),
}

impl Unexpanded {
    fn words(&self) -> (String, String) {
        match self {
            Self::Unset(name) => (
                format!("the environment variable {name} is not set"),
                format!("set it, or give a default: ${{{name}:-value}}"),
            ),
            Self::Unclosed => {
                ("`${` without its `}`".into(), "a dollar sign itself is written `$$`".into())
            }
            Self::BadName(name) => (
                format!("`{name}` is no name of an environment variable"),
                "write ${NAME} or ${NAME:-default}".into(),
            ),
        }
    }
}

fn expand(text: &str, env: &Env<'_>) -> Result<String, Unexpanded> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').ok_or(Unexpanded::Unclosed)?;
            out.push_str(&value(inside, env)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands between the braces; like the shell, `:-` also replaces an empty value.
fn value(inside: &str, env: &Env<'_>) -> Result<String, Unexpanded> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !valid {
        return Err(Unexpanded::BadName(name.to_owned()));
    }
    match (env(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unexpanded::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Unexpanded> {
        expand(text, &|name| match name {
            "POD" => Some("gateway-0".into()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("${POD}: [1]".into()),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_dollars() {
        assert_eq!(expanded("wa/${POD}/x").unwrap(), "wa/gateway-0/x");
        assert_eq!(expanded("${NONE:-a}${EMPTY:-b}${EMPTY}").unwrap(), "ab");
        assert_eq!(expanded("^a$ $$ $${POD} $").unwrap(), "^a$ $ ${POD} $");
        assert_eq!(expanded("${NONE:-}").unwrap(), "");
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expanded("${SLY}").unwrap(), "${POD}: [1]");
    }

    #[test]
    fn what_cannot_be_expanded_is_refused() {
        assert_eq!(expanded("${NONE}"), Err(Unexpanded::Unset("NONE".into())));
        assert_eq!(expanded("x ${POD"), Err(Unexpanded::Unclosed));
        assert_eq!(expanded("${}"), Err(Unexpanded::BadName(String::new())));
        assert_eq!(expanded("${1A}"), Err(Unexpanded::BadName("1A".into())));
    }
}
