//! What a person sees while the agent runs: a bar on a terminal, and nothing
//! elsewhere (the log says what matters). Also feeds systemd's watchdog.

use super::Live;
use crate::sealer::outbox::Outbox;
use crate::sink::Stop;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// Shows progress until the sinks are told to end at once, or have ended.
pub(super) async fn show(live: Arc<Live>, outbox: Arc<Outbox>, mut stop: watch::Receiver<Stop>) {
    let bar = std::io::stderr().is_terminal().then(bar);
    let mut last = (0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            changed = stop.wait_for(|s| *s == Stop::Now) => {
                drop(changed);
                break;
            }
        }
        let turns = live.turns.load(Relaxed);
        if turns != last.0 || live.blocked.load(Relaxed) {
            drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]));
        }
        let (bytes, lag) = (live.bytes.load(Relaxed), live.lag.load(Relaxed));
        if let Some(bar) = &bar {
            let rate = bytes.saturating_sub(last.1) * 4;
            bar.set_length(bytes + lag);
            bar.set_position(bytes);
            bar.set_message(format!(
                "{} lines  {}/s  lag {}  outbox {}",
                HumanCount(live.lines.load(Relaxed)),
                HumanBytes(rate),
                HumanBytes(lag),
                outbox.waiting(),
            ));
        }
        last = (turns, bytes);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}") {
        bar.set_style(style);
    }
    bar
}
