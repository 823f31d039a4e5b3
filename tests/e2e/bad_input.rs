//! Bad input: a clear message, no panic, no content in it, and the rest goes on.

use crate::sandbox::{Sandbox, said};
use std::fs::File;
use std::io::{BufWriter, Write as _};

const GOOD: &str = "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] fine req_id=Main\n";

/// Runs over what is in `logs`; the good line must have come through.
fn goes_on(sandbox: &Sandbox) -> String {
    std::fs::write(sandbox.path("logs/good.log"), GOOD).unwrap();
    let out = sandbox.once();
    let text = said(&out);
    assert!(out.status.success(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(sandbox.open().iter().any(|r| r.contains("main.cpp:38")), "{text}");
    sandbox.verify();
    text
}

#[test]
fn binary_garbage_invalid_utf8_and_truncated_json_pass_through() {
    let sandbox = Sandbox::directory();
    let mut noise = 1_u64;
    let garbage: Vec<u8> = (0..200_000)
        .map(|_| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (noise >> 56) as u8
        })
        .collect();
    std::fs::write(sandbox.path("logs/garbage.log"), garbage).unwrap();
    std::fs::write(
        sandbox.path("logs/utf8.log"),
        b"caf\xe9 \xff\xfe\xc3\x28 +44 7700 900123\n\xf0\x9f\n",
    )
    .unwrap();
    let truncated = r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"messages":[{"from":"447700900123","text":{"body":"secret words"#;
    std::fs::write(
        sandbox.path("logs/json.log"),
        format!("{truncated}\n{{\"log\":\"{truncated}\n\n\n"),
    )
    .unwrap();
    goes_on(&sandbox);
    let all = sandbox.open().join("\n");
    for leak in ["447700900123", "7700 900123", "secret words"] {
        assert!(!all.contains(leak), "{leak}");
    }
}

#[test]
fn a_hundred_megabyte_line_is_split_and_marked() {
    let sandbox = Sandbox::directory();
    let mut out = BufWriter::new(File::create(sandbox.path("logs/long.log")).unwrap());
    let piece = [b'a'; 1 << 16];
    for _ in 0..1600 {
        out.write_all(&piece).unwrap();
    }
    out.write_all(b"\n").unwrap();
    drop(out);
    goes_on(&sandbox);
    let cut = sandbox.open().iter().filter(|r| r.contains("\"cut\"")).count();
    assert!(cut >= 100, "{cut}");
}

#[test]
fn a_symlink_loop_and_a_dangling_one_are_said_and_skipped() {
    let sandbox = Sandbox::directory();
    std::os::unix::fs::symlink(sandbox.path("logs/loop.log"), sandbox.path("logs/loop.log"))
        .unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.log", sandbox.path("logs/dangling.log")).unwrap();
    let text = goes_on(&sandbox);
    assert!(text.contains("symlink that leads to itself"), "{text}");
    assert!(text.contains("target is not there"), "{text}");
}

#[test]
fn a_journal_folder_that_cannot_be_written_is_said() {
    let sandbox = Sandbox::directory();
    std::fs::write(sandbox.path("journal"), "a file is in the way").unwrap();
    let out = sandbox.once();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("failed to open the journal"), "{}", said(&out));
}

/// Takes all rights from a path for as long as `work` runs.
fn locked<T>(path: &std::path::Path, mode: u32, work: impl FnOnce() -> T) -> T {
    use std::os::unix::fs::PermissionsExt as _;
    let old = std::fs::metadata(path).unwrap().permissions();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let done = work();
    std::fs::set_permissions(path, old).unwrap();
    done
}

#[test]
fn an_unreadable_file_is_named_and_read_when_it_can_be() {
    let mut sandbox = Sandbox::directory();
    let shut = sandbox.path("logs/shut.log");
    std::fs::write(&shut, GOOD.replace("fine", "shut")).unwrap();
    sandbox.drop_root();
    let text = locked(&shut, 0o000, || goes_on(&sandbox));
    assert!(text.contains("shut.log") && text.contains("cannot be"), "{text}");
    assert!(!sandbox.open().iter().any(|r| r.contains("shut req")), "read without rights");
    goes_on(&sandbox);
    assert!(sandbox.open().iter().any(|r| r.contains("\"text\":\"shut\"")));
}

#[test]
fn a_read_only_journal_folder_is_said() {
    let mut sandbox = Sandbox::directory();
    let journal = sandbox.path("journal");
    std::fs::create_dir(&journal).unwrap();
    std::fs::write(sandbox.path("logs/good.log"), GOOD).unwrap();
    sandbox.drop_root();
    let out = locked(&journal, 0o500, || sandbox.once());
    let text = said(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("failed to open the journal") && text.contains("ermission"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    goes_on(&sandbox);
}

#[test]
fn a_wrong_journal_key_is_said_with_what_to_do() {
    let sandbox = Sandbox::directory();
    goes_on(&sandbox);
    let other = Sandbox::directory();
    std::fs::copy(other.path("keys/journal.key"), sandbox.path("keys/journal.key")).unwrap();
    let out = sandbox.once();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("cannot be opened with this journal.key"), "{}", said(&out));
}

#[test]
fn a_key_file_that_is_none_is_named() {
    let sandbox = Sandbox::directory();
    std::fs::write(sandbox.path("keys/token.key"), "nonsense\n").unwrap();
    let out = sandbox.once();
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("token.key"), "{}", said(&out));
}

#[test]
fn open_with_the_wrong_identity_and_verify_with_the_wrong_key_fail() {
    let sandbox = Sandbox::directory();
    goes_on(&sandbox);
    let other = Sandbox::directory();
    let path = |s: &Sandbox, name: &str| s.path(name).display().to_string();
    let open =
        sandbox.run(&["open", &sandbox.archive(), "--identity", &path(&other, "keys/archive.pem")]);
    assert_eq!(open.status.code(), Some(1), "{}", said(&open));
    assert!(said(&open).contains("sealed to other recipients"), "{}", said(&open));
    let verify =
        sandbox.run(&["verify", &sandbox.archive(), "--key", &path(&other, "keys/signing.pub")]);
    assert_eq!(verify.status.code(), Some(1), "{}", said(&verify));
    assert!(said(&verify).contains("not signed by the given key"), "{}", said(&verify));
}

#[test]
fn a_configuration_full_of_mistakes_names_them_all_at_once() {
    let sandbox = Sandbox::directory();
    let path = sandbox.path("bad.yaml");
    std::fs::write(
        &path,
        "origin: wa/test\nsorces: []\njournal: {path: relative, max_bytes: lots}\nredact: {profile: stricct}\nsinks: []\n",
    )
    .unwrap();
    let out = sandbox.run(&["check", "-c", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    let text = said(&out);
    for word in ["bad.yaml:2:1", "sources", "max_bytes", "strict", "bad.yaml:5:"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}

#[test]
fn a_bucket_that_is_not_there_is_said() {
    let Some(_) = crate::sandbox::S3::from_env("no-bucket") else { return };
    let sandbox = Sandbox::directory();
    let config = sandbox.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let endpoint = std::env::var("SEALTAIL_TEST_S3_ENDPOINT").unwrap();
    let s3 = format!(
        "    url: s3://no-such-bucket-here/x\n    endpoint: {endpoint}\n    region: us-east-1\n    path_style: true\n    \
         allow_insecure: true\n    credentials: {{access_key: {{env: SEALTAIL_TEST_S3_ACCESS_KEY}}, secret_key: {{env: SEALTAIL_TEST_S3_SECRET_KEY}}}}\n"
    );
    let at = text.find("    url:").unwrap();
    std::fs::write(&config, format!("{}{s3}", &text[..at])).unwrap();
    let out = sandbox.run(&["run", "--once", "--timeout", "20", "-c", config.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("no-such-bucket-here"), "{}", said(&out));
}
