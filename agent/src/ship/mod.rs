//! What all sinks share on the way out.
//!
//! [`batch`] cuts the journal into bodies, [`ledger`] keeps their order and moves
//! the cursor, [`window`] and [`rate`] say how many requests may be under way,
//! [`backoff`] how long to wait, [`http`] sends, [`wire`] knows how a
//! destination wants it, [`answer`] is what a destination
//! said of a batch, [`dissect`] finds the record that it refuses, [`dead`] keeps
//! that one, [`on_full`] what happens when the journal is full, and [`engine`] is the
//! task that does it all.

pub mod answer;
pub mod backoff;
pub mod batch;
pub mod dead;
pub mod dissect;
pub mod engine;
pub mod expiry;
pub mod http;
pub mod ledger;
pub mod on_full;
pub mod rate;
pub mod retry_after;
pub mod spool;
pub mod window;
pub mod wire;
