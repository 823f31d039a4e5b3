//! The hot thread's loop around [`Pipeline::step`].

use super::summary::Summary;
use super::{Live, Phase, now_ms};
use crate::pipeline::{Pipeline, Step};
use crate::redact::{Class, Event};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// What the thread leaves behind.
pub(super) struct Done {
    pub(super) summary: Summary,
}

/// Reads until told to drain and drained. With `once`, partial lines are given
/// out at the end without waiting for their rest.
pub(super) fn run(
    mut pipeline: Pipeline,
    phase: &watch::Receiver<Phase>,
    once: bool,
    live: &Live,
) -> Result<Done, String> {
    let fatal = |e: crate::journal::AppendError| {
        tracing::error!("failed to append to the journal: {e}");
        format!("append to the journal: {e}")
    };
    let started = crate::text::rfc3339(now_ms());
    pipeline.note(|redactor, out| {
        redactor.agent_start(&started, &[("version", env!("CARGO_PKG_VERSION"))], out);
    });
    let given_up = || live.give_up.load(Relaxed);
    while !given_up() {
        let step = pipeline.step(now_ms()).map_err(fatal)?;
        publish(&pipeline, live, matches!(step, Step::Blocked(_)));
        let draining = *phase.borrow() == Phase::Draining;
        match step {
            Step::Worked => {}
            Step::Idle(_) if draining && pipeline.drained() => break,
            Step::Idle(wait) if draining => pipeline.wait(wait.min(Duration::from_millis(20))),
            Step::Idle(wait) => pipeline.wait(wait),
            // The files are the queue: what is not read now is read after the next start.
            Step::Blocked(_) if draining && !once => break,
            Step::Blocked(wait) => std::thread::sleep(wait),
        }
    }
    if once {
        pipeline.flush_partials();
        // What was let out is read in the steps that follow; the journal may
        // be full meanwhile.
        while !given_up() {
            let step = pipeline.step(now_ms()).map_err(fatal)?;
            publish(&pipeline, live, matches!(step, Step::Blocked(_)));
            match step {
                Step::Worked => {}
                Step::Idle(_) => break,
                Step::Blocked(wait) => std::thread::sleep(wait),
            }
        }
    }
    let ended = crate::text::rfc3339(now_ms());
    pipeline.note(|redactor, out| redactor.agent_end(&ended, &[], out));
    let mut tries = 0;
    while !pipeline.commit(now_ms()).map_err(fatal)? {
        // The journal is full: at the end of a service what is in the open
        // block was never acknowledged and is read again from the files.
        tries += 1;
        if !once && tries > 10 || given_up() {
            break;
        }
        publish(&pipeline, live, true);
        std::thread::sleep(Duration::from_millis(200));
    }
    publish(&pipeline, live, false);
    Ok(Done { summary: Summary::of(&pipeline) })
}

fn publish(pipeline: &Pipeline, live: &Live, blocked: bool) {
    let totals = pipeline.totals();
    live.lines.store(totals.lines, Relaxed);
    live.bytes.store(totals.bytes, Relaxed);
    live.records.store(totals.records, Relaxed);
    live.gaps.store(totals.gaps, Relaxed);
    live.lag.store(pipeline.lag_bytes(), Relaxed);
    live.blocked.store(blocked, Relaxed);
    // Once a chunk, not once a line: some thirty numbers.
    let stats = pipeline.redaction_stats();
    for (count, event) in live.events.iter().zip(Event::ALL) {
        count.store(stats.event(*event), Relaxed);
    }
    for (count, class) in live.classes.iter().zip(Class::ALL) {
        count.store(stats.class(*class), Relaxed);
    }
    live.turn();
}
