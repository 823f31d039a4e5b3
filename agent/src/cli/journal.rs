//! `sealtail journal …` and `sealtail forget-sink`.

use super::{ConfigFile, Failure, Outcome, assemble, load, print, tell};
use crate::config::Config;
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::{Incarnation, Options, Seq, repair};
use crate::sealer::entry::EntryHead;
use crate::sink::cursor::Cursors;
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
    let path = &base(&disk, &config)?;
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
    let (damaged, _) = folder("quarantine");
    let cursors =
        Cursors::open(Arc::clone(&disk), path.join("cursors")).map_err(Failure::failed)?;
    let mut text = format!(
        "journal    {}\nsegments   {segments}, {segment_bytes} bytes allocated\noutbox     {entries} entries, {entry_bytes} bytes\nquarantine {damaged} segments\n",
        path.display()
    );
    for name in cursors.names().map_err(Failure::failed)? {
        let next = cursors.load(&name).map_err(Failure::failed)?.unwrap_or(0);
        let known = config.sinks.iter().any(|s| s.name.as_str() == name);
        let note = if known {
            ""
        } else {
            "  (not in the configuration: it holds the outbox; sealtail forget-sink)"
        };
        text.push_str(&format!("sink       {name}: next leaf {next}{note}\n"));
    }
    print(&text)
}

/// Where the present incarnation's segments, outbox and cursors are.
fn base(disk: &SharedDisk, config: &Config) -> Result<PathBuf, Failure> {
    let path = &config.journal.path;
    let id = Incarnation::load(&**disk, path).map_err(Failure::failed)?;
    Ok(id.map_or_else(|| path.clone(), |id| id.base(path)))
}

fn repair_journal(file: &ConfigFile) -> Outcome {
    let config = load(file)?;
    let disk: SharedDisk = Arc::new(RealDisk);
    let options = Options {
        path: config.journal.path.clone(),
        max_bytes: config.journal.max_bytes.bytes(),
        segment_bytes: config.journal.segment_bytes().bytes(),
    };
    let key = assemble::journal_key(&config).map_err(Failure::usage)?;
    let shipped = newest_entry(&disk, &base(&disk, &config)?).map_or(Seq(0), |head| head.cursor);
    let repaired = repair::repair(&disk, &options, &key, shipped, crate::run::now_ms())
        .map_err(Failure::failed)?;
    if repaired.is_empty() {
        tell("nothing is damaged (a torn end is cut at the next start)");
    }
    for one in repaired {
        tell(&format!("{} is kept; {} records saved", one.quarantined.display(), one.saved));
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
    if config.sinks.iter().any(|s| s.name.as_str() == name) {
        return Err(Failure::Usage(format!(
            "{name} is still in the configuration: remove it there first"
        )));
    }
    let disk: SharedDisk = Arc::new(RealDisk);
    let _lock = disk.lock(&config.journal.path.join("lock")).map_err(|e| {
        Failure::failed(format!(
            "failed to lock {}: {e}; stop the agent first",
            config.journal.path.display()
        ))
    })?;
    let folder = base(&disk, &config)?.join("cursors");
    let cursors = Cursors::open(disk, folder).map_err(Failure::failed)?;
    if cursors.forget(name).map_err(Failure::failed)? {
        tell(&format!(
            "{name} is forgotten; what only it was waiting for is removed at the next start"
        ));
        Ok(ExitCode::SUCCESS)
    } else {
        let known = cursors.names().map_err(Failure::failed)?.join(", ");
        Err(Failure::Usage(format!("no sink of that name has a cursor; there are: {known}")))
    }
}
