//! What `sealtail check` prints.

use super::*;

#[test]
fn it_is_a_configuration_that_means_the_same() {
    for name in ["sealtail.yaml", "systemd.yaml", "quickstart.yaml", "governance.json"] {
        let first = example(name);
        let again = good(&render_check(&first, &env));
        assert_eq!(first.effective, again.effective, "{name}");
        assert_eq!(first.config_hash(), again.config_hash(), "{name}");
        assert_eq!(first.sinks, again.sinks, "{name}");
        assert_eq!(first.governance, again.governance, "{name}");
    }
}

#[test]
fn the_hash_is_over_meaning_not_layout() {
    let a = good(&with("log: {level: info}\norigin: x\n"));
    let b = good(&format!("origin: \"x\" # me\n{MINIMAL}"));
    assert_eq!(a.config_hash(), b.config_hash());
    assert_eq!(a.config_hash().len(), 64);
    let c = good(&with("origin: y\n"));
    assert_ne!(a.config_hash(), c.config_hash());
}

#[test]
fn bounds_add_up_to_the_budget() {
    let l = good(MINIMAL).limits;
    let parts = [l.read_buffer, l.joiners, l.journal_block, l.seal, l.upload, l.spare()];
    assert_eq!(parts.iter().map(|s| s.bytes()).sum::<u64>(), l.memory.bytes());
    let report = render_check(&good(MINIMAL), &env);
    for words in [
        "At most 32MiB in buffers (limits.memory)",
        "1.25MiB to read",
        "At most 1GiB under /var/lib/sealtail/journal (journal.max_bytes)",
        "segments of 64MiB, and sealed batches that wait for upload, at most 256MiB",
        "The archive in /srv/archive grows without bound.",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
}

#[test]
fn keys_that_are_missing_wrong_or_open_to_all_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let secret = sealtail_seal::keys::secret_to_text(&[7; 32]);
    std::fs::write(at("token.key"), secret.as_bytes()).unwrap();
    std::fs::set_permissions(at("token.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(at("archive.pub.pem"), "hunter2").unwrap();
    let text = with(&format!(
        "redact:
  token_key: {{file: '{}'}}
journal: {{key: {{env: JOURNAL_KEY}}}}
seal:
  signing_key: {{file: '{}'}}
  recipients: [{{rsa: '{}'}}]
",
        at("token.key"),
        at("signing.key"),
        at("archive.pub.pem"),
    ));
    let env = |name: &str| match name {
        "JOURNAL_KEY" => Some(secret.to_string()),
        _ => env(name),
    };
    let c = parse(&text, "c.yaml", &env).unwrap();
    let keys = c.keys(&env);
    let states: Vec<_> = keys.iter().map(|k| &k.state).collect();
    use KeyState::{Missing, Open, Present, Unusable};
    assert!(matches!(*states, [Open(0o644), Present, Missing, Unusable(_)]), "{states:?}");
    assert_eq!(keys.iter().filter(|k| k.is_usable()).count(), 2);
    let report = render_check(&c, &env);
    assert!(report.contains("signing.key is MISSING"), "{report}");
    assert!(report.contains("anybody can read it (mode 0644): chmod 0600"), "{report}");
    assert!(report.contains("archive.pub.pem is UNUSABLE: not an RSA public key"), "{report}");
    assert!(report.contains(&format!("sealtail keygen {}", dir.path().display())), "{report}");
    assert!(!report.contains("hunter2") && !report.contains(secret.trim()), "{report}");
}

#[test]
fn a_key_beside_the_journal_is_explained() {
    let report = render_check(&good(&with("journal: {key: {generate: true}}\n")), &env);
    assert!(report.contains("not a stolen volume that holds both"), "{report}");
}

#[test]
fn what_is_asked_of_a_bucket_is_said_in_words() {
    let text = "governance: {retention_policy: {message_storage_days: 30}}
redact: {include_payload: true}
sinks:
  - name: worm
    type: archive
    url: s3://audit-logs/a
    assume_role: {role_arn: 'arn:aws:iam::123456789012:role/w', external_id: abc}
    expected_owner: \"123456789012\"
    server_side_encryption: {type: kms, key_id: alias/audit, bucket_key: true}
    storage_class: GLACIER
    tags: {team: trust}
    object_lock: {mode: compliance, retain_days: 400}
  - {name: plain, type: archive, url: 's3://audit-logs/b', profile: audit}
";
    let report = render_check(&good(text), &env);
    for words in [
        "# Archive `worm` (s3://audit-logs/a/)",
        "Credentials: the first of environment, profile, web identity, container and instance.",
        "the role arn:aws:iam::123456789012:role/w is taken on, with an external id",
        "Every request names the account 123456789012",
        "with the KMS key alias/audit (SSE-KMS, through a bucket key)",
        "Sealed batches lie in the storage class GLACIER; proofs and checkpoints in the standard",
        "has to be restored before `open`",
        "Every object carries the tags team=trust.",
        "locked for 400 days from the upload on (rounded up to the next midnight UTC, mode compliance)",
        "`worm` locks for 400 days, so message content in it cannot be deleted in time",
        "Credentials: of the profile audit.",
        "Object Lock: not asked for.",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let report = render_check(&good(&text.replace("include_payload: true", "mask: true")), &env);
    assert!(report.contains("`worm` locks its objects for 400 days."), "{report}");
    let without = text.replace("object_lock: {mode: compliance, retain_days: 400}", "region: x");
    let report = render_check(&good(&without), &env);
    assert!(report.contains("No sink has an object_lock with a mode."), "{report}");
}

#[test]
fn the_residency_is_said_in_words() {
    let text = "residency: {regions: [eu-central-1], sites: [datadoghq.eu]}
sinks:
  - {name: a, type: archive, url: 's3://audit-logs/a', region: eu-central-1}
  - {name: b, type: archive, url: 's3://audit-logs/b'}
  - {name: c, type: archive, url: 'file:///srv/c'}
";
    let c = good(text);
    let report = render_check(&c, &env);
    for words in [
        "Buckets and KMS keys may be in eu-central-1 only.",
        "`a` is in eu-central-1, by its configuration; the bucket's own word is asked for at the start.",
        "`b`: its region is known at the start, which is refused when it is another one.",
        "Datadog sites: datadoghq.eu only.",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let Archive::S3(s3) = &c.sinks[1].archive else { panic!("not S3") };
    assert_eq!(s3.regions.as_deref(), Some(&["eu-central-1".to_owned()][..]));
    assert_eq!(good(&report).config_hash(), c.config_hash());
}

#[test]
fn who_can_ask_the_admin_port_is_said_in_words() {
    let said = |listen: &str| {
        let config = good(&with(&format!("admin: {{listen: '{listen}'}}\n")));
        let report = render_check(&config, &env);
        assert_eq!(good(&report).admin, config.admin);
        report
    };
    let report = said("127.0.0.1:8686");
    assert!(report.contains("http://127.0.0.1:8686 answers /metrics"), "{report}");
    assert!(report.contains("on this machine (in this pod) can ask"), "{report}");
    assert!(!report.contains("OPEN TO THE NETWORK"), "{report}");
    let report = said("0.0.0.0:8686");
    assert!(
        report.contains("OPEN TO THE NETWORK") && report.contains("no authentication"),
        "{report}"
    );
    let report = said("off");
    assert!(report.contains("There is none: no metrics"), "{report}");
}
