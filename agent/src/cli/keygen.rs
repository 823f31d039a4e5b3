//! `sealtail keygen DIR`.

use super::{Failure, Outcome, tell};
use crate::disk::RealDisk;
use crate::keygen::{self, KeyMaterial};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the keys go; made if it is not there.
    directory: PathBuf,
}

pub(super) fn keygen(arguments: &Arguments) -> Outcome {
    make(&arguments.directory)?;
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

/// Makes all keys in a folder.
pub(super) fn make(folder: &Path) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("failed to make keys: {e}"));
    let folder = std::path::absolute(folder).map_err(|e| failed(&e))?;
    keygen::keygen(&RealDisk, &folder, KeyMaterial::generate).map_err(|e| failed(&e))?;
    Ok(())
}
