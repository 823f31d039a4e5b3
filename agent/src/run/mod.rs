//! The running agent: every thread and task is spawned here, and each is awaited.
//!
//! ```text
//! hot      thread   tail → … → journal            ends when told to drain and drained
//! sealer   thread   journal → outbox              ends when hot has ended and all is sealed
//! sink     task     outbox → archive, one a sink  ends when the sealer has ended and all is sent
//! signals  task     first: drain; second: exit now
//! progress task     a bar on a terminal, systemd's watchdog
//! ```
//! So the end runs through the agent in the order of a line's life, and what
//! has not been sent when the grace period ends waits in outbox and journal.

mod hot;
mod progress;
mod sealing;
mod summary;

use crate::pipeline::Pipeline;
use crate::sealer::Sealer;
use crate::sealer::outbox::Outbox;
use crate::sink::archive::{ArchiveSink, State as SinkState, Stop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use tokio::sync::watch;

pub use summary::Summary;

/// What to run, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// Ship what is there now, then end.
    pub once: bool,
    /// With `once`: give up after this long.
    pub timeout: Duration,
    /// After the first signal: how long sinks may take to empty the outbox.
    pub grace: Duration,
}

/// The agent, put together and ready to run.
pub struct Parts {
    /// The hot path.
    pub pipeline: Pipeline,
    /// The sealer.
    pub sealer: Sealer,
    /// The outbox between sealer and sinks.
    pub outbox: Arc<Outbox>,
    /// Where the archive goes.
    pub sinks: Vec<ArchiveSink>,
}

/// How the agent ended.
#[derive(Debug)]
pub struct Ended {
    /// What it did.
    pub summary: Summary,
    /// Why it did not end well: the messages complete "failed to …".
    pub failures: Vec<String>,
    /// Leaves that no sink has yet; they wait in the outbox.
    pub waiting: u64,
}

/// What the hot thread tells the others, without locks.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) lines: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Bytes of log files not read yet.
    pub(crate) lag: AtomicU64,
    /// Counts up with each turn of the hot loop: the watchdog's pulse.
    pub(crate) turns: AtomicU64,
    pub(crate) blocked: AtomicBool,
}

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Read what is there, make it durable, seal it, send it, end.
    Draining,
}

/// How often it is looked which sinks have halted.
const LOOK: Duration = Duration::from_millis(50);

/// Runs until a signal, or with `once` until everything is shipped.
///
/// # Errors
/// None as such: [`Ended::failures`] holds what went wrong.
pub async fn run(parts: Parts, mode: Mode) -> Ended {
    let Parts { pipeline, sealer, outbox, sinks } = parts;
    let live = Arc::new(Live::default());
    let (phase, phase_rx) =
        watch::channel(if mode.once { Phase::Draining } else { Phase::Running });
    let (stop, stop_rx) = watch::channel(Stop::No);
    let (input_done, input_done_rx) = watch::channel(false);

    let signals = tokio::spawn(watch_signals(phase.clone(), pipeline.waker()));
    let progress =
        tokio::spawn(progress::show(Arc::clone(&live), Arc::clone(&outbox), stop_rx.clone()));
    let mut senders = tokio::task::JoinSet::new();
    let mut counters = Vec::new();
    let mut states = Vec::new();
    for sink in sinks {
        counters.push((sink.name().to_owned(), sink.counters()));
        states.push((sink.name().to_owned(), sink.subscribe()));
        senders.spawn(sink.run(stop_rx.clone(), now_ms));
    }
    let hot = {
        let live = Arc::clone(&live);
        let phase = phase_rx.clone();
        spawn_thread("sealtail-hot", move || {
            let ended = hot::run(pipeline, &phase, mode.once, &live);
            input_done.send_replace(true);
            ended
        })
    };
    let sealing = {
        let runtime = tokio::runtime::Handle::current();
        spawn_thread("sealtail-sealer", move || sealing::run(sealer, &runtime, input_done_rx))
    };
    sd_notify_ready();

    let mut failures = Vec::new();
    // While running there is no deadline; it begins with the drain.
    let deadline = {
        let mut phase = phase_rx;
        async move {
            let begun = phase.wait_for(|p| *p == Phase::Draining).await;
            drop(begun);
            tokio::time::sleep(if mode.once { mode.timeout } else { mode.grace }).await;
        }
    };
    let work = async {
        let hot = joined(hot, "read").await;
        let sealed = joined(sealing, "seal").await;
        (hot, sealed)
    };
    tokio::pin!(deadline);
    let mut in_time = true;
    let mut summary = Summary::default();
    tokio::select! {
        (hot, sealed) = work => {
            match hot {
                Ok(done) => summary = done.summary,
                Err(e) => failures.push(e),
            }
            failures.extend(sealed.err());
        }
        () = &mut deadline => in_time = false,
    }
    stop.send_replace(if in_time && failures.is_empty() { Stop::WhenDone } else { Stop::Now });
    tokio::select! {
        () = settled(&mut senders, &states, mode.once) => {}
        () = &mut deadline, if in_time => in_time = false,
    }
    stop.send_replace(Stop::Now);
    senders.shutdown().await;
    drop(progress.await);
    signals.abort();

    for (name, state) in &states {
        match &*state.borrow() {
            SinkState::Ok => {}
            SinkState::Retrying(e) | SinkState::Halted(e) | SinkState::Conflict(e) => {
                failures.push(format!("ship to {name}: {e}"));
            }
        }
    }
    if !in_time && mode.once {
        failures.push(format!(
            "ship everything within {:.0} s (--timeout)",
            mode.timeout.as_secs_f32()
        ));
    }
    summary.add_sinks(&counters);
    Ended { summary, failures, waiting: outbox.waiting() }
}

/// Ends when each sink has sent everything, or (`once`) cannot go on without
/// help: one that halts does not keep the others from their rest.
async fn settled(
    senders: &mut tokio::task::JoinSet<SinkState>,
    states: &[(String, watch::Receiver<SinkState>)],
    once: bool,
) {
    loop {
        let halted = |state: &SinkState| once && matches!(state, SinkState::Halted(_));
        let stuck = states.iter().filter(|(_, state)| halted(&state.borrow())).count();
        if senders.len() <= stuck {
            return;
        }
        // Both only wait.
        tokio::select! {
            ended = senders.join_next() => drop(ended),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The first SIGTERM or SIGINT drains; the second ends the process at once.
async fn watch_signals(phase: watch::Sender<Phase>, waker: crate::tail::Waker) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!(
            "failed to listen for signals: SIGTERM will end the process without a drain"
        );
        return;
    };
    for first in [true, false] {
        tokio::select! {
            got = term.recv() => if got.is_none() { return },
            got = int.recv() => if got.is_none() { return },
        }
        if !first {
            tracing::warn!("second signal: ending now; what is not shipped stays in the journal");
            std::process::exit(1);
        }
        tracing::info!(
            "draining: reading to the end, sealing and shipping; a second signal ends at once"
        );
        drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
        phase.send_replace(Phase::Draining);
        waker.wake();
    }
}

/// A named thread whose result can be awaited.
fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Thread<T> {
    let (tx, rx) = tokio::sync::oneshot::channel();
    let spawned =
        std::thread::Builder::new().name(name.to_owned()).spawn(move || drop(tx.send(work())));
    (spawned.map(drop), rx)
}

type Thread<T> = (std::io::Result<()>, tokio::sync::oneshot::Receiver<T>);

/// The thread's result; a thread that could not start or panicked is a failure.
async fn joined<T>((spawned, result): Thread<Result<T, String>>, what: &str) -> Result<T, String> {
    if let Err(e) = spawned {
        return Err(format!("{what}: the thread could not be started: {e}"));
    }
    result.await.unwrap_or_else(|_| Err(format!("{what}: the thread ended unexpectedly (a bug)")))
}

/// Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

fn sd_notify_ready() {
    // Not under systemd this does nothing.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
}
