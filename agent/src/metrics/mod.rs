//! What the running agent says of itself, as metrics and as status.
//!
//! It promises: every family is in [`families`] with its type, unit, labels and
//! meaning, and so in `docs/metrics.md`; a label's value is a sink's name or a word
//! of this program, so their number is bounded by the configuration; nothing that
//! stood in a log, no path, URL or secret is ever a label or a value.
//!
//! It costs the hot path nothing a line: `sources` reads atomics that are moved on
//! once a chunk, a batch or a request.

pub mod families;
mod render;
mod sources;
pub mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

#[cfg(test)]
pub(crate) use tests::sample;

pub use render::{CONTENT_TYPE, openmetrics};
pub(crate) use sources::{Counted, SinkSource, Sources};

/// The loop that reads turns at least every few seconds. One that has not for so
/// long hangs, in a read or an fsync.
pub const STALLED: Duration = Duration::from_secs(60);
