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
            "record {n} of {} (line {:?}): {record}",
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

/// The first place from `from` on where no line of either stream is unfinished:
/// a run that ends inside one lets it out in pieces, as it should.
#[cfg(feature = "fault-points")]
fn quiet(log: &[u8], from: usize) -> usize {
    let (mut at, mut open) = (0, [false; 2]);
    for record in log.split_inclusive(|b| *b == b'\n') {
        let record_text = std::str::from_utf8(record).unwrap();
        let stream = usize::from(record_text.contains("\"stream\":\"stderr\""));
        open[stream] = !record_text.contains("\\n\",\"stream\"");
        at += record.len();
        if at >= from && open == [false; 2] {
            return at;
        }
    }
    log.len()
}

/// The input comes in as many slices as there are kills, so that there is work
/// for each; a kill can leave a slice half read, and the next one goes on.
#[cfg(feature = "fault-points")]
fn killed_at_fault_points(sandbox: &mut Sandbox) {
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::os::unix::process::ExitStatusExt as _;
    let mut bytes = Vec::new();
    let expected = crash_log(lines().max(200_000), 7, &mut bytes).unwrap();
    // A segment is filled, and given up, once in 4 MiB of records.
    let rare = |point: &str| point.starts_with("journal.roll") || point.starts_with("journal.trim");
    let mut plans: Vec<_> = [1, 2, 3, 5]
        .iter()
        .flat_map(|round| sealtail::fault::POINTS.iter().map(move |point| (*point, *round)))
        .filter(|(point, round)| *round < 3 || !rare(point))
        .map(|(point, round)| (point, round, if rare(point) { 60 } else { 2 * round }))
        .collect();
    // Last, so that the others do not start on a large backlog each.
    plans.sort_by_key(|(point, ..)| rare(point));
    let mut weight: usize = plans.iter().map(|plan| plan.2).sum();
    sandbox.settings.batch_records = 300;
    sandbox.settings.journal_max = "64MiB";
    let mut log = File::create(sandbox.path("logs/gateway-json.log")).unwrap();
    let mut kills = BTreeMap::new();
    let mut rest = &bytes[..];
    for (point, round, share) in &plans {
        let (slice, after) = rest.split_at(quiet(rest, rest.len() / weight * share));
        weight -= share;
        log.write_all(slice).unwrap();
        rest = after;
        let plan = format!("{point}:{round}");
        let status = sandbox.start(&[("SEALTAIL_FAULT", &plan)], true).wait().unwrap();
        // Not every point comes by so often in one slice.
        assert!(status.signal() == Some(9) || status.success(), "{plan}: {status}");
        *kills.entry(*point).or_insert(0) += usize::from(status.signal() == Some(9));
    }
    log.write_all(rest).unwrap();
    eprintln!("kills by point: {kills:?}");
    assert!(kills.values().all(|n| *n > 0), "a point was never reached: {kills:?}");
    assert!(kills.values().sum::<usize>() >= 50, "too few kills: {kills:?}");
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
