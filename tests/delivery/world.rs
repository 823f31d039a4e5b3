//! A journal with records in it, and an engine that delivers them.

use sealtail::disk::{RealDisk, SharedDisk};
use sealtail::journal::{Journal, JournalKey, Kind, Options, Seq};
use sealtail::sealer::Waivers;
use sealtail::ship::batch::{Batcher, Encode};
use sealtail::ship::dead::DeadLetters;
use sealtail::ship::engine::{self, Engine, Times};
use sealtail::ship::http::HttpOptions;
use sealtail::ship::on_full::OnFull;
use sealtail::ship::rate::Limits;
use sealtail::ship::wire::{Dialect, Wire};
use sealtail::sink::cursor::{Cursors, Next};
use sealtail::sink::event::{Log, Selection};
use sealtail::sink::{Counters, State, Stop, datadog, splunk};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use zeroize::Zeroizing;

pub(crate) const TOKEN: &str = "11111111-2222-4333-8444-555555555555";
/// Nothing here takes that long, but on a machine under load.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    root: tempfile::TempDir,
    pub(crate) journal: Journal,
    pub(crate) written: u64,
}

/// What tests vary.
#[derive(Clone)]
pub(crate) struct How {
    pub(crate) name: &'static str,
    pub(crate) max_events: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) acknowledgements: splunk::Acknowledgements,
    pub(crate) http: HttpOptions,
    pub(crate) times: Times,
    pub(crate) dead_bytes: u64,
    pub(crate) wanted: Selection,
    pub(crate) rate: Limits,
    pub(crate) on_full: OnFull,
    pub(crate) waivers: Option<Waivers>,
}

impl Default for How {
    fn default() -> Self {
        Self {
            name: "sink",
            max_events: 10,
            max_in_flight: 1,
            acknowledgements: splunk::Acknowledgements::Auto,
            http: HttpOptions { timeout: Duration::from_millis(500), ..HttpOptions::default() },
            times: Times {
                ask: (Duration::from_millis(5), Duration::from_millis(20)),
                ack: Duration::from_millis(300),
                halt: Duration::from_millis(20),
                stale: Duration::from_secs(600),
                backoff: (Duration::from_millis(1), Duration::from_millis(5)),
            },
            dead_bytes: 1 << 20,
            wanted: Selection::default(),
            rate: Limits::default(),
            on_full: OnFull::Block,
            waivers: None,
        }
    }
}

pub(crate) enum To<'a> {
    Splunk(&'a str),
    Datadog(&'a str),
}

impl World {
    pub(crate) fn new(records: u64) -> Self {
        Self::within(256 << 20, records)
    }

    /// With a journal of at most so many bytes, in 64 segments.
    pub(crate) fn within(max_bytes: u64, records: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(RealDisk);
        let options =
            Options { path: root.path().join("journal"), max_bytes, segment_bytes: max_bytes / 64 };
        let key = JournalKey::new([5; 32]);
        let journal = Journal::open(disk, options, &key, "wa/test", 1).unwrap();
        let mut world = Self { root, journal, written: 0 };
        world.write(records);
        world
    }

    /// Appends records until the journal takes no more; the last ones wait in it.
    pub(crate) fn fill(&mut self) {
        let filler = "x".repeat(10_000);
        while self.journal.commit(1).is_ok() {
            let body = format!("\"event\":\"log\",\"text\":\"{filler}\"}}");
            self.journal.append(Kind::Line, body.as_bytes());
        }
        self.written = self.journal.end().0;
    }

    /// Appends records and makes them durable.
    pub(crate) fn write(&mut self, records: u64) {
        for n in self.written..self.written + records {
            let now = sealtail::text::rfc3339(sealtail::run::now_ms());
            let body = format!(
                "\"event\":\"log\",\"text\":\"record {n}\",\"source\":{{\"file\":\"f{}\",\"offset\":{n}}},\
                 \"time\":\"{now}\"}}",
                n % 3
            );
            self.journal.append(Kind::Line, body.as_bytes());
        }
        self.written += records;
        self.journal.commit(sealtail::run::now_ms()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn log(&self) -> Log {
        let id = self.journal.id();
        Log { origin: id.origin.clone(), incarnation: id.incarnation.clone() }
    }

    pub(crate) fn dead(&self, max: u64) -> DeadLetters {
        DeadLetters::new(Arc::new(RealDisk), &self.path("journal"), JournalKey::new([5; 32]), max)
    }

    pub(crate) fn cursors(&self) -> Cursors {
        Cursors::open(Arc::new(RealDisk), self.path("cursors")).unwrap()
    }

    /// The next record that this sink has to send, as it is on disk.
    pub(crate) fn cursor(&self, name: &str) -> u64 {
        match self.cursors().load(name).unwrap().map(|c| c.next) {
            Some(Next::Record(next)) => next,
            _ => 0,
        }
    }

    pub(crate) fn engine(&self, to: &To<'_>, how: &How) -> Engine {
        let counters = Arc::new(Counters::default());
        let log = self.log();
        let token = || Zeroizing::new(TOKEN.to_owned());
        let (dialect, encoder): (_, Box<dyn Encode>) = match to {
            To::Splunk(url) => {
                let limits = (splunk::MAX_BYTES, how.max_events);
                let client = splunk::Splunk::new(
                    url,
                    token(),
                    how.acknowledgements,
                    true,
                    Arc::clone(&counters),
                );
                let encoder = splunk::Encoder::new(
                    log.clone(),
                    splunk::Metadata::default(),
                    how.wanted.clone(),
                    limits,
                );
                (Dialect::Splunk(client, splunk::Metadata::default()), Box::new(encoder))
            }
            To::Datadog(url) => {
                let limits = (datadog::MAX_BYTES, how.max_events);
                let client = datadog::Datadog::new("", Some(url), token(), true);
                let encoder = datadog::Encoder::new(
                    log.clone(),
                    datadog::Metadata::default(),
                    how.wanted.clone(),
                    limits,
                    Arc::clone(&counters),
                );
                (Dialect::Datadog(client, datadog::Metadata::default()), Box::new(encoder))
            }
        };
        let from = Seq(self.cursor(how.name));
        let options = engine::Options {
            name: how.name.to_owned(),
            place: "test".to_owned(),
            log: log.clone(),
            compressed: true,
            max_in_flight: how.max_in_flight,
            max_bytes: 4 << 20,
            rate: how.rate,
            times: how.times,
            on_full: how.on_full,
            gave_up: None,
        };
        let secret = Arc::new(|| Ok(Zeroizing::new(TOKEN.to_owned())));
        let parts = engine::Parts {
            wire: Wire::new(dialect, log, how.http.clone(), secret),
            batcher: Batcher::new(self.journal.handle(), from, encoder, true, 10).unwrap(),
            journal: self.journal.handle(),
            cursors: self.cursors(),
            dead: self.dead(how.dead_bytes),
            outbox: None,
            waivers: how.waivers.clone(),
            counters,
        };
        Engine::new(options, parts)
    }

    /// Delivers everything that is there.
    pub(crate) fn deliver(&self, to: &To<'_>, how: &How) -> Run {
        let run = Run::start(self.engine(to, how));
        run.stop.send_replace(Stop::WhenDone);
        run
    }
}

/// An engine that runs on a runtime of its own.
pub(crate) struct Run {
    runtime: tokio::runtime::Runtime,
    pub(crate) stop: watch::Sender<Stop>,
    pub(crate) states: watch::Receiver<State>,
    pub(crate) counters: Arc<Counters>,
    task: Option<tokio::task::JoinHandle<State>>,
}

impl Run {
    pub(crate) fn start(engine: Engine) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = watch::channel(Stop::No);
        let (states, counters) = (engine.subscribe(), engine.counters());
        let task = Some(runtime.spawn(engine.run(stopped, sealtail::run::now_ms)));
        Self { runtime, stop, states, counters, task }
    }

    /// Waits for the engine's end.
    pub(crate) fn ended(mut self) -> State {
        let task = self.task.take().unwrap();
        let ended = async { tokio::time::timeout(LONG, task).await };
        let ended = self.runtime.block_on(ended);
        assert!(ended.is_ok(), "the engine never ended");
        ended.unwrap().unwrap()
    }

    /// Waits until it has said this of itself.
    pub(crate) fn reaches(&mut self, what: &str, is: impl Fn(&State) -> bool) -> State {
        let states = &mut self.states;
        let wait = async { tokio::time::timeout(LONG, states.wait_for(|s| is(s))).await };
        let state = self.runtime.block_on(wait);
        assert!(state.is_ok(), "it never was {what}");
        state.unwrap().unwrap().clone()
    }

    /// SIGKILL, as far as a task can be killed: nothing of it goes on.
    pub(crate) fn kill(mut self) {
        self.task.take().unwrap().abort();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Origin and number of an event, wherever the destination has them.
pub(crate) fn key_of(event: &Value) -> Option<(String, u64)> {
    let fields = event.get("fields").unwrap_or(event);
    Some((fields.get("origin")?.as_str()?.to_owned(), fields.get("seq")?.as_u64()?))
}

pub(crate) fn retrying(state: &State) -> bool {
    matches!(state, State::Retrying(_))
}

pub(crate) fn halted(state: &State) -> bool {
    matches!(state, State::Halted(_))
}
