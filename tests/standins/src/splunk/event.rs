//! The events of one request: JSON objects one after another, checked one after another.

use serde_json::Value;

use crate::json::{self, Fault, Kind, Node, Parsed};
use crate::reply::Reply;

use super::{Poison, SplunkConfig};

const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];

/// What a body held, up to the first event that is not right.
pub(super) struct Batch {
    /// The events before that one: text and value.
    pub(super) events: Vec<(String, Value)>,
    pub(super) refused: Option<Refused>,
}

/// Why a batch is refused.
pub(super) struct Refused {
    pub(super) reply: Reply,
    /// What the client should never have sent; `None` for what a test asked for.
    pub(super) violation: Option<String>,
}

/// What is wrong with one event.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// Code 6.
    Format(String),
    /// Code 7.
    Index,
    /// Code 12.
    Missing,
    /// Code 13.
    Blank,
    /// Code 15.
    Fields(String),
    /// Code 6, because the test says so.
    Poison,
}

pub(super) fn read(text: &str, config: &SplunkConfig, poison: Option<&Poison>) -> Batch {
    let mut events = Vec::new();
    let mut rest = text;
    loop {
        let parsed = match json::first(rest) {
            None if events.is_empty() => {
                let refused = Refused {
                    reply: Reply::splunk(400, 5, "No data"),
                    violation: Some("no event in the body".into()),
                };
                return Batch { events, refused: Some(refused) };
            }
            None => return Batch { events, refused: None },
            Some(Ok(parsed)) => parsed,
            Some(Err(fault)) => {
                let wrong = Wrong::Format(match fault {
                    Fault::Syntax(why) => why,
                    Fault::Duplicate(key) => format!("the key {key:?} stands twice"),
                });
                let refused = Some(refuse(&wrong, events.len(), true));
                return Batch { events, refused };
            }
        };
        if let Err(wrong) = check(&parsed, config, poison) {
            let numbered = wrong != Wrong::Poison || poison.is_some_and(|p| p.numbered);
            let refused = Some(refuse(&wrong, events.len(), numbered));
            return Batch { events, refused };
        }
        events.push((parsed.node.raw.to_owned(), parsed.value));
        rest = rest.get(parsed.end..).unwrap_or_default();
    }
}

fn refuse(wrong: &Wrong, number: usize, numbered: bool) -> Refused {
    let (code, text, why) = match wrong {
        Wrong::Format(why) => (6, "Invalid data format", Some(why.as_str())),
        Wrong::Index => (7, "Incorrect index", None),
        Wrong::Missing => (12, "Event field is required", Some("no event")),
        Wrong::Blank => (13, "Event field cannot be blank", Some("a blank event")),
        Wrong::Fields(why) => (15, "Error in handling indexed fields", Some(why.as_str())),
        Wrong::Poison => (6, "Invalid data format", None),
    };
    let reply = if numbered {
        let body = format!(r#"{{"text":"{text}","code":{code},"invalid-event-number":{number}}}"#);
        Reply::json(400, &body)
    } else {
        Reply::splunk(400, code, text)
    };
    Refused { reply, violation: why.map(|why| format!("event {number}: {why}")) }
}

fn check(parsed: &Parsed<'_>, config: &SplunkConfig, poison: Option<&Poison>) -> Result<(), Wrong> {
    let event = &parsed.node;
    let format = |why: String| Err(Wrong::Format(why));
    let Some(members) = event.members() else { return format("not an object".into()) };
    for (key, node) in members {
        match key.as_str() {
            "time" => time(node).map_err(Wrong::Format)?,
            "host" | "source" | "sourcetype" | "index" => match node.as_str() {
                Some(text) if !text.is_empty() => {}
                _ => return format(format!("{key} is no string, or empty")),
            },
            other if !KEYS.contains(&other) => return format(format!("unknown key {other:?}")),
            _ => {}
        }
    }
    match event.get("event").map(|node| &node.kind) {
        None | Some(Kind::Null) => return Err(Wrong::Missing),
        Some(Kind::String(text)) if text.trim().is_empty() => return Err(Wrong::Blank),
        Some(Kind::Object(members)) if members.is_empty() => return Err(Wrong::Blank),
        Some(Kind::Array(items)) if items.is_empty() => return Err(Wrong::Blank),
        Some(_) => {}
    }
    event.get("fields").map_or(Ok(()), fields).map_err(Wrong::Fields)?;
    let index = event.get("index").and_then(|node| node.as_str());
    if let (Some(index), Some(allowed)) = (index, &config.indexes)
        && !allowed.iter().any(|known| known == index)
    {
        return Err(Wrong::Index);
    }
    if poison.is_some_and(|poison| (poison.is_poison)(&parsed.value)) {
        return Err(Wrong::Poison);
    }
    Ok(())
}

/// Epoch seconds: up to ten digits (milliseconds have thirteen), up to nine decimals, no exponent.
fn time(node: &Node<'_>) -> Result<(), String> {
    let text = match &node.kind {
        Kind::Number => node.raw,
        Kind::String(text) => text,
        _ => return Err("time is neither number nor string".into()),
    };
    let digits = |s: &str, most: usize| {
        (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
    };
    let good = match text.split_once('.') {
        None => digits(text, 10),
        Some((seconds, decimals)) => digits(seconds, 10) && digits(decimals, 9),
    };
    if good { Ok(()) } else { Err(format!("time is {text:.40}")) }
}

fn fields(node: &Node<'_>) -> Result<(), String> {
    let Some(members) = node.members() else { return Err("fields is no object".into()) };
    for (name, value) in members {
        let plain =
            |node: &Node<'_>| matches!(node.kind, Kind::String(_) | Kind::Number | Kind::Bool);
        let good = match &value.kind {
            Kind::Array(items) => items.iter().all(plain),
            _ => plain(value),
        };
        if name.is_empty() || !good {
            return Err(format!("the field {name:?} has no name, or is not flat"));
        }
    }
    Ok(())
}
