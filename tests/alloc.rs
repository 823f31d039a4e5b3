//! The hot path allocates nothing per line: redaction and the journal's open
//! block work in memory that they have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/loggen.rs"]
#[expect(dead_code, unused_imports, reason = "the crash tests use the other half")]
mod loggen;

use sealtail::line::{Cut, Line, Span, Stream};
use sealtail::redact::{Policy, Profile, Redacted, Redactor};
use sealtail::source::{FileId, SourceTag};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The texts of a log as the decoder gives them.
fn texts() -> Vec<String> {
    let mut log = Vec::new();
    loggen::perf_log(2000, 3, &mut log).unwrap();
    let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let text = |line: &str| record(line)["log"].as_str().unwrap().trim_end().to_owned();
    String::from_utf8(log).unwrap().lines().map(text).collect()
}

fn main() {
    let texts = texts();
    for profile in [Profile::Strict, Profile::Balanced, Profile::AuditOnly, Profile::MaskOnly] {
        let policy = Policy { profile, include_payload: profile == Profile::MaskOnly, mask: true };
        let mut redactor = Redactor::new(policy, &[2; 32]);
        let tag = SourceTag { file: FileId([3; 16]), path_json: "/l/a.log".into() };
        let mut out = Redacted::new();
        let mut run = || {
            for text in &texts {
                let span = Span { start: 0, end: text.len() as u64 };
                let text = text.as_bytes();
                let line =
                    Line { text, stream: Stream::Stdout, time: None, span, cut: Cut::default() };
                out.clear();
                redactor.line(&tag, &line, &mut out);
            }
        };
        // The first time buffers grow to what the lines need.
        run();
        let region = Region::new(ALLOCATOR);
        run();
        let change = region.change();
        assert_eq!(change.allocations + change.reallocations, 0, "{profile:?}: {change:?}");
    }
    println!("redaction allocates nothing in steady state: ok");
}
