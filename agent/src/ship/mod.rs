//! What all sinks share on the way out.

pub mod backoff;
pub mod retry_after;
