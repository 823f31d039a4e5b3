//! A world of files, a journal that can lose what is not committed, and a clock
//! that only moves when told.

mod model;
mod resume;
mod rotation;
mod shapes;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::line::{Cut, Stream};

/// Milliseconds.
#[derive(Debug, Clone, Default)]
struct ManualClock(Arc<AtomicU64>);

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    file: FileId,
    name: String,
    text: String,
    stream: Stream,
    cut: Cut,
    start: u64,
}

/// What one block holds.
#[derive(Debug, Clone, Default)]
struct State {
    lines: Vec<Got>,
    gaps: Vec<Gap>,
    /// With the source whose file it is.
    positions: BTreeMap<FileId, (usize, Vec<u8>)>,
}

/// A journal in memory: `now` is lost by a kill, `durable` is not.
#[derive(Debug, Default)]
struct Journal {
    now: State,
    durable: State,
    /// Breaks after so many lines.
    block: Option<usize>,
    in_block: usize,
}

impl LineSink for Journal {
    fn line(&mut self, source: &FileInfo, line: &Line<'_>) -> ControlFlow<()> {
        self.now.lines.push(Got {
            file: source.id,
            name: source.path.file_name().unwrap().to_string_lossy().into_owned(),
            text: String::from_utf8_lossy(line.text).into_owned(),
            stream: line.stream,
            cut: line.cut,
            start: line.span.start,
        });
        self.in_block += 1;
        if self.block.is_some_and(|b| self.in_block >= b) {
            self.in_block = 0;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn position(&mut self, file: FileId, source: usize, encoded: &[u8]) {
        self.now.positions.insert(file, (source, encoded.to_vec()));
    }

    fn forget(&mut self, file: FileId) {
        self.now.positions.remove(&file);
    }

    fn gap(&mut self, _: Option<&FileInfo>, gap: &Gap) {
        self.now.gaps.push(gap.clone());
    }
}

struct World {
    dir: tempfile::TempDir,
    clock: ManualClock,
    options: TailOptions,
    journal: Journal,
    tailer: Tailer,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Tails what these patterns name in a fresh directory, a source each.
    fn of(patterns: &[&str]) -> Self {
        let mut world = Self::new();
        world.reconfigure(patterns);
        world
    }

    /// Another configuration, and a restart.
    fn reconfigure(&mut self, patterns: &[&str]) -> &mut Self {
        let source = |pattern: &&str| Source {
            include: vec![self.path(pattern).to_str().unwrap().to_owned()],
            ..Source::default()
        };
        self.options.sources = patterns.iter().map(source).collect();
        self.kill()
    }

    /// Tails `*.log` in a fresh directory.
    fn with(change: impl FnOnce(&mut TailOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        let include = vec![dir.path().join("*.log").to_str().unwrap().to_owned()];
        let mut options = TailOptions {
            sources: vec![Source { include, ..Source::default() }],
            watch: false,
            ..TailOptions::default()
        };
        change(&mut options);
        let tailer = tailer(&options, &State::default(), &clock);
        Self { dir, clock, options, journal: Journal::default(), tailer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn truncate(&self, name: &str) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// Steps until there is nothing to do, and commits.
    fn settle(&mut self) -> &mut Self {
        for _ in 0..100_000 {
            if let Step::Idle { .. } = self.tailer.step(&mut self.journal) {
                self.journal.durable = self.journal.now.clone();
                return self;
            }
        }
        panic!("the tailer never comes to rest");
    }

    /// Lets so much time pass, then settles.
    fn pass(&mut self, ms: u64) -> &mut Self {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
        self.settle()
    }

    /// Settles after a scan has surely been made.
    fn scan(&mut self) -> &mut Self {
        self.pass(1000)
    }

    /// SIGKILL: what was not committed is lost; a new one goes on.
    fn kill(&mut self) -> &mut Self {
        self.journal.now = self.journal.durable.clone();
        self.tailer = tailer(&self.options, &self.journal.durable, &self.clock);
        self
    }

    fn texts(&self) -> Vec<&str> {
        self.journal.now.lines.iter().map(|l| l.text.as_str()).collect()
    }

    fn gaps(&self) -> Vec<&'static str> {
        self.journal.now.gaps.iter().map(|g| g.why).collect()
    }

    fn warnings(&mut self) -> Vec<(Problem, String)> {
        let name = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.tailer.take_warnings().iter().map(|w| (w.problem, name(&w.path))).collect()
    }
}

fn tailer(options: &TailOptions, state: &State, clock: &ManualClock) -> Tailer {
    let resume = state.positions.iter().map(|(file, (source, position))| Resume {
        file: *file,
        source: (*source < options.sources.len()).then_some(*source),
        position: position.clone(),
    });
    Tailer::new(options.clone(), &[7; 32], resume, Box::new(clock.clone())).unwrap()
}

fn docker(log: &str, stream: &str) -> String {
    let time = "2026-01-01T00:00:00.5Z";
    serde_json::json!({"log": log, "stream": stream, "time": time}).to_string() + "\n"
}

fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-01-01T00:00:00.5Z {stream} {tag} {text}\n")
}
