//! How long to wait before the same is tried again.
//!
//! Full jitter: a wait is drawn evenly between nothing and a ceiling that
//! doubles with each failure, from half a second to a minute. There is no last
//! attempt. What the server asks for (`Retry-After`) is kept to, and jitter is
//! added to it, so that a crowd that was sent away together does not come back
//! together. Nothing here sleeps or reads a clock.

use std::time::Duration;

/// The ceiling of the first wait.
pub const FIRST: Duration = Duration::from_millis(500);
/// The ceiling that no wait of our own choice exceeds.
pub const LONGEST: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that is believed.
pub const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The waits between failed attempts at one destination.
#[derive(Debug, Clone)]
pub struct Backoff<R = fn() -> u64> {
    /// Failures since the last success.
    failures: u32,
    /// The ceiling of the first wait, and that of all.
    bounds: (Duration, Duration),
    random: R,
}

impl Backoff {
    /// A backoff that draws from the operating system.
    #[must_use]
    pub fn new() -> Self {
        // Without randomness every wait is half its ceiling: still a backoff.
        Self::with_random(|| getrandom::u64().unwrap_or(u64::MAX / 2))
    }

    /// As [`Backoff::new`], with another first and longest ceiling.
    #[must_use]
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self { bounds: (first, longest), ..Self::new() }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: FnMut() -> u64> Backoff<R> {
    /// A backoff that draws from `random` (uniform over all of `u64`).
    pub fn with_random(random: R) -> Self {
        Self { failures: 0, bounds: (FIRST, LONGEST), random }
    }

    /// After a failure: how long to wait before the next attempt. `asked` is
    /// the server's `Retry-After`, believed up to [`LONGEST_ASKED`].
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED) + self.draw(self.bounds.0),
            None => self.draw(ceiling),
        }
    }

    /// After a success: the next failure begins at [`FIRST`] again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What the next wait is drawn below.
    fn ceiling(&self) -> Duration {
        let (first, longest) = self.bounds;
        let doubled = 2_u32.checked_pow(self.failures).and_then(|n| first.checked_mul(n));
        doubled.unwrap_or(longest).min(longest)
    }

    /// Evenly from nothing to `ceiling`, in microseconds.
    fn draw(&mut self, ceiling: Duration) -> Duration {
        let span = ceiling.as_micros() + 1;
        let drawn = (u128::from((self.random)()) * span) >> 64;
        Duration::from_micros(u64::try_from(drawn).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_to_a_minute_and_stay_there() {
        let mut backoff = Backoff::with_random(|| u64::MAX);
        let waits: Vec<_> = (0..9).map(|_| backoff.failed(None).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn there_is_no_last_attempt() {
        let mut backoff = Backoff::with_random(|| u64::MAX);
        for _ in 0..100_000 {
            assert!(backoff.failed(None) <= LONGEST);
        }
        backoff.failures = u32::MAX;
        assert_eq!(backoff.failed(None), LONGEST);
        assert_eq!(backoff.failures(), u32::MAX);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        assert_eq!(Backoff::with_random(|| 0).failed(None), Duration::ZERO);
        let mut at = 0_u64;
        let mut backoff = Backoff::with_random(|| {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            at
        });
        backoff.failures = 20;
        let mut tenths = [0_u32; 10];
        for _ in 0..1000 {
            let tenth = backoff.failed(None).as_millis() * 10 / (LONGEST.as_millis() + 1);
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (80..=120).contains(n)), "{tenths:?}");
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::with_random(|| u64::MAX);
        for _ in 0..5 {
            backoff.failed(None);
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(None), FIRST);
    }

    #[test]
    fn the_server_is_obeyed_within_reason() {
        let mut backoff = Backoff::with_random(|| u64::MAX);
        let asked = Duration::from_secs(120);
        assert_eq!(backoff.failed(Some(asked)), asked + FIRST);
        assert_eq!(backoff.failed(Some(Duration::MAX)), LONGEST_ASKED + FIRST);
        // What it did not ask for goes on from where it was.
        assert_eq!(backoff.failed(None), FIRST * 4);
        assert!(Backoff::with_random(|| 0).failed(Some(asked)) >= asked);
    }
}
