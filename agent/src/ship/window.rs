//! How many requests may be under way at once.
//!
//! One number is breaker and probe at once (DESIGN.md, "Errors"): it grows by one
//! a window of successes while latency holds, halves when the destination says
//! that it has too much, and falls to one, the probe, when it is away.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What metrics call the window's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Breaker {
    /// Requests flow.
    Closed,
    /// One request finds out whether the destination is back.
    Probing,
    /// The destination is away; nothing is sent before the backoff ends.
    Open,
}

impl Breaker {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Probing, Self::Open];

    /// The name, as it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Probing => "probing",
            Self::Open => "open",
        }
    }
}

/// The window of one destination.
#[derive(Debug, Clone)]
pub struct Window {
    limit: f64,
    max: f64,
    breaker: Breaker,
    /// Smoothed latency of requests, and the lowest of late, in seconds.
    latency: Option<(f64, f64)>,
}

/// Latency at which the window does not grow any more, by the lowest one.
const SLOW: f64 = 3.0;

impl Window {
    /// Begins at one request: what the destination bears is found out.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = f64::from(u32::try_from(max.max(1)).unwrap_or(u32::MAX));
        Self { limit: 1.0, max, breaker: Breaker::Closed, latency: None }
    }

    /// Requests that may be under way.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Its state, for metrics.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// A request was answered well, after so long.
    pub fn succeeded(&mut self, took: Duration) {
        self.breaker = Breaker::Closed;
        let took = took.as_secs_f64();
        let (smooth, lowest) = self.latency.unwrap_or((took, took));
        let smooth = smooth + (took - smooth) / 8.0;
        // The lowest is forgotten slowly: paths change.
        let lowest = (lowest * 1.01).min(took).max(1e-3);
        self.latency = Some((smooth, lowest));
        if smooth <= lowest * SLOW {
            self.limit = (self.limit + 1.0 / self.limit).min(self.max);
        }
    }

    /// The destination has too much (429, 503, a time-out, "near capacity").
    pub fn pressed(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// The destination is away: after the backoff one request probes.
    pub fn away(&mut self) {
        self.limit = 1.0;
        self.breaker = Breaker::Open;
    }

    /// The backoff has ended.
    pub fn probe(&mut self) {
        if self.breaker == Breaker::Open {
            self.breaker = Breaker::Probing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    #[test]
    fn it_grows_while_latency_holds_and_not_past_its_bound() {
        let mut window = Window::new(4);
        assert_eq!(window.limit(), 1);
        let mut seen = Vec::new();
        for _ in 0..40 {
            window.succeeded(FAST);
            seen.push(window.limit());
        }
        assert!(seen.is_sorted() && seen.last() == Some(&4), "{seen:?}");
        let mut slow = Window::new(64);
        slow.succeeded(FAST);
        for _ in 0..100 {
            slow.succeeded(FAST * 100);
        }
        assert!(slow.limit() < 10, "{}", slow.limit());
    }

    #[test]
    fn it_halves_under_pressure_and_probes_after_an_outage() {
        let mut window = Window::new(8);
        for _ in 0..100 {
            window.succeeded(FAST);
        }
        window.pressed();
        assert_eq!((window.limit(), window.breaker()), (4, Breaker::Closed));
        window.away();
        assert_eq!((window.limit(), window.breaker()), (1, Breaker::Open));
        window.probe();
        assert_eq!(window.breaker(), Breaker::Probing);
        window.succeeded(FAST);
        assert_eq!(window.breaker(), Breaker::Closed);
        for _ in 0..10 {
            window.pressed();
        }
        assert_eq!(window.limit(), 1);
    }
}
