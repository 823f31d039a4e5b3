//! Named fault points: where a test build kills itself (`kill -9`, no clean-up).
//!
//! `SEALTAIL_FAULT=journal.append.sync:17` ends the process with SIGKILL the
//! 17th time it comes by that name. Without the feature `fault-points` the
//! function is empty and the variable is not read.

/// Every name, in the order of a line's life.
pub const POINTS: &[&str] = &[
    "journal.append",
    "journal.append.sync",
    "journal.append.done",
    "journal.roll",
    "journal.roll.publish",
    "journal.trim",
    "journal.trim.dir",
    "seal.batch",
    "outbox.write",
    "outbox.sync",
    "outbox.rename",
    "outbox.sync_dir",
    "outbox.done",
    "archive.claim",
    "archive.object",
    "archive.checkpoint",
    "cursor.write",
    "outbox.remove",
];

/// Those of sinks that follow the journal, in the same order.
pub const FEED_POINTS: &[&str] =
    &["seal.waiver", "ship.waiver", "ship.gave-up", "ship.dead", "ship.cursor"];

/// Kills the process here if the environment asks for it (feature `fault-points`).
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_name: &'static str) {}

/// Kills the process here if the environment asks for it (feature `fault-points`).
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let plan = PLAN.get_or_init(|| {
        let value = std::env::var("SEALTAIL_FAULT").ok()?;
        let (name, count) = value.rsplit_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = plan else { return };
    if wanted == name && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        let me = rustix::process::getpid();
        // SIGKILL cannot be refused for one's own process; abort is the same end.
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        std::process::abort();
    }
}
