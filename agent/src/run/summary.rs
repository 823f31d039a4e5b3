//! What the agent did, in a few lines at the end.

use super::Live;
use crate::pipeline::{Pipeline, Totals};
use crate::redact::{Class, Event};
use crate::sink::Counters;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Counts of one run. Names and numbers only, never content.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// Lines and bytes read, records and gaps made.
    pub totals: Totals,
    /// Events by kind.
    pub events: Vec<(&'static str, u64)>,
    /// Redactions by class or detector.
    pub redactions: Vec<(&'static str, u64)>,
    /// What each sink did, in words.
    pub sinks: Vec<(String, String)>,
}

impl Summary {
    /// What the hot path did.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let stats = pipeline.redaction_stats();
        Self {
            totals: pipeline.totals(),
            events: Event::ALL
                .iter()
                .map(|e| (e.name(), stats.event(*e)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            redactions: Class::ALL
                .iter()
                .map(|c| (c.name(), stats.class(*c)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            sinks: Vec::new(),
        }
    }

    /// What is known when the hot path did not come back to say it all.
    pub(super) fn of_live(live: &Live) -> Self {
        let totals = Totals {
            lines: live.lines.load(Relaxed),
            bytes: live.bytes.load(Relaxed),
            records: live.records.load(Relaxed),
            gaps: live.gaps.load(Relaxed),
        };
        Self { totals, ..Self::default() }
    }

    pub(super) fn add_sinks(&mut self, counters: &[(String, Arc<Counters>)]) {
        for (name, c) in counters {
            let bytes = c.bytes.load(Relaxed);
            let (leaves, batches) = (c.leaves.load(Relaxed), c.batches.load(Relaxed));
            let mut text = if leaves > 0 || batches == 0 && c.events.load(Relaxed) == 0 {
                format!("{} objects, {leaves} leaves, {bytes} bytes sent", c.objects.load(Relaxed))
            } else {
                let events = c.events.load(Relaxed);
                format!("{events} events, {batches} batches, {bytes} bytes sent")
            };
            let named = [
                (c.condemned.load(Relaxed), "in the dead letters (`sealtail dead-letter list`)"),
                (c.given_up.load(Relaxed), "given up under a signed gap (`sealtail replay`)"),
                (c.late.load(Relaxed), "sent with their time in an attribute (too old or too new)"),
            ];
            for (n, what) in named.into_iter().filter(|(n, _)| *n > 0) {
                text.push_str(&format!(", {n} {what}"));
            }
            self.sinks.push((name.clone(), text));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[(&'static str, u64)]| {
            let texts: Vec<_> = items.iter().map(|(name, n)| format!("{name} {n}")).collect();
            if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
        };
        writeln!(f, "  read      {} lines, {} bytes", self.totals.lines, self.totals.bytes)?;
        writeln!(f, "  records   {} made durable, {} gaps", self.totals.records, self.totals.gaps)?;
        writeln!(f, "  events    {}", list(&self.events))?;
        writeln!(f, "  redacted  {}", list(&self.redactions))?;
        for (name, did) in &self.sinks {
            writeln!(f, "  {name:<9} {did}")?;
        }
        if let Some((cpu, peak)) = used() {
            writeln!(f, "  used      {cpu:.2} s of CPU, {peak:.1} MiB of memory at most")?;
        }
        Ok(())
    }
}

/// CPU seconds and the peak of resident MiB of this process, from /proc.
fn used() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before may hold spaces and parentheses; utime and stime are the
    // 14th and 15th field (proc(5)), in ticks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let peak = peak.trim().strip_suffix("kB")?.trim().parse::<u32>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some((ticks as f64 / per_second as f64, f64::from(peak) / 1024.0))
}
