//! Delivery to Splunk and Datadog, against stand-ins that are stricter than the
//! real ones: whatever goes wrong, nothing is lost, and what comes twice is what
//! the protocol makes unavoidable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "delivery/acks.rs"]
mod acks;
#[path = "delivery/matrix.rs"]
mod matrix;
#[path = "delivery/on_full.rs"]
mod on_full;
#[path = "delivery/outage.rs"]
mod outage;
#[path = "delivery/poison.rs"]
mod poison;
#[path = "delivery/way.rs"]
mod way;
#[path = "delivery/world.rs"]
mod world;
