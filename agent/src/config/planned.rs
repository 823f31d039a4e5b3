//! What the configuration will have one day, and this version refuses.
//!
//! An option that is read and ignored would be a lie; one that is called
//! "unknown" although the documentation names it would be a riddle. So each is
//! listed here with a reason, and its line goes when the thing is built.

/// The path (list places left out), the word if only that word is refused, the reason.
const PLANNED: &[(&str, Option<&str>, &str)] = &[
    ("media", None, "purging media files is not available yet in this version"),
    (
        "retention",
        None,
        "purging is not available yet in this version; retention days from a governance document \
         are carried as tags on every object, and are the days of a sink's object_lock",
    ),
    ("sources[].since", None, "starting at a time is not available yet; use start_at"),
    ("sources[].type", Some("webhook"), "the webhook source is not available yet in this version"),
    (
        "sources[].type",
        Some("journald"),
        "the journald source is not available yet in this version",
    ),
    ("each", None, "stands in the built-in defaults only; set the value in each entry of the list"),
];

/// Why this key (or this word at this key) is refused, if it is a planned one.
pub(super) fn refusal(path: &str, word: Option<&str>) -> Option<&'static str> {
    let path = without_places(path);
    PLANNED
        .iter()
        .find(|(planned, planned_word, _)| *planned == path && *planned_word == word)
        .map(|(_, _, reason)| *reason)
}

/// `sinks[12].type` → `sinks[].type`.
fn without_places(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside || c == '[' {
            out.push(c);
        }
    }
    out
}
