//! The field keys between the sealer, which makes them, and the sinks, which
//! seal fields with them.
//!
//! It promises: a key that a sink gets has its sealed copy durable in the
//! outbox, under a `key` leaf, so it reaches the archive as surely as any
//! record. Who needs a key that is not there yet asks for it and waits; nobody
//! waits in here. A key belongs to one process and one UTC day, and is given up
//! long before it has sealed 2^31 values.
//!
//! Only the [`Maker`] can publish, and the sealer has it. When the sealer has
//! ended, no key comes any more: what is still under way is sealed with the last
//! one, also behind a midnight.

use sealtail_seal::field::{FieldKey, MAX_USES};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// From so many uses on, a new key is asked for: what is encoded again meanwhile
/// has the other half.
const ENOUGH: u64 = MAX_USES / 2;
const DAY_MS: u64 = 86_400_000;

/// There is no key that may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// One was asked for: [`Ring::subscribe`] tells when it is there.
    #[error("the key for sealed fields is not in the outbox yet")]
    Yet,
    /// Nobody makes one.
    #[error("there is no key for sealed fields: the sealer has ended, or never ran")]
    Ever,
}

/// What the sinks see.
pub struct Ring {
    state: Mutex<State>,
    /// Counts what was asked for: wakes the sealer.
    asked: watch::Sender<u64>,
    /// Counts what was published, and the end: wakes the sinks.
    news: watch::Sender<u64>,
}

struct State {
    key: Option<Dated>,
    wanted: bool,
    closed: bool,
}

#[derive(Clone)]
struct Dated {
    key: Arc<FieldKey>,
    /// Days since 1970, UTC.
    day: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// A ring without a key, in which the first one is asked for; and the right
    /// to publish in it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Maker) {
        let ring = Arc::new(Self {
            state: Mutex::new(State { key: None, wanted: true, closed: false }),
            asked: watch::Sender::new(0),
            news: watch::Sender::new(0),
        });
        (Arc::clone(&ring), Maker(ring))
    }

    /// A ring in which no key will ever be made, but this one may serve: it has to
    /// be in the archive. For what is sent again when no sealer runs.
    #[must_use]
    pub fn closed(key: Option<FieldKey>) -> Arc<Self> {
        let (ring, maker) = Self::new();
        if let Some(key) = key {
            maker.publish(key, 0);
        }
        ring
    }

    /// The key of the day of `now` (Unix ms). One that is ahead by a day counts:
    /// not everybody sees midnight at once.
    ///
    /// # Errors
    /// [`NoKey::Yet`]: it was asked for.
    pub fn key(&self, now: u64) -> Result<Arc<FieldKey>, NoKey> {
        let day = now / DAY_MS;
        let mut state = self.state();
        let last = state.key.clone();
        let is_current =
            |k: &&Dated| (day..=day.saturating_add(1)).contains(&k.day) && k.key.uses() < ENOUGH;
        match last.as_ref().filter(is_current) {
            Some(current) => return Ok(Arc::clone(&current.key)),
            None if state.closed => return last.map(|k| k.key).ok_or(NoKey::Ever),
            None => {}
        }
        if !std::mem::replace(&mut state.wanted, true) {
            self.asked.send_modify(|n| *n += 1);
        }
        Err(NoKey::Yet)
    }

    /// The newest key, of whichever day: for what was encoded before and is
    /// encoded again.
    ///
    /// # Errors
    /// As [`Ring::key`].
    pub fn newest(&self, now: u64) -> Result<Arc<FieldKey>, NoKey> {
        let newest = self.state().key.clone();
        newest.map_or_else(|| self.key(now), |k| Ok(k.key))
    }

    /// Tells of keys, and of the end.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sealer's side. When it is dropped, no key comes any more.
#[derive(Debug)]
pub struct Maker(Arc<Ring>);

impl Maker {
    /// Whether somebody waits for a key.
    pub(super) fn is_wanted(&self) -> bool {
        self.0.state().wanted
    }

    /// Tells when a key is asked for.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.asked.subscribe()
    }

    /// Gives a key out. Its leaf must be durable.
    pub(super) fn publish(&self, key: FieldKey, now: u64) {
        let mut state = self.0.state();
        state.key = Some(Dated { key: Arc::new(key), day: now / DAY_MS });
        state.wanted = false;
        drop(state);
        self.0.news.send_modify(|n| *n += 1);
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.news.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealtail_seal::entropy::OsEntropy;

    fn fresh() -> FieldKey {
        FieldKey::generate(&mut OsEntropy).unwrap()
    }

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    #[test]
    fn a_key_is_asked_for_once_and_serves_one_day() {
        let (ring, maker) = Ring::new();
        assert!(maker.is_wanted(), "the first one is asked for at the start");
        assert_eq!(ring.key(NOON).unwrap_err(), NoKey::Yet);
        let (mut news, asked) = (ring.subscribe(), maker.subscribe());
        maker.publish(fresh(), NOON);
        assert!(news.has_changed().unwrap() && !maker.is_wanted());
        let first = ring.key(NOON).unwrap();
        assert_eq!(ring.key(NOON + DAY_MS / 2 - 1).unwrap().kid(), first.kid());
        // Another one's clock is not at midnight yet.
        assert_eq!(ring.key(NOON - DAY_MS).unwrap().kid(), first.kid());
        assert!(!asked.has_changed().unwrap());
        news.mark_unchanged();
        for _ in 0..3 {
            assert_eq!(ring.key(NOON + DAY_MS / 2).unwrap_err(), NoKey::Yet);
        }
        assert_eq!((maker.is_wanted(), *asked.borrow()), (true, 1));
        // What was encoded yesterday may be encoded again meanwhile.
        assert_eq!(ring.newest(NOON + DAY_MS / 2).unwrap().kid(), first.kid());
        maker.publish(fresh(), NOON + DAY_MS / 2);
        assert_ne!(ring.key(NOON + DAY_MS).unwrap().kid(), first.kid());
        assert!(news.has_changed().unwrap());
        // A clock that was years ahead holds nobody to its key.
        assert_eq!(ring.key(NOON - 400 * DAY_MS).unwrap_err(), NoKey::Yet);
    }

    #[test]
    fn after_the_end_the_last_key_serves_what_is_under_way() {
        let (ring, maker) = Ring::new();
        maker.publish(fresh(), NOON);
        let news = ring.subscribe();
        drop(maker);
        assert!(news.has_changed().unwrap());
        assert!(ring.key(NOON + DAY_MS).is_ok());
        let ring = Ring::closed(None);
        assert_eq!(ring.key(NOON).unwrap_err(), NoKey::Ever);
        assert_eq!(ring.newest(NOON).unwrap_err(), NoKey::Ever);
        assert!(Ring::closed(Some(fresh())).key(NOON).is_ok());
    }
}
