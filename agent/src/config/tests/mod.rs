//! What an operator sees: what is accepted, what it means, and each refusal
//! with its place and its hint.

mod accepted;
mod governance;
mod kms;
mod refused;
mod report;
mod schema_text;

use super::*;
use std::time::Duration;

const MINIMAL: &str = "sinks: [{name: archive, type: archive, url: file:///srv/archive}]\n";

fn env(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" => Some("gateway-0".into()),
        "SAMPLES" | "QUICKSTART" => Some("/tmp/quickstart".into()),
        "SECRET" => Some("hunter2".into()),
        _ => None,
    }
}

fn good(text: &str) -> Config {
    parse(text, "c.yaml", &env).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let errors = parse(text, "c.yaml", &env).expect_err("has to be refused").to_string();
    assert_eq!(errors, expected.trim_matches('\n'), "\n--- got:\n{errors}\n");
}

/// The text behind a minimal configuration.
fn with(text: &str) -> String {
    format!("{MINIMAL}{text}")
}

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name);
    load(&path, &env).unwrap_or_else(|e| panic!("{e}"))
}
