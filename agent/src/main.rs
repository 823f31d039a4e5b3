//! The `sealtail` program: reads its arguments and hands over to the library.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    sealtail::cli::run(sealtail::cli::Cli::parse())
}
