//! What the next start goes on with: when state or configuration have changed
//! meanwhile, nothing is lost, nothing comes twice, and nothing is signed that
//! contradicts what was signed before. Most of these were found by a review.

use crate::sandbox::{Sandbox, files, said};
use std::io::Write as _;
use std::path::Path;

/// Adds lines to a log: rounds `from` to `to`.
fn write(sandbox: &Sandbox, from: u32, to: u32) {
    let path = sandbox.path("logs/plain.log");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    for n in from..=to {
        writeln!(log, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n} req_id=Main")
            .unwrap();
    }
}

/// The rounds in the archive, sorted.
fn rounds(sandbox: &Sandbox) -> Vec<u32> {
    let round =
        |record: &String| record.split("round ").nth(1)?.split([' ', '"']).next()?.parse().ok();
    let mut rounds: Vec<u32> = sandbox.open().iter().filter_map(round).collect();
    rounds.sort_unstable();
    rounds
}

fn holds(sandbox: &Sandbox, last: u32) -> String {
    assert_eq!(rounds(sandbox), (1..=last).collect::<Vec<_>>());
    sandbox.verify()
}

fn fine(out: &std::process::Output) {
    assert!(out.status.success(), "{}", said(out));
}

fn refused(out: &std::process::Output, words: &[&str]) {
    assert_eq!(out.status.code(), Some(1), "{}", said(out));
    for word in words {
        assert!(said(out).contains(word), "{word}: {}", said(out));
    }
}

/// A folder that cannot be made, since a file is in its way.
fn block(sandbox: &Sandbox, folder: &str) {
    std::fs::write(sandbox.path(folder), "a file is in the way").unwrap();
}

fn unblock(sandbox: &Sandbox, folder: &str) {
    std::fs::remove_file(sandbox.path(folder)).unwrap();
}

#[test]
fn a_changed_origin_waits_for_a_sink_that_never_sent_anything() {
    let mut sandbox = Sandbox::directory();
    block(&sandbox, "archive");
    write(&sandbox, 1, 3);
    refused(&sandbox.once(), &["failed to ship to archive"]);
    // As an older version left it: no cursor before the first upload.
    let cursor = sandbox.path("journal/cursors/archive.cursor");
    assert!(cursor.exists());
    for without in [false, true] {
        if without {
            std::fs::remove_file(&cursor).unwrap();
        }
        sandbox.settings.origin = "wa/moved";
        refused(&sandbox.once(), &["origin", "archive", "Run once with the old"]);
        sandbox.settings.origin = "wa/test";
    }
    unblock(&sandbox, "archive");
    fine(&sandbox.once());
    sandbox.settings.origin = "wa/moved";
    fine(&sandbox.once());
    holds(&sandbox, 3);
}

#[test]
fn a_changed_origin_waits_for_the_second_of_two_sinks() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks =
        "\n  - {name: second, type: archive, url: 'file://{root}/second'}\n".to_owned();
    block(&sandbox, "second");
    write(&sandbox, 1, 3);
    refused(&sandbox.once(), &["failed to ship to second"]);
    sandbox.settings.origin = "wa/moved";
    refused(&sandbox.once(), &["wait for sink second"]);
    unblock(&sandbox, "second");
    sandbox.settings.origin = "wa/test";
    fine(&sandbox.once());
    sandbox.settings.origin = "wa/moved";
    fine(&sandbox.once());
    holds(&sandbox, 3);
    sandbox.settings.folder = "second";
    holds(&sandbox, 3);
}

#[test]
fn a_changed_signing_key_begins_a_new_log_when_the_old_one_is_sent() {
    let sandbox = Sandbox::directory();
    block(&sandbox, "archive");
    write(&sandbox, 1, 2);
    refused(&sandbox.once(), &["failed to ship to archive"]);
    fine(&sandbox.run(&["keygen", sandbox.path("other").to_str().unwrap()]));
    let swap = |from: &str, to: &str| {
        for name in ["signing.key", "signing.pub"] {
            std::fs::copy(sandbox.path(from).join(name), sandbox.path(to).join(name)).unwrap();
        }
    };
    std::fs::create_dir(sandbox.path("kept")).unwrap();
    swap("keys", "kept");
    swap("other", "keys");
    refused(&sandbox.once(), &["seal.signing_key is another one", "Run once with the old"]);
    unblock(&sandbox, "archive");
    swap("kept", "keys");
    fine(&sandbox.once());
    swap("other", "keys");
    write(&sandbox, 3, 4);
    fine(&sandbox.once());
    // Each incarnation by its own key, both at once.
    let archive = sandbox.archive();
    let key = |folder: &str| sandbox.path(folder).join("signing.pub").display().to_string();
    let (old, new) = (key("kept"), key("keys"));
    fine(&sandbox.run(&["verify", &archive, "--key", &old, "--key", &new]));
    refused(&sandbox.run(&["verify", &archive, "--key", &new]), &[]);
    let identity = sandbox.path("keys/archive.pem").display().to_string();
    let opened =
        sandbox.run(&["open", &archive, "--identity", &identity, "--key", &old, "--key", &new]);
    fine(&opened);
    assert_eq!(String::from_utf8_lossy(&opened.stdout).matches("round ").count(), 4);
}

#[test]
fn a_moved_archive_begins_with_a_log_of_its_own() {
    let mut sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    sandbox.settings.folder = "elsewhere";
    write(&sandbox, 3, 4);
    fine(&sandbox.once());
    fine(&sandbox.once());
    assert_eq!(rounds(&sandbox), [3, 4]);
    assert!(sandbox.verify().contains("complete"), "{}", sandbox.verify());
    sandbox.settings.folder = "archive";
    assert_eq!(rounds(&sandbox), [1, 2]);
}

#[test]
fn an_archive_that_moves_while_leaves_wait_is_told_what_to_do() {
    let mut sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    std::fs::rename(sandbox.path("archive"), sandbox.path("kept")).unwrap();
    block(&sandbox, "archive");
    write(&sandbox, 3, 4);
    refused(&sandbox.once(), &["failed to ship to archive"]);
    sandbox.settings.folder = "elsewhere";
    refused(&sandbox.once(), &["sealtail forget-sink archive", "wait for sink archive"]);
    let status = sandbox.on_config(&["journal", "status"]);
    assert!(said(&status).contains("archive: next leaf"), "{}", said(&status));
    fine(&sandbox.on_config(&["forget-sink", "archive"]));
    let out = sandbox.once();
    fine(&out);
    assert!(said(&out).contains("the log begins at leaf"), "{}", said(&out));
    assert_eq!(rounds(&sandbox), [3, 4]);
    fine(&sandbox.once());
    // Who verifies has to know that it begins in its middle: a cut one looks the same.
    let said_so = said(&out);
    let leaf = said_so.split("the log begins at leaf ").nth(1).unwrap();
    let leaf: String = leaf.chars().take_while(char::is_ascii_digit).collect();
    let (archive, key) = (sandbox.archive(), sandbox.path("keys/signing.pub"));
    let verify = ["verify", &archive, "--key", key.to_str().unwrap()];
    refused(&sandbox.run(&verify), &["complete   NO", &format!("--begins-at {leaf}")]);
    fine(&sandbox.run(&[&verify[..], &["--begins-at", &leaf]].concat()));
    // With its place unchanged it is not forgotten by mistake.
    let out = sandbox.on_config(&["forget-sink", "archive"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
}

#[test]
fn a_second_archive_that_comes_later_has_a_log_of_its_own() {
    let mut sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    sandbox.settings.more_sinks =
        "\n  - {name: second, type: archive, url: 'file://{root}/second'}\n".to_owned();
    write(&sandbox, 3, 4);
    fine(&sandbox.once());
    holds(&sandbox, 4);
    sandbox.settings.folder = "second";
    assert_eq!(rounds(&sandbox), [3, 4]);
    sandbox.verify();
}

#[test]
fn an_outbox_that_is_gone_is_refused() {
    let sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    write(&sandbox, 3, 4);
    std::fs::remove_dir_all(sandbox.path("journal/outbox")).unwrap();
    for _ in 0..2 {
        refused(&sandbox.once(), &["put back the newest copy", "move it away"]);
    }
    // The way out that it names.
    std::fs::rename(sandbox.path("journal"), sandbox.path("journal.old")).unwrap();
    fine(&sandbox.once());
    assert_eq!(rounds(&sandbox), [1, 1, 2, 2, 3, 4]);
    sandbox.verify();
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

#[test]
fn a_journal_restored_from_an_older_copy_is_an_alarm_with_a_way_out() {
    let sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    copy(&sandbox.path("journal"), &sandbox.path("copy"));
    write(&sandbox, 3, 4);
    fine(&sandbox.once());
    std::fs::remove_dir_all(sandbox.path("journal")).unwrap();
    copy(&sandbox.path("copy"), &sandbox.path("journal"));
    write(&sandbox, 5, 6);
    refused(&sandbox.once(), &["ALARM", "older copy", "put back the newer one"]);
    holds(&sandbox, 4);
}

#[test]
fn segments_that_are_gone_are_repaired_and_nothing_is_lost() {
    let sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    for file in files(&sandbox.path("journal/segments")) {
        std::fs::remove_file(file).unwrap();
    }
    write(&sandbox, 3, 4);
    refused(&sandbox.once(), &["there are no segments", "journal repair"]);
    fine(&sandbox.on_config(&["journal", "repair"]));
    fine(&sandbox.once());
    // Positions were lost with them: what is in the file comes again, none is missing.
    assert_eq!(rounds(&sandbox), [1, 1, 2, 2, 3, 4]);
    sandbox.verify();
}

#[test]
fn a_changed_token_key_reads_nothing_again() {
    let sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    fine(&sandbox.once());
    fine(&sandbox.run(&["keygen", sandbox.path("other").to_str().unwrap()]));
    std::fs::copy(sandbox.path("other/token.key"), sandbox.path("keys/token.key")).unwrap();
    write(&sandbox, 3, 4);
    fine(&sandbox.once());
    holds(&sandbox, 4);
    assert!(!sandbox.open().iter().any(|r| r.contains("\"event\":\"gap\"")));
}

#[test]
fn journal_commands_without_a_journal_say_so_and_make_nothing() {
    let sandbox = Sandbox::directory();
    for command in [&["journal", "status"][..], &["journal", "repair"], &["forget-sink", "x"]] {
        refused(&sandbox.on_config(command), &["there is no journal in"]);
        assert!(!sandbox.path("journal").exists(), "{command:?}");
    }
}

#[test]
fn once_ends_when_only_a_halted_sink_could_make_room() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.journal_max = "64MiB";
    block(&sandbox, "archive");
    let path = sandbox.path("logs/plain.log");
    let mut log = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let filler = "lorem ipsum ".repeat(300);
    for n in 1..=25_000 {
        writeln!(log, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n} {filler}").unwrap();
    }
    drop(log);
    let begun = std::time::Instant::now();
    let out = sandbox.once_within("300");
    refused(&out, &["failed to ship to archive", "ended, not all is done"]);
    assert!(begun.elapsed().as_secs() < 200, "it waited for its time-out");
    // What was read is counted, though the reading thread was stopped.
    assert!(!said(&out).contains("read      0 lines"), "{}", said(&out));
    unblock(&sandbox, "archive");
    fine(&sandbox.once());
    holds(&sandbox, 25_000);
}

#[test]
fn a_sealer_that_fails_ends_the_process() {
    let sandbox = Sandbox::directory();
    write(&sandbox, 1, 2);
    let mut agent = sandbox.start(&[], false);
    let ready = || files(&sandbox.path("archive")).iter().any(|f| f.ends_with("checkpoint"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !ready() {
        assert!(std::time::Instant::now() < until, "nothing was uploaded");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    std::fs::remove_dir_all(sandbox.path("journal/outbox")).unwrap();
    write(&sandbox, 3, 4);
    let status = agent.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(sandbox.path("agent.log")).unwrap();
    assert!(log.contains("ended, not all is done") && !log.contains("panicked"), "{log}");
}
