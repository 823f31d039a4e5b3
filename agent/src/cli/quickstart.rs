//! `sealtail quickstart`: the main job on real input, with nothing configured.

use super::{Failure, Outcome, environment, keygen, log, print, run, tell};
use crate::config;
use crate::run::Mode;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The configuration of the quickstart; the same file as in config/.
const CONFIG: &str = include_str!("../../../config/quickstart.yaml");

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The sample logs that ship with the repository.
    #[arg(long, value_name = "DIR", default_value = "samples")]
    samples: PathBuf,
    /// Where keys, journal and archive go: a new numbered folder in it each time.
    #[arg(long, value_name = "DIR", default_value = "quickstart-out")]
    out: PathBuf,
}

pub(super) fn quickstart(arguments: &Arguments) -> Outcome {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
    };
    let samples = absolute(&arguments.samples)?;
    if !samples.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is not there: run this in the repository's folder, or say --samples DIR",
            samples.display()
        )));
    }
    let parent = absolute(&arguments.out)?;
    let Some(folder) = (1..10_000_u32).map(|n| parent.join(n.to_string())).find(|f| !f.exists())
    else {
        return Err(Failure::Usage(format!(
            "{} is full of earlier runs: remove it",
            parent.display()
        )));
    };
    let keys = folder.join("keys");
    keygen::make(&keys)?;
    let env = |name: &str| match name {
        "SAMPLES" => Some(samples.display().to_string()),
        "QUICKSTART" => Some(folder.display().to_string()),
        _ => environment(name),
    };
    let config = config::parse(CONFIG, "config/quickstart.yaml", &env).map_err(Failure::usage)?;
    log::init(config.log);
    let minute = Duration::from_secs(60);
    let ended = run::go(&config, Mode { once: true, timeout: minute, grace: minute })?;
    let code = run::conclude(&ended, &[])?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    let program = std::env::args().next().unwrap_or_else(|| "sealtail".to_owned());
    let (archive, keys) = (folder.join("archive"), keys.display());
    tell("\nThe archive is sealed. Open it, and verify it:\n");
    print(&format!(
        "{program} open {0} --identity {keys}/archive.pem --key {keys}/signing.pub\n\
         {program} verify {0} --key {keys}/signing.pub --identity {keys}/archive.pem",
        archive.display()
    ))
}
