//! Waiting for something to happen, and the kernel's file events.
//!
//! Events only make things faster: every one of them may be lost, and the scan
//! still finds all. What cannot be watched is a warning.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::warn::{Problem, Warnings};

/// The most paths that wait to be looked at; past it, a scan finds them.
const MAX_PATHS: usize = 1024;

/// Ends a [`super::Tailer::wait`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Signals>);

impl Waker {
    /// The wait that goes on, or else the next one, returns at once.
    pub fn wake(&self) {
        self.0.lock().woken = true;
        self.0.changed.notify_all();
    }
}

#[derive(Debug, Default)]
struct Signals {
    state: Mutex<State>,
    changed: Condvar,
}

impl Signals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    /// Names came or went.
    rescan: bool,
    /// The kernel's queue overflowed.
    lost: bool,
    /// Files that were written to.
    paths: Vec<PathBuf>,
}

impl State {
    fn is_quiet(&self) -> bool {
        !self.woken && !self.rescan && self.paths.is_empty()
    }

    fn event(&mut self, event: Result<notify::Event, notify::Error>) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(_) => {
                self.rescan = true;
                return true;
            }
        };
        if event.need_rescan() {
            self.rescan = true;
            self.lost = true;
            return true;
        }
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any | ModifyKind::Metadata(_)) => {
                for path in event.paths {
                    if self.paths.len() >= MAX_PATHS {
                        self.rescan = true;
                    } else if self.paths.last() != Some(&path) {
                        self.paths.push(path);
                    }
                }
                true
            }
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) => {
                self.rescan = true;
                true
            }
            // Our own reading makes such events too.
            EventKind::Access(_) | EventKind::Any | EventKind::Other => false,
        }
    }
}

/// What has happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    pub(crate) rescan: bool,
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Watch {
    signals: Arc<Signals>,
    /// Absent when switched off, or when the system has none.
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
}

impl Watch {
    pub(crate) fn new(on: bool) -> Self {
        let signals = Arc::new(Signals::default());
        let handler = Arc::clone(&signals);
        let watcher = on.then(|| {
            notify::recommended_watcher(move |event| {
                let news = handler.lock().event(event);
                if news {
                    handler.changed.notify_all();
                }
            })
        });
        let watcher = watcher.and_then(Result::ok);
        Self { signals, watcher, watched: HashSet::new() }
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.signals))
    }

    /// Waits for an event or a [`Waker`], at most so long.
    pub(crate) fn wait(&self, timeout: Duration) {
        let state = self.signals.lock();
        let waited =
            self.signals.changed.wait_timeout_while(state, timeout, |state| state.is_quiet());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
    }

    /// What has happened; `spare` is an emptied list to use next.
    pub(crate) fn take(&mut self, spare: Vec<PathBuf>, warnings: &mut Warnings) -> Happened {
        let mut state = self.signals.lock();
        if std::mem::take(&mut state.lost) {
            warnings.say(Problem::EventsLost, Path::new("/"));
        }
        let rescan = std::mem::take(&mut state.rescan);
        let paths = std::mem::replace(&mut state.paths, spare);
        Happened { rescan, paths }
    }

    /// Watches exactly these directories from now on.
    pub(crate) fn set(&mut self, dirs: &HashSet<PathBuf>, warnings: &mut Warnings) {
        let Some(watcher) = self.watcher.as_mut() else {
            return;
        };
        self.watched.retain(|dir| {
            let keep = dirs.contains(dir);
            if !keep {
                // Fails when the directory is gone, and the watch with it.
                let _ = watcher.unwatch(dir);
            }
            keep
        });
        for dir in dirs {
            if self.watched.contains(dir) {
                continue;
            }
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(dir.clone());
                }
                Err(_) => warnings.say(Problem::NotWatched, dir),
            }
        }
    }
}
