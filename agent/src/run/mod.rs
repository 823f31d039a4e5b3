//! The running agent: every thread and task is spawned here, and each is awaited.
//!
//! ```text
//! hot      thread   tail → … → journal            ends when told to drain and drained
//! sealer   thread   journal → outbox              ends when hot has ended and all is sealed
//! sink     task     outbox → archive, or journal → Splunk, Datadog; one a sink
//!                   ends when the sealer has ended and all is sent
//! signals  task     first: drain; second: exit now
//! progress task     a bar on a terminal, systemd's watchdog
//! admin    task     metrics, probes, status; ends when the sinks have ended
//! ```
//! So the end runs through the agent in the order of a line's life, and what
//! has not been sent when the grace period ends waits in outbox and journal.

mod hot;
mod live;
mod progress;
mod sealing;
mod summary;

use crate::admin;
use crate::metrics::{Counted, SinkSource, Sources};
use crate::pipeline::Pipeline;
use crate::sealer::Sealer;
use crate::sealer::outbox::Outbox;
use crate::ship::dead::DeadLetters;
use crate::ship::engine::Engine;
use crate::sink::archive::ArchiveSink;
use crate::sink::{Counters, State as SinkState, Stop};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

pub(crate) use live::Live;
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
    /// The sealer, when there is an archive.
    pub sealer: Option<Sealer>,
    /// The outbox between sealer and sinks.
    pub outbox: Arc<Outbox>,
    /// Where the archive goes.
    pub sinks: Vec<ArchiveSink>,
    /// Splunk and Datadog.
    pub engines: Vec<Engine>,
    /// Where what they refuse is kept.
    pub dead: DeadLetters,
    /// Where the admin port is, if there is to be one.
    pub admin: Option<SocketAddr>,
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

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Read what is there, make it durable, seal it, send it, end.
    Draining,
}

/// How often it is looked which sinks have halted, and what moves.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing may move before a halted sink is what everything waits for.
const STUCK: Duration = Duration::from_secs(2);
/// How long a thread that was told to give up may take.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Runs until a signal, or with `once` until everything is shipped.
///
/// # Errors
/// None as such: [`Ended::failures`] holds what went wrong.
pub async fn run(parts: Parts, mode: Mode) -> Ended {
    let Parts { pipeline, sealer, outbox, sinks, engines, dead, admin } = parts;
    let live = Arc::new(Live::new());
    if let Some(sealer) = &sealer {
        live.sealed.store(sealer.cursor().0, Relaxed);
    }
    let (phase, phase_rx) =
        watch::channel(if mode.once { Phase::Draining } else { Phase::Running });
    let (stop, stop_rx) = watch::channel(Stop::No);
    let (input_done, input_done_rx) = watch::channel(false);

    let waker = pipeline.waker();
    let signals = tokio::spawn(watch_signals(phase.clone(), waker.clone()));
    let progress =
        tokio::spawn(progress::show(Arc::clone(&live), Arc::clone(&outbox), stop_rx.clone()));
    let mut senders = tokio::task::JoinSet::new();
    let mut watched = Watched { counters: Vec::new(), states: Vec::new() };
    let is_sealed = sealer.is_some();
    let mut shown = Vec::new();
    for sink in sinks {
        shown.push(SinkSource::archive(&sink));
        watched.counters.push((sink.name().to_owned(), sink.counters()));
        watched.states.push((sink.name().to_owned(), sink.subscribe()));
        senders.spawn(sink.run(stop_rx.clone(), now_ms));
    }
    for engine in engines {
        shown.push(SinkSource::feed(&engine));
        watched.counters.push((engine.name().to_owned(), engine.counters()));
        watched.states.push((engine.name().to_owned(), engine.subscribe()));
        senders.spawn(engine.run(stop_rx.clone(), now_ms));
    }
    let sources = Sources {
        origin: pipeline.journal().id().origin.clone(),
        incarnation: pipeline.journal().id().incarnation.clone(),
        live: Arc::clone(&live),
        phase: phase_rx.clone(),
        journal: pipeline.journal().handle(),
        outbox: is_sealed.then(|| Arc::clone(&outbox)),
        sinks: shown,
        dead: Arc::new(Counted::new(dead)),
    };
    // `--once` is over before anybody asks.
    let admin = admin.filter(|_| !mode.once);
    let admin = tokio::spawn(admin::serve(admin, Arc::new(sources), stop_rx.clone()));
    let hot = {
        let live = Arc::clone(&live);
        let phase = phase_rx.clone();
        let input_done = input_done.clone();
        spawn_thread("sealtail-hot", move || {
            let ended = hot::run(pipeline, &phase, mode.once, &live);
            input_done.send_replace(true);
            ended
        })
    };
    let sealing = {
        let live = Arc::clone(&live);
        spawn_thread("sealtail-sealer", move || match sealer {
            Some(sealer) => sealing::run(sealer, &live, input_done_rx),
            None => Ok(()),
        })
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
    let stuck = async {
        match mode.once {
            true => watched.stuck(&live, &outbox).await,
            false => std::future::pending().await,
        }
    };
    let (hot, sealing) = (joined(hot, "read"), joined(sealing, "seal"));
    tokio::pin!(deadline, stuck, hot, sealing);
    let (mut read, mut sealed, mut in_time) = (None, None, true);
    while read.is_none() || sealed.is_none() {
        tokio::select! {
            ended = &mut hot, if read.is_none() => read = Some(ended),
            ended = &mut sealing, if sealed.is_none() => sealed = Some(ended),
            () = &mut deadline => {
                in_time = false;
                break;
            }
            () = &mut stuck => break,
        }
        // Without the sealer nothing leaves any more: what is not read yet is
        // read after the next start.
        if matches!(&sealed, Some(Err(_))) {
            break;
        }
    }
    live.give_up.store(true, Relaxed);
    phase.send_replace(Phase::Draining);
    input_done.send_replace(true);
    waker.wake();
    let late = async {
        if read.is_none() {
            read = Some(hot.await);
        }
        if sealed.is_none() {
            sealed = Some(sealing.await);
        }
    };
    // One that does not come back hangs in a system call and ends with the process.
    let gave_up = tokio::time::timeout(GIVE_UP, late).await;
    drop(gave_up);
    let mut summary = match read {
        Some(Ok(done)) => done.summary,
        Some(Err(e)) => {
            failures.push(e);
            Summary::of_live(&live)
        }
        None => Summary::of_live(&live),
    };
    failures.extend(sealed.and_then(Result::err));

    stop.send_replace(if in_time && failures.is_empty() { Stop::WhenDone } else { Stop::Now });
    tokio::select! {
        () = watched.settled(&mut senders, mode.once) => {}
        () = &mut deadline, if in_time => in_time = false,
    }
    stop.send_replace(Stop::Now);
    senders.shutdown().await;
    drop(progress.await);
    drop(admin.await);
    signals.abort();

    failures.extend(watched.failures());
    if !in_time && mode.once {
        failures.push(format!(
            "ship everything within {:.0} s (--timeout)",
            mode.timeout.as_secs_f32()
        ));
    }
    summary.add_sinks(&watched.counters);
    Ended { summary, failures, waiting: outbox.waiting() }
}

/// The sinks, as seen from outside.
struct Watched {
    counters: Vec<(String, Arc<Counters>)>,
    states: Vec<(String, watch::Receiver<SinkState>)>,
}

impl Watched {
    /// Ends when each sink has sent everything, or (`once`) cannot go on without
    /// help: one that halts does not keep the others from their rest.
    async fn settled(&self, senders: &mut tokio::task::JoinSet<SinkState>, once: bool) {
        loop {
            let halted = |state: &SinkState| once && matches!(state, SinkState::Halted(_));
            let stuck = self.states.iter().filter(|(_, state)| halted(&state.borrow())).count();
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

    /// Ends when reading or sealing waits for a sink, or for a data key, that
    /// cannot go on without help, and nothing else moves any more.
    async fn stuck(&self, live: &Live, outbox: &Outbox) {
        let mut last = None;
        let mut still = Duration::ZERO;
        loop {
            tokio::time::sleep(LOOK).await;
            let sent = |c: &Counters| c.leaves.load(Relaxed) + c.events.load(Relaxed);
            let sent: u64 = self.counters.iter().map(|(_, c)| sent(c)).sum();
            let now = Some((live.records.load(Relaxed), outbox.end(), sent));
            let blocked = live.blocked.load(Relaxed) || live.sealing_blocked.load(Relaxed);
            let is = |state: &SinkState| match state {
                SinkState::Ok => (false, false),
                SinkState::Retrying(_) => (true, false),
                SinkState::Halted(_) | SinkState::Conflict(_) => (false, true),
            };
            let states = self.states.iter().map(|(_, state)| is(&state.borrow()));
            let keys = (false, live.key_halted.load(Relaxed));
            let (retrying, halted) = states.fold(keys, |a, b| (a.0 | b.0, a.1 | b.1));
            if !(blocked && halted && !retrying) || now != last {
                last = now;
                still = Duration::ZERO;
                continue;
            }
            still += LOOK;
            if still >= STUCK {
                return;
            }
        }
    }

    fn failures(&self) -> Vec<String> {
        let failed = |(name, state): &(String, watch::Receiver<SinkState>)| match &*state.borrow() {
            SinkState::Ok => None,
            SinkState::Retrying(e) | SinkState::Halted(e) | SinkState::Conflict(e) => {
                Some(format!("ship to {name}: {e}"))
            }
        };
        self.states.iter().filter_map(failed).collect()
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
