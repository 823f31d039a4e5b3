//! Each option on the wire: looked at in the requests that a server got.

use super::stub::{Asked, Stub, answer, error};
use super::tests::{KEY, file, options, sha};
use super::*;
use crate::store::Class;

fn everything(url: &str) -> S3Options {
    S3Options {
        expected_owner: Some("123456789012".to_owned()),
        write: WriteOptions {
            encryption: Some(Encryption::Kms {
                key_id: Some("alias/audit".to_owned()),
                bucket_key: Some(true),
            }),
            storage_class: Some("STANDARD_IA".to_owned()),
            tags: vec![("team".to_owned(), "trust & safety".to_owned())],
            lock: Some(ObjectLock {
                retention: Some(Retention { mode: LockMode::Compliance, days: 30 }),
                legal_hold: true,
            }),
        },
        ..options(url)
    }
}

fn meta() -> ObjectMeta {
    let tags = vec![("message-storage-days".to_owned(), "30".to_owned())];
    ObjectMeta { tags, ..ObjectMeta::default() }
}

#[track_caller]
fn has(asked: &Asked, headers: &[(&str, Option<&str>)]) {
    for (name, value) in headers {
        assert_eq!(asked.header(name), *value, "{name} of {}", asked.line);
    }
}

const OWNER: (&str, Option<&str>) = ("x-amz-expected-bucket-owner", Some("123456789012"));

#[tokio::test]
async fn every_option_is_in_the_requests_that_it_is_for() {
    let (_dir, batch) = file(b"batch");
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let stub = Stub::start(vec![
        answer(200, "", ""),
        answer(200, "", ""),
        answer(200, "", ""),
        answer(200, "content-length: 5\r\n", ""),
        answer(200, "", "whole"),
        answer(200, "", listing),
    ]);
    let store = S3Store::open(everything(&stub.url())).await.unwrap();
    let proof = Body::Bytes(Bytes::from_static(b"proof"));
    store.put_new("log/0.tlog-proof", &proof, sha(b"proof"), &meta()).await.unwrap();
    store.put_new(KEY, &batch, sha(b"batch"), &meta()).await.unwrap();
    store.put("checkpoint", Bytes::from_static(b"c"), &meta()).await.unwrap();
    store.head(KEY).await.unwrap();
    store.get(KEY).await.unwrap();
    store.list("").unwrap().page().await.unwrap();

    let asked = stub.finish();
    for asked in &asked {
        has(asked, &[OWNER]);
    }
    for (asked, class) in [(&asked[0], None), (&asked[1], Some("STANDARD_IA"))] {
        has(
            asked,
            &[
                ("if-none-match", Some("*")),
                ("x-amz-storage-class", class),
                ("x-amz-object-lock-mode", Some("COMPLIANCE")),
                ("x-amz-object-lock-legal-hold", Some("ON")),
            ],
        );
        let until = asked.header("x-amz-object-lock-retain-until-date").unwrap();
        let until = crate::text::parse_rfc3339(until).unwrap() / 1000;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(until >= now + 30 * 86_400 - 60 && until <= now + 31 * 86_400, "{until} {now}");
        assert_eq!(until % 86_400, 0, "a resend on the same day says the same");
    }
    let replaced = &asked[2];
    has(
        replaced,
        &[
            ("if-none-match", None),
            ("x-amz-storage-class", None),
            ("x-amz-object-lock-mode", None),
            ("x-amz-object-lock-retain-until-date", None),
            ("x-amz-object-lock-legal-hold", None),
        ],
    );
    for asked in &asked[..3] {
        has(
            asked,
            &[
                ("x-amz-server-side-encryption", Some("aws:kms")),
                ("x-amz-server-side-encryption-aws-kms-key-id", Some("alias/audit")),
                ("x-amz-server-side-encryption-bucket-key-enabled", Some("true")),
                ("x-amz-tagging", Some("message-storage-days=30&team=trust%20%26%20safety")),
            ],
        );
    }
}

#[tokio::test]
async fn nothing_is_asked_that_is_not_configured() {
    let stub = Stub::start(vec![answer(200, "", "")]);
    let store = S3Store::open(options(&stub.url())).await.unwrap();
    let (_dir, batch) = file(b"batch");
    store.put_new(KEY, &batch, sha(b"batch"), &ObjectMeta::default()).await.unwrap();
    let asked = stub.finish().remove(0);
    for part in ["owner", "encryption", "storage-class", "tagging", "object-lock"] {
        assert_eq!(asked.headers.iter().find(|(name, _)| name.contains(part)), None);
    }
}

#[tokio::test]
async fn a_lock_needs_a_checksum_even_where_none_are_wanted() {
    let stub = Stub::start(vec![answer(200, "", ""), answer(200, "", "")]);
    let options = everything(&stub.url());
    let mut options = S3Options { checksums: Checksums::WhenRequired, ..options };
    options.write.encryption = Some(Encryption::S3);
    let store = S3Store::open(options).await.unwrap();
    let (_dir, batch) = file(b"batch");
    store.put_new(KEY, &batch, sha(b"batch"), &meta()).await.unwrap();
    store.put("checkpoint", Bytes::from_static(b"c"), &meta()).await.unwrap();
    let asked = stub.finish();
    let checksum = BASE64.encode(sha(b"batch"));
    let sse = ("x-amz-server-side-encryption", Some("AES256"));
    has(&asked[0], &[("x-amz-checksum-sha256", Some(&*checksum)), sse]);
    // A bucket that locks by itself asks for one with everything.
    let checksum = BASE64.encode(sha(b"c"));
    has(&asked[1], &[("x-amz-checksum-sha256", Some(&*checksum)), sse]);
}

#[tokio::test]
async fn somebody_elses_bucket_is_refused_with_the_account() {
    let stub = Stub::start(vec![error(403, "AccessDenied", "")]);
    let store = S3Store::open(everything(&stub.url())).await.unwrap();
    let body = Body::Bytes(Bytes::from_static(b"proof"));
    let e = store.put_new(KEY, &body, sha(b"proof"), &meta()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().ends_with("does not belong to account 123456789012"), "{e}");
}

#[tokio::test]
async fn what_may_not_be_read_is_not_taken_for_ours() {
    let stub = Stub::start(vec![
        error(412, "PreconditionFailed", ""),
        answer(403, "", ""),
        error(403, "AccessDenied", ""),
    ]);
    let store = S3Store::open(options(&stub.url())).await.unwrap();
    let body = Body::Bytes(Bytes::from_static(b"proof"));
    let e = store.put_new(KEY, &body, sha(b"proof"), &meta()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("give them s3:GetObject"), "{e}");
    stub.finish();
}
