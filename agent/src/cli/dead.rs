//! `sealtail dead-letter list|show|replay|remove`.

use super::assemble;
use super::{ConfigFile, Failure, Outcome, failure, load, print, runtime, tell};
use crate::config::Config;
use crate::disk::{RealDisk, SharedDisk};
use crate::journal::Seq;
use crate::ship::answer::Answer;
use crate::ship::batch::{How, Record};
use crate::ship::dead::{DeadLetters, Letter};
use crate::sink::event;
use bytes::Bytes;
use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;

/// How often an acknowledgement is asked for.
const ASKED: u32 = 30;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What was refused, by whom and why: one line each. Works beside a running agent.
    List(ListArguments),
    /// One letter whole, with the record.
    Show(OneArguments),
    /// Send letters to their sink again; those that it takes are removed.
    Replay(ReplayArguments),
    /// Remove a letter for good.
    Remove(OneArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Only those of this sink.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct OneArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The letter's name, as `list` prints it.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The letters' names; without any: all.
    names: Vec<String>,
}

pub(super) fn dead_letter(command: &Command) -> Outcome {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Replay(arguments) => replay(arguments),
        Command::Remove(arguments) => remove(arguments),
    }
}

fn open(config: &Config) -> Result<DeadLetters, Failure> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let key = assemble::existing_journal_key(config).map_err(failure)?;
    Ok(assemble::feeds::dead_letters(config, &disk, &key))
}

fn list(arguments: &ListArguments) -> Outcome {
    let config = load(&arguments.file)?;
    let letters = open(&config)?;
    let mut text = String::new();
    for name in letters.names().map_err(Failure::failed)? {
        let letter = letters.read(&name).map_err(Failure::failed)?;
        if arguments.sink.as_ref().is_some_and(|sink| *sink != letter.sink) {
            continue;
        }
        text.push_str(&if arguments.json {
            let mut value = serde_json::to_value(&letter).map_err(Failure::failed)?;
            if let Some(object) = value.as_object_mut() {
                object.insert("name".into(), name.into());
                object.remove("record");
            }
            format!("{value}\n")
        } else {
            format!("{name}  {}  seq {}  {}\n", letter.refused, letter.seq, letter.reason)
        });
    }
    if text.is_empty() {
        tell("there are no dead letters");
        return Ok(ExitCode::SUCCESS);
    }
    print(&text)
}

fn show(arguments: &OneArguments) -> Outcome {
    let config = load(&arguments.file)?;
    let letter = read(&open(&config)?, &arguments.name)?;
    print(&serde_json::to_string_pretty(&letter).map_err(Failure::failed)?)
}

fn remove(arguments: &OneArguments) -> Outcome {
    let config = load(&arguments.file)?;
    let letters = open(&config)?;
    read(&letters, &arguments.name)?;
    letters.remove(&arguments.name).map_err(Failure::failed)?;
    tell(&format!("{} is removed", arguments.name));
    Ok(ExitCode::SUCCESS)
}

/// A letter that `list` printed.
fn read(letters: &DeadLetters, name: &str) -> Result<Letter, Failure> {
    if !letters.names().map_err(Failure::failed)?.iter().any(|known| known == name) {
        return Err(Failure::Usage(format!(
            "there is no dead letter {name:?}; `sealtail dead-letter list` prints their names"
        )));
    }
    letters.read(name).map_err(Failure::failed)
}

/// Beside a running agent this is safe: a letter's record is in no cursor's way.
fn replay(arguments: &ReplayArguments) -> Outcome {
    let config = load(&arguments.file)?;
    let letters = open(&config)?;
    let names = if arguments.names.is_empty() {
        letters.names().map_err(Failure::failed)?
    } else {
        arguments.names.clone()
    };
    let runtime = runtime()?;
    let mut refused = 0;
    for name in &names {
        let letter = read(&letters, name)?;
        match runtime.block_on(send(&config, &letter))? {
            Answer::Delivered { .. } | Answer::Accepted { .. } => {
                letters.remove(name).map_err(Failure::failed)?;
                tell(&format!("{name} was taken"));
            }
            Answer::Refused(refusal) | Answer::TooLarge(refusal) => {
                refused += 1;
                tell(&format!("{name} is refused again: {}", refusal.reason));
            }
            Answer::Retry { reason, .. } | Answer::Halt { reason } => {
                return Err(Failure::Failed(format!(
                    "failed to replay {name}: {reason}; what was not taken is kept"
                )));
            }
        }
    }
    if names.is_empty() {
        tell("there are no dead letters");
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn send(config: &Config, letter: &Letter) -> Result<Answer, Failure> {
    let feed = config.feeds.iter().find(|feed| feed.name.as_str() == letter.sink);
    let feed = feed.ok_or_else(|| {
        Failure::Usage(format!("sink {} of this letter is not in the configuration", letter.sink))
    })?;
    if feed.is_sealing() {
        return Err(Failure::Failed(format!(
            "failed to replay to sink {}: it seals fields (seal_fields), and only the running agent has a \
             key for that whose copy goes to the archive. The letter is kept; the archive has the record too",
            letter.sink
        )));
    }
    let log = event::Log { origin: letter.origin.clone(), incarnation: letter.incarnation.clone() };
    let (wire, mut encoder) =
        assemble::feeds::destination(feed, &log, &Arc::default(), None).map_err(failure)?;
    let text = serde_json::to_vec(&letter.record).map_err(Failure::failed)?;
    let record = Record {
        seq: Seq(letter.seq),
        journaled: letter.journaled,
        body: text.get(1..).unwrap_or_default(),
    };
    let [prefix, _, suffix] = encoder.frame();
    let mut body = prefix.to_vec();
    let how = How { now: crate::run::now_ms(), ..How::default() };
    encoder.encode(&record, how, &mut body).map_err(Failure::failed)?;
    body.extend_from_slice(suffix);
    let ack = match wire.deliver(Bytes::from(body), false).await {
        Answer::Accepted { ack, .. } => ack,
        answer => return Ok(answer),
    };
    // Taken is not kept: the letter stays until the indexers say so.
    for _ in 0..ASKED {
        tokio::time::sleep(crate::sink::splunk::ASK.0).await;
        match wire.ask(&[ack]).await {
            Ok(kept) if kept.contains(&ack) => return Ok(Answer::Delivered { pressed: false }),
            Ok(_) | Err(Answer::Retry { .. }) => {}
            Err(answer) => return Ok(answer),
        }
    }
    let reason = "it was taken, but no acknowledgement came in time".to_owned();
    Ok(Answer::Halt { reason })
}
