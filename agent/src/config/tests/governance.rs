//! The governance document, alone and beside other keys.

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
    let shipped = include_str!("../../../../config/governance.json");
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
    let folder = DOCUMENT.replace("s3://enterprise-audit-logs/whatsapp/", "file:///srv/archive");
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
    add a sink with this url (or site) to `sinks`, or delete one of the two
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
        .replace("s3://enterprise-audit-logs/whatsapp/", "gopher://splunk.example:8088")
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
c.yaml:4:65: compliance_logging.destination: is no URL of an archive
    s3://bucket/prefix/ or file:///var/lib/sealtail/archive
",
    );
    let typo = DOCUMENT.replace("retention_policy", "retention_polcy");
    refused(
        &typo,
        "c.yaml:2:3: retention_polcy: unknown key\n    did you mean `retention_policy`?",
    );
}

#[test]
fn the_destination_may_be_splunk_or_datadog() {
    let to =
        |destination: &str| DOCUMENT.replace("s3://enterprise-audit-logs/whatsapp/", destination);
    for (destination, place, key) in [
        (
            "splunk+https://splunk.example:8088",
            "splunk https://splunk.example:8088",
            "splunk.token",
        ),
        ("datadog://datadoghq.eu", "datadog datadoghq.eu", "datadog.key"),
    ] {
        let c = good(&to(destination));
        assert!(c.sinks.is_empty());
        assert_eq!(c.feeds[0].place(), place);
        assert_eq!(
            c.feeds[0].secret.path().unwrap(),
            std::path::Path::new("/etc/sealtail").join(key)
        );
        let report = render_check(&c, &env);
        assert!(report.contains(&format!("({place}), as events")), "{report}");
    }
    // Beside sinks of one's own, one of them has to be it.
    let beside =
        |own: &str| format!("governance: {}\nsinks: [{own}]\n", to("datadog://datadoghq.eu"));
    good(&beside("{name: d, type: datadog, site: datadoghq.eu, api_key: {env: K}}"));
    let errors = parse(
        &beside("{name: d, type: datadog, site: datadoghq.com, api_key: {env: K}}"),
        "c",
        &env,
    );
    assert!(errors.unwrap_err().to_string().contains("none of the `sinks` delivers there"));
    let errors = parse(&to("datadog://nowhere.example"), "c", &env).unwrap_err().to_string();
    assert!(errors.contains("is no site of Datadog"), "{errors}");
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
