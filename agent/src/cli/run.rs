//! `sealtail run`.

use super::assemble::{self, AssembleError};
use super::{ConfigFile, Failure, Outcome, complain, load, log, runtime, tell};
use crate::config::{self, Archive, Config, KeyState};
use crate::run::{Ended, Mode};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Ship what is there now to every sink, then exit.
    #[arg(long)]
    once: bool,
    /// With --once: give up after this long, in seconds or as 90s, 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    timeout: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => config::duration(text),
    }
}

/// How long sinks may take to empty the outbox after the first signal: inside
/// the 30 s that Kubernetes gives.
const GRACE: Duration = Duration::from_secs(25);

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = load(&arguments.file)?;
    log::init(config.log);
    require_keys(&config)?;
    let mode = Mode { once: arguments.once, timeout: arguments.timeout, grace: GRACE };
    let ended = go(&config, mode)?;
    let verify = how_to_verify(&config);
    conclude(&ended, &verify)
}

/// How long a full volume is left alone before the start is tried again.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(2);

/// Puts the agent together and runs it to its end. While the volume has no room
/// for a start, it waits: the log files are the queue.
pub(super) fn go(config: &Config, mode: Mode) -> Result<Ended, Failure> {
    let runtime = runtime()?;
    let begun = std::time::Instant::now();
    let mut warned = false;
    let parts = loop {
        match assemble::assemble(config) {
            Ok(parts) => break parts,
            Err(AssembleError::NoSpace(e)) if !mode.once || begun.elapsed() < mode.timeout => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        "failed to {e}; waiting for room on the volume, nothing is lost"
                    );
                }
                std::thread::sleep(NO_SPACE_PAUSE);
            }
            Err(e @ AssembleError::Config(_)) => return Err(Failure::usage(e)),
            Err(e) => return Err(Failure::failed(e)),
        }
    };
    Ok(runtime.block_on(crate::run::run(parts, mode)))
}

/// Prints the summary; decides the exit code.
pub(super) fn conclude(ended: &Ended, verify: &[String]) -> Outcome {
    let how = if ended.failures.is_empty() { "done" } else { "ended, not all is done" };
    let mut text = format!("{how}\n{}", ended.summary);
    if ended.waiting > 0 {
        text.push_str(&format!(
            "  waiting   {} leaves in the outbox, sent after the next start\n",
            ended.waiting
        ));
    }
    if !verify.is_empty() {
        text.push_str("  verify    ");
        text.push_str(&verify.join("\n            "));
    }
    tell(&text);
    if ended.failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for failure in &ended.failures {
        complain(&format!("failed to {failure}"));
    }
    Ok(ExitCode::from(1))
}

fn require_keys(config: &Config) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for key in config.keys(&super::environment) {
        match key.state {
            KeyState::Missing => {
                missing.push(format!("  {} ({}) is not there", key.path, key.reference));
            }
            KeyState::Unusable(why) => {
                missing.push(format!("  {} ({}): {why}", key.path, key.reference));
            }
            KeyState::Open(mode) => complain(&format!(
                "warning: {} ({}) can be read by others (mode {mode:o}); chmod 600 it",
                key.path, key.reference
            )),
            KeyState::Present | KeyState::MadeAtStart => {}
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let folder =
        config.seal.signing_key.path().and_then(Path::parent).unwrap_or(Path::new("/etc/sealtail"));
    Err(Failure::Usage(format!(
        "keys are missing:\n{}\nmake all of them with: sealtail keygen {}",
        missing.join("\n"),
        folder.display()
    )))
}

/// One command line for each archive.
fn how_to_verify(config: &Config) -> Vec<String> {
    let public = config.seal.signing_key.path().map_or_else(
        || "signing.pub".to_owned(),
        |path| path.with_file_name("signing.pub").display().to_string(),
    );
    let one = |archive: &Archive| format!("sealtail verify {} --key {public}", archive.url());
    config.sinks.iter().map(|sink| one(&sink.archive)).collect()
}
