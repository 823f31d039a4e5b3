//! The command line: one module a command.
//!
//! stdout is data, stderr is for people. Exit codes: 0 done; 1 failed,
//! unreadable, or a verdict that was asked for is bad; 2 wrong usage or
//! configuration (DESIGN.md, "Command line").

mod archive;
mod assemble;
mod aws;
mod bucket;
mod connect;
mod dead;
mod journal;
mod keygen;
mod log;
mod quickstart;
mod replay;
mod run;
mod status;

use crate::config::{self, Config};
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tails WhatsApp gateway logs, takes personal data out, seals what remains
/// and ships it, so that an auditor can prove that nothing was lost or altered.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent.
    Run(run::Arguments),
    /// Validate a configuration and print what it means.
    Check(CheckArguments),
    /// Make all keys in a directory; never overwrites.
    Keygen(keygen::Arguments),
    /// What the running agent does: lag, journal, each sink.
    Status(status::Arguments),
    /// The same again every second, on a terminal.
    Top(status::TopArguments),
    /// Check an archive: one verdict a line.
    Verify(archive::VerifyArguments),
    /// Decrypt an archive to NDJSON on standard output, in order.
    Open(archive::OpenArguments),
    /// Look after the journal.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Look after the records that a destination refused.
    #[command(subcommand, name = "dead-letter")]
    DeadLetter(dead::Command),
    /// Let go of a sink that is no longer in the configuration.
    ForgetSink(journal::ForgetArguments),
    /// Send a sink what it gave up while the journal was full, out of the archive.
    Replay(replay::Arguments),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Run the main job on the logs that ship with the repository, with keys made here.
    Quickstart(quickstart::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
struct ConfigFile {
    /// The configuration file (YAML or JSON).
    #[arg(short, long, value_name = "FILE", default_value = "/etc/sealtail/sealtail.yaml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct CheckArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Try each destination: reached, authorised, clock skew, limits. Nothing is sent that is
    /// kept, but one small object that trying a bucket leaves there.
    #[arg(long)]
    connect: bool,
}

/// How a command can fail.
#[derive(Debug)]
enum Failure {
    /// Exit code 1; the message completes "sealtail: ".
    Failed(String),
    /// Exit code 2.
    Usage(String),
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }
}

type Outcome = Result<ExitCode, Failure>;

/// Runs a command and says on stderr why it failed, if it did.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::DeadLetter(command) => dead::dead_letter(&command),
        Command::Keygen(arguments) => keygen::keygen(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Top(arguments) => status::top(&arguments),
        Command::Verify(arguments) => archive::verify(&arguments),
        Command::Open(arguments) => archive::open(arguments),
        Command::Journal(command) => journal::journal(&command),
        Command::ForgetSink(arguments) => journal::forget_sink(&arguments),
        Command::Schema => print(&config::schema()),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Quickstart(arguments) => quickstart::quickstart(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure::Failed(message)) => {
            complain(&message);
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

fn check(arguments: &CheckArguments) -> Outcome {
    let config = load(&arguments.file)?;
    if arguments.connect {
        return connect::connect(&config);
    }
    print(&config::render_check(&config, &environment))
}

/// What keeps the agent from being put together, as a command's failure.
fn failure(e: assemble::AssembleError) -> Failure {
    match e {
        assemble::AssembleError::Config(what) => Failure::Usage(what),
        other => Failure::failed(other),
    }
}

fn load(file: &ConfigFile) -> Result<Config, Failure> {
    config::load(&file.config, &environment).map_err(Failure::usage)
}

/// The process's environment.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints to stdout; a reader that has gone is no failure.
fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.trim_end().as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("failed to write to stdout: {e}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Says something to people.
fn complain(message: &str) {
    // If stderr is gone there is nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "sealtail: {}", message.trim_end()));
}

/// Says something to people, as it is.
fn tell(message: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", message.trim_end()));
}

/// A runtime for the network side.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .thread_stack_size(512 * 1024)
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("failed to start the runtime: {e}")))
}
