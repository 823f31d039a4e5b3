//! SIGKILL anywhere, as often as one likes: each line's events exactly once, in
//! order, and an archive that verifies.

use crate::loggen::{Expected, crash_log, serial_of};
use crate::sandbox::{Destination, S3, Sandbox};
use std::fs::File;
use std::io::BufWriter;
use std::process::Child;
use std::time::{Duration, Instant};

/// Logical lines of the input; a release binary takes ten times as many.
fn lines() -> u64 {
    std::env::var("SEALTAIL_TEST_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

fn kill(child: &mut Child) {
    // The process may have ended by itself: that is no failure here.
    drop(child.kill());
    child.wait().unwrap();
}

/// What came out against what went in.
fn check(sandbox: &Sandbox, expected: &[Expected]) {
    let finish = sandbox.once();
    assert!(finish.status.success(), "{}", crate::sandbox::said(&finish));
    let report = sandbox.verify();
    assert!(report.contains("intact     yes") && report.contains("complete   yes"), "{report}");
    let mut wanted = expected.iter();
    let mut seen = 0;
    for (n, record) in sandbox.open().iter().enumerate() {
        assert!(record.starts_with(&format!("{{\"seq\":{n},")), "record {n}: {record}");
        let Some(serial) = serial_of(record) else { continue };
        let due = wanted.next();
        assert_eq!(
            Some(serial),
            due.map(|e| e.serial),
            "record {n} of {} (line {:?})",
            expected.len(),
            due.map(|e| e.line)
        );
        seen += 1;
    }
    assert_eq!(seen, expected.len(), "events are missing at the end");
}

fn input(sandbox: &Sandbox, lines: u64) -> Vec<Expected> {
    let path = sandbox.path("logs/gateway-json.log");
    crash_log(lines, 7, &mut BufWriter::new(File::create(path).unwrap())).unwrap()
}

fn killed_at_random(sandbox: &mut Sandbox, kills: u32) {
    sandbox.settings.batch_records = lines() / 40;
    let expected = input(sandbox, lines());
    let mut random = 0x5eed_u64;
    for _ in 0..kills {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = sandbox.start(&[], false);
        // A random time of life, spread over start-up, reading and shipping.
        let life = Duration::from_millis(5 + (random >> 33) % 250);
        let until = Instant::now() + life;
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        kill(&mut child);
    }
    check(sandbox, &expected);
}

#[test]
fn killed_at_random_times_with_a_directory() {
    killed_at_random(&mut Sandbox::directory(), 50);
}

#[test]
fn killed_at_random_times_with_s3() {
    let Some(s3) = S3::from_env("killed-at-random") else { return };
    killed_at_random(&mut Sandbox::new(Destination::S3(s3)), 50);
}

#[cfg(feature = "fault-points")]
fn killed_at_fault_points(sandbox: &mut Sandbox) {
    use std::os::unix::process::ExitStatusExt as _;
    sandbox.settings.batch_records = lines() / 40;
    sandbox.settings.journal_max = "64MiB";
    let expected = input(sandbox, lines());
    let mut kills = 0;
    for round in [1, 2, 5] {
        for point in sealtail::fault::POINTS {
            let plan = format!("{point}:{round}");
            let mut child = sandbox.start(&[("SEALTAIL_FAULT", &plan)], true);
            let status = child.wait().unwrap();
            // Late rounds can find too little left to come by so often.
            if status.signal() == Some(9) {
                kills += 1;
            } else {
                assert!(status.success(), "{plan}: {status}");
                std::fs::OpenOptions::new()
                    .append(true)
                    .open(sandbox.path("logs/gateway-json.log"))
                    .unwrap();
            }
        }
    }
    assert!(kills >= 30, "only {kills} kills");
    check(sandbox, &expected);
}

#[cfg(feature = "fault-points")]
#[test]
fn killed_at_every_fault_point_with_a_directory() {
    killed_at_fault_points(&mut Sandbox::directory());
}

#[cfg(feature = "fault-points")]
#[test]
fn killed_at_every_fault_point_with_s3() {
    let Some(s3) = S3::from_env("killed-at-fault-points") else { return };
    killed_at_fault_points(&mut Sandbox::new(Destination::S3(s3)));
}
