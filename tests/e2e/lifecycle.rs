//! Running, draining, restarting; what the terminal says; the quickstart.

use crate::loggen::{crash_log, serial_of};
use crate::sandbox::{Destination, S3, Sandbox, repository, said};
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "timed out waiting for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn signal(child: &std::process::Child, name: &str) {
    let status =
        Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn sigterm_drains_and_exits_0() {
    let sandbox = Sandbox::directory();
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(2000, 3, &mut std::fs::File::create(&log).unwrap()).unwrap();
    let mut child = sandbox.start(&[], false);
    wait_for("the first object", || {
        crate::sandbox::files(&sandbox.path("archive"))
            .iter()
            .any(|f| f.extension().is_some_and(|e| e == "esdk"))
    });
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    let agent_log = std::fs::read_to_string(sandbox.path("agent.log")).unwrap();
    assert!(agent_log.contains("draining"), "{agent_log}");
    assert!(agent_log.contains("sealtail verify"), "{agent_log}");
    let report = sandbox.verify();
    assert!(!report.contains("no end leaf"), "{report}");
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
}

#[test]
fn a_second_signal_ends_a_drain_that_cannot_end() {
    let sandbox = Sandbox::new(Destination::S3(S3::nowhere()));
    let log = sandbox.path("logs/gateway-json.log");
    crash_log(200, 3, &mut std::fs::File::create(&log).unwrap()).unwrap();
    let mut child = sandbox.start(&[], false);
    let says = |what: &str| {
        std::fs::read_to_string(sandbox.path("agent.log")).is_ok_and(|text| text.contains(what))
    };
    wait_for("the first failure", || says("failed to"));
    signal(&child, "TERM");
    wait_for("the drain", || says("draining"));
    assert!(child.try_wait().unwrap().is_none(), "it drains until the server is back");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(says("second signal"));
}

#[test]
fn what_is_written_between_two_runs_is_shipped_once() {
    let sandbox = Sandbox::directory();
    let path = sandbox.path("logs/plain.log");
    for round in 0..3 {
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        writeln!(
            log,
            "D 2026-11-22 10:00:00.{round:03} UTC 19 main.cpp:38] round {round} req_id=Main"
        )
        .unwrap();
        let out = sandbox.once();
        assert!(out.status.success(), "{}", said(&out));
    }
    let lines: Vec<_> = sandbox.open().into_iter().filter(|r| r.contains("main.cpp:38")).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    sandbox.verify();
}

#[test]
fn a_file_renamed_while_the_agent_was_down_is_read_to_its_end() {
    let sandbox = Sandbox::directory();
    let path = sandbox.path("logs/a.log");
    std::fs::write(&path, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:1] one req_id=Main\n")
        .unwrap();
    assert!(sandbox.once().status.success());
    let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    writeln!(log, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:2] two req_id=Main").unwrap();
    std::fs::rename(&path, sandbox.path("logs/a.log.1")).unwrap();
    std::fs::write(&path, "D 2026-11-22 10:00:00.000 UTC 19 main.cpp:3] three req_id=Main\n")
        .unwrap();
    assert!(sandbox.once().status.success());
    let all = sandbox.open().join("\n");
    for n in 1..=3 {
        assert_eq!(
            all.matches(&format!("main.cpp:{n}\"")).count()
                + all.matches(&format!("main.cpp:{n}]")).count(),
            1,
            "{n}: {all}"
        );
    }
    sandbox.verify();
}

#[test]
fn a_changed_origin_begins_a_new_log_that_goes_on_where_the_old_one_ended() {
    let mut sandbox = Sandbox::directory();
    let path = sandbox.path("logs/plain.log");
    let line =
        |n: u32| format!("D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n} req_id=Main\n");
    std::fs::write(&path, line(1)).unwrap();
    assert!(sandbox.once().status.success());
    sandbox.settings.origin = "wa/moved";
    let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    log.write_all(line(2).as_bytes()).unwrap();
    for _ in 0..2 {
        let out = sandbox.once();
        assert!(out.status.success(), "{}", said(&out));
    }
    let report = sandbox.verify();
    assert!(report.contains("wa/test/") && report.contains("wa/moved/"), "{report}");
    let records = sandbox.open();
    let rounds: Vec<_> = records.iter().filter(|r| r.contains("main.cpp:38")).collect();
    assert_eq!(rounds.len(), 2, "{records:#?}");
    let status = sandbox.run(&["journal", "status", "-c", sandbox.config().to_str().unwrap()]);
    assert!(said(&status).contains("log-1"), "{}", said(&status));
}

#[test]
fn one_sink_that_halts_keeps_no_other_from_its_rest() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks =
        "\n  - {name: second, type: archive, url: 'file://{root}/second'}\n".to_owned();
    std::fs::write(sandbox.path("second"), "a file is in the way").unwrap();
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(500, 3, &mut std::fs::File::create(&log).unwrap()).unwrap();
    let out = sandbox.once();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("failed to ship to second: failed to"), "{}", said(&out));
    assert!(!said(&out).contains("failed to failed"), "{}", said(&out));
    let report = sandbox.verify();
    assert!(!report.contains("no end leaf"), "{report}");
    std::fs::remove_file(sandbox.path("second")).unwrap();
    assert!(sandbox.once().status.success());
    let (first, second) = (sandbox.path("archive"), sandbox.path("second"));
    let names = |root: &std::path::Path| {
        let files = crate::sandbox::files(root).into_iter();
        files
            .map(|f| f.strip_prefix(root).unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&first), names(&second));
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
}

#[test]
fn a_second_agent_on_the_same_journal_is_refused() {
    let sandbox = Sandbox::directory();
    let mut child = sandbox.start(&[], false);
    wait_for("the lock", || sandbox.path("journal/incarnation").exists());
    let second = sandbox.once();
    drop(child.kill());
    child.wait().unwrap();
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("held by another sealtail process"), "{}", said(&second));
}

#[test]
fn the_quickstart_says_the_two_commands_that_open_and_verify() {
    let sandbox = Sandbox::directory();
    let samples = repository().join("samples");
    let out = sandbox.run(&["quickstart", "--samples", samples.to_str().unwrap()]);
    assert!(out.status.success(), "{}", said(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    let commands: Vec<_> = text.lines().collect();
    assert_eq!(commands.len(), 2, "{text}");
    for (command, expected) in
        commands.iter().zip(["\"event\":\"message_received\"", "intact     yes"])
    {
        let words: Vec<_> = command.split(' ').skip(1).collect();
        let out = sandbox.run(&words);
        assert!(out.status.success(), "{}", said(&out));
        assert!(String::from_utf8_lossy(&out.stdout).contains(expected), "{}", said(&out));
    }
}

#[test]
fn the_governance_document_alone_is_a_configuration() {
    let sandbox = Sandbox::directory();
    let document = repository().join("config/governance.json");
    let out = sandbox.run(&["check", "-c", document.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    for word in ["keygen", "message_storage_days", "media_storage_days", "backup"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    let run = sandbox.run(&["run", "--once", "-c", document.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(said(&run).contains("sealtail keygen"), "{}", said(&run));
}

#[test]
fn schema_is_json_and_names_the_sinks() {
    let sandbox = Sandbox::directory();
    let out = sandbox.run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    // A configuration of its own, or a governance document alone.
    let forms = schema["oneOf"].as_array().unwrap();
    assert!(forms.iter().any(|f| f["properties"]["sinks"].is_object()));
    assert!(forms.iter().any(|f| f["properties"]["retention_policy"].is_object()));
}

/// The backlog of a gateway that ran long before the agent came:
/// `SEALTAIL_TEST_LINES=1000000` makes it the 450 MB one.
#[test]
fn memory_stays_bounded_whatever_the_size_of_the_input() {
    let sandbox = Sandbox::directory();
    let lines = std::env::var("SEALTAIL_TEST_LINES").ok().and_then(|n| n.parse().ok());
    let log = std::fs::File::create(sandbox.path("logs/gateway-json.log")).unwrap();
    let mut log = std::io::BufWriter::new(log);
    let lines = lines.unwrap_or(60_000);
    crate::loggen::perf_log(lines, 5, &mut log).unwrap();
    std::io::Write::flush(&mut log).unwrap();
    let out = sandbox.once();
    assert!(out.status.success(), "{}", said(&out));
    let text = said(&out);
    assert!(text.contains(&format!("read      {lines} lines")), "{text}");
    let used = text.lines().find_map(|l| l.trim().strip_prefix("used ")).unwrap();
    let peak = used.split(", ").nth(1).and_then(|t| t.split(' ').next()).unwrap();
    let peak: f64 = peak.parse().unwrap();
    assert!(peak < 48.0, "{used}");
}
