//! Waiting that can be ended: a stalled or delayed request goes on when it is released, and ends
//! when its client goes away or the stand-in goes down.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;

/// How often a stalled request looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(10);

/// The lock, whatever happened to the thread that held it: a test that fails says so itself.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One life of a listening stand-in, from `up` to `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

struct State {
    epoch: Epoch,
    released: u64,
    /// Requests that have come to a stall, ever.
    stalled: u64,
}

pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { epoch: Epoch(0), released: 0, stalled: 0 }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        hold(&self.state).epoch
    }

    /// Ends the waits of this epoch.
    pub(crate) fn end_epoch(&self) {
        hold(&self.state).epoch.0 += 1;
        self.changed.notify_all();
    }

    pub(crate) fn release(&self) {
        hold(&self.state).released += 1;
        self.changed.notify_all();
    }

    /// Waits; false when the epoch ended meanwhile.
    pub(crate) fn pause(&self, time: Duration, epoch: Epoch) -> bool {
        let until = Instant::now() + time;
        let mut state = hold(&self.state);
        while state.epoch == epoch {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            (state, _) =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// Waits until so many requests have come to a stall; false when they have not in time.
    pub(crate) fn wait_stalled(&self, n: u64, timeout: Duration) -> bool {
        let state = hold(&self.state);
        let waited = self.changed.wait_timeout_while(state, timeout, |state| state.stalled < n);
        waited.unwrap_or_else(PoisonError::into_inner).0.stalled >= n
    }

    /// Waits for [`Gate::release`]; false when the epoch ended or the client went away before.
    pub(crate) fn stall(&self, client: impl AsFd, epoch: Epoch) -> bool {
        let mut state = hold(&self.state);
        let released = state.released;
        state.stalled += 1;
        self.changed.notify_all();
        loop {
            if state.epoch != epoch {
                return false;
            }
            if state.released != released {
                return true;
            }
            drop(state);
            if gone(&client) {
                return false;
            }
            state = hold(&self.state);
            (state, _) =
                self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The client has closed its end.
fn gone(client: &impl AsFd) -> bool {
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut fds = [PollFd::new(client, ends)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}
