//! The sealer thread's loop around [`Sealer::step`].

use super::{Live, now_ms};
use crate::sealer::datakey::KeyError;
use crate::sealer::{SealError, Sealer, Step};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// Before a full outbox is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Seals until the input has ended and all of it is sealed; then the `end` leaf.
pub(super) fn run(
    mut sealer: Sealer,
    live: &Live,
    mut input_done: watch::Receiver<bool>,
) -> Result<(), String> {
    // Its own: a timer of the agent's runtime would end with that one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|e| format!("seal: the thread has no timer: {e}"))?;
    let failed = |e: SealError| {
        tracing::error!("failed to {e}");
        e.to_string()
    };
    let waivers = sealer.waivers();
    let mut warned = false;
    let mut asked = sealer.asked();
    loop {
        if live.give_up.load(Relaxed) {
            return given_up(&sealer);
        }
        // Read before the step: what came before the end is then seen by it.
        let ended = *input_done.borrow();
        let step = sealer.step(now_ms()).map_err(failed)?;
        live.sealing_blocked.store(matches!(step, Step::Blocked | Step::NoKey), Relaxed);
        let halts = sealer.key_trouble().is_some_and(KeyError::is_halt);
        live.key_halted.store(step == Step::NoKey && halts, Relaxed);
        live.no_key.store(step == Step::NoKey, Relaxed);
        live.sealed.store(sealer.cursor().0, Relaxed);
        live.unsealed_since.store(sealer.oldest_unsealed().unwrap_or(0), Relaxed);
        match step {
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
                        () = waivers.wait() => {}
                        () = async {
                            match &mut asked {
                                Some(asked) => drop(asked.changed().await),
                                None => std::future::pending().await,
                            }
                        } => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                });
            }
            // The source of data keys has said why.
            Step::NoKey => std::thread::sleep(PAUSE),
            Step::Blocked => {
                if live.give_up.load(Relaxed) {
                    return given_up(&sealer);
                }
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        "the outbox is full (sinks behind, or no space); sealing waits, nothing is lost"
                    );
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
    live.key_halted.store(false, Relaxed);
    loop {
        match sealer.end(now_ms()) {
            Ok(()) => return Ok(()),
            Err(SealError::Outbox(e)) if e.is_full() => {
                live.sealing_blocked.store(true, Relaxed);
                if live.give_up.load(Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(PAUSE);
            }
            Err(e) => return Err(failed(e)),
        }
    }
}

/// The end before all is sealed. What waits for a data key is a failure that is
/// nobody else's.
fn given_up(sealer: &Sealer) -> Result<(), String> {
    match sealer.key_trouble() {
        Some(e) => Err(format!("{e}; what is not sealed waits in the journal")),
        None => Ok(()),
    }
}
