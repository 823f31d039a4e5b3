//! `seal_fields`: what leaves sealed for Splunk and Datadog.

use super::convert::Check;
use super::feeds::FeedTo;
use crate::sink::event::Template;
use crate::sink::sealed::{CLEAR, Pointer};

/// The fields of the sink at `path`, of which only `selected` go there (empty: all).
pub(super) fn convert(
    raw: Option<Vec<Option<String>>>,
    selected: &[String],
    path: &str,
    check: &mut Check<'_>,
) -> Option<Vec<Pointer>> {
    let Some(raw) = raw else {
        return (!check.given(&format!("{path}.seal_fields"))).then(Vec::new);
    };
    if raw.is_empty() {
        let what = "seals nothing";
        check.refuse(&format!("{path}.seal_fields"), what, "[text], or delete it");
        return None;
    }
    let mut fields: Vec<Pointer> = Vec::new();
    let mut good = true;
    for (n, text) in raw.into_iter().enumerate() {
        let at = format!("{path}.seal_fields[{n}]");
        match text.and_then(|text| one(&text, selected, &fields, &at, check)) {
            Some(field) => fields.push(field),
            None => good = false,
        }
    }
    good.then_some(fields)
}

fn one(
    text: &str,
    selected: &[String],
    before: &[Pointer],
    at: &str,
    check: &mut Check<'_>,
) -> Option<Pointer> {
    let shown = check.shown(at);
    let field = match Pointer::parse(text) {
        Ok(field) => field,
        Err(what) => {
            check.refuse(at, format!("`{shown}` {what}"), "a name, or /source/path");
            return None;
        }
    };
    let first = field.first();
    if CLEAR.contains(&first) {
        let what = format!("`{shown}` says which record it is, and cannot be sealed");
        check.refuse(at, what, "delete it");
        return None;
    }
    if !selected.is_empty() && !selected.iter().any(|s| s == first) {
        let what = format!("`{shown}` does not go there: it is not among `fields`");
        check.refuse(at, what, "add it there, or delete it here");
        return None;
    }
    if let Some(other) = before.iter().find(|b| b.covers(&field) || field.covers(b)) {
        let what = format!("`{shown}` and {other} overlap");
        check.refuse(at, what, "the larger of the two is enough");
        return None;
    }
    Some(field)
}

/// No template copies out what is sealed. `None`: one does, and that was said.
pub(super) fn templates(
    to: &FeedTo,
    sealed: &[Pointer],
    path: &str,
    check: &mut Check<'_>,
) -> Option<()> {
    let templates = match to {
        FeedTo::Splunk { metadata: m, .. } => vec![
            ("index", &m.index),
            ("source", &m.source),
            ("sourcetype", &m.sourcetype),
            ("host", &m.host),
        ],
        FeedTo::Datadog { metadata: m, .. } => {
            vec![("ddsource", &m.source), ("service", &m.service), ("hostname", &m.hostname)]
        }
    };
    let mut good = true;
    for (key, template) in templates {
        for name in template.iter().flat_map(Template::fields) {
            let Ok(copied) = Pointer::parse(name.field) else { continue };
            if sealed.iter().any(|field| field.covers(&copied)) {
                let what =
                    format!("would send {{{}}} in clear, which seal_fields seals", name.place);
                check.refuse(&format!("{path}.{key}"), what, "take it out of one of the two");
                good = false;
            }
        }
    }
    good.then_some(())
}
