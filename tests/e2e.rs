//! End-to-end tests: the real program, on real files, as a user runs it.
//!
//! `SEALTAIL_BIN` names another binary to test (a release or static one);
//! `SEALTAIL_TEST_S3_*` name a real S3 server, without which the S3 runs say
//! loudly that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "e2e/admin.rs"]
mod admin;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/continuity.rs"]
mod continuity;
#[path = "e2e/crash.rs"]
mod crash;
#[path = "e2e/feeds.rs"]
mod feeds;
#[path = "e2e/kms.rs"]
mod kms;
#[path = "e2e/leak.rs"]
mod leak;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "support/loggen.rs"]
mod loggen;
#[path = "e2e/on_full.rs"]
mod on_full;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/sandbox.rs"]
mod sandbox;
#[path = "e2e/sealed.rs"]
mod sealed;
#[path = "e2e/worm.rs"]
mod worm;
