//! Against a real store, when `SEALTAIL_TEST_S3_ENDPOINT`, `…_ACCESS_KEY`,
//! `…_SECRET_KEY` and `…_BUCKET` say where one is (`tests/servers/ministack.sh`).
//! `…_CHECKSUMS=when_required` for a store that does not know checksums (Ceph).

use super::*;
use crate::disk::RealDisk;
use crate::store::{Class, Entry, Reader};
use std::io::Write as _;

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("SEALTAIL_TEST_S3_{name}")).ok()
}

/// The store, with a prefix that nobody has used; `None` when there is none.
pub(super) fn options(test: &str) -> Option<S3Options> {
    let Some(endpoint) = variable("ENDPOINT") else {
        // Not eprintln: the test harness would keep that to itself.
        let text = format!(
            "\n*** SKIPPED {test}: SEALTAIL_TEST_S3_ENDPOINT is not set; run\n\
             *** eval \"$(tests/servers/ministack.sh start DIR)\" first\n"
        );
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return None;
    };
    let needed =
        |name| variable(name).unwrap_or_else(|| panic!("SEALTAIL_TEST_S3_{name} is missing"));
    let prefix = format!("{test}-{:016x}", getrandom::u64().unwrap());
    let checksums = match variable("CHECKSUMS").as_deref() {
        None | Some("when_supported") => Checksums::WhenSupported,
        Some("when_required") => Checksums::WhenRequired,
        Some(other) => panic!("SEALTAIL_TEST_S3_CHECKSUMS={other}"),
    };
    let (key, secret) = (needed("ACCESS_KEY"), needed("SECRET_KEY"));
    Some(S3Options {
        endpoint: Some(Endpoint::parse(&endpoint).unwrap()),
        checksums,
        credentials: CredentialSource::Fixed(FixedCredentials::new(&key, &secret, None)),
        ..S3Options::new(&needed("BUCKET"), &prefix)
    })
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) async fn put(store: &S3Store, key: &str, data: &[u8]) -> Result<PutOutcome, StoreError> {
    let body = Body::Bytes(Bytes::copy_from_slice(data));
    store.put_new(key, &body, sha(data), &ObjectMeta::default()).await
}

async fn read(store: &S3Store, key: &str) -> Vec<u8> {
    Reader::S3(store.get(key).await.unwrap()).read_all(64 << 20).await.unwrap()
}

#[tokio::test]
async fn live_an_object_is_created_once_and_compared_ever_after() {
    let Some(options) = options("create") else {
        return;
    };
    let checksums = options.checksums == Checksums::WhenSupported;
    let store = S3Store::open(options).await.unwrap();
    assert_eq!(put(&store, "a/b", b"proof").await.unwrap(), PutOutcome::Created);
    assert_eq!(put(&store, "a/b", b"proof").await.unwrap(), PutOutcome::Same);
    assert_eq!(put(&store, "a/b", b"other").await.unwrap_err().class(), Class::Conflict);
    assert_eq!(put(&store, "a/b", b"longer").await.unwrap_err().class(), Class::Conflict);
    assert_eq!(read(&store, "a/b").await, b"proof");
    let info = store.head("a/b").await.unwrap().unwrap();
    assert_eq!((info.len, info.sha256), (5, checksums.then(|| sha(b"proof"))));
    assert_eq!(store.head("a/none").await.unwrap(), None);
    assert_eq!(store.get("a/none").await.unwrap_err().class(), Class::NotFound);

    for data in [&b"size 1"[..], b"size 2"] {
        let meta = ObjectMeta::default();
        store.put("checkpoint", Bytes::from_static(data), &meta).await.unwrap();
        assert_eq!(read(&store, "checkpoint").await, data);
    }
}

#[tokio::test]
async fn live_tags_and_metadata_arrive() {
    let Some(options) = options("tags") else {
        return;
    };
    let store = S3Store::open(options).await.unwrap();
    let meta = ObjectMeta {
        content_type: Some("text/plain".to_owned()),
        tags: vec![
            ("message-storage-days".to_owned(), "30".to_owned()),
            ("of".to_owned(), "a b/c=d+e".to_owned()),
        ],
        metadata: vec![("codec".to_owned(), "gzip".to_owned())],
    };
    let body = Body::Bytes(Bytes::from_static(b"x"));
    store.put_new("a", &body, sha(b"x"), &meta).await.unwrap();
    let (bucket, key) = (store.0.options.bucket.clone(), store.full("a"));
    let head = store.client().head_object().bucket(&bucket).key(&key).send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.metadata().unwrap().get("codec").unwrap(), "gzip");
    let found = store.client().get_object_tagging().bucket(bucket).key(key).send().await.unwrap();
    let mut found: Vec<_> =
        found.tag_set().iter().map(|t| (t.key().to_owned(), t.value().to_owned())).collect();
    found.sort();
    assert_eq!(found, meta.tags);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn live_of_sixteen_writers_one_creates() {
    let Some(options) = options("race") else {
        return;
    };
    let store = S3Store::open(options).await.unwrap();
    for (key, same, want) in [("same", true, [1, 15, 0]), ("other", false, [1, 0, 15])] {
        let tasks: Vec<_> = (0..16_u8)
            .map(|n| {
                let store = store.clone();
                let data = vec![if same { 0 } else { n }; 100_000];
                tokio::spawn(async move {
                    // As the ship engine would: a 409 is tried again.
                    loop {
                        match put(&store, key, &data).await {
                            Err(e) if matches!(e.class(), Class::Retry { .. }) => {}
                            end => return end,
                        }
                    }
                })
            })
            .collect();
        let mut ends = [0; 3];
        for task in tasks {
            ends[match task.await.unwrap() {
                Ok(PutOutcome::Created) => 0,
                Ok(PutOutcome::Same) => 1,
                Err(e) => {
                    assert_eq!(e.class(), Class::Conflict, "{e}");
                    2
                }
            }] += 1;
        }
        assert_eq!(ends, want, "{key}");
    }
}

#[tokio::test]
async fn live_twenty_megabytes_go_there_and_back_in_chunks() {
    let Some(options) = options("large") else {
        return;
    };
    let store = S3Store::open(options).await.unwrap();
    let data: Vec<u8> =
        (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("entry");
    std::fs::write(&path, &data).unwrap();
    let body = Body::File { disk: Arc::new(RealDisk), path, offset: 0, len: data.len() as u64 };
    let meta = ObjectMeta::default();
    let put = async || store.put_new("big", &body, sha(&data), &meta).await;
    assert_eq!(put().await.unwrap(), PutOutcome::Created);
    assert_eq!(put().await.unwrap(), PutOutcome::Same);

    let mut reader = store.get("big").await.unwrap();
    assert_eq!(reader.len(), 20_000_000);
    let (mut at, mut chunks) = (0, 0);
    while let Some(chunk) = reader.chunk().await.unwrap() {
        assert!(chunk == data[at..at + chunk.len()], "at {at}");
        assert!(chunk.len() < 4 << 20, "a chunk of {}", chunk.len());
        at += chunk.len();
        chunks += 1;
    }
    assert_eq!(at, data.len());
    assert!(chunks > 10);
}

#[tokio::test]
async fn live_the_server_checks_what_it_gets() {
    let Some(options) = options("digest") else {
        return;
    };
    let store = S3Store::open(options).await.unwrap();
    // Our own check stands before the server's, so this asks it directly.
    let mut request = store
        .client()
        .put_object()
        .bucket(&store.0.options.bucket)
        .key(store.full("a"))
        .body(Bytes::from_static(b"rotten").into());
    if store.checksums() {
        request = request.checksum_sha256(BASE64.encode(sha(b"sealed")));
    }
    let signed = if store.checksums() { sha(b"rotten") } else { sha(b"sealed") };
    let sent = request.customize().interceptor(SignKnownHash(hex(&signed))).send().await;
    let fault = Fault::of(&sent.unwrap_err());
    assert_eq!(fault.into_error(Doing::Write, "a").class(), Class::Halt);
    assert_eq!(store.head("a").await.unwrap(), None);
}

#[tokio::test]
async fn live_a_missing_bucket_halts_and_says_so() {
    let Some(mut options) = options("missing") else {
        return;
    };
    options.bucket = format!("not-there-{:016x}", getrandom::u64().unwrap());
    let store = S3Store::open(options).await.unwrap();
    for e in [
        put(&store, "a", b"x").await.unwrap_err(),
        store.get("a").await.unwrap_err(),
        store.list("").unwrap().page().await.unwrap_err(),
        store.put("c", Bytes::new(), &ObjectMeta::default()).await.unwrap_err(),
    ] {
        assert_eq!(e.class(), Class::Halt, "{e}");
        assert!(e.to_string().contains("the bucket does not exist"), "{e}");
        assert!(e.to_string().contains("not-there-"), "{e}");
    }
}

#[tokio::test]
async fn live_wrong_credentials_halt_and_are_not_shown() {
    let Some(mut options) = options("wrong") else {
        return;
    };
    let key = variable("ACCESS_KEY").unwrap();
    for (key, secret) in [(key.as_str(), "wr0ngs3cret"), ("AKIANOBODY0000000000", "wr0ngs3cret")] {
        options.credentials = CredentialSource::Fixed(FixedCredentials::new(key, secret, None));
        let store = S3Store::open(options.clone()).await.unwrap();
        for e in [
            put(&store, "a", b"x").await.unwrap_err(),
            store.head("a").await.unwrap_err(),
            store.list("").unwrap().page().await.unwrap_err(),
        ] {
            assert_eq!(e.class(), Class::Halt, "{e}");
            assert!(e.to_string().contains("credentials"), "{e}");
            assert!(!e.to_string().contains("wr0ngs3cret"), "{e}");
        }
    }
}

#[tokio::test]
async fn live_listings_are_complete_and_in_order() {
    let Some(options) = options("list") else {
        return;
    };
    let store = S3Store::open(options).await.unwrap();
    let mut want: Vec<String> = (0..1017).map(|n| format!("log/{:020}", n * 7)).collect();
    want.extend(["a-b/x", "a/x", "a0", "log-old/1"].map(str::to_owned));
    for keys in want.chunks(32) {
        let tasks: Vec<_> = keys
            .iter()
            .map(|key| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { put(&store, &key, b"123").await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), PutOutcome::Created);
        }
    }
    want.sort();
    let all = async |prefix: &str| {
        let (mut out, mut pages) = (Vec::new(), store.list(prefix).unwrap());
        while let Some(page) = pages.page().await.unwrap() {
            out.extend(page);
        }
        out
    };
    let entries: Vec<_> = want.iter().map(|key| Entry { key: key.clone(), len: 3 }).collect();
    assert!(all("").await == entries);
    assert_eq!(all("log/").await.len(), 1017);
    assert_eq!(all("log-").await.len(), 1);
    assert_eq!(all("none/").await.len(), 0);
}

/// A bucket of its own, versioned and able to lock.
pub(super) async fn locked_bucket(options: &S3Options) -> String {
    let bucket = format!("locked-{:016x}", getrandom::u64().unwrap());
    let client = S3Store::open(options.clone()).await.unwrap().client();
    let made = client.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true);
    made.send().await.unwrap();
    bucket
}

#[tokio::test]
async fn live_every_option_is_kept_with_the_object() {
    use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption};
    let Some(mut options) = options("options") else {
        return;
    };
    // Ceph, as it comes: without KMS, with one storage class, and conditions
    // are not honoured where versions are kept.
    let plain = options.checksums == Checksums::WhenRequired;
    options.bucket = locked_bucket(&options).await;
    options.write = WriteOptions {
        encryption: (!plain)
            .then(|| Encryption::Kms { key_id: Some("alias/audit".to_owned()), bucket_key: None }),
        storage_class: (!plain).then(|| "STANDARD_IA".to_owned()),
        tags: vec![("team".to_owned(), "trust".to_owned())],
        lock: Some(ObjectLock {
            retention: Some(Retention { mode: LockMode::Compliance, days: 30 }),
            legal_hold: true,
        }),
    };
    let store = S3Store::open(options.clone()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("entry");
    std::fs::write(&path, b"batch").unwrap();
    let body = Body::File { disk: Arc::new(RealDisk), path, offset: 0, len: 5 };
    let meta =
        ObjectMeta { tags: vec![("days".to_owned(), "30".to_owned())], ..ObjectMeta::default() };
    let send = async || store.put_new("batch/0", &body, sha(b"batch"), &meta).await.unwrap();
    assert_eq!(send().await, PutOutcome::Created);
    if !plain {
        assert_eq!(send().await, PutOutcome::Same, "a resend does not fail because of the lock");
    }
    store.put("checkpoint", Bytes::from_static(b"1"), &meta).await.unwrap();
    store.put("checkpoint", Bytes::from_static(b"2"), &meta).await.unwrap();
    assert_eq!(read(&store, "checkpoint").await, b"2", "replaced, also where versions are kept");

    let head = async |key: &str| {
        let head = store.client().head_object().bucket(&options.bucket).key(store.full(key));
        head.send().await.unwrap()
    };
    let batch = head("batch/0").await;
    assert_eq!(batch.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    assert_eq!(batch.object_lock_legal_hold_status(), Some(&ObjectLockLegalHoldStatus::On));
    let until = batch.object_lock_retain_until_date().unwrap().secs();
    let days = (until - SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64) / 86_400;
    assert!((30..=31).contains(&days), "{days}");
    let checkpoint = head("checkpoint").await;
    assert_eq!(checkpoint.object_lock_mode(), None);
    assert_eq!(checkpoint.storage_class(), None);
    if !plain {
        assert_eq!(batch.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
        assert!(batch.ssekms_key_id().unwrap().contains("audit"));
        assert_eq!(
            batch.storage_class().map(aws_sdk_s3::types::StorageClass::as_str),
            Some("STANDARD_IA")
        );
        assert_eq!(checkpoint.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    }
    let client = store.client();
    let tags = client.get_object_tagging().bucket(&options.bucket).key(store.full("batch/0"));
    let mut tags: Vec<_> =
        tags.send().await.unwrap().tag_set().iter().map(|t| t.key().to_owned()).collect();
    tags.sort();
    assert_eq!(tags, ["days", "team"]);
    // The version itself cannot be deleted.
    let version = batch.version_id().unwrap();
    let delete = client.delete_object().bucket(&options.bucket).key(store.full("batch/0"));
    let e = delete.version_id(version).send().await.unwrap_err();
    assert_eq!(e.raw_response().unwrap().status().as_u16(), 403);
}

#[tokio::test]
async fn live_a_lock_is_refused_where_the_bucket_cannot_lock() {
    let Some(mut options) = options("nolock") else {
        return;
    };
    options.write.lock = Some(ObjectLock { retention: None, legal_hold: true });
    let store = S3Store::open(options).await.unwrap();
    let e = put(&store, "a", b"x").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt, "{e}");
    assert!(e.to_string().contains("InvalidRequest"), "{e}");
    assert_eq!(store.head("a").await.unwrap(), None);
}

#[tokio::test]
async fn live_a_bucket_tells_what_it_can() {
    use crate::store::{Probe, Store};
    let Some(mut options) = options("probe") else {
        return;
    };
    let keys = async |store: &S3Store| store.list("").unwrap().page().await.unwrap();
    let store = S3Store::open(options.clone()).await.unwrap();
    for _ in 0..2 {
        let found = Store::S3(store.clone()).probe("wa/g-0").await.unwrap();
        found.verdict().unwrap();
        let Probe::S3(s3) = &found else { panic!("{found}") };
        assert_eq!(s3.versioned, Answer::Known(false), "{found}");
        assert_eq!(s3.lock, Answer::Known(BucketLock::No), "{found}");
        assert!(s3.conditional && s3.read_back != ReadBack::No, "{found}");
        assert!(s3.skew.unwrap().abs() <= 5, "{found}");
        assert!(s3.region.is_some(), "{found}");
        let listed = keys(&store).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].key, "wa/g-0/sealtail-probe");
    }

    let retention = Some(Retention { mode: LockMode::Compliance, days: 1 });
    options.write.lock = Some(ObjectLock { retention, legal_hold: false });
    let unlocked = Store::S3(S3Store::open(options.clone()).await.unwrap());
    let e = unlocked.probe("").await.unwrap().verdict().unwrap_err();
    assert!(e.to_string().contains("the bucket has no Object Lock"), "{e}");

    options.bucket = locked_bucket(&options).await;
    let locked = S3Store::open(options.clone()).await.unwrap();
    if options.checksums == Checksums::WhenRequired {
        // Ceph 16.2: two versions instead of a 412.
        let e = Store::S3(locked).probe("").await.unwrap().verdict().unwrap_err();
        assert!(e.to_string().contains("only where no versions are kept"), "{e}");
        return;
    }
    for _ in 0..2 {
        let found = Store::S3(locked.clone()).probe("").await.unwrap();
        found.verdict().unwrap();
        let Probe::S3(s3) = &found else { panic!("{found}") };
        assert_eq!(s3.versioned, Answer::Known(true), "{found}");
        assert_eq!(s3.lock, Answer::Known(BucketLock::OnRequest), "{found}");
    }
    let versions = locked.client().list_object_versions().bucket(&options.bucket);
    assert_eq!(versions.send().await.unwrap().versions().len(), 1, "it is there once");
}
