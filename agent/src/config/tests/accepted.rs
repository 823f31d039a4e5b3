//! What is accepted, and what it means.

use super::*;

#[test]
fn a_minimal_one_takes_the_rest_from_the_defaults() {
    let c = good(MINIMAL);
    assert_eq!(c.origin.as_str(), "gateway-0");
    assert_eq!(c.sources.len(), 1);
    assert_eq!(c.sources[0].include[0].as_str(), "/var/log/sealtail/*.log");
    assert_eq!(c.sources[0].exclude[0].as_str(), "*.gz");
    assert_eq!(c.sources[0].format, Format::Auto);
    assert_eq!(c.sources[0].start_at, StartAt::Beginning);
    assert_eq!(c.sources[0].max_line, Size::from_bytes(1 << 20));
    assert_eq!(c.sources[0].partial_wait, Duration::from_secs(5));
    assert_eq!(c.redact.profile, Profile::Strict);
    assert!(!c.redact.include_payload && c.redact.mask && !c.redact.clear);
    assert_eq!(c.journal.max_bytes.to_string(), "1GiB");
    assert_eq!(c.journal.segment_bytes().to_string(), "64MiB");
    assert_eq!(c.journal.outbox_bytes().to_string(), "256MiB");
    assert_eq!(c.seal.codec, Codec::Gzip(4));
    assert_eq!(c.seal.heartbeat, Duration::from_secs(300));
    assert_eq!(c.seal.batch.max_age, Duration::from_secs(60));
    assert_eq!(c.limits.memory.to_string(), "32MiB");
    assert_eq!(c.log, Log { level: LogLevel::Info, format: LogFormat::Json });
    assert_eq!(c.sinks[0].archive, Archive::Directory("/srv/archive".into()));
    assert_eq!(c.governance, None);
}

#[test]
fn every_example_that_ships() {
    let s3 = example("sealtail.yaml");
    assert_eq!(s3.origin.as_str(), "wa/prod/gateway-0");
    assert_eq!(s3.sinks[0].archive.url(), "s3://audit-logs/whatsapp/");
    assert_eq!(example("systemd.yaml").sources.len(), 2);
    let quick = example("quickstart.yaml");
    assert_eq!(quick.journal.path, Path::new("/tmp/quickstart/journal"));
    assert!(example("governance.json").governance.is_some());
}

#[test]
fn an_s3_archive_with_all_that_it_can_have() {
    let c = good(
        "sinks:
  - name: ceph
    type: archive
    url: s3://audit-logs
    region: eu-central-1
    endpoint: http://127.0.0.1:8080/
    path_style: true
    checksums: when_required
    credentials: {access_key: {env: AK}, secret_key: {file: /run/secrets/sk}}
seal: {codec: zstd, recipients: [{aes: {file: /k}, name: dev}], batch: {max_age: 5s}}
journal: {key: {generate: true}}
redact: {token_key: {env: TK}}
",
    );
    let Archive::S3(s3) = &c.sinks[0].archive else { panic!("not S3") };
    assert_eq!((s3.bucket.as_str(), s3.prefix.as_str()), ("audit-logs", ""));
    assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:8080"));
    assert!(s3.path_style && s3.checksums == Checksums::WhenRequired);
    let credentials = s3.credentials.as_ref().unwrap();
    assert_eq!(credentials.access_key, SecretRef::Env("AK".into()));
    assert_eq!(c.seal.codec, Codec::Zstd(3));
    assert_eq!(c.seal.batch.max_bytes.to_string(), "16MiB", "kept beside one's own max_age");
    let key = SecretRef::File("/k".into());
    assert_eq!(c.seal.recipients, [Recipient::Aes { name: "dev".into(), key }]);
    assert_eq!(c.journal.key, JournalKey::Beside("/var/lib/sealtail/journal.key".into()));
    assert_eq!(c.redact.token_key, SecretRef::Env("TK".into()), "replaces the default whole");
}

#[test]
fn variables_can_be_of_any_type_but_never_structure() {
    let sly = |name: &str| match name {
        "MASK" => Some("false".into()),
        "ORIGIN" => Some("123".into()),
        "LEVEL" => Some("9".into()),
        _ => env(name),
    };
    let text = with("redact: {mask: '${MASK}'}\n");
    assert!(!parse(&text, "c", &sly).unwrap().redact.mask);
    let text = with("origin: ${ORIGIN}\nredact:\n  mask: ${NO:-true}\n");
    assert_eq!(parse(&text, "c", &sly).unwrap().origin.as_str(), "123");
    let text = with("seal:\n  level: ${LEVEL}\n");
    assert_eq!(parse(&text, "c", &sly).unwrap().seal.codec, Codec::Gzip(9));
    let inject = |name: &str| match name {
        "O" => Some("a\nredact: {mask: false}".into()),
        _ => env(name),
    };
    let errors = parse(&with("origin: ${O}\n"), "c", &inject).unwrap_err().to_string();
    assert!(errors.contains("`${O}` has a character"), "{errors}");
}

#[test]
fn anchors_serve_repetition() {
    let c = good(
        "sources:
  - {type: file, include: &logs [/a/*.log], format: cri}
  - {type: file, include: *logs, format: text}
sinks: [{name: archive, type: archive, url: file:///srv/archive}]
",
    );
    assert_eq!(c.sources[0].include, c.sources[1].include);
}
