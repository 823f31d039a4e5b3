//! `sealtail verify` and `sealtail open`; and where archives are.

use super::assemble::AssembleError;
use super::{Failure, Outcome, complain, environment, print, runtime, tell};
use crate::config;
use crate::disk::{RealDisk, SharedDisk};
use crate::kms::{KeyArn, KmsKey, KmsOptions};
use crate::read::open::{self as opening, Filter};
use crate::read::{Archive, Identities, fields, verify as verifying};
use crate::store::s3::S3Options;
use crate::store::url::Location;
use crate::store::{DirStore, Place, S3Store, Store};
use clap::Args;
use sealtail_seal::keys::{VerifyingKey, secret_from_text};
use sealtail_seal::message::Identity;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A directory, file:///… or s3://bucket/prefix (endpoint and region from the AWS environment).
    archive: String,
    /// The public signing key (repeatable: each log has to be signed by one of them).
    #[arg(long, value_name = "signing.pub", required = true)]
    key: Vec<PathBuf>,
    /// Also open every object with this private key, or key of KMS by its ARN (repeatable).
    #[arg(long, value_name = "archive.pem|ARN")]
    identity: Vec<String>,
    /// A checkpoint that was kept elsewhere: the archive must reach it.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// The newest leaf must be at most so many seconds old.
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// The archive was moved, and its log begins with this leaf; what was before is elsewhere.
    #[arg(long, value_name = "LEAF", default_value_t = 0)]
    begins_at: u64,
    /// The agent's heartbeat in seconds: an object at the tip may be under way for two of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    heartbeat: u64,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct OpenArguments {
    /// A directory, file:///… or s3://bucket/prefix (endpoint and region from the AWS environment).
    archive: String,
    /// A private key that opens the objects, or a key of KMS by its ARN: credentials and endpoint
    /// from the AWS environment (repeatable).
    #[arg(long, value_name = "archive.pem|ARN", required = true)]
    identity: Vec<String>,
    /// The public signing key (repeatable): without it nobody vouches for what is opened.
    #[arg(long, value_name = "signing.pub")]
    key: Vec<PathBuf>,
    /// First sequence number.
    #[arg(long, value_name = "N")]
    from_seq: Option<u64>,
    /// Last sequence number.
    #[arg(long, value_name = "N")]
    to_seq: Option<u64>,
    /// Only records made durable at or after this (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records made durable before this (RFC 3339).
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only these events (repeatable).
    #[arg(long, value_name = "NAME")]
    event: Vec<String>,
    /// Give a source line's event once, though several incarnations hold it.
    #[arg(long)]
    dedupe: bool,
    /// Read an export of Splunk or Datadog (NDJSON) on standard input, and write it with its
    /// sealed fields opened. What does not open stays as it is, is named on stderr, and the
    /// exit code is 1.
    #[arg(long, conflicts_with_all = ["from_seq", "to_seq", "since", "until", "event", "dedupe"])]
    fields: bool,
}

pub(super) fn verify(arguments: &VerifyArguments) -> Outcome {
    let now = crate::run::now_ms();
    let request = verifying::Request {
        keys: public_keys(&arguments.key)?,
        identities: identities(&arguments.identity)?,
        expect: arguments.expect.as_deref().map(read).transpose()?,
        max_age: arguments.max_age.map(|s| (s.saturating_mul(1000), now)),
        in_flight: arguments.heartbeat.saturating_mul(2000),
        begins_at: arguments.begins_at,
        now,
    };
    let report = runtime()?.block_on(async {
        let archive =
            Archive::open(read_store(&arguments.archive).await?).await.map_err(Failure::failed)?;
        verifying::verify(&archive, request).await.map_err(Failure::failed)
    })?;
    let text = if arguments.json {
        serde_json::to_string(&report).map_err(Failure::failed)?
    } else {
        report.to_string()
    };
    print(&text)?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn open(arguments: OpenArguments) -> Outcome {
    let keys = public_keys(&arguments.key)?;
    if keys.is_empty() {
        complain(
            "warning: without --key nobody vouches for these records: anyone can seal to a public key",
        );
    }
    if arguments.fields {
        return open_fields(&arguments, keys);
    }
    let time = |text: Option<String>| {
        let utc = |t: String| {
            let ms = crate::text::parse_rfc3339(&t);
            ms.map(crate::text::rfc3339).ok_or_else(|| {
                Failure::Usage(format!("{t:?} is no time; write 2026-11-22T10:00:00Z"))
            })
        };
        text.map(utc).transpose()
    };
    let request = opening::Request {
        identities: identities(&arguments.identity)?,
        keys,
        filter: Filter {
            from_seq: arguments.from_seq,
            to_seq: arguments.to_seq,
            since: time(arguments.since)?,
            until: time(arguments.until)?,
            events: arguments.event,
        },
        dedupe: arguments.dedupe,
    };
    let result = runtime()?.block_on(async {
        let archive =
            Archive::open(read_store(&arguments.archive).await?).await.map_err(Failure::failed)?;
        let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        Ok(opening::open(&archive, request, &mut out).await)
    })?;
    match result {
        Err(e) if opening::is_broken_pipe(&e) => Ok(ExitCode::SUCCESS),
        Err(e) => Err(Failure::failed(e)),
        Ok(opened) => {
            let repeated = if opened.repeated > 0 {
                format!(", {} repeated ones left out", opened.repeated)
            } else {
                String::new()
            };
            for log in opened.cut {
                complain(&format!("warning: {log}: what was before is not in this archive"));
            }
            tell(&format!("{} records{repeated}", opened.records));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn open_fields(arguments: &OpenArguments, keys: Vec<VerifyingKey>) -> Outcome {
    let request = fields::Request { identities: identities(&arguments.identity)?, keys };
    let mut tell_sealed = |sealed: &fields::Sealed| {
        complain(&format!("line {}, {}: {}", sealed.line, sealed.pointer, sealed.reason));
    };
    let result = runtime()?.block_on(async {
        let archive =
            Archive::open(read_store(&arguments.archive).await?).await.map_err(Failure::failed)?;
        let mut input = std::io::stdin().lock();
        let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        Ok(fields::open(&archive, request, &mut input, &mut out, &mut tell_sealed).await)
    })?;
    match result {
        Err(e) if fields::is_broken_pipe(&e) => Ok(ExitCode::SUCCESS),
        Err(e) => Err(Failure::Failed(format!("failed to {e}"))),
        Ok(done) => {
            tell(&format!(
                "{} fields opened in {} lines, {} stay sealed",
                done.fields, done.lines, done.failed
            ));
            Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("failed to read {}: {e}", path.display())))
}

pub(super) fn public_keys(paths: &[PathBuf]) -> Result<Vec<VerifyingKey>, Failure> {
    let one = |path: &PathBuf| {
        VerifyingKey::from_pem(&read(path)?)
            .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
    };
    paths.iter().map(one).collect()
}

/// Private keys: RSA in PEM, or a shared AES key as one line of base64, whose
/// name is the file's name without its ending; or ARNs of keys of KMS.
pub(super) fn identities(names: &[String]) -> Result<Identities, Failure> {
    let mut identities = Identities::default();
    for name in names {
        if name.starts_with("arn:") {
            identities.kms.push(kms_key(name)?);
            continue;
        }
        let path = Path::new(name);
        let text = zeroize::Zeroizing::new(read(path)?);
        let bad = |e| Failure::Usage(format!("{}: {e}", path.display()));
        identities.local.push(if text.contains("-----BEGIN") {
            Identity::rsa(&text).map_err(bad)?
        } else {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            Identity::aes(&stem, *secret_from_text(&text).map_err(bad)?)
        });
    }
    Ok(identities)
}

/// How often KMS is tried: whoever reads has no backoff of its own.
const ATTEMPTS: u32 = 4;

fn kms_key(arn: &str) -> Result<KmsKey, Failure> {
    let key = KeyArn::parse(arn).filter(|key| !key.is_alias()).ok_or_else(|| {
        Failure::Usage(format!(
            "{arn} is no ARN of a key of KMS: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias, \
             which may stand for another key today than when the archive was sealed"
        ))
    })?;
    Ok(KmsKey::new(KmsOptions { attempts: ATTEMPTS, ..KmsOptions::new(key) }))
}

/// The archive that a person named.
pub(super) async fn read_store(text: &str) -> Result<Store, Failure> {
    match Location::parse(text).map_err(Failure::usage)? {
        Location::Dir(path) => {
            if !path.is_dir() {
                return Err(Failure::Failed(format!(
                    "failed to read {}: there is no such directory",
                    path.display()
                )));
            }
            let disk: SharedDisk = Arc::new(RealDisk);
            DirStore::open(disk, &path).map(Store::Dir).map_err(Failure::failed)
        }
        Location::S3 { bucket, prefix } => {
            let mut options = S3Options::new(&bucket, &prefix);
            // What the AWS tools call it; the SDK does not read it by itself.
            if environment("AWS_S3_FORCE_PATH_STYLE").is_some_and(|v| v == "true" || v == "1") {
                options.path_style = Some(true);
            }
            S3Store::open(options).await.map(Store::S3).map_err(Failure::failed)
        }
    }
}

/// The archive that a sink is configured with. Nothing is opened.
pub(super) fn sink_place(
    archive: &config::Archive,
    disk: &SharedDisk,
) -> Result<Place, AssembleError> {
    match archive {
        config::Archive::Directory(path) => Ok(Place::Directory(Arc::clone(disk), path.clone())),
        config::Archive::S3(s3) => Ok(Place::S3(Box::new(super::bucket::options(s3)?))),
    }
}
