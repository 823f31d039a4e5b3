//! `sealtail status` and `sealtail top`: what the running agent says of itself.

use super::{ConfigFile, Failure, Outcome, load, print, runtime};
use crate::admin::client;
use crate::metrics::status::{Delivered, KeyState, Phase, Sink, Status};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// As the agent gives it: one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopArguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn status(arguments: &Arguments) -> Outcome {
    let address = address(&arguments.file)?;
    let (json, status) = runtime()?
        .block_on(client::status(address))
        .map_err(|e| Failure::Failed(format!("failed to {e}")))?;
    if arguments.json {
        print(&String::from_utf8_lossy(&json))?;
    } else {
        print(&table(&status))?;
    }
    if status.live {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Failed(format!(
        "the agent hangs: it has not read for {:.0} s",
        status.reading.turned_seconds_ago
    )))
}

/// The table again every second, until it is interrupted.
pub(super) fn top(arguments: &TopArguments) -> Outcome {
    let address = address(&arguments.file)?;
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage("top needs a terminal; elsewhere there is `sealtail status`"));
    }
    runtime()?.block_on(async {
        loop {
            let text = match client::status(address).await {
                Ok((_, status)) => table(&status),
                Err(e) => format!("failed to {e}\n"),
            };
            let mut out = std::io::stdout().lock();
            // Home, the text with each line's rest erased, all below erased.
            let text = text.replace('\n', "\x1b[K\n");
            if write!(out, "\x1b[H{text}\x1b[J").and_then(|()| out.flush()).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
            drop(out);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

fn address(file: &ConfigFile) -> Result<SocketAddr, Failure> {
    match load(file)?.admin.listen {
        None => Err(Failure::usage(
            "the configuration has no admin port (admin.listen: off), so a running agent cannot be asked; \
             `sealtail journal status` reads what is on disk",
        )),
        Some(address) if address.port() == 0 => Err(Failure::usage(
            "admin.listen leaves the port to the system: the agent's log names it, write it there",
        )),
        Some(address) => Ok(address),
    }
}

/// The status for people.
fn table(s: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let phase = match s.phase {
        _ if !s.live => "HANGS",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
    };
    let _ = writeln!(
        out,
        "agent     {} {}, {phase} for {}, version {}",
        s.origin,
        s.incarnation,
        spoken(s.running_seconds),
        s.version
    );
    let r = &s.reading;
    let _ = writeln!(
        out,
        "reading   {} lines, {}, {} gaps; {} behind{}",
        HumanCount(r.lines),
        HumanBytes(r.bytes),
        HumanCount(r.gaps),
        HumanBytes(r.lag_bytes),
        if r.blocked { "; BLOCKED: the journal takes nothing" } else { "" }
    );
    let j = &s.journal;
    let _ = writeln!(
        out,
        "journal   {} of {} used, records {} to {}",
        HumanBytes(j.used_bytes),
        HumanBytes(j.limit_bytes),
        j.begin,
        j.end
    );
    if let Some(seal) = &s.sealing {
        let _ = writeln!(
            out,
            "sealing   {} leaves, {} records not sealed yet; outbox {} leaves, {}{}",
            HumanCount(seal.leaves),
            HumanCount(seal.lag_records),
            HumanCount(seal.waiting_leaves),
            HumanBytes(seal.outbox_bytes),
            match (seal.blocked, seal.data_keys) {
                (false, _) => "",
                (true, KeyState::Ok) => "; BLOCKED: the outbox is full",
                (true, _) => "; BLOCKED: no data key is to be had of KMS, the agent's log says why",
            }
        );
    }
    match &s.dead_letters {
        Some(d) if d.count > 0 => {
            let _ = writeln!(
                out,
                "letters   {} records were refused, {} of {}: `sealtail dead-letter list`",
                HumanCount(d.count),
                HumanBytes(d.bytes),
                HumanBytes(d.limit_bytes)
            );
        }
        Some(_) => {}
        None => out.push_str("letters   the dead letters could not be read\n"),
    }
    let mut rows =
        vec![["SINK", "TYPE", "STATE", "DELIVERED", "BEHIND", "WINDOW"].map(str::to_owned)];
    rows.extend(s.sinks.iter().map(row));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let errors = std::iter::once("LAST ERROR".to_owned()).chain(s.sinks.iter().map(last_error));
    out.push('\n');
    for (row, error) in rows.iter().zip(errors) {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{error}");
    }
    out
}

fn row(sink: &Sink) -> [String; 6] {
    let (delivered, unit) = match sink.delivered {
        Delivered::Sealed { leaves, objects } => {
            (format!("{} leaves, {} objects", HumanCount(leaves), HumanCount(objects)), "leaves")
        }
        Delivered::Events { events, .. } => {
            let given_up = match sink.feed.as_ref().map_or(0, |f| f.given_up) {
                0 => String::new(),
                n => format!(", {} given up", HumanCount(n)),
            };
            (format!("{} events{given_up}", HumanCount(events)), "records")
        }
    };
    let behind = match sink.lag {
        0 => "nothing".to_owned(),
        n => format!("{} {unit}, {}", HumanCount(n), spoken(sink.lag_seconds)),
    };
    let window = sink.feed.as_ref().map_or("-".to_owned(), |f| {
        format!("{} of {}, {}", f.in_flight, f.window, f.breaker.name())
    });
    let state = sink.state.name().to_owned();
    [sink.name.clone(), sink.r#type.clone(), state, delivered, behind, window]
}

/// What a destination said may hold anything: on a terminal it holds no commands.
fn last_error(sink: &Sink) -> String {
    let Some(last) = &sink.last_error else { return "-".to_owned() };
    let what: String = last.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} ago: {what}", spoken(last.seconds_ago))
}

/// Two units are enough.
fn spoken(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (d, h, m, s) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, m) => format!("{m} min {s} s"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spoken_and_commands_to_a_terminal_are_not() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (59.9, "59 s"),
            (61.0, "1 min 1 s"),
            (7265.0, "2 h 1 min"),
            (200_000.0, "2 d 7 h"),
            (-1.0, "0 s"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(spoken(seconds), text);
        }
        let mut status = crate::metrics::sample();
        if let Some(last) = &mut status.sinks[1].last_error {
            last.what = "bad \x1b[2J\nthing".to_owned();
        }
        let table = table(&status);
        assert!(table.contains("bad  [2J thing") && !table.contains('\x1b'), "{table}");
    }

    #[test]
    fn the_table_shows_what_is_wrong() {
        let text = table(&crate::metrics::sample());
        for words in [
            "agent     wa/test 20261124T100000Z-5f0c2a91, running for 1 h 1 min",
            "BLOCKED: the journal takes nothing",
            "BLOCKED: no data key is to be had of KMS",
            "3 records were refused",
            "splunk   splunk_hec  halted",
            "1,000 events, 50 given up",
            "345 records, 12 s",
            "0 of 1, open",
            "3 s ago: HTTP 403",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }
}
