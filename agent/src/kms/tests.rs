//! What answers mean, against a server that gives them on demand.

use super::*;
use crate::aws::{CredentialSource, Endpoint, FixedCredentials};
use crate::sealer::datakey::{DataKeys as _, KeyError};
use crate::store::s3::stub::{Asked, Step, Stub, answer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealtail_seal::message::{Context, EncryptedDataKey, Identity, KMS_PROVIDER, Recipient};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";
const OTHER: &str = "arn:aws:kms:us-east-1:123456789012:key/5678abcd";
const ALIAS: &str = "arn:aws:kms:eu-central-1:123456789012:alias/audit";

fn context() -> Context {
    Context::from_pairs([("audit:v", "1".to_owned()), ("audit:leaf", "7".to_owned())]).unwrap()
}

fn options(arn: &str, url: &str) -> KmsOptions {
    KmsOptions {
        endpoint: Some(Endpoint::parse(url).unwrap()),
        credentials: CredentialSource::Fixed(FixedCredentials::new("AKTEST", "hidden", None)),
        ..KmsOptions::new(KeyArn::parse(arn).unwrap())
    }
}

fn key(arn: &str, url: &str) -> KmsKey {
    KmsKey::new(options(arn, url))
}

fn json(body: &str) -> Step {
    answer(200, "content-type: application/x-amz-json-1.1\r\n", body)
}

fn made(arn: &str, plaintext: &[u8], wrapped: &[u8]) -> Step {
    let (plaintext, wrapped) = (BASE64.encode(plaintext), BASE64.encode(wrapped));
    json(&format!(
        r#"{{"KeyId": "{arn}", "Plaintext": "{plaintext}", "CiphertextBlob": "{wrapped}"}}"#
    ))
}

fn error(status: u16, code: &str) -> Step {
    let body = format!(r#"{{"__type": "{code}", "message": "because"}}"#);
    answer(status, "content-type: application/x-amz-json-1.1\r\n", body)
}

fn action(asked: &Asked) -> String {
    asked.header("x-amz-target").unwrap().replace("TrentService.", "")
}

fn body(asked: &Asked) -> serde_json::Value {
    serde_json::from_str(&asked.text).unwrap()
}

#[tokio::test]
async fn a_data_key_is_asked_for_with_its_context() {
    let stub = Stub::start(vec![made(KEY, &[7; 32], b"wrapped")]);
    let (data_key, wrapped) = key(KEY, &stub.url()).generate(&context()).await.unwrap();
    assert_eq!(*data_key, [7; 32]);
    let want = EncryptedDataKey {
        provider_id: KMS_PROVIDER.to_owned(),
        provider_info: KEY.as_bytes().to_vec(),
        ciphertext: b"wrapped".to_vec(),
    };
    assert_eq!(wrapped, want);
    let asked = stub.finish().remove(0);
    assert_eq!(action(&asked), "GenerateDataKey");
    let want = serde_json::json!({"KeyId": KEY, "KeySpec": "AES_256",
        "EncryptionContext": {"audit:v": "1", "audit:leaf": "7"}});
    assert_eq!(body(&asked), want);
    assert!(asked.header("authorization").unwrap().contains("/eu-central-1/kms/"), "{asked:?}");
}

#[tokio::test]
async fn the_message_names_the_key_behind_an_alias() {
    let stub = Stub::start(vec![made(KEY, &[7; 32], b"w")]);
    let (_, wrapped) = key(ALIAS, &stub.url()).generate(&context()).await.unwrap();
    assert_eq!(wrapped.provider_info, KEY.as_bytes());
    assert_eq!(body(&stub.finish().remove(0))["KeyId"], ALIAS);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_not_believed() {
    for (step, why) in [
        (made(OTHER, &[7; 32], b"w"), "another key"),
        (made(ALIAS, &[7; 32], b"w"), "another key"),
        (made(KEY, &[7; 16], b"w"), "a data key of 16 bytes"),
        (made(KEY, &[7; 32], b""), "a wrapped key of 0 bytes"),
        (made(KEY, &[7; 32], &[1; 6145]), "a wrapped key of 6145 bytes"),
        (json("{}"), "a data key of 0 bytes"),
    ] {
        let stub = Stub::start(vec![step]);
        let fault = key(KEY, &stub.url()).generate(&context()).await.unwrap_err();
        assert!(fault.is_halt() && fault.to_string().contains(why), "{fault}");
    }
    let key_text = BASE64.encode([7; 32]);
    let stub = Stub::start(vec![json(&format!(r#"{{"Plaintext": "{key_text}", "#))]);
    let fault = key(KEY, &stub.url()).generate(&context()).await.unwrap_err();
    assert!(!fault.is_halt() && fault.to_string().contains("could not be understood"), "{fault}");
    assert!(!fault.to_string().contains(&key_text), "{fault}");
}

#[tokio::test]
async fn which_answers_pass_and_which_need_somebody() {
    for (status, code, halts, says) in [
        (400, "ThrottlingException", false, "busy"),
        (500, "KMSInternalException", false, "busy"),
        (503, "DependencyTimeoutException", false, "busy"),
        (500, "KeyUnavailableException", false, "busy"),
        (502, "", false, "busy"),
        (429, "", false, "busy"),
        (400, "ExpiredTokenException", false, "expired"),
        (400, "AccessDeniedException", true, "does not allow kms:GenerateDataKey, see docs/kms.md"),
        (400, "NotFoundException", true, "does not exist"),
        (400, "DisabledException", true, "is disabled; enable it"),
        (400, "KMSInvalidStateException", true, "deletion pending"),
        (400, "InvalidKeyUsageException", true, "symmetric"),
        (400, "UnrecognizedClientException", true, "credentials are not accepted"),
        (403, "InvalidSignatureException", true, "credentials are not accepted"),
        (400, "SomethingNew", true, "the request was refused (SomethingNew 400: because)"),
        (403, "", true, "the request was refused"),
    ] {
        let stub = Stub::start(vec![error(status, code)]);
        let fault = key(KEY, &stub.url()).generate(&context()).await.unwrap_err();
        assert_eq!(fault.is_halt(), halts, "{status} {code}: {fault}");
        assert!(fault.to_string().contains(says), "{status} {code}: {fault}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = key(KEY, &format!("http://{nobody}")).generate(&context()).await.unwrap_err();
    assert!(!fault.is_halt(), "nobody listens: {fault}");
    let stub = Stub::start(vec![Step::Reset(0)]);
    let fault = key(KEY, &stub.url()).generate(&context()).await.unwrap_err();
    assert!(!fault.is_halt(), "reset: {fault}");
}

#[tokio::test]
async fn the_server_may_ask_for_patience() {
    let stub = Stub::start(vec![answer(503, "retry-after: 7\r\n", "")]);
    let fault = key(KEY, &stub.url()).generate(&context()).await.unwrap_err();
    assert!(
        matches!(fault, Fault::Passing { after: Some(after), .. } if after.as_secs() == 7),
        "{fault:?}"
    );
}

#[tokio::test]
async fn unwrapping_pins_key_and_context() {
    let stub = Stub::start(vec![
        made(KEY, &[7; 32], b""),
        made(OTHER, &[7; 32], b""),
        error(400, "InvalidCiphertextException"),
    ]);
    let key = key(KEY, &stub.url());
    let wrapped = |arn: &str| EncryptedDataKey {
        provider_id: KMS_PROVIDER.to_owned(),
        provider_info: arn.as_bytes().to_vec(),
        ciphertext: b"wrapped".to_vec(),
    };
    assert!(key.is_named(&wrapped(KEY)) && !key.is_named(&wrapped(OTHER)));
    assert_eq!(*key.unwrap(&wrapped(KEY), &context()).await.unwrap(), [7; 32]);
    let fault = key.unwrap(&wrapped(KEY), &context()).await.unwrap_err();
    assert!(fault.to_string().contains("another key"), "{fault}");
    let fault = key.unwrap(&wrapped(KEY), &context()).await.unwrap_err();
    assert!(fault.is_halt() && fault.to_string().contains("was changed"), "{fault}");
    let want = serde_json::json!({"KeyId": KEY, "CiphertextBlob": BASE64.encode(b"wrapped"),
        "EncryptionContext": {"audit:v": "1", "audit:leaf": "7"}});
    let asked = stub.finish();
    assert!(asked.iter().all(|a| action(a) == "Decrypt" && body(a) == want), "{asked:?}");
}

/// In the order of the configuration, the same data key under the same context;
/// all or none.
#[test]
fn every_recipient_wraps_the_same_key_or_nobody_does() {
    let stub = Stub::start(vec![
        made(KEY, &[7; 32], b"by the first"),
        made(OTHER, &[], b"by the second"),
        made(KEY, &[8; 32], b"w"),
        error(400, "AccessDeniedException"),
    ]);
    let kms = |arn| Slot::Kms(Arc::new(key(arn, &stub.url())));
    let local = Slot::Local(Recipient::aes("dev", [4; 32]));
    let mut keys = KmsKeys::new(vec![local, kms(KEY), kms(OTHER)]).unwrap();
    let (data_key, wrapped) = keys.data_key(&context()).unwrap();
    assert_eq!(*data_key, [7; 32]);
    let [local, first, second] = wrapped.as_slice() else { panic!("{wrapped:?}") };
    assert!(Identity::aes("dev", [4; 32]).is_named(local));
    assert_eq!(first.ciphertext, b"by the first");
    assert_eq!(
        (&*second.provider_info, &*second.ciphertext),
        (OTHER.as_bytes(), &b"by the second"[..])
    );

    let e = keys.data_key(&context()).map(drop).unwrap_err();
    let want =
        format!("get a data key from {OTHER}: the key's policy or IAM does not allow kms:Encrypt");
    assert!(e.is_halt() && e.to_string().starts_with(&want), "{e}");

    let asked = stub.finish();
    let actions: Vec<_> = asked.iter().map(action).collect();
    assert_eq!(actions, ["GenerateDataKey", "Encrypt", "GenerateDataKey", "Encrypt"]);
    assert_eq!(body(&asked[1])["Plaintext"], BASE64.encode([7; 32]));
    assert_eq!(body(&asked[1])["EncryptionContext"], body(&asked[0])["EncryptionContext"]);
    assert!(asked[1].header("authorization").unwrap().contains("/us-east-1/kms/"));
}

/// A KMS that takes the request and says nothing.
#[test]
fn a_stalled_kms_holds_nobody_up_and_is_not_asked_twice() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let stub = Stub::answering(move |_| {
        while !gate.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        made(KEY, &[7; 32], b"w")
    });
    let mut keys = KmsKeys::new(vec![Slot::Kms(Arc::new(key(KEY, &stub.url())))]).unwrap();
    let begun = Instant::now();
    let e = keys.data_key(&context()).map(drop).unwrap_err();
    assert_eq!(e, KeyError::Pending { from: KEY.to_owned() });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    open.store(true, Ordering::SeqCst);
    let (data_key, _) = keys.data_key(&context()).unwrap();
    assert_eq!((*data_key, stub.so_far().len()), ([7; 32], 1));
}

/// A key is bound to its context: what was asked for another message is dropped.
#[test]
fn a_pending_key_is_not_used_for_another_message() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let stub = Stub::answering(move |_| {
        while !gate.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        made(KEY, &[7; 32], b"w")
    });
    let mut keys = KmsKeys::new(vec![Slot::Kms(Arc::new(key(KEY, &stub.url())))]).unwrap();
    assert!(matches!(keys.data_key(&context()), Err(KeyError::Pending { .. })));
    open.store(true, Ordering::SeqCst);
    let other = Context::from_pairs([("audit:leaf", "8".to_owned())]).unwrap();
    keys.data_key(&other).unwrap();
    let last = stub.so_far().pop().unwrap();
    assert_eq!(body(&last)["EncryptionContext"], serde_json::json!({"audit:leaf": "8"}));
}

#[tokio::test]
async fn neither_keys_nor_credentials_are_shown() {
    let stub = Stub::start(vec![made(KEY, &[7; 32], b"w")]);
    let key = Arc::new(key(KEY, &stub.url()));
    let made = key.generate(&context()).await.unwrap();
    let shown = format!("{key:?} {made:?} {:?}", options(KEY, &stub.url()));
    let plain = format!("{:?}", [7_u8; 32]);
    for secret in ["AKTEST", "hidden", &plain] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
