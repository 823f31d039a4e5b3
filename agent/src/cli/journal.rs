//! `sealtail journal …` and `sealtail forget-sink`.

use super::{ConfigFile, Failure, Outcome, assemble, load, print, tell};
use crate::config::{self, Config};
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{Incarnation, Options, repair};
use crate::sealer::entry::EntryHead;
use crate::sink::cursor::{Cursors, Next};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What the journal holds, and who holds it up. Works beside a running agent.
    Status(ConfigFile),
    /// Save what can be read of damaged segments; what cannot becomes a signed gap.
    Repair(ConfigFile),
}

#[derive(Debug, Args)]
pub(super) struct ForgetArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The sink's name.
    name: String,
}

pub(super) fn journal(command: &Command) -> Outcome {
    match command {
        Command::Status(file) => status(file),
        Command::Repair(file) => repair_journal(file),
    }
}

fn status(file: &ConfigFile) -> Outcome {
    let config = load(file)?;
    let disk: SharedDisk = Arc::new(RealDisk);
    let (id, path) = present(&disk, &config)?;
    let folder = |name: &str| {
        let folder = path.join(name);
        let names = disk.list(&folder).unwrap_or_default();
        let bytes: u64 = names
            .iter()
            .filter_map(|n| std::fs::metadata(folder.join(n)).ok())
            .map(|m| m.len())
            .sum();
        (names.len(), bytes)
    };
    let (segments, segment_bytes) = folder("segments");
    let (entries, entry_bytes) = folder("outbox");
    let damaged = disk.list(&config.journal.path.join("quarantine")).unwrap_or_default().len();
    let mut text = format!(
        "journal    {}\nlog        {} {}\nsegments   {segments}, {segment_bytes} bytes allocated\n\
         outbox     {entries} entries, {entry_bytes} bytes\nquarantine {damaged} segments\n",
        path.display(),
        id.origin,
        id.incarnation,
    );
    let cursors = Cursors::look(Arc::clone(&disk), path.join("cursors"));
    for (name, cursor) in cursors.all().map_err(Failure::failed)? {
        let next = match cursor.next {
            Next::Leaf(leaf) => format!("next leaf {leaf}"),
            Next::Record(record) => match cursor.gave_up {
                Some(upto) => format!("next record {record}, given up to {upto} (a signed gap)"),
                None => format!("next record {record}"),
            },
        };
        let known = is_configured(&config, &name);
        let note = if known {
            ""
        } else {
            "  (not in the configuration: it holds what it was not sent; sealtail forget-sink)"
        };
        text.push_str(&format!("sink       {name}: {next}{note}\n"));
    }
    print(&text)
}

/// The present incarnation, and where its segments, outbox and cursors are.
fn present(disk: &SharedDisk, config: &Config) -> Result<(Incarnation, PathBuf), Failure> {
    let path = &config.journal.path;
    let id = Incarnation::load(&**disk, path).map_err(Failure::failed)?;
    let id = id.ok_or_else(|| {
        Failure::Failed(format!(
            "there is no journal in {} (journal.path): the agent has not run with this configuration",
            path.display()
        ))
    })?;
    let base = id.base(path);
    Ok((id, base))
}

fn is_configured(config: &Config, name: &str) -> bool {
    let archives = config.sinks.iter().map(|s| &s.name);
    archives.chain(config.feeds.iter().map(|f| &f.name)).any(|known| known.as_str() == name)
}

fn repair_journal(file: &ConfigFile) -> Outcome {
    let config = load(file)?;
    let disk: SharedDisk = Arc::new(RealDisk);
    let options = Options {
        path: config.journal.path.clone(),
        max_bytes: config.journal.max_bytes.bytes(),
        segment_bytes: config.journal.segment_bytes().bytes(),
    };
    let (_, base) = present(&disk, &config)?;
    let key = assemble::journal_key(&config).map_err(Failure::usage)?;
    let shipped = newest_entry(&disk, &base).map(|head| head.cursor);
    let repaired = repair::repair(&disk, &options, &key, shipped, crate::run::now_ms())
        .map_err(Failure::failed)?;
    if repaired.is_empty() {
        tell("nothing is damaged (a torn end is cut at the next start)");
    }
    for one in repaired {
        match one.quarantined {
            Some(kept) => tell(&format!("{} is kept; {} records saved", kept.display(), one.saved)),
            None => tell("a first segment is made that goes on behind what is sealed"),
        }
        for (first, count) in one.lost {
            tell(&format!(
                "  lost: {count} records from number {first}; the next start signs a gap for them"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The header of the newest outbox entry that can be read.
fn newest_entry(disk: &SharedDisk, journal: &std::path::Path) -> Option<EntryHead> {
    let folder = journal.join("outbox");
    let names = disk.list(&folder).ok()?;
    let newest = names.iter().rev().find(|n| n.ends_with(".entry"))?;
    EntryHead::read(&*disk.open_read(&folder.join(newest)).ok()?).ok()
}

pub(super) fn forget_sink(arguments: &ForgetArguments) -> Outcome {
    let config = load(&arguments.file)?;
    let name = &arguments.name;
    let disk: SharedDisk = Arc::new(RealDisk);
    let (_, base) = present(&disk, &config)?;
    let path = &config.journal.path;
    let _lock = disk.lock(&path.join("lock")).map_err(|e| {
        Failure::failed(match e.kind() {
            std::io::ErrorKind::WouldBlock => {
                format!("{} is in use by an agent: stop it first", path.display())
            }
            _ => format!("failed to lock {}: {e}", path.display()),
        })
    })?;
    let cursors = Cursors::look(disk, base.join("cursors"));
    // One that is still configured may be forgotten only when its place is gone
    // for good: it then begins anew, at the oldest that is kept.
    let place = |sink: &config::Sink| {
        assemble::place_of(&sink.archive).map_err(Failure::usage).map(|p| p.to_string())
    };
    if let Some(sink) = config.sinks.iter().find(|s| s.name.as_str() == name) {
        let kept = cursors.load(name).map_err(Failure::failed)?.and_then(|cursor| cursor.place);
        if kept.is_none_or(|kept| place(sink).is_ok_and(|now| now == kept)) {
            return Err(Failure::Usage(format!(
                "{name} is still in the configuration, with the same place: remove it there first"
            )));
        }
    }
    if config.feeds.iter().any(|feed| feed.name.as_str() == name) {
        return Err(Failure::Usage(format!(
            "{name} is still in the configuration: remove it there first"
        )));
    }
    if cursors.forget(name).map_err(Failure::failed)? {
        tell(&format!(
            "{name} is forgotten; what only it was waiting for is removed at the next start"
        ));
        Ok(ExitCode::SUCCESS)
    } else {
        let known = cursors.names().map_err(Failure::failed)?.join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Err(Failure::Usage(format!("no sink of that name has a cursor; there are: {known}")))
    }
}
