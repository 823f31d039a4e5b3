//! Evidence that nobody can delete: the program with a bucket that locks, and
//! with one that does not.

use crate::loggen::{crash_log, serial_of};
use crate::sandbox::{Destination, S3, Sandbox, said};
use std::path::Path;
use std::process::Command;

const LOCKED: &str = "    object_lock: {mode: compliance, retain_days: 30}\n    \
                      server_side_encryption: {type: s3}\n    tags: {team: trust}\n";

/// What `tests/servers/iam.py` prints.
fn iam(arguments: &[&str]) -> String {
    let python = std::env::var("SEALTAIL_TEST_S3_PYTHON").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/iam.py");
    let done = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn proofs_and_batches_are_locked_and_the_archive_verifies() {
    let Some(mut s3) = S3::from_env("worm") else { return };
    let bucket = iam(&["locked-bucket"]);
    s3.bucket.clone_from(&bucket);
    let mut sandbox = Sandbox::new(Destination::S3(s3));
    sandbox.settings.more_sinks = LOCKED.to_owned();
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(500, 5, &mut std::fs::File::create(log).unwrap()).unwrap();
    for _ in 0..2 {
        let once = sandbox.once();
        assert!(once.status.success(), "{}", said(&once));
    }
    sandbox.verify();
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());

    let locks = iam(&["locks", &bucket]);
    let mut locked = 0;
    for line in locks.lines() {
        let (key, lock) = line.split_once(' ').unwrap();
        let evidence = key.ends_with(".tlog-proof") || key.ends_with(".esdk");
        assert_eq!(lock.starts_with("COMPLIANCE 20"), evidence || key.ends_with("probe"), "{line}");
        locked += usize::from(evidence);
    }
    assert!(locked >= 4, "{locks}");
}

#[test]
fn a_bucket_that_cannot_lock_gets_nothing() {
    let Some(s3) = S3::from_env("no-worm") else { return };
    let mut sandbox = Sandbox::new(Destination::S3(s3));
    sandbox.settings.more_sinks = LOCKED.to_owned();
    let log = sandbox.path("logs/gateway-json.log");
    crash_log(50, 5, &mut std::fs::File::create(log).unwrap()).unwrap();
    let once = sandbox.once();
    assert_eq!(once.status.code(), Some(1), "{}", said(&once));
    assert!(said(&once).contains("Lock"), "{}", said(&once));
}
