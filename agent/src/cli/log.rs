//! The agent's own log, on stderr. Never any content of a record.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

/// Sets the log up. The dependencies only speak from `warn` on: their debug
/// output can hold requests.
pub(super) fn init(log: Log) {
    let filter = EnvFilter::new(format!("warn,sealtail={}", log.level.name()));
    let registry = tracing_subscriber::registry().with(filter);
    // A second call (tests) changes nothing.
    let outcome = match log.format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Human => registry
            .with(
                fmt::layer()
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    drop(outcome);
}
