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

#[test]
fn what_is_asked_of_a_bucket() {
    let text = "governance: {retention_policy: {message_storage_days: 30}}
sinks:
  - name: archive
    type: archive
    url: s3://audit-logs/${HOSTNAME}/
    profile: audit
    assume_role:
      role_arn: arn:aws:iam::123456789012:role/path/audit-writer
      external_id: acme-7
      session_name: gw-0
      endpoint: https://sts.example:8443/
    expected_owner: \"012345678901\"
    server_side_encryption: {type: kms, key_id: alias/audit, bucket_key: true}
    storage_class: STANDARD_IA
    tags: {team: trust, \"cost.centre/eu\": \"\"}
    object_lock: {mode: compliance, legal_hold: true}
";
    let c = good(text);
    let Archive::S3(s3) = &c.sinks[0].archive else { panic!("not S3") };
    assert_eq!(s3.prefix, "gateway-0");
    assert_eq!(s3.profile.as_deref(), Some("audit"));
    let role = s3.assume_role.as_ref().unwrap();
    assert_eq!(role.role_arn, "arn:aws:iam::123456789012:role/path/audit-writer");
    assert_eq!(role.external_id.as_deref(), Some("acme-7"));
    assert_eq!(role.session_name.as_deref(), Some("gw-0"));
    assert_eq!(role.endpoint.as_deref(), Some("https://sts.example:8443"));
    assert_eq!(s3.expected_owner.as_deref(), Some("012345678901"));
    let kms = Encryption::Kms { key_id: Some("alias/audit".into()), bucket_key: Some(true) };
    assert_eq!(s3.encryption, Some(kms));
    assert_eq!(s3.storage_class.as_deref(), Some("STANDARD_IA"));
    let tags = [("cost.centre/eu", ""), ("team", "trust")];
    assert_eq!(s3.tags, tags.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let lock = ObjectLock { retention: Some((LockMode::Compliance, 30)), legal_hold: true };
    assert_eq!(s3.object_lock, Some(lock), "the days are the document's");
    let again = good(&render_check(&c, &env));
    assert_eq!((&c.sinks, c.config_hash()), (&again.sinks, again.config_hash()));

    let of = |from: &str, to: &str| {
        let c = good(&text.replace(from, to));
        let Archive::S3(s3) = c.sinks[0].archive.clone() else { panic!("not S3") };
        *s3
    };
    let lock = of("mode: compliance,", "mode: governance, retain_days: 7,").object_lock.unwrap();
    assert_eq!(lock.retention, Some((LockMode::Governance, 7)), "its own days win");
    let lock = of("mode: compliance, ", "").object_lock.unwrap();
    assert_eq!(lock.retention, None, "a legal hold alone");
    let s3 = of("{type: kms, key_id: alias/audit, bucket_key: true}", "{type: s3}");
    assert_eq!(s3.encryption, Some(Encryption::S3));
    let ceph = of("storage_class: STANDARD_IA", "storage_class: cold-hdd\n    endpoint: https://c");
    assert_eq!(ceph.storage_class.as_deref(), Some("cold-hdd"), "another server has its own");
}

#[test]
fn splunk_and_datadog_with_all_that_they_can_have() {
    let c = good(
        "sinks:
  - {name: archive, type: archive, url: 'file:///srv/archive'}
  - name: splunk
    type: splunk_hec
    url: https://splunk.example:8088/
    token: {file: /run/secrets/hec}
    index: wa
    source: '{path}'
    sourcetype: 'wa:{event}'
    host: '{origin}'
    acknowledgements: true
    ack_timeout: 2m
    tls: {ca: /ca.pem, certificate: /c.pem, key: /k.pem}
    proxy: http://proxy.example:3128
    timeout: 20s
    connect_timeout: 3s
    batch: {max_bytes: 512KiB, max_events: 100, max_age: 200ms}
    max_in_flight: 2
    rate_limit: {bytes: 1MiB, requests: 5}
    compression: none
    events: [login, message_received]
    min_level: warning
    fields: [text, source]
    seal_fields: [text, /source/offset]
  - name: datadog
    type: datadog
    site: datadoghq.eu
    api_key: {env: DD_API_KEY}
    service: wa
    hostname: '{origin}'
    ddsource: whatsapp
    ddtags: ['env:prod', 'team:a']
",
    );
    assert_eq!((c.sinks.len(), c.feeds.len(), c.feeds[0].index), (1, 2, 1));
    let splunk = &c.feeds[0];
    let FeedTo::Splunk { url, acknowledgements, ack_timeout, metadata } = &splunk.to else {
        panic!("not Splunk")
    };
    assert_eq!(url, "https://splunk.example:8088");
    assert_eq!(*acknowledgements, crate::sink::splunk::Acknowledgements::Required);
    assert_eq!(*ack_timeout, Duration::from_secs(120));
    assert!(metadata.index.is_some() && metadata.sourcetype.is_some());
    assert_eq!(splunk.http.timeout, Duration::from_secs(20));
    assert_eq!(splunk.http.proxy.as_deref(), Some("http://proxy.example:3128"));
    assert!(splunk.http.ca.is_some() && splunk.http.identity.is_some());
    assert_eq!((splunk.batch.max_bytes, splunk.batch.max_events), (512 << 10, 100));
    assert_eq!((splunk.max_in_flight, splunk.compressed), (2, false));
    assert_eq!((splunk.rate.bytes, splunk.rate.requests), (Some(1 << 20), Some(5)));
    assert_eq!(splunk.wanted.events, ["login", "message_received"]);
    let sealed: Vec<_> = splunk.wanted.sealed.iter().map(ToString::to_string).collect();
    assert_eq!(sealed, ["/text", "/source/offset"]);
    assert!(splunk.is_sealing() && !c.feeds[1].is_sealing());
    let report = render_check(&c, &|_| None);
    assert!(report.contains("splunk: /text, /source/offset leave sealed (enc1.…)"), "{report}");
    let datadog = &c.feeds[1];
    assert_eq!(datadog.place(), "datadog datadoghq.eu");
    assert_eq!((datadog.batch.max_bytes, datadog.batch.max_events), (4_500_000, 1000));
    let keys = c.keys(&|_| None);
    for path in ["sinks[1].token", "sinks[2].api_key"] {
        assert!(keys.iter().any(|k| k.path == path), "{path}");
    }
}

#[test]
fn without_an_archive_no_key_is_needed_to_seal() {
    let c = good("sinks: [{name: d, type: datadog, site: datadoghq.eu, api_key: {env: K}}]\n");
    assert!(c.sinks.is_empty());
    assert!(c.keys(&|_| None).iter().all(|k| !k.path.starts_with("seal.")));
    assert!(render_check(&c, &|_| None).contains("There is no archive: nothing is sealed"));
}

#[test]
fn with_an_archive_the_others_give_up_and_alone_they_block() {
    use crate::ship::on_full::OnFull;
    let feed = |on_full: &str| {
        format!("{{name: d, type: datadog, site: datadoghq.eu, api_key: {{env: K}}{on_full}}}")
    };
    let archive = "{name: a, type: archive, url: 'file:///srv/archive'}, ";
    for (archive, on_full, want) in [
        ("", "", OnFull::Block),
        ("", ", on_full: block", OnFull::Block),
        (archive, "", OnFull::Gap),
        (archive, ", on_full: gap", OnFull::Gap),
        (archive, ", on_full: block", OnFull::Block),
    ] {
        let c = good(&format!("sinks: [{archive}{}]\n", feed(on_full)));
        assert_eq!(c.feeds[0].on_full, want, "{archive} {on_full}");
        let report = render_check(&c, &env);
        assert_eq!(report.contains("given up under a signed gap"), want == OnFull::Gap, "{report}");
    }
}

#[test]
fn the_admin_port_is_on_loopback_another_address_or_off() {
    let listen = |text: &str| good(&with(text)).admin;
    assert_eq!(good(MINIMAL).admin.listen, Some("127.0.0.1:8686".parse().unwrap()));
    for (text, open) in [
        ("127.0.0.1:0", false),
        ("[::1]:8686", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("0.0.0.0:8686", true),
        ("[::]:8686", true),
        ("10.1.2.3:9", true),
    ] {
        let admin = listen(&format!("admin: {{listen: '{text}'}}\n"));
        assert_eq!(admin.listen, Some(text.parse().unwrap()));
        assert_eq!(admin.is_open(), open, "{text}");
    }
    for off in ["admin: {listen: off}\n", "admin: {listen: 'off'}\n"] {
        assert_eq!(listen(off), Admin { listen: None });
        assert!(!listen(off).is_open());
    }
}
