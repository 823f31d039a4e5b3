//! Against a real server that enforces IAM policies (`tests/servers/ministack.sh`):
//! the policy in docs/ is enough, and no more than that.
//!
//! What that server does not enforce, and AWS does: the permissions behind the
//! headers of a PUT (tags, retention, legal hold), and the account of a bucket.

use super::live_tests::{locked_bucket, options, put, variable};
use super::*;
use crate::store::{Class, Probe, Store};
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const POLICY: &str = include_str!("../../../../docs/s3-iam-policy.json");

/// The policy for this place, without the named permission.
fn policy(options: &S3Options, without: &str, dir: &Path) -> PathBuf {
    let text = POLICY.replace("BUCKET", &options.bucket).replace("PREFIX", &options.prefix);
    let mut policy: serde_json::Value = serde_json::from_str(&text).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        if let Some(actions) = statement["Action"].as_array_mut() {
            actions.retain(|action| action != without);
        }
    }
    let path = dir.join("policy.json");
    std::fs::write(&path, policy.to_string()).unwrap();
    path
}

/// What `tests/servers/iam.py` prints.
fn iam(arguments: &[&str]) -> Vec<String> {
    let python = variable("PYTHON").expect("SEALTAIL_TEST_S3_PYTHON is missing");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/iam.py");
    let done = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

fn user(policy: &Path) -> CredentialSource {
    let made = iam(&["user", policy.to_str().unwrap()]);
    CredentialSource::Fixed(FixedCredentials::new(&made[0], &made[1], None))
}

/// A bucket with Object Lock, and a sink that asks for all that there is.
async fn place(test: &str) -> Option<S3Options> {
    let mut options = options(test)?;
    options.bucket = locked_bucket(&options).await;
    options.write = WriteOptions {
        tags: vec![("team".to_owned(), "trust".to_owned())],
        lock: Some(ObjectLock {
            retention: Some(Retention { mode: LockMode::Governance, days: 1 }),
            legal_hold: true,
        }),
        ..WriteOptions::default()
    };
    Some(options)
}

async fn open(options: &S3Options, credentials: CredentialSource) -> S3Store {
    S3Store::open(S3Options { credentials, ..options.clone() }).await.unwrap()
}

#[tokio::test]
async fn live_the_policy_in_docs_is_enough_and_no_more() {
    let Some(options) = place("policy").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = open(&options, user(&policy(&options, "", dir.path()))).await;
    for _ in 0..2 {
        let found = Store::S3(store.clone()).probe("wa/g-0").await.unwrap();
        found.verdict().unwrap();
        assert!(found.rows().iter().all(|row| row.mark == crate::store::Mark::Good), "{found}");
    }
    assert_eq!(put(&store, "log/0", b"proof").await.unwrap(), PutOutcome::Created);
    assert_eq!(put(&store, "log/0", b"proof").await.unwrap(), PutOutcome::Same);
    assert_eq!(put(&store, "log/0", b"other").await.unwrap_err().class(), Class::Conflict);
    for data in [&b"1"[..], b"2"] {
        store.put("checkpoint", Bytes::from_static(data), &ObjectMeta::default()).await.unwrap();
    }

    let client = store.client();
    let delete = client.delete_object().bucket(&options.bucket).key(store.full("log/0"));
    let status = |e: &dyn std::fmt::Debug| assert!(format!("{e:?}").contains("403"), "{e:?}");
    status(&delete.send().await.unwrap_err());
    assert_eq!(store.list("").unwrap().page().await.unwrap_err().class(), Class::Halt);
    let elsewhere = S3Options { prefix: "somebody-else".to_owned(), ..options.clone() };
    let elsewhere = open(&elsewhere, user(&policy(&options, "", dir.path()))).await;
    let e = put(&elsewhere, "log/0", b"proof").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("docs/s3-iam-policy.json"), "{e}");
}

#[tokio::test]
async fn live_with_one_permission_less_the_message_says_which() {
    let Some(options) = place("less").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let without =
        async |action: &str| open(&options, user(&policy(&options, action, dir.path()))).await;
    let probe = async |store: &S3Store| Store::S3(store.clone()).probe("").await;

    let store = without("s3:PutObject").await;
    for e in [probe(&store).await.unwrap_err(), put(&store, "a", b"x").await.unwrap_err()] {
        assert_eq!(e.class(), Class::Halt);
        assert!(e.to_string().contains("what they need (s3:PutObject"), "{e}");
    }
    let store = without("s3:GetBucketObjectLockConfiguration").await;
    let e = probe(&store).await.unwrap().verdict().unwrap_err();
    assert!(e.to_string().contains("s3:GetBucketObjectLockConfiguration"), "{e}");
    let store = without("s3:GetBucketVersioning").await;
    let found = probe(&store).await.unwrap();
    found.verdict().unwrap();
    assert!(found.to_string().contains("may not be asked (s3:GetBucketVersioning)"), "{found}");

    // Write, but not read: it starts, says so, and a resend halts until it may read.
    let store = without("s3:GetObject").await;
    let found = probe(&store).await.unwrap();
    found.verdict().unwrap();
    let Probe::S3(s3) = &found else { panic!("{found}") };
    assert_eq!(s3.read_back, ReadBack::No, "{found}");
    assert_eq!(put(&store, "b", b"proof").await.unwrap(), PutOutcome::Created);
    let e = put(&store, "b", b"proof").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("give them s3:GetObject"), "{e}");
    let store = without("").await;
    assert_eq!(put(&store, "b", b"proof").await.unwrap(), PutOutcome::Same, "and then goes on");
}

/// Sessions of a second or two, as many as are asked for.
#[derive(Debug)]
struct Sessions {
    key: Vec<String>,
    made: Arc<AtomicUsize>,
}

impl ProvideCredentials for Sessions {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.made.fetch_add(1, Ordering::SeqCst);
        let made = iam(&["session", &self.key[0], &self.key[1], "2"]);
        // Without a word about when they run out: the server is what tells.
        let made = Credentials::new(&made[0], &made[1], Some(made[2].clone()), None, "test");
        aws_credential_types::provider::future::ProvideCredentials::ready(Ok(made))
    }
}

#[tokio::test]
async fn live_credentials_that_run_out_are_renewed_or_asked_for() {
    let Some(options) = place("expiry").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let key = iam(&["user", policy(&options, "", dir.path()).to_str().unwrap()]);
    let wrong = CredentialSource::Fixed(FixedCredentials::new(&key[0], "wr0ngs3cret", None));
    let e = put(&open(&options, wrong).await, "a", b"x").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains("the credentials are not accepted"), "{e}");

    let made = iam(&["session", &key[0], &key[1], "2"]);
    let fixed = CredentialSource::Fixed(FixedCredentials::new(&made[0], &made[1], Some(&made[2])));
    let fixed = open(&options, fixed).await;
    put(&fixed, "fixed/0", b"x").await.unwrap();
    let sessions = Arc::new(AtomicUsize::new(0));
    let provider = SharedCredentialsProvider::new(Sessions { key, made: Arc::clone(&sessions) });
    let renewed = open(&options, CredentialSource::Provider(provider)).await;
    put(&renewed, "renewed/0", b"x").await.unwrap();

    // The server's own clock decides; there is no event to wait for.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let e = put(&fixed, "fixed/1", b"x").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt, "{e}");
    assert!(e.to_string().contains("have expired; give new ones"), "{e}");
    let e = put(&renewed, "renewed/1", b"x").await.unwrap_err();
    assert_eq!(e.class(), Class::Retry { after: None }, "{e}");
    assert_eq!(put(&renewed, "renewed/1", b"x").await.unwrap(), PutOutcome::Created);
    assert_eq!(sessions.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn live_a_role_is_taken_on_with_its_external_id() {
    let Some(options) = place("role").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let arn =
        iam(&["role", "acme-7", policy(&options, "", dir.path()).to_str().unwrap()]).remove(0);
    // One who may do nothing but take on a role.
    let own = dir.path().join("own.json");
    std::fs::write(
        &own,
        r#"{"Version": "2012-10-17", "Statement":
            [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}"#,
    )
    .unwrap();
    let credentials = user(&own);
    let e = put(&open(&options, credentials.clone()).await, "a", b"x").await.unwrap_err();
    assert_eq!(e.class(), Class::Halt, "{e}");
    for (external_id, fits) in [(Some("acme-7"), true), (Some("acme-8"), false), (None, false)] {
        let role = AssumeRole {
            role_arn: arn.clone(),
            external_id: external_id.map(str::to_owned),
            session_name: "gw-0".to_owned(),
            endpoint: options.endpoint.clone(),
        };
        let options = S3Options { assume_role: Some(role), ..options.clone() };
        let store = open(&options, credentials.clone()).await;
        match put(&store, "a", b"x").await {
            Ok(_) if fits => {}
            Err(e) if !fits => {
                assert_eq!(e.class(), Class::Halt, "{e}");
                assert!(e.to_string().contains("AccessDenied"), "{e}");
                assert!(!e.to_string().contains("acme"), "{e}");
            }
            other => panic!("{external_id:?}: {other:?}"),
        }
    }
}

#[test]
fn the_policy_has_what_the_documentation_says() {
    let policy: serde_json::Value = serde_json::from_str(POLICY).unwrap();
    let mut actions: Vec<String> = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        match &statement["Action"] {
            serde_json::Value::Array(list) => {
                actions.extend(list.iter().map(|a| a.as_str().unwrap().to_owned()));
            }
            one => actions.push(one.as_str().unwrap().to_owned()),
        }
    }
    let text = include_str!("../../../../docs/s3.md");
    for action in &actions {
        assert!(text.contains(&format!("`{action}`")), "{action} is not explained");
    }
    for never in ["Delete", "List", "Bypass", "*"] {
        assert!(!actions.iter().any(|a| a.contains(never)), "{never}");
    }
}
