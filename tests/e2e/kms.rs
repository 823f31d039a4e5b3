//! Archives that a key of KMS opens, with real servers that speak KMS; which go
//! away, too.

use crate::loggen::{crash_log, serial_of};
use crate::outage::{plug, wait_for};
use crate::sandbox::{Sandbox, files, said};
use std::process::{Command, Output};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A server and two keys of it, from the environment.
struct Kms {
    endpoint: String,
    key: String,
    second: String,
    /// `ACCESS:SECRET`.
    writer: String,
    auditor: String,
}

impl Kms {
    /// `None`, said loudly, when no server is named.
    fn from_env(server: &str, test: &str) -> Option<Self> {
        let var = |name: &str| std::env::var(format!("SEALTAIL_TEST_{server}_{name}")).ok();
        // Moto checks no credentials.
        let who = |name| var(name).unwrap_or_else(|| "test:test".to_owned());
        let found = (|| {
            Some(Self {
                endpoint: var("ENDPOINT")?,
                key: var("KEY")?,
                second: var("SECOND")?,
                writer: who("WRITER"),
                auditor: who("AUDITOR"),
            })
        })();
        if found.is_none() {
            eprintln!(
                "SKIPPED {test}: no KMS (SEALTAIL_TEST_{server}_ENDPOINT and the others are not set)"
            );
        }
        found
    }

    /// Recipients beside the RSA key.
    fn recipients(&self, keys: &[&str]) -> String {
        let one = |key: &&str| {
            format!(
                ", {{kms: '{key}', endpoint: '{}', credentials: \
                 {{access_key: {{env: KMS_ACCESS}}, secret_key: {{env: KMS_SECRET}}}}}}",
                self.endpoint
            )
        };
        keys.iter().map(one).collect()
    }

    /// The environment of the agent.
    fn of_writer(&self) -> [(&str, &str); 2] {
        let (access, secret) = self.writer.split_once(':').unwrap();
        [("KMS_ACCESS", access), ("KMS_SECRET", secret)]
    }

    /// A command that reads, with the usual AWS environment.
    fn read(&self, sandbox: &Sandbox, command: &str, identity: &str) -> Output {
        let (archive, key) = (sandbox.archive(), sandbox.path("keys/signing.pub"));
        let arguments = [command, &archive, "--identity", identity, "--key", key.to_str().unwrap()];
        let (access, secret) = self.auditor.split_once(':').unwrap();
        sandbox
            .command(&arguments)
            .env("AWS_ENDPOINT_URL_KMS", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", access)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .output()
            .unwrap()
    }
}

fn once(sandbox: &Sandbox, kms: &Kms, timeout: &str) -> Output {
    let config = sandbox.config();
    let arguments = ["run", "--once", "--timeout", timeout, "-c", config.to_str().unwrap()];
    sandbox.command(&arguments).envs(kms.of_writer()).output().unwrap()
}

/// Sealed to an RSA key and two keys of KMS: each alone opens all of it.
fn each_identity_opens_the_same(server: &str) {
    let Some(kms) = Kms::from_env(server, "kms") else { return };
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_recipients = kms.recipients(&[&kms.key, &kms.second]);
    sandbox.settings.batch_records = 100;
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(500, 3, &mut std::fs::File::create(log).unwrap()).unwrap();
    let done = once(&sandbox, &kms, "120");
    assert!(done.status.success(), "{}", said(&done));

    let records = sandbox.open();
    let serials: Vec<_> = records.iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
    for arn in [&kms.key, &kms.second] {
        let opened = kms.read(&sandbox, "open", arn);
        assert!(opened.status.success(), "{}", said(&opened));
        let text = String::from_utf8(opened.stdout).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), records);
        let verified = kms.read(&sandbox, "verify", arn);
        assert!(said(&verified).contains("decrypted  yes"), "{}", said(&verified));
    }
    // A key that is no recipient; an alias.
    let stranger = format!("{}0000", &kms.key[..kms.key.len() - 4]);
    let refused = kms.read(&sandbox, "open", &stranger);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("sealed to other recipients"), "{}", said(&refused));
    let alias = format!("{}:alias/audit", kms.key.rsplit_once(':').unwrap().0);
    let refused = kms.read(&sandbox, "open", &alias);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));

    let config = sandbox.config();
    let check = ["check", "--connect", "-c", config.to_str().unwrap()];
    let checked = sandbox.command(&check).envs(kms.of_writer()).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    for words in [&*kms.key, "needs kms:GenerateDataKey", &kms.second, "needs kms:Encrypt"] {
        assert!(said(&checked).contains(words), "{words}\n{}", said(&checked));
    }
}

#[test]
fn ministack_each_identity_opens_the_same() {
    each_identity_opens_the_same("KMS");
}

#[test]
fn moto_each_identity_opens_the_same() {
    each_identity_opens_the_same("MOTO");
}

/// Gone in mid-run: records wait, nothing is archived that it did not wrap, and
/// after its return everything is there once.
#[test]
fn a_kms_that_goes_and_comes_back_holds_records_and_loses_none() {
    let Some(mut kms) = Kms::from_env("KMS", "kms outage") else { return };
    let (plug, address) = plug(&kms.endpoint);
    let direct = std::mem::replace(&mut kms.endpoint, address);
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_recipients = kms.recipients(&[&kms.key]);
    sandbox.settings.batch_records = 100;
    let objects = || {
        let is_batch = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "esdk");
        files(&sandbox.path("archive")).iter().filter(is_batch).count()
    };
    let write = |name: &str, seed| {
        let log = sandbox.path("logs").join(name);
        crash_log(300, seed, &mut std::fs::File::create(log).unwrap()).unwrap()
    };
    let mut serials: Vec<_> = write("first-json.log", 1).iter().map(|e| e.serial).collect();
    let mut child = sandbox.start(&kms.of_writer(), false);
    let agent_log = || std::fs::read_to_string(sandbox.path("agent.log")).unwrap_or_default();
    let pem = sandbox.path("keys/archive.pem").display().to_string();
    // While an object is under way this fails, and is asked again.
    let sealed = || {
        let opened = kms.read(&sandbox, "open", &pem).stdout;
        String::from_utf8_lossy(&opened).lines().filter(|r| serial_of(r).is_some()).count()
    };
    wait_for("the first records", || sealed() == serials.len());
    let before = objects();

    plug.pull();
    serials.extend(write("second-json.log", 2).iter().map(|e| e.serial));
    wait_for("three refused requests", || plug.refused.load(SeqCst) >= 4);
    let said_once = agent_log().matches("failed to get a data key").count();
    assert_eq!(said_once, 1, "{}", agent_log());
    assert!(agent_log().contains("sealing waits and the journal keeps everything"));
    assert_eq!(objects(), before, "nothing is archived meanwhile");
    assert!(child.try_wait().unwrap().is_none(), "{}", agent_log());

    plug.pulled.store(false, SeqCst);
    wait_for("the rest", || sealed() == serials.len());
    assert!(agent_log().contains("data keys are to be had again"), "{}", agent_log());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}\n{}", agent_log());
    kms.endpoint = direct;
    let opened = kms.read(&sandbox, "open", &kms.key);
    assert!(opened.status.success(), "{}", said(&opened));
    let text = String::from_utf8(opened.stdout).unwrap();
    let mut found: Vec<_> = text.lines().filter_map(serial_of).collect();
    found.sort_unstable();
    serials.sort_unstable();
    assert_eq!(found, serials);
    assert!(sandbox.verify().contains("complete   yes"));
}

/// `--once` does not wait for a person; what it could not seal is sealed later.
#[test]
fn a_disabled_key_ends_once_with_the_reason() {
    let Some(kms) = Kms::from_env("KMS", "kms disabled") else { return };
    let disabled = std::env::var("SEALTAIL_TEST_KMS_DISABLED").unwrap();
    let mut sandbox = Sandbox::directory();
    // The second: a batch is sealed to all of its recipients or not at all.
    sandbox.settings.more_recipients = kms.recipients(&[&kms.key, &disabled]);
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(200, 4, &mut std::fs::File::create(log).unwrap()).unwrap();
    let begun = Instant::now();
    let done = once(&sandbox, &kms, "120");
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let want = format!("failed to get a data key from {disabled}: the key is disabled; enable it");
    assert!(said(&done).contains(&want), "{}", said(&done));
    assert!(
        files(&sandbox.path("archive")).iter().all(|f| f.extension().unwrap_or_default() != "esdk")
    );

    let config = sandbox.config();
    let check = ["check", "--connect", "-c", config.to_str().unwrap()];
    let checked = sandbox.command(&check).envs(kms.of_writer()).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    assert!(said(&checked).contains("the key is disabled"), "{}", said(&checked));

    sandbox.settings.more_recipients = kms.recipients(&[&kms.key, &kms.second]);
    let done = once(&sandbox, &kms, "120");
    assert!(done.status.success(), "{}", said(&done));
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
}
