//! What an operator sees: what is accepted, what it means, and each refusal
//! with its place and its hint.

use super::*;
use std::time::Duration;

const MINIMAL: &str = "sinks: [{name: archive, type: archive, url: file:///srv/archive}]\n";

fn env(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" => Some("gateway-0".into()),
        "SAMPLES" | "QUICKSTART" => Some("/tmp/quickstart".into()),
        "SECRET" => Some("hunter2".into()),
        _ => None,
    }
}

fn good(text: &str) -> Config {
    parse(text, "c.yaml", &env).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let errors = parse(text, "c.yaml", &env).expect_err("has to be refused").to_string();
    assert_eq!(errors, expected.trim_matches('\n'), "\n--- got:\n{errors}\n");
}

/// The text behind a minimal configuration.
fn with(text: &str) -> String {
    format!("{MINIMAL}{text}")
}

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name);
    load(&path, &env).unwrap_or_else(|e| panic!("{e}"))
}

mod accepted {
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
}

mod refused {
    use super::*;

    #[test]
    fn all_errors_come_at_once_with_place_and_hint() {
        refused(
            "orgin: x
sources:
  - type: file
    include: logs/*.log
    format: dokcer
    max_line: 5
redact:
  mask: yes
journal: {path: var/journal, max_bytes: 1MiB}
seal:
  signing_key: c2VjcmV0
  level: 12
sinks:
  - name: archive
    type: archive
    url: https://bucket.s3.amazonaws.com
  - {name: b, url: 's3://bucket-b/'}
log: {level: verbose}
",
            "
c.yaml:1:1: orgin: unknown key
    did you mean `origin`?
c.yaml:4:14: sources[0].include: `logs/*.log` cannot stand here
    write [\"/var/log/containers/wa-*.log\"]
c.yaml:5:13: sources[0].format: `dokcer` is not known here
    did you mean `docker`?
c.yaml:6:15: sources[0].max_line: has to be text
    put it in quotes: \"5\"
c.yaml:8:9: redact.mask: `yes` cannot stand here
    write true or false
c.yaml:9:17: journal.path: `var/journal` is not an absolute path without `..`
    begin at the root: /etc/sealtail/…
c.yaml:9:41: journal.max_bytes: 1MiB is out of range
    from 64MiB to 1TiB
c.yaml:11:16: seal.signing_key: is not a reference to a secret
    a secret does not stand in the configuration: put it in a file and write {file: /path/to/it}, or {env: NAME} for an environment variable
c.yaml:12:10: seal.level: gzip has no level 12
    from 1 to 9
c.yaml:16:10: sinks[0].url: is no URL of an archive
    a server that speaks S3 is named by `endpoint`, the bucket by url: s3://bucket/prefix/
c.yaml:17:5: sinks[1]: `type` is missing
    type: `archive`
c.yaml:18:14: log.level: `verbose` is not known here
    one of `error`, `warn`, `info`, `debug` or `trace`
",
        );
    }

    #[test]
    fn what_this_version_does_not_have_is_said_not_ignored() {
        refused(
            "admin: {listen: '127.0.0.1:8686'}
retention: {purge_after: 400d}
sources:
  - {type: file, include: [/a], since: 2026-01-01}
seal: {recipients: [{kms: 'arn:aws:kms:x'}]}
sinks:
  - {name: archive, type: archive, url: 's3://bucket/', on_full: block}
  - {name: splunk, type: splunk_hec, url: 'https://splunk.example:8088', token: {env: T}}
  - {name: datadog, type: datadog, site: datadoghq.eu}
",
            "
c.yaml:1:1: admin: the admin port is not available yet in this version
c.yaml:2:1: retention: purging and Object Lock are not available yet in this version; retention days from a governance document are carried as tags on every object
c.yaml:4:33: sources[0].since: starting at a time is not available yet; use start_at
c.yaml:5:22: seal.recipients[0].kms: AWS KMS recipients are not available yet in this version, they are planned; use {rsa: /etc/sealtail/archive.pub.pem}
c.yaml:7:57: sinks[0].on_full: is not available yet in this version: archive sinks always block, nothing is given up
c.yaml:8:26: sinks[1].type: the Splunk sink is not available yet in this version
c.yaml:9:27: sinks[2].type: the Datadog sink is not available yet in this version
",
        );
    }

    #[test]
    fn yaml_that_is_none_or_strange() {
        refused(
            "a: [1",
            "c.yaml:2:1: not valid YAML: while parsing a flow sequence, expected ',' or ']'",
        );
        refused("", "c.yaml:1:1: there is nothing in it");
        refused(
            "- a\n",
            "c.yaml:1:1: a list cannot stand here\n    write keys and values (`governance`, `journal`, `limits`, `log`, `origin`, `redact`, `seal`, `sinks` or `sources`)",
        );
        refused(
            &with("log: {level: info}\nlog: {level: warn}\n"),
            "c.yaml:3:1: log: this key is on line 2 already\n    keep one of the two",
        );
        refused(
            &with("---\na: b\n"),
            "c.yaml:2:1: a second document begins here; there is one a file",
        );
        refused(
            &with("log: !x {level: info}\n"),
            "c.yaml:2:6: YAML tags (`!…`) are not taken here",
        );
        refused(
            &with("log: {<<: {level: info}}\n"),
            "c.yaml:2:7: log: YAML merge keys (`<<`) are not taken here",
        );
        refused(
            &with("log: {level: ${L}}\n"),
            "c.yaml:2:14: not valid YAML: did not find expected ',' or '}'\n    inside {…} and […] a variable stands in quotes: \"${NAME}\"",
        );
        refused(
            &with("redact:\n"),
            "c.yaml:2:8: redact: has no value\n    write keys and values (`allow_clear`, `include_payload`, `mask`, `profile` or `token_key`), or delete the key",
        );
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..10 {
            let m = n - 1;
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{m}"); 10].join(", ")));
        }
        let errors = parse(&text, "c.yaml", &env).unwrap_err().to_string();
        assert!(errors.contains("more values than a configuration can have"), "{errors}");
        let deep = "[".repeat(100);
        let errors = parse(&deep, "c.yaml", &env).unwrap_err().to_string();
        assert!(errors.contains("nested too deeply"), "{errors}");
        let errors = parse("a: &a [*a]", "c.yaml", &env).unwrap_err().to_string();
        assert!(errors.contains("stands inside what it names"), "{errors}");
    }

    #[test]
    fn a_variable_that_is_not_set_has_its_place_and_values_are_not_shown() {
        refused(
            &with("origin: a/${NONE}\n"),
            "c.yaml:2:9: origin: the environment variable NONE is not set\n    set it, or give a default: ${NONE:-value}",
        );
        let text = with("origin: /${SECRET}\nlog: {level: '${SECRET}'}\nredact: {token_key: '${SECRET}', mask: '${SECRET}'}\nlimits: {memory: '${SECRET}'}\nsources: [{type: file, include: ['${SECRET}']}]\nseal: {signing_key: {file: '${SECRET}'}}\n")
            .replace("file:///srv/archive", "'s3://${SECRET}:x@b/'");
        let errors = parse(&text, "c.yaml", &env).unwrap_err();
        assert_eq!(errors.problems().len(), 8, "{errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }

    #[test]
    fn sinks_that_are_none() {
        refused(
            "log: {level: info}\n",
            "c.yaml:1:1: sinks: there is no sink, so nothing could be delivered\n    sinks: [{name: archive, type: archive, url: s3://bucket/prefix/}]",
        );
        refused(
            "sinks: []\n",
            "c.yaml:1:8: sinks: there is no sink, so nothing could be delivered\n    sinks: [{name: archive, type: archive, url: s3://bucket/prefix/}]",
        );
        refused(
            "sinks:
  - {name: a, type: archive, url: 'file:///srv/a', region: x}
  - {name: a, type: archive, url: 'file:///srv/a/'}
  - {name: ../b, type: archive, url: 'file:///var/lib/sealtail/journal/x'}
",
            "
c.yaml:2:60: sinks[0].region: has no meaning for a file:// archive
    delete it, or write an s3:// url
c.yaml:3:12: sinks[1].name: `a` is the name of sinks[0] already
    its progress is kept under it: take another
c.yaml:3:35: sinks[1].url: sinks[0] delivers to the same place
    delete one of the two
c.yaml:4:12: sinks[2].name: `../b` is no name for a sink
    1 to 64 letters, digits, `.`, `_` and `-`
",
        );
        refused(
            "sinks: [{name: a, type: archive, url: 'file:///var/lib/sealtail/journal/x'}]",
            "c.yaml:1:39: sinks[0].url: archive and journal cannot lie in each other\n    give the archive a folder of its own",
        );
    }

    #[test]
    fn what_does_not_fit_together() {
        refused(
            &with("limits: {memory: 16MiB}\nseal: {codec: zstd, level: 19}\n"),
            "c.yaml:2:18: limits.memory: 16MiB is too little: 109MiB are needed (read buffer 1280KiB, joiners 8MiB, journal block 2MiB, seal 98816KiB, upload 512KiB)\n    raise it, or lower max_line or seal.level",
        );
        refused(
            &with("journal: {max_bytes: 64MiB}\nseal: {batch: {max_bytes: 17MiB}}\n"),
            "c.yaml:3:27: seal.batch.max_bytes: a batch of 17MiB does not fit in the outbox of 16MiB\n    the outbox is a quarter of journal.max_bytes: make the batch smaller, or the journal larger",
        );
        refused(
            &with("redact: {profile: mask-only}\n"),
            "c.yaml:2:19: redact.profile: mask-only keeps message content, include_payload: false forbids it\n    set redact.include_payload: true to say so, or take strict or balanced",
        );
        refused(
            &with("redact: {allow_clear: true}\n"),
            "c.yaml:2:23: redact.allow_clear: has an effect only beside governance.retention_policy.pii_redaction: false\n    delete it",
        );
        refused(
            &with(
                "journal: {key: {file: /k, generate: true}}\nseal: {recipients: [{rsa: /a, aes: {file: /b}}, {}]}\n",
            ),
            "
c.yaml:2:16: journal.key: needs exactly one of `file`, `env` and `generate`
    {file: /etc/sealtail/journal.key}
c.yaml:3:21: seal.recipients[0]: needs exactly one of `rsa` and `aes`
    {rsa: /etc/sealtail/archive.pub.pem}
c.yaml:3:49: seal.recipients[1]: needs exactly one of `rsa` and `aes`
    {rsa: /etc/sealtail/archive.pub.pem}
",
        );
    }

    #[test]
    fn a_file_that_cannot_be_read() {
        let errors = load(Path::new("/nonexistent/c.yaml"), &env).unwrap_err().to_string();
        assert!(
            errors.starts_with("/nonexistent/c.yaml: cannot be read: No such file"),
            "{errors}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, b"origin: \xff").unwrap();
        let errors = load(&file, &env).unwrap_err().to_string();
        assert!(errors.ends_with("is not UTF-8 (from byte 8 on)"), "{errors}");
    }

    #[test]
    fn nothing_that_is_thrown_at_it_panics() {
        let text = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/sealtail.yaml"),
        )
        .unwrap();
        let flips = [b'{', b'[', b':', b'-', b'"', b'$', b'\n', b' ', b'&', b'*', b'9', b'\t'];
        for (n, at) in (0..text.len()).step_by(7).enumerate() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = flips[n % flips.len()];
            if let Ok(text) = String::from_utf8(bytes) {
                if let Err(e) = parse(&text, "c", &env) {
                    assert!(e.problems().iter().all(|p| p.line > 0), "{e}");
                }
            }
            if text.is_char_boundary(at) {
                let _ = parse(&text[..at], "c", &env);
            }
        }
    }
}

mod governance {
    use super::*;

    const DOCUMENT: &str = r#"{
  "retention_policy": {"message_storage_days": 30, "media_storage_days": 14, "pii_redaction": true,
                       "encryption_algorithm": "AES-256-GCM", "backup_frequency_hours": 6},
  "compliance_logging": {"log_level": "info", "destination": "s3://enterprise-audit-logs/whatsapp/", "include_payload": false}
}
"#;

    fn under_the_key(beside: &str) -> String {
        format!("governance: {}{beside}", DOCUMENT.replace('\n', "\n  ").trim_end()) + "\n"
    }

    #[test]
    fn the_document_alone_is_a_whole_configuration() {
        let shipped = include_str!("../../../config/governance.json");
        assert_eq!(shipped, DOCUMENT, "the example is the document, byte for byte");
        let c = good(DOCUMENT);
        let g = c.governance.as_ref().unwrap();
        assert_eq!(g.message_storage_days, Some(30));
        assert_eq!(g.media_storage_days, Some(14));
        assert_eq!(g.backup_every, Some(Duration::from_secs(6 * 3600)));
        let tags = [("message-storage-days", "30"), ("media-storage-days", "14")];
        assert_eq!(g.tags(), tags.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(c.sinks.len(), 1);
        assert_eq!(c.sinks[0].name.as_str(), "archive");
        assert_eq!(c.sinks[0].archive.url(), "s3://enterprise-audit-logs/whatsapp/");
        assert!(!c.redact.include_payload);
        assert_eq!(c.log.level, LogLevel::Info);
        assert_eq!(c.seal.signing_key, SecretRef::File("/etc/sealtail/signing.key".into()));
        let folder =
            DOCUMENT.replace("s3://enterprise-audit-logs/whatsapp/", "file:///srv/archive");
        assert_eq!(good(&folder).sinks[0].archive, Archive::Directory("/srv/archive".into()));
    }

    #[test]
    fn what_is_written_beside_it_wins_where_it_asks_for_no_less() {
        let c = good(&under_the_key("\nlog: {level: debug}\njournal: {max_bytes: 2GiB}\n"));
        assert_eq!(c.log.level, LogLevel::Debug);
        assert_eq!(c.sinks[0].archive.url(), "s3://enterprise-audit-logs/whatsapp/");
        let report = render_check(&c, &env);
        assert!(report.contains("log_level: info: log.level: debug beside it wins"), "{report}");
        let text = under_the_key(
            "\nsinks: [{name: x, type: archive, url: 's3://enterprise-audit-logs/whatsapp', path_style: true}]\n",
        );
        assert_eq!(good(&text).sinks[0].name.as_str(), "x");
    }

    #[test]
    fn what_would_undo_it_is_an_error_with_the_reason() {
        refused(
            &under_the_key("\nredact: {include_payload: true, profile: mask-only}\nsinks: [{name: x, type: archive, url: 's3://elsewhere/'}]\n"),
            "
c.yaml:4:64: governance.compliance_logging.destination: none of the `sinks` delivers there
    add an archive with this url to `sinks`, or delete one of the two
c.yaml:6:27: redact.include_payload: `true`, but the governance document forbids it on line 4
    change one of the two, so that both say the same
c.yaml:6:42: redact.profile: mask-only keeps names and message content, `pii_redaction: true` promises that personal data is taken out
    take strict, balanced or audit-only
",
        );
    }

    #[test]
    fn its_values_are_honoured_or_refused_never_ignored() {
        let text = DOCUMENT
            .replace("AES-256-GCM", "AES-128-CBC")
            .replace("\"pii_redaction\": true", "\"pii_redaction\": false")
            .replace("s3://enterprise-audit-logs/whatsapp/", "splunk+https://splunk.example:8088")
            .replace(": 30,", ": 0,")
            .replace("log_level\": \"info", "log_level\": \"verbose");
        refused(
            &text,
            "
c.yaml:2:48: retention_policy.message_storage_days: 0 is out of range
    a number from 1 to 36500
c.yaml:2:94: retention_policy.pii_redaction: `false` would ship personal data in clear
    if that is meant, set redact.allow_clear: true beside it
c.yaml:3:48: retention_policy.encryption_algorithm: `AES-128-CBC` is not known here
    it has to be `AES-256-GCM`
c.yaml:4:39: compliance_logging.log_level: `verbose` is not known here
    one of `error`, `warn`, `info`, `debug` or `trace`
c.yaml:4:65: compliance_logging.destination: the Splunk sink is not available yet in this version
    s3://bucket/prefix/ or file:///var/lib/sealtail/archive
",
        );
        let text =
            DOCUMENT.replace("s3://enterprise-audit-logs/whatsapp/", "datadog://datadoghq.eu");
        let errors = parse(&text, "c", &env).unwrap_err().to_string();
        assert!(errors.contains("the Datadog sink is not available yet"), "{errors}");
        let typo = DOCUMENT.replace("retention_policy", "retention_polcy");
        refused(
            &typo,
            "c.yaml:2:3: retention_polcy: unknown key\n    did you mean `retention_policy`?",
        );
    }

    #[test]
    fn clear_text_needs_both_words() {
        let text = under_the_key("\nredact: {allow_clear: true}\n")
            .replace("\"pii_redaction\": true", "\"pii_redaction\": false");
        let c = good(&text);
        assert!(c.redact.clear);
        let report = render_check(&c, &env);
        assert!(report.contains("Personal data is shipped in clear"), "{report}");
    }

    #[test]
    fn alone_means_alone() {
        let errors = parse(
            "retention_policy: {pii_redaction: true}\nlog: {level: info}\nsinks: [{name: a, type: archive, url: 'file:///a'}]\n",
            "c.yaml",
            &env,
        );
        assert_eq!(
            errors.unwrap_err().to_string(),
            "c.yaml:1:1: a governance document stands beside `log`\n    put it under the key `governance`"
        );
    }

    #[test]
    fn the_report_says_what_each_value_does() {
        let report = render_check(&good(DOCUMENT), &env);
        for words in [
            "message_storage_days: 30: every object carries the tag message-storage-days=30",
            "media_storage_days: 14: every object carries the tag",
            "pii_redaction: true: personal data is taken out before anything is stored (profile strict)",
            "encryption_algorithm: AES-256-GCM: journal and archive",
            "backup_frequency_hours: 6: at least that often",
            "log_level: info: the agent's own log",
            "destination: sealed batches are delivered to `archive` (s3://enterprise-audit-logs/whatsapp/)",
            "include_payload: false: message content never leaves",
            "sealtail keygen /etc/sealtail",
        ] {
            assert!(report.contains(words), "{words}\n{report}");
        }
    }
}

mod report {
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
            "1280KiB to read",
            "At most 1GiB under /var/lib/sealtail/journal (journal.max_bytes)",
            "segments of 64MiB, and sealed batches that wait for upload, at most 256MiB",
            "The archive in /srv/archive grows without bound.",
        ] {
            assert!(report.contains(words), "{words}\n{report}");
        }
    }

    #[test]
    fn keys_that_are_missing_or_open_to_all_are_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("token.key"), "x").unwrap();
        std::fs::set_permissions(at("token.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(at("archive.pub.pem"), "x").unwrap();
        let c = good(&with(&format!(
            "redact: {{token_key: {{file: '{}'}}}}\nseal: {{signing_key: {{file: '{}'}}, recipients: [{{rsa: '{}'}}]}}\njournal: {{key: {{env: SECRET}}}}\n",
            at("token.key"),
            at("signing.key"),
            at("archive.pub.pem"),
        )));
        let states: Vec<_> = c.keys(&env).into_iter().map(|k| k.state).collect();
        use KeyState::{Missing, Open, Present};
        assert_eq!(states, [Open(0o644), Present, Missing, Present]);
        let report = render_check(&c, &env);
        assert!(report.contains("signing.key is MISSING"), "{report}");
        assert!(report.contains("anybody can read it (mode 0644): chmod 0600"), "{report}");
        assert!(report.contains(&format!("sealtail keygen {}", dir.path().display())), "{report}");
        assert!(!report.contains("hunter2"), "{report}");
    }

    #[test]
    fn a_key_beside_the_journal_is_explained() {
        let report = render_check(&good(&with("journal: {key: {generate: true}}\n")), &env);
        assert!(report.contains("not a stolen volume that holds both"), "{report}")
    }
}

mod schema_text {
    use super::*;

    #[test]
    fn it_knows_every_key_with_words_and_defaults() {
        let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
        let config = &schema["oneOf"][0];
        assert_eq!(config["additionalProperties"], false);
        assert_eq!(config["properties"]["journal"]["properties"]["max_bytes"]["default"], "1GiB");
        let sink = &config["properties"]["sinks"]["items"];
        assert_eq!(sink["required"], serde_json::json!(["name", "type", "url"]));
        assert!(schema["oneOf"][1]["properties"]["retention_policy"].is_object());
        undescribed(config, "");
    }

    fn undescribed(schema: &serde_json::Value, path: &str) {
        assert!(!schema.to_string().contains("\"null\""), "null is refused, so it is not in it");
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            assert!(property["description"].is_string(), "{path} has no description");
            undescribed(property, &path);
            undescribed(&property["items"], &path);
        }
    }
}
