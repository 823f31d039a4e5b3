//! What is refused: the whole message, as the operator reads it.

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
c.yaml:6:15: sources[0].max_line: `5` has no unit
    write it as in 16MiB
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
    type: `archive`, `splunk_hec` or `datadog`
c.yaml:18:14: log.level: `verbose` is not known here
    one of `error`, `warn`, `info`, `debug` or `trace`
",
        );
}

#[test]
fn what_this_version_does_not_have_is_said_not_ignored() {
    refused(
            "retention: {purge_after: 400d}
sources:
  - {type: file, include: [/a], since: 2026-01-01}
sinks:
  - {name: archive, type: archive, url: 's3://bucket/'}
",
            "
c.yaml:1:1: retention: purging is not available yet in this version; retention days from a governance document are carried as tags on every object, and are the days of a sink's object_lock
c.yaml:3:33: sources[0].since: starting at a time is not available yet; use start_at
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
        "c.yaml:1:1: a list cannot stand here\n    write keys and values (`admin`, `governance`, `journal`, `limits`, `log`, `origin`, `redact`, `residency`, `seal`, `sinks` or `sources`)",
    );
    refused(
        &with("log: {level: info}\nlog: {level: warn}\n"),
        "c.yaml:3:1: log: this key is on line 2 already\n    keep one of the two",
    );
    refused(&with("---\na: b\n"), "c.yaml:2:1: a second document begins here; there is one a file");
    refused(&with("log: !x {level: info}\n"), "c.yaml:2:6: YAML tags (`!…`) are not taken here");
    refused(
        &with("log: {<<: {level: info}}\n"),
        "c.yaml:2:7: log: YAML merge keys (`<<`) are not taken here",
    );
    refused(
        &with("log: {level: ${L}}\n"),
        "c.yaml:2:15: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'\n    inside {…} and […] a variable stands in quotes: \"${NAME}\"",
    );
    refused(
        &with("redact:\n"),
        "c.yaml:2:7: redact: has no value\n    write keys and values (`allow_clear`, `include_payload`, `mask`, `profile` or `token_key`), or delete the key",
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
        "c.yaml:2:18: limits.memory: 16MiB is too little: 109MiB are needed (read buffer 1.25MiB, joiners 8MiB, journal block 2MiB, seal 96.5MiB, upload 512KiB, events 0B)\n    raise it, or lower max_line or seal.level",
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
c.yaml:3:21: seal.recipients[0]: needs exactly one of `rsa`, `aes` and `kms`
    {rsa: /etc/sealtail/archive.pub.pem}
c.yaml:3:49: seal.recipients[1]: needs exactly one of `rsa`, `aes` and `kms`
    {rsa: /etc/sealtail/archive.pub.pem}
",
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let errors = load(Path::new("/nonexistent/c.yaml"), &env).unwrap_err().to_string();
    assert!(errors.starts_with("/nonexistent/c.yaml: cannot be read: No such file"), "{errors}");
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
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(e) = parse(&text, "c", &env)
        {
            assert!(e.problems().iter().all(|p| p.line > 0), "{e}");
        }
        if text.is_char_boundary(at) {
            let _ = parse(&text[..at], "c", &env);
        }
    }
}

#[test]
fn what_a_bucket_cannot_be_asked() {
    refused(
        "governance: {retention_policy: {media_storage_days: 14}}
sinks:
  - name: a
    type: archive
    url: s3://audit-logs/{origin}/
  - name: b
    type: archive
    url: s3://audit-logs/
    profile: \"x]\"
    credentials: {access_key: {env: A}, secret_key: {env: B}}
    assume_role: {role_arn: 'arn:aws:iam::12:role/x', external_id: 'a b', endpoint: 'http://sts.example'}
    expected_owner: \"1234\"
    server_side_encryption: {type: s3, key_id: k}
    storage_class: standard-ia
    tags: {\"aws:x\": a, b: \"<\", media-storage-days: '7'}
    object_lock: {mode: compliance}
  - name: c
    type: archive
    url: s3://audit-logs/c
    assume_role: {external_id: abc}
    server_side_encryption: {type: kms, key_id: 'a b'}
    tags: {a: '1', b: '', c: x, d: x, e: x, f: x, g: x, h: x, i: x, j: x}
    object_lock: {retain_days: 3}
  - {name: d, type: archive, url: 's3://audit-logs/d', object_lock: {legal_hold: false}}
  - {name: e, type: archive, url: 's3://audit-logs/e', object_lock: {mode: worm, retain_days: 0}}
  - {name: f, type: archive, url: 'file:///srv/a', tags: {a: b}}
",
        "
c.yaml:5:10: sinks[0].url: has a template in its prefix, and there are none
    origin, incarnation, day and hour are in every key already; ${NAME} takes a value from the environment
c.yaml:9:14: sinks[1].profile: `x]` is no profile
    its name in ~/.aws/config or ~/.aws/credentials
c.yaml:9:14: sinks[1].profile: has no effect beside `credentials`
    keep one of the two
c.yaml:11:29: sinks[1].assume_role.role_arn: `arn:aws:iam::12:role/x` is no role
    arn:aws:iam::123456789012:role/audit-writer
c.yaml:11:68: sinks[1].assume_role.external_id: `a b` is not what STS takes
    2 to 1224 letters, digits and _+=,.@:/-
c.yaml:11:85: sinks[1].assume_role.endpoint: is plain http:// to another machine
    write https://, or allow_insecure: true beside it if the way is trusted
c.yaml:12:21: sinks[1].expected_owner: `1234` is no account
    the twelve digits of the bucket's account, in quotes
c.yaml:13:48: sinks[1].server_side_encryption.key_id: has no meaning for type: s3
    delete it, or write type: kms
c.yaml:14:20: sinks[1].storage_class: `standard-ia` is no storage class
    did you mean `STANDARD_IA`?
c.yaml:15:21: sinks[1].tags.aws:x: has a name that S3 does not take
    names up to 128 and values up to 256 letters, digits, blanks and +-=._:/@, not beginning with aws:
c.yaml:15:27: sinks[1].tags.b: has a value that S3 does not take
    names up to 128 and values up to 256 letters, digits, blanks and +-=._:/@, not beginning with aws:
c.yaml:15:52: sinks[1].tags.media-storage-days: is a tag that the governance document gives
    delete it here, or change it there
c.yaml:16:18: sinks[1].object_lock: has a mode and no days: such a lock would end at once
    retain_days: 365, or message_storage_days in a governance document
c.yaml:20:18: sinks[2].assume_role: `role_arn` is missing
    role_arn: arn:aws:iam::123456789012:role/audit-writer
c.yaml:21:49: sinks[2].server_side_encryption.key_id: `a b` is no KMS key
    an id, arn:aws:kms:…:key/… or alias/name
c.yaml:22:11: sinks[2].tags: 11 tags with those of the governance document
    an object in S3 has at most ten
c.yaml:23:32: sinks[2].object_lock.retain_days: has an effect only beside a mode
    mode: governance, or mode: compliance
c.yaml:24:69: sinks[3].object_lock: locks nothing
    {mode: compliance, retain_days: 365}, or {legal_hold: true}
c.yaml:25:76: sinks[4].object_lock.mode: `worm` is not known here
    one of `governance` or `compliance`
c.yaml:25:95: sinks[4].object_lock.retain_days: 0 is out of range
    a number from 1 to 36500
c.yaml:26:58: sinks[5].tags: has no meaning for a file:// archive
    delete it, or write an s3:// url
",
    );
}

#[test]
fn what_is_wrong_with_a_splunk_or_datadog_sink() {
    refused(
        "sinks:
  - {name: a, type: archive, url: 'file:///srv/archive', events: [login], token: {env: T}}
  - name: s
    type: splunk_hec
    url: http://splunk.example:8088
    index: '{nothing}'
    site: datadoghq.eu
  - {name: t, type: splunk_hec, url: 'https://h:8088/services/collector', token: {env: T}}
  - {name: d, type: datadog, site: datadoghq.org, api_key: {env: K}}
  - {name: e, type: datadog, api_key: {env: K}}
  - {name: f, type: datadog, site: datadoghq.eu, api_key: {env: K}, events: [lgin]}
  - {name: g, type: datadog, site: datadoghq.eu, api_key: {env: K}, batch: {max_events: 2000}}
",
        "
c.yaml:2:66: sinks[0].events: has no meaning for a sink of type archive
    delete it: an archive has everything, or it would prove nothing
c.yaml:2:82: sinks[0].token: has no meaning for a sink of type archive
    delete it
c.yaml:3:5: sinks[1].token: is missing
    {file: /run/secrets/…} or {env: NAME}
c.yaml:5:10: sinks[1].url: is plain http:// to another machine
    write https://, or allow_insecure: true beside it if the way is trusted
c.yaml:6:12: sinks[1].index: is no template: only {origin}, {incarnation}, {event}, {level} and {path} are known; write {{ for a brace
    wa-{event}
c.yaml:7:11: sinks[1].site: has no meaning for a sink of type splunk_hec
    delete it
c.yaml:8:38: sinks[2].url: is not the base of the API: its path is added here
    https://host:port
c.yaml:9:36: sinks[3].site: `datadoghq.org` is no site of Datadog
    one of datadoghq.com, us3.datadoghq.com, us5.datadoghq.com, ap1.datadoghq.com, ap2.datadoghq.com, uk1.datadoghq.com, datadoghq.eu, ddog-gov.com, us2.ddog-gov.com; another address is named by `url`
c.yaml:10:5: sinks[4]: needs a `site` or a `url`
    site: datadoghq.eu
c.yaml:11:78: sinks[5].events[0]: `lgin` is no event
    message_received, message_sent, message_status, template_status, account_event, call, api_request, login, db_deadlock, db_error, log, gap, agent_start, agent_end
c.yaml:12:89: sinks[6].batch.max_events: 2000 is out of range
    from 1 to 1000
",
    );
}

#[test]
fn a_gap_needs_an_archive_and_an_archive_has_none() {
    refused(
        "sinks: [{name: a, type: archive, url: 'file:///srv/archive', on_full: gap}]\n",
        "
c.yaml:1:71: sinks[0].on_full: an archive gives up nothing: a gap in it could not be refilled
    on_full: block, or delete it
",
    );
    refused(
        "sinks: [{name: d, type: datadog, site: datadoghq.eu, api_key: {env: K}, on_full: gap}]\n",
        "
c.yaml:1:82: sinks[0].on_full: a gap is signed in an archive's log, and refilled from it: there is no archive
    add an archive sink, or write on_full: block
",
    );
}

#[test]
fn what_is_outside_of_the_residency() {
    refused(
        "residency: {regions: [eu-central-1, eu-west-1]}
sinks:
  - {name: a, type: archive, url: 's3://audit-logs/a', region: eu-west-2}
  - name: b
    type: archive
    url: s3://audit-logs/b
    server_side_encryption: {type: kms, key_id: 'arn:aws:kms:us-east-1:123456789012:key/x'}
",
        "
c.yaml:3:64: sinks[0].region: region eu-west-2 is not among residency.regions (eu-central-1, eu-west-1)
    a bucket in one of those, or change residency
c.yaml:7:49: sinks[1].server_side_encryption.key_id: region us-east-1 is not among residency.regions (eu-central-1, eu-west-1)
    a key in one of those, or change residency
",
    );
    refused(
        &with("residency: {regions: [], sites: ['eu-*']}\n"),
        "
c.yaml:2:22: residency.regions: allows nothing
    [eu-central-1], or delete it
c.yaml:2:34: residency.sites[0]: `eu-*` is no whole name
    each by its name, such as datadoghq.eu
",
    );
    refused(
        &with("residency: {}\n"),
        "c.yaml:2:12: residency: restricts nothing\n    {regions: [eu-central-1]}",
    );
    refused(
        &with("residency: {region: [eu-central-1]}\n"),
        "c.yaml:2:13: residency.region: unknown key\n    did you mean `regions`?",
    );
}

#[test]
fn an_admin_port_that_is_none() {
    for bad in ["localhost:8686", "8686x", "127.0.0.1", ":8686", "/run/sealtail.sock"] {
        refused(
            &with(&format!("admin: {{listen: '{bad}'}}\n")),
            &format!(
                "c.yaml:2:17: admin.listen: `{bad}` is no IP address with a port\n    write \
                 127.0.0.1:8686, [::1]:8686, or off"
            ),
        );
    }
}

#[test]
fn fields_that_cannot_be_sealed() {
    refused(
        "sinks:
  - {name: a, type: archive, url: 'file:///srv/archive', seal_fields: [text]}
  - name: s
    type: splunk_hec
    url: https://h:8088
    token: {env: T}
    source: '{path}'
    sourcetype: 'wa:{event}:{level}'
    seal_fields: [source, level, /detail/0/x]
  - name: d
    type: datadog
    site: datadoghq.eu
    api_key: {env: K}
    hostname: '{path}'
    seal_fields: [/source/path]
  - name: e
    type: datadog
    site: datadoghq.eu
    api_key: {env: K}
    fields: [text, source]
    seal_fields: [text, /text, seq, event, /time/x, journaled, origin, user, a/b, /, /source/path, source]
  - {name: f, type: datadog, site: datadoghq.eu, api_key: {env: K}, seal_fields: []}
",
        "
c.yaml:2:71: sinks[0].seal_fields: has no meaning for a sink of type archive
    delete it: in an archive everything is sealed
c.yaml:7:13: sinks[1].source: would send {path} in clear, which seal_fields seals
    take it out of one of the two
c.yaml:8:17: sinks[1].sourcetype: would send {level} in clear, which seal_fields seals
    take it out of one of the two
c.yaml:14:15: sinks[2].hostname: would send {path} in clear, which seal_fields seals
    take it out of one of the two
c.yaml:21:25: sinks[3].seal_fields[1]: `/text` and /text overlap
    the larger of the two is enough
c.yaml:21:32: sinks[3].seal_fields[2]: `seq` says which record it is, and cannot be sealed
    delete it
c.yaml:21:37: sinks[3].seal_fields[3]: `event` says which record it is, and cannot be sealed
    delete it
c.yaml:21:44: sinks[3].seal_fields[4]: `/time/x` says which record it is, and cannot be sealed
    delete it
c.yaml:21:53: sinks[3].seal_fields[5]: `journaled` says which record it is, and cannot be sealed
    delete it
c.yaml:21:64: sinks[3].seal_fields[6]: `origin` says which record it is, and cannot be sealed
    delete it
c.yaml:21:72: sinks[3].seal_fields[7]: `user` does not go there: it is not among `fields`
    add it there, or delete it here
c.yaml:21:78: sinks[3].seal_fields[8]: `a/b` is no JSON Pointer: it begins with / and has ~ only as ~0 and ~1
    a name, or /source/path
c.yaml:21:83: sinks[3].seal_fields[9]: `/` names no field: a part of it is empty
    a name, or /source/path
c.yaml:21:100: sinks[3].seal_fields[11]: `source` and /source/path overlap
    the larger of the two is enough
c.yaml:22:82: sinks[4].seal_fields: seals nothing
    [text], or delete it
",
    );
    refused(
        "sinks: [{name: d, type: datadog, site: datadoghq.eu, api_key: {env: K}, seal_fields: [text]}]",
        "
c.yaml:1:86: sinks[0].seal_fields: needs an archive: the keys of sealed fields are kept there, or nobody could open them
    sinks: [{name: archive, type: archive, url: s3://bucket/prefix/}]
",
    );
}
