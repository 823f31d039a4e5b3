//! Against real servers that speak KMS, when the environment says where they are:
//! `SEALTAIL_TEST_KMS_*` (`tests/servers/ministack.sh`: disabled keys, IAM) and
//! `SEALTAIL_TEST_MOTO_*` (`tests/servers/moto.sh`: altered ciphertexts).

use super::*;
use crate::aws::{CredentialSource, Endpoint, FixedCredentials};
use crate::sealer::datakey::DataKeys as _;
use sealtail_seal::message::{Context, Decryptor, EncryptedDataKey, Encryptor, Envelope};
use std::io::Write as _;
use std::sync::Arc;

fn variable(server: &str, name: &str) -> Option<String> {
    std::env::var(format!("SEALTAIL_TEST_{server}_{name}")).ok()
}

/// Whether the server is there; said loudly when it is not.
fn is_there(server: &str, test: &str) -> bool {
    let found = variable(server, "ENDPOINT").is_some();
    if !found {
        let script = if server == "MOTO" { "moto" } else { "ministack" };
        // Not eprintln: the test harness would keep that to itself.
        let text = format!(
            "\n*** SKIPPED {test}: SEALTAIL_TEST_{server}_ENDPOINT is not set; run\n\
             *** eval \"$(tests/servers/{script}.sh start DIR)\" first\n"
        );
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    found
}

/// A key of the server, by `who` (`ACCESS:SECRET`).
fn by(server: &str, arn: &str, who: &str) -> KmsKey {
    let endpoint = variable(server, "ENDPOINT").unwrap();
    let (access, secret) = who.split_once(':').unwrap();
    KmsKey::new(KmsOptions {
        endpoint: Some(Endpoint::parse(&endpoint).unwrap()),
        credentials: CredentialSource::Fixed(FixedCredentials::new(access, secret, None)),
        ..KmsOptions::new(KeyArn::parse(arn).unwrap())
    })
}

fn key(server: &str, name: &str) -> KmsKey {
    by(server, &variable(server, name).unwrap(), "test:test")
}

fn context(leaf: &str) -> Context {
    Context::from_pairs([("audit:v", "1".to_owned()), ("audit:leaf", leaf.to_owned())]).unwrap()
}

async fn round_trip(server: &str) {
    if !is_there(server, "round trip") {
        return;
    }
    let (first, second) = (key(server, "KEY"), key(server, "SECOND"));
    let (data_key, wrapped) = first.generate(&context("1")).await.unwrap();
    let again = second.wrap(&data_key, &context("1")).await.unwrap();
    assert!(first.is_named(&wrapped) && second.is_named(&again));
    assert_eq!(*first.unwrap(&wrapped, &context("1")).await.unwrap(), *data_key);
    assert_eq!(*second.unwrap(&again, &context("1")).await.unwrap(), *data_key);
    let (other, _) = first.generate(&context("1")).await.unwrap();
    assert_ne!(*other, *data_key);
    let fault = first.unwrap(&wrapped, &context("2")).await.unwrap_err();
    assert!(fault.is_halt() && fault.to_string().contains("context"), "{fault}");

    let arn = first.arn().as_str();
    let alias = format!("{}:alias/audit", arn.rsplit_once(':').unwrap().0);
    let (_, wrapped) = by(server, &alias, "test:test").generate(&context("1")).await.unwrap();
    assert_eq!(wrapped.provider_info, arn.as_bytes(), "the key behind the alias");
    let unknown = format!("{}0000", &arn[..arn.len() - 4]);
    let fault = by(server, &unknown, "test:test").generate(&context("1")).await.unwrap_err();
    assert!(fault.is_halt() && fault.to_string().contains("does not exist"), "{fault}");
}

#[tokio::test]
async fn live_ministack_wraps_and_unwraps_under_the_context() {
    round_trip("KMS").await;
}

#[tokio::test]
async fn live_moto_wraps_and_unwraps_under_the_context() {
    round_trip("MOTO").await;
}

#[tokio::test]
async fn live_moto_refuses_what_was_altered() {
    if !is_there("MOTO", "altered") {
        return;
    }
    let key = key("MOTO", "KEY");
    let (_, wrapped) = key.generate(&context("1")).await.unwrap();
    // Behind the name of the key, to which moto looks first.
    for at in [wrapped.ciphertext.len() / 2, wrapped.ciphertext.len() - 1] {
        let mut altered = wrapped.clone();
        altered.ciphertext[at] ^= 1;
        let fault = key.unwrap(&altered, &context("1")).await.unwrap_err();
        assert!(fault.is_halt() && fault.to_string().contains("was changed"), "{fault}");
    }
}

/// Ministack unwraps an altered data key to something else: then the commitment
/// of the message refuses it.
#[test]
fn live_what_a_lax_kms_unwraps_is_held_against_the_commitment() {
    if !is_there("KMS", "commitment") {
        return;
    }
    // Another client: connections belong to the runtime that made them.
    let reader = key("KMS", "KEY");
    let mut keys = KmsKeys::new(vec![Slot::Kms(Arc::new(key("KMS", "KEY")))]).unwrap();
    let (data_key, wrapped) = keys.data_key(&context("1")).unwrap();
    let encryptor = Encryptor::with_data_key(&context("1"), &data_key, wrapped).unwrap();
    let mut message = Vec::new();
    encryptor.header(&mut message);
    encryptor.finish(&mut message).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = |wrapped: &EncryptedDataKey| {
        let data_key = runtime.block_on(reader.unwrap(wrapped, &context("1")));
        let mut decryptor = Decryptor::with_data_key(data_key.map_err(|e| e.to_string())?);
        decryptor
            .update(&message, &mut Vec::new())
            .and_then(|()| decryptor.finish())
            .map_err(|e| e.to_string())
    };
    let envelope = Envelope::parse(&message).unwrap();
    assert_eq!(open(&envelope.keys[0]), Ok(()));
    let mut altered = envelope.keys[0].clone();
    *altered.ciphertext.last_mut().unwrap() ^= 1;
    let refused = open(&altered).unwrap_err();
    assert!(refused.contains("commitment") || refused.contains("was changed"), "{refused}");
}

#[tokio::test]
async fn live_a_key_that_allows_no_use_is_a_halt() {
    if !is_there("KMS", "disabled") {
        return;
    }
    for (name, says) in [("DISABLED", "is disabled; enable it"), ("DELETED", "deletion pending")] {
        let fault = key("KMS", name).generate(&context("1")).await.unwrap_err();
        assert!(fault.is_halt() && fault.to_string().contains(says), "{fault}");
    }
}

/// What docs/kms.md says that writer and auditor need is enough, and all they have.
#[tokio::test]
async fn live_the_writer_cannot_read_and_the_auditor_cannot_write() {
    if !is_there("KMS", "permissions") {
        return;
    }
    let who = |name| variable("KMS", name).unwrap();
    let of = |name: &str, who: &str| by("KMS", &variable("KMS", name).unwrap(), who);
    let writer = of("KEY", &who("WRITER"));
    let (data_key, wrapped) = writer.generate(&context("1")).await.unwrap();
    of("SECOND", &who("WRITER")).wrap(&data_key, &context("1")).await.unwrap();
    let fault = writer.unwrap(&wrapped, &context("1")).await.unwrap_err();
    assert!(fault.is_halt() && fault.to_string().contains("does not allow kms:Decrypt"), "{fault}");
    let auditor = of("KEY", &who("AUDITOR"));
    assert_eq!(*auditor.unwrap(&wrapped, &context("1")).await.unwrap(), *data_key);
    let fault = auditor.generate(&context("1")).await.unwrap_err();
    assert!(fault.to_string().contains("does not allow kms:GenerateDataKey"), "{fault}");
    let fault = of("KEY", "nobody:nothing").generate(&context("1")).await.unwrap_err();
    assert!(fault.is_halt() && fault.to_string().contains("credentials"), "{fault}");
}
