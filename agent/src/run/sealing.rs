//! The sealer thread's loop around [`Sealer::step`].

use super::now_ms;
use crate::sealer::{SealError, Sealer, Step};
use std::time::Duration;
use tokio::sync::watch;

/// Seals until the input has ended and all of it is sealed; then the `end` leaf.
pub(super) fn run(
    mut sealer: Sealer,
    runtime: &tokio::runtime::Handle,
    mut input_done: watch::Receiver<bool>,
) -> Result<(), String> {
    let failed = |e: SealError| {
        tracing::error!("failed to {e}");
        e.to_string()
    };
    let mut warned = false;
    loop {
        // Read before the step: what came before the end is then seen by it.
        let ended = *input_done.borrow();
        match sealer.step(now_ms()).map_err(failed)? {
            Step::Worked => warned = false,
            Step::Idle { .. } if ended => break,
            Step::Idle { until } => {
                let wait = Duration::from_millis(until.saturating_sub(now_ms()).clamp(1, 60_000));
                runtime.block_on(async {
                    // Each branch only waits.
                    tokio::select! {
                        open = sealer.journal().changed() => if !open {
                            // The writer is gone; the end is announced right after.
                            drop(input_done.wait_for(|done| *done).await);
                        },
                        _ = input_done.changed() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                });
            }
            Step::Blocked => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        "the outbox is full (sinks behind, or no space); sealing waits, nothing is lost"
                    );
                }
                pause(runtime);
            }
        }
    }
    loop {
        match sealer.end(now_ms()) {
            Ok(()) => return Ok(()),
            Err(SealError::Outbox(e)) if e.is_full() => {
                pause(runtime);
            }
            Err(e) => return Err(failed(e)),
        }
    }
}

/// A moment, until the outbox is tried again. The timer has to be made inside
/// the runtime: this thread is none of its own.
fn pause(runtime: &tokio::runtime::Handle) {
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_full_outbox_is_waited_for_on_a_thread_of_no_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        let handle = runtime.handle().clone();
        assert!(std::thread::spawn(move || super::pause(&handle)).join().is_ok());
    }
}
