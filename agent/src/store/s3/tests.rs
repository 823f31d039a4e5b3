//! What is sent, and what is made of every kind of answer.

use super::stub::{Asked, Step, Stub, answer, error};
use super::*;
use crate::disk::RealDisk;
use crate::store::{Class, Reader};
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) const KEY: &str = "wa/g-0/i/log/00000000000000000000.tlog-proof";

pub(super) fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn options(url: &str) -> S3Options {
    S3Options {
        region: Some("eu-test-1".to_owned()),
        endpoint: Some(Endpoint::parse(url).unwrap()),
        credentials: CredentialSource::Fixed(FixedCredentials::new("AKTEST", "hidden", None)),
        ..S3Options::new("audit-logs", "what/sapp")
    }
}

async fn store(steps: Vec<Step>) -> (Stub, S3Store) {
    let stub = Stub::start(steps);
    let store = S3Store::open(options(&stub.url())).await.unwrap();
    (stub, store)
}

async fn put(store: &S3Store, data: &'static [u8]) -> Result<PutOutcome, StoreError> {
    let body = Body::Bytes(Bytes::from_static(data));
    store.put_new(KEY, &body, sha(data), &ObjectMeta::default()).await
}

fn lines(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|a| a.line.split(' ').next().unwrap()).collect()
}

pub(super) fn file(data: &[u8]) -> (tempfile::TempDir, Body) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("entry");
    std::fs::write(&path, [b"header", data].concat()).unwrap();
    let disk = Arc::new(RealDisk);
    (dir, Body::File { disk, path, offset: 6, len: data.len() as u64 })
}

#[tokio::test]
async fn an_object_goes_out_conditional_signed_and_in_one_piece() {
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (_dir, body) = file(&data);
    let (stub, store) = store(vec![answer(200, "", "")]).await;
    let meta = ObjectMeta {
        content_type: Some("application/octet-stream".to_owned()),
        tags: vec![("retention days".to_owned(), "30&x=1".to_owned())],
        metadata: vec![("codec".to_owned(), "gzip".to_owned())],
    };
    let outcome = store.put_new(KEY, &body, sha(&data), &meta).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);

    let asked = stub.finish().remove(0);
    let target = asked.line.split('?').next().unwrap();
    assert_eq!(target, format!("PUT /audit-logs/what/sapp/{KEY}"), "path style, prefix, key");
    assert_eq!(asked.body, data.len());
    let hash = sha(&data);
    for (name, value) in [
        ("if-none-match", "*"),
        ("content-length", "1000000"),
        ("content-type", "application/octet-stream"),
        ("x-amz-content-sha256", &hex(&hash)),
        ("x-amz-checksum-sha256", &BASE64.encode(hash)),
        ("x-amz-tagging", "retention%20days=30%26x%3D1"),
        ("x-amz-meta-codec", "gzip"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    for name in ["transfer-encoding", "content-encoding", "x-amz-trailer", "expect"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    assert!(asked.header("authorization").unwrap().contains("/eu-test-1/s3/"));
}

#[tokio::test]
async fn checksums_only_when_required_leaves_the_signed_hash() {
    let stub = Stub::start(vec![
        answer(200, "", ""),
        answer(200, "", ""),
        answer(200, "content-length: 5\r\n", ""),
    ]);
    let when_required = S3Options { checksums: Checksums::WhenRequired, ..options(&stub.url()) };
    let store = S3Store::open(when_required).await.unwrap();
    let (_dir, body) = file(b"proof");
    store.put_new(KEY, &body, sha(b"proof"), &ObjectMeta::default()).await.unwrap();
    store.put("checkpoint", Bytes::from_static(b"c"), &ObjectMeta::default()).await.unwrap();
    store.head(KEY).await.unwrap();
    let asked = stub.finish();
    assert_eq!(asked[0].header("x-amz-content-sha256"), Some(&*hex(&sha(b"proof"))));
    assert_eq!(asked[1].header("if-none-match"), None, "a checkpoint is replaced");
    for asked in &asked {
        let extra =
            asked.headers.iter().find(|(n, _)| n.contains("checksum") || n.contains("trailer"));
        assert_eq!(extra, None);
    }
}

#[tokio::test]
async fn what_is_there_already_is_compared() {
    let good =
        format!("content-length: 5\r\nx-amz-checksum-sha256: {}\r\n", BASE64.encode(sha(b"proof")));
    let bad =
        format!("content-length: 5\r\nx-amz-checksum-sha256: {}\r\n", BASE64.encode(sha(b"other")));
    let composite = format!("{bad}x-amz-checksum-type: COMPOSITE\r\n");
    let taken = || error(412, "PreconditionFailed", "");
    let head = |headers: &str| answer(200, headers, "");
    let get = |data: &'static str| answer(200, "", data);
    let none = "content-length: 5\r\n";
    for (name, steps, class) in [
        ("same checksum", vec![taken(), head(&good)], None),
        ("other checksum", vec![taken(), head(&bad)], Some(Class::Conflict)),
        ("other length", vec![taken(), head("content-length: 6\r\n")], Some(Class::Conflict)),
        ("no checksum, same bytes", vec![taken(), head(none), get("proof")], None),
        ("no checksum, others", vec![taken(), head(none), get("other")], Some(Class::Conflict)),
        ("composite, same bytes", vec![taken(), head(&composite), get("proof")], None),
        ("gone again", vec![taken(), answer(404, "", "")], Some(Class::Retry { after: None })),
        ("bare 412", vec![answer(412, "", ""), head(&good)], None),
        (
            "HEAD not allowed",
            vec![taken(), answer(403, "", ""), error(403, "AccessDenied", "")],
            Some(Class::Halt),
        ),
    ] {
        let (stub, store) = store(steps).await;
        match (put(&store, b"proof").await, class) {
            (Ok(PutOutcome::Same), None) => {}
            (Err(e), Some(class)) if e.class() == class => {
                assert!(e.to_string().contains(KEY), "{name}: {e}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
        stub.finish();
    }
}

#[tokio::test]
async fn each_answer_has_its_class_and_nothing_is_tried_twice() {
    let retry = Class::Retry { after: None };
    let after = |secs| Class::Retry { after: Some(Duration::from_secs(secs)) };
    for (status, code, headers, class, says) in [
        (500, "InternalError", "", retry, "500"),
        (503, "SlowDown", "retry-after: 7\r\n", after(7), "SlowDown"),
        (503, "ServiceUnavailable", "", retry, "busy"),
        (429, "TooManyRequests", "retry-after: 90\r\n", after(90), "429"),
        (409, "ConditionalRequestConflict", "", retry, "409"),
        (409, "OperationAborted", "", retry, "409"),
        (400, "RequestTimeout", "", retry, "RequestTimeout"),
        (408, "", "", retry, "408"),
        (502, "", "", retry, "502"),
        (404, "NoSuchBucket", "", Class::Halt, "the bucket does not exist"),
        (404, "", "", Class::Halt, "404"),
        (403, "AccessDenied", "", Class::Halt, "s3:PutObject"),
        (403, "InvalidAccessKeyId", "", Class::Halt, "credentials are not accepted"),
        (403, "SignatureDoesNotMatch", "", Class::Halt, "credentials are not accepted"),
        (403, "RequestTimeTooSkewed", "", Class::Halt, "clock"),
        (403, "", "", Class::Halt, "403"),
        (401, "Unauthorized", "", Class::Halt, "credentials"),
        (400, "ExpiredToken", "", Class::Halt, "expired"),
        (400, "InvalidArgument", "", Class::Halt, "InvalidArgument"),
        (400, "BadDigest", "", Class::Halt, "hash"),
        (501, "NotImplemented", "", Class::Halt, "does not know"),
        (405, "MethodNotAllowed", "", Class::Halt, "405"),
        (
            301,
            "PermanentRedirect",
            "x-amz-bucket-region: ap-south-1\r\n",
            Class::Halt,
            "region ap-south-1",
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            "x-amz-bucket-region: ap-south-1\r\n",
            Class::Halt,
            "region ap-south-1",
        ),
    ] {
        let step = match code {
            "" => answer(status, headers, ""),
            code => error(status, code, headers),
        };
        let (stub, store) = store(vec![step]).await;
        let e = put(&store, b"proof").await.unwrap_err();
        assert_eq!(e.class(), class, "{status} {code}: {e}");
        let text = e.to_string();
        assert!(text.starts_with("failed to write s3://audit-logs/what/sapp/wa/g-0"), "{text}");
        assert!(text.contains(says), "{status} {code}: {text}");
        assert!(!text.contains("hidden") && !text.contains('\n'), "{text}");
        assert_eq!(lines(&stub.finish()), ["PUT"], "{status} {code}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_after() {
    let good =
        format!("content-length: 5\r\nx-amz-checksum-sha256: {}\r\n", BASE64.encode(sha(b"proof")));
    // It was written, and the server died before it said so.
    let (stub, store) = store(vec![Step::Reset(5), answer(200, &good, "")]).await;
    assert_eq!(put(&store, b"proof").await.unwrap(), PutOutcome::Same);
    assert_eq!(lines(&stub.finish()), ["PUT", "HEAD"]);
}

#[tokio::test]
async fn a_refusal_that_does_not_wait_for_the_body_is_understood() {
    let data = vec![9; 16 << 20];
    let (_dir, body) = file(&data);
    let hasty = || Step::Hasty("HTTP/1.1 412 x\r\ncontent-length: 0\r\n\r\n".to_owned());
    let checksum = |hash| format!("x-amz-checksum-sha256: {}\r\n", BASE64.encode(hash));
    for (hash, conflict) in [(sha(&data), false), (sha(b"other"), true)] {
        let head = format!("content-length: {}\r\n{}", data.len(), checksum(hash));
        let (stub, store) = store(vec![hasty(), answer(200, &head, "")]).await;
        let end = store.put_new(KEY, &body, sha(&data), &ObjectMeta::default()).await;
        match conflict {
            false => assert_eq!(end.unwrap(), PutOutcome::Same),
            true => assert_eq!(end.unwrap_err().class(), Class::Conflict),
        }
        assert_eq!(lines(&stub.finish()), ["PUT", "HEAD"]);
    }
}

#[tokio::test]
async fn a_server_that_dies_is_tried_again() {
    let data = vec![9; 8 << 20];
    let (_dir, body) = file(&data);
    for steps in [
        vec![Step::Reset(1 << 20), Step::Reset(0)],
        vec![Step::Reset(1 << 20), answer(404, "", "")],
        vec![Step::Reset(0), answer(503, "", "")],
    ] {
        let (stub, store) = store(steps).await;
        let e = store.put_new(KEY, &body, sha(&data), &ObjectMeta::default()).await.unwrap_err();
        assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
        drop(stub);
        // Nobody listens any more.
        let e = store.put_new(KEY, &body, sha(&data), &ObjectMeta::default()).await.unwrap_err();
        assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
        let e = store.list("").unwrap().page().await.unwrap_err();
        assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_the_sealed_ones_never_go_out_whole() {
    let (_dir, body) = file(&vec![1; 200_000]);
    let (stub, store) = store(vec![answer(200, "", "")]).await;
    let e = store.put_new(KEY, &body, sha(b"sealed"), &ObjectMeta::default()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("the local copy is damaged"), "{e}");
    // The damage may show before the request's head is out.
    assert!(stub.so_far().iter().all(|asked| asked.body < 200_000));
    drop(stub);

    // In memory: not even asked.
    let (_stub, store) = self::store(vec![]).await;
    let small = Body::Bytes(Bytes::from_static(b"rotten"));
    let e = store.put_new(KEY, &small, sha(b"sealed"), &ObjectMeta::default()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);

    // A file that is shorter than it should be, or gone.
    let (dir, body) = file(b"short");
    let Body::File { disk, path, offset, .. } = body else { unreachable!() };
    let long = Body::File { disk: disk.clone(), path, offset, len: 100 };
    let (_stub, store) = self::store(vec![answer(200, "", "")]).await;
    let e = store.put_new(KEY, &long, sha(b"x"), &ObjectMeta::default()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt, "{e}");
    let gone = Body::File { disk, path: dir.path().join("gone"), offset, len: 1 };
    let e = store.put_new(KEY, &gone, sha(b"x"), &ObjectMeta::default()).await.unwrap_err();
    assert_eq!(e.class(), Class::Halt, "{e}");
}

#[tokio::test]
async fn a_download_that_breaks_off_is_an_error() {
    let (stub, store) = store(vec![
        answer(200, "content-length: 100\r\n", "only this"),
        answer(200, "", "whole"),
        error(404, "NoSuchKey", ""),
        error(404, "NoSuchBucket", ""),
    ])
    .await;
    let reader = Reader::S3(store.get(KEY).await.unwrap());
    assert_eq!(reader.len(), 100);
    let e = reader.read_all(1000).await.unwrap_err();
    assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
    let reader = Reader::S3(store.get(KEY).await.unwrap());
    assert_eq!(reader.read_all(5).await.unwrap(), b"whole");
    assert_eq!(store.get(KEY).await.unwrap_err().class(), Class::NotFound);
    assert_eq!(store.get(KEY).await.unwrap_err().class(), Class::Halt);
    stub.finish();
}

#[tokio::test]
async fn a_head_without_a_reason_is_explained_by_a_get() {
    let (stub, store) =
        store(vec![answer(400, "", ""), error(400, "ExpiredToken", ""), answer(404, "", "")]).await;
    let e = store.head(KEY).await.unwrap_err();
    assert!(e.to_string().contains("expired"), "{e}");
    assert_eq!(store.head(KEY).await.unwrap(), None);
    assert_eq!(lines(&stub.finish()), ["HEAD", "GET", "HEAD"]);
}

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl ProvideCredentials for Counted {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let given = Credentials::new(format!("AK{n}"), "hidden", None, None, "test");
        aws_credential_types::provider::future::ProvideCredentials::ready(Ok(given))
    }
}

#[tokio::test]
async fn credentials_that_ran_out_are_read_anew() {
    let stub =
        Stub::start(vec![answer(200, "", ""), error(400, "ExpiredToken", ""), answer(200, "", "")]);
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = SharedCredentialsProvider::new(Counted(Arc::clone(&asked)));
    let credentials = CredentialSource::Provider(provider);
    let store = S3Store::open(S3Options { credentials, ..options(&stub.url()) }).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0, "not before they are needed");
    put(&store, b"1").await.unwrap();
    let e = put(&store, b"2").await.unwrap_err();
    assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
    put(&store, b"2").await.unwrap();
    let signed: Vec<_> = stub
        .finish()
        .iter()
        .map(|a| a.header("authorization").unwrap().split(['=', '/']).nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(signed, ["AK1", "AK1", "AK2"]);
}

#[tokio::test]
async fn no_credentials_are_a_halt_and_a_broken_source_is_not() {
    use aws_credential_types::provider::error::CredentialsError as E;
    for (make, class, says) in [
        ((|| E::not_loaded("nothing")) as fn() -> E, Class::Halt, "no credentials were found"),
        (|| E::invalid_configuration("loop"), Class::Halt, "configured wrongly"),
        (|| E::provider_error("away"), Class::Retry { after: None }, "no credentials to be had"),
        (
            || E::provider_timed_out(Duration::from_secs(1)),
            Class::Retry { after: None },
            "no credentials to be had",
        ),
    ] {
        #[derive(Debug)]
        struct Failing(fn() -> E);
        impl ProvideCredentials for Failing {
            fn provide_credentials<'a>(
                &'a self,
            ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                aws_credential_types::provider::future::ProvideCredentials::ready(Err(self.0()))
            }
        }
        let provider = SharedCredentialsProvider::new(Failing(make));
        let credentials = CredentialSource::Provider(provider);
        let stub = Stub::start(vec![]);
        let store = S3Store::open(S3Options { credentials, ..options(&stub.url()) }).await.unwrap();
        let e = put(&store, b"x").await.unwrap_err();
        assert_eq!(e.class(), class, "{e}");
        assert!(e.to_string().contains(says), "{e}");
    }
}

#[tokio::test]
async fn listings_go_on_to_the_end_and_not_in_circles() {
    let page = |keys: &[&str], next: Option<&str>| {
        let objects: String = keys
            .iter()
            .map(|k| format!("<Contents><Key>what/sapp/{k}</Key><Size>3</Size></Contents>"))
            .collect();
        let next = match next {
            Some(token) => format!(
                "<IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>{token}</NextContinuationToken>"
            ),
            None => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        answer(200, "", format!("<ListBucketResult>{objects}{next}</ListBucketResult>"))
    };
    let (stub, store) = store(vec![
        page(&["o/a"], Some("t1")),
        page(&[], Some("t2")),
        error(503, "SlowDown", ""),
        page(&["o/b"], None),
    ])
    .await;
    let mut pages = store.list("o/").unwrap();
    let entry = |key: &str| vec![crate::store::Entry { key: key.to_owned(), len: 3 }];
    assert_eq!(pages.page().await.unwrap(), Some(entry("o/a")));
    assert_eq!(pages.page().await.unwrap_err().class(), Class::Retry { after: None });
    assert_eq!(pages.page().await.unwrap(), Some(entry("o/b")), "the same page again");
    assert_eq!(pages.page().await.unwrap(), None);
    let asked = stub.finish();
    assert!(asked[0].line.contains("prefix=what%2Fsapp%2Fo%2F"), "{}", asked[0].line);
    assert!(asked[3].line.contains("continuation-token=t2"), "{}", asked[3].line);

    let (_stub, store) = self::store(vec![page(&["a"], Some("t")), page(&["a"], Some("t"))]).await;
    let mut pages = store.list("").unwrap();
    pages.page().await.unwrap();
    assert!(pages.page().await.unwrap_err().to_string().contains("circles"));
}

#[tokio::test]
async fn a_large_object_is_not_held_in_memory() {
    let peak = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    // The largest batch that a configuration can ask for.
    const SIZE: u64 = 256 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("entry");
    std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    let mut hash = Sha256::new();
    for _ in 0..SIZE >> 16 {
        hash.update([0; 1 << 16]);
    }
    let sha256 = hash.finalize().into();
    let body = Body::File { disk: Arc::new(RealDisk), path, offset: 0, len: SIZE };
    let (stub, store) = store(vec![answer(200, "", "")]).await;
    let before = peak();
    store.put_new(KEY, &body, sha256, &ObjectMeta::default()).await.unwrap();
    let grown = peak() - before;
    assert!(grown < 48, "the peak grew by {grown} MiB for an object of 256 MiB");
    assert_eq!(stub.finish()[0].body as u64, SIZE);
}

#[tokio::test]
async fn debug_shows_no_credentials() {
    let (_stub, store) = store(vec![]).await;
    let shown = format!("{store:?} {:?}", store.0.options);
    assert!(!shown.contains("hidden") && !shown.contains("AKTEST"), "{shown}");
    assert_eq!(store.place(), "s3://audit-logs/what/sapp/");
}
