//! What is made of a bucket's answers about itself.

use super::stub::{Step, Stub, answer, error};
use super::tests::options;
use super::*;
use crate::store::{Class, Mark, Probe, Store};

const DATE: &str = "date: Sun, 22 Nov 2026 10:00:00 GMT\r\n";

fn head() -> Step {
    answer(200, &format!("{DATE}x-amz-bucket-region: eu-test-1\r\n"), "")
}

fn versioning(status: &str) -> Step {
    let status = match status {
        "" => String::new(),
        status => format!("<Status>{status}</Status>"),
    };
    answer(200, DATE, format!("<VersioningConfiguration>{status}</VersioningConfiguration>"))
}

fn lock(rule: &str) -> Step {
    let body = format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}\
         </ObjectLockConfiguration>"
    );
    answer(200, "", body)
}

fn no_lock() -> Step {
    error(404, "ObjectLockConfigurationNotFoundError", "")
}

fn created() -> Step {
    answer(200, "", "")
}

fn taken() -> Step {
    error(412, "PreconditionFailed", "")
}

fn denied() -> Step {
    error(403, "AccessDenied", "")
}

const RULE: &str = "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>1</Years>\
                    </DefaultRetention></Rule>";

async fn probe(steps: Vec<Step>, locked: bool) -> (Result<Probe, StoreError>, Vec<String>) {
    let stub = Stub::start(steps);
    let mut options = options(&stub.url());
    if locked {
        let retention = Some(Retention { mode: LockMode::Compliance, days: 30 });
        options.write.lock = Some(ObjectLock { retention, legal_hold: false });
    }
    let store = Store::S3(S3Store::open(options).await.unwrap());
    let found = store.probe("wa/g-0").await;
    (found, stub.finish().into_iter().map(|asked| asked.line).collect())
}

#[track_caller]
fn facts(probe: &Probe) -> &S3Probe {
    match probe {
        Probe::S3(s3) => s3,
        Probe::Dir(_) => panic!("a directory"),
    }
}

#[tokio::test]
async fn a_bucket_that_has_everything() {
    let sum = BASE64.encode([7; 32]);
    let kept = format!("content-length: 9\r\nx-amz-checksum-sha256: {sum}\r\n");
    let steps =
        vec![head(), versioning("Enabled"), lock(RULE), created(), taken(), answer(200, &kept, "")];
    let (found, asked) = probe(steps, true).await;
    let found = found.unwrap();
    assert!(found.verdict().is_ok());
    let s3 = facts(&found);
    assert_eq!(s3.region.as_deref(), Some("eu-test-1"));
    assert_eq!(s3.versioned, Answer::Known(true));
    assert_eq!(s3.lock, Answer::Known(BucketLock::Always(LockMode::Governance, 365)));
    assert!(s3.conditional);
    assert_eq!(s3.read_back, ReadBack::Checksum);
    let server = crate::text::parse_rfc3339("2026-11-22T10:00:00Z").unwrap() / 1000;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let skew = i64::try_from(server).unwrap() - i64::try_from(now).unwrap();
    assert!((s3.skew.unwrap() - skew).abs() <= 60, "{:?} {skew}", s3.skew);
    let key = "/audit-logs/what/sapp/wa/g-0/sealtail-probe";
    for (line, want) in asked.iter().zip([
        "HEAD /audit-logs".to_owned(),
        "GET /audit-logs?versioning".to_owned(),
        "GET /audit-logs?object-lock".to_owned(),
        format!("PUT {key}"),
        format!("PUT {key}"),
        format!("HEAD {key}"),
    ]) {
        let line = line.replace("/?", "?");
        assert!(line.starts_with(&want), "{line} {want}");
    }
    let table = found.to_string();
    for words in [
        "ok   writable           yes, s3://audit-logs/what/sapp/",
        "ok   written once       yes, a second write is refused",
        "ok   versioned          yes",
        "yes: proofs and batches 30 days, mode compliance; all else 365 days, mode governance, by",
        "ok   read back          yes, by checksum",
    ] {
        assert!(table.contains(words), "{words}\n{table}");
    }
}

#[tokio::test]
async fn the_object_for_trying_is_written_once() {
    let steps = vec![head(), versioning(""), no_lock(), taken(), created()];
    let (found, asked) = probe(steps, false).await;
    let found = found.unwrap();
    assert!(found.verdict().is_ok());
    assert_eq!(asked.iter().filter(|line| line.starts_with("PUT")).count(), 1);
    assert_eq!(facts(&found).versioned, Answer::Known(false));
    assert_eq!(facts(&found).read_back, ReadBack::Whole);
    assert_eq!(found.rows()[3].mark, Mark::Warning);
    assert!(found.to_string().contains("who may delete in the bucket"), "{found}");
}

#[tokio::test]
async fn no_lock_is_promised_that_the_bucket_does_not_have() {
    for (answer_of_bucket, says, puts) in [
        (no_lock(), "the bucket has no Object Lock", 0),
        (error(501, "NotImplemented", ""), "the bucket has no Object Lock", 0),
        (answer(200, "", "<ObjectLockConfiguration/>"), "the bucket has no Object Lock", 0),
        (denied(), "s3:GetBucketObjectLockConfiguration", 1),
    ] {
        let mut steps = vec![head(), versioning("Enabled"), answer_of_bucket];
        if puts > 0 {
            steps.push(taken());
        }
        steps.push(answer(404, "", ""));
        let (found, asked) = probe(steps, true).await;
        let found = found.unwrap();
        let e = found.verdict().unwrap_err();
        assert_eq!(e.class(), Class::Halt);
        assert!(e.to_string().contains(says), "{e}");
        assert!(found.to_string().contains("BAD  locked (WORM)      NO: "), "{found}");
        assert_eq!(asked.iter().filter(|line| line.starts_with("PUT")).count(), puts);
    }
}

#[tokio::test]
async fn a_store_that_writes_over_everything_is_refused() {
    let steps = vec![head(), versioning(""), no_lock(), created(), created(), created()];
    let (found, _) = probe(steps, false).await;
    let found = found.unwrap();
    assert!(!facts(&found).conditional);
    let e = found.verdict().unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("in spite of If-None-Match"), "{e}");
}

#[tokio::test]
async fn who_may_only_write_is_told_what_that_means() {
    let steps = vec![
        answer(403, "x-amz-bucket-region: ap-south-1\r\n", ""),
        denied(),
        denied(),
        created(),
        taken(),
        answer(403, "", ""),
    ];
    let (found, _) = probe(steps, false).await;
    let found = found.unwrap();
    assert!(found.verdict().is_ok(), "it is no reason not to start");
    let s3 = facts(&found);
    assert_eq!(s3.region.as_deref(), Some("ap-south-1"), "told in a refusal, too");
    assert_eq!((s3.versioned, s3.lock), (Answer::Forbidden, Answer::Forbidden));
    assert_eq!(s3.read_back, ReadBack::No);
    let table = found.to_string();
    assert!(
        table.contains("warn read back          no: an upload whose answer is lost"),
        "{table}"
    );
    assert!(table.contains("warn versioned          may not be asked"), "{table}");
}

#[tokio::test]
async fn what_keeps_a_bucket_from_being_used_is_an_error() {
    let elsewhere = || answer(301, "x-amz-bucket-region: ap-south-1\r\n", "");
    for (steps, halt, says) in [
        (vec![answer(404, "", "")], true, "the bucket does not exist"),
        (vec![elsewhere()], true, "the bucket is in region ap-south-1; set region"),
        (vec![answer(503, "", "")], false, "503"),
        (vec![head(), error(503, "SlowDown", "")], false, "SlowDown"),
        (vec![answer(403, "", ""), error(403, "InvalidAccessKeyId", "")], true, "not accepted"),
        (
            vec![answer(403, "", ""), error(403, "RequestTimeTooSkewed", "")],
            true,
            "the clock of this machine is wrong",
        ),
        (
            vec![answer(403, "", ""), denied(), denied(), denied()],
            true,
            "docs/s3-iam-policy.json has what they need",
        ),
        (
            vec![head(), versioning(""), no_lock(), error(501, "NotImplemented", "")],
            true,
            "the store does not know something",
        ),
    ] {
        let (found, _) = probe(steps, false).await;
        let e = found.unwrap_err();
        assert_eq!(e.class() == Class::Halt, halt, "{e}");
        assert!(e.to_string().contains(says), "{says}: {e}");
    }
}

#[tokio::test]
async fn data_stays_where_it_may_be() {
    let regions = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let stub = Stub::start(vec![
        answer(200, "x-amz-bucket-region: us-east-1\r\n", ""),
        versioning("Enabled"),
        no_lock(),
        answer(404, "", ""),
    ]);
    let inside = S3Options { regions: regions(&["eu-test-1"]), ..options(&stub.url()) };
    let store = Store::S3(S3Store::open(inside.clone()).await.unwrap());
    let found = store.probe("").await.unwrap();
    let e = found.verdict().unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("region us-east-1 is not among residency.regions (eu-test-1)"));
    assert!(found.to_string().contains("BAD  region"), "{found}");
    let asked = stub.finish();
    assert!(asked.iter().all(|asked| !asked.line.starts_with("PUT")), "nothing is written there");

    let outside = S3Options { regions: regions(&["eu-west-1"]), ..inside };
    let e = S3Store::open(outside).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("region eu-test-1 is not among"), "{e}");
}
