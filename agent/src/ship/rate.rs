//! The operator's own limits: bytes and requests a second.
//!
//! A bucket holds a second's worth. A request may overdraw it (one batch can be
//! larger than a second's worth); the next then waits until the debt is paid.

use std::time::Duration;

/// The limits of one destination; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes a second, as sent.
    pub bytes: Option<u64>,
    /// Requests a second.
    pub requests: Option<u64>,
}

/// What is left of them.
#[derive(Debug, Clone)]
pub struct Rate {
    bytes: Option<Bucket>,
    requests: Option<Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    a_second: f64,
    left: f64,
    /// When `left` was right, since the clock's start.
    at: Duration,
}

impl Bucket {
    fn new(a_second: u64) -> Self {
        let a_second = a_second.max(1) as f64;
        Self { a_second, left: a_second, at: Duration::ZERO }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * self.a_second).min(self.a_second);
        self.at = self.at.max(now);
    }

    /// How long until there is so much in it.
    fn wait(&mut self, least: f64, now: Duration) -> Duration {
        self.fill(now);
        if self.left >= least {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(((least - self.left) / self.a_second + 1e-4).min(3600.0))
    }
}

impl Rate {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let bucket = |limit: Option<u64>| limit.map(Bucket::new);
        Self { bytes: bucket(limits.bytes), requests: bucket(limits.requests) }
    }

    /// How long the next request has to wait. `now` is since any fixed moment.
    pub fn wait(&mut self, now: Duration) -> Duration {
        let bytes = self.bytes.as_mut().map(|bucket| bucket.wait(f64::MIN_POSITIVE, now));
        let requests = self.requests.as_mut().map(|bucket| bucket.wait(1.0, now));
        bytes.max(requests).unwrap_or_default()
    }

    /// A request of so many bytes goes out.
    pub fn take(&mut self, bytes: usize) {
        if let Some(bucket) = &mut self.bytes {
            bucket.left -= bytes as f64;
        }
        if let Some(bucket) = &mut self.requests {
            bucket.left -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_sixty_seconds_worth() {
        let mut rate = Rate::new(Limits { bytes: Some(1000), requests: Some(5) });
        let (mut now, mut sent) = (Duration::ZERO, 0);
        while now < Duration::from_secs(60) {
            match rate.wait(now) {
                Duration::ZERO => {
                    rate.take(300);
                    sent += 300;
                }
                wait => now += wait,
            }
        }
        // A second's worth at once, and one that overdraws.
        assert!((60_000..=61_600).contains(&sent), "{sent}");
        let mut rate = Rate::new(Limits { bytes: None, requests: Some(2) });
        rate.take(1 << 40);
        assert_eq!(rate.wait(Duration::ZERO), Duration::ZERO);
        rate.take(0);
        assert!(rate.wait(Duration::ZERO) > Duration::ZERO);
        assert_eq!(rate.wait(Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(Rate::new(Limits::default()).wait(Duration::ZERO), Duration::ZERO);
    }
}
