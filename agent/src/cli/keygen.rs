//! `sealtail keygen DIR`.

use super::{Failure, Outcome, tell};
use crate::keygen;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the keys go; made if it is not there.
    directory: PathBuf,
}

pub(super) fn keygen(arguments: &Arguments) -> Outcome {
    keygen::keygen(&arguments.directory).map_err(Failure::failed)?;
    tell(&format!(
        "made in {}:\n\
         \x20 signing.key      signs checkpoints; stays with the agent\n\
         \x20 signing.pub      verifies the archive; give it to the auditor\n\
         \x20 archive.pub.pem  seals batches; stays with the agent\n\
         \x20 archive.pem      opens the archive: move it to the auditor, the agent must not have it\n\
         \x20 token.key        makes tokens; keep it, or tokens do not join across agents\n\
         \x20 journal.key      encrypts the journal",
        arguments.directory.display()
    ));
    Ok(ExitCode::SUCCESS)
}
