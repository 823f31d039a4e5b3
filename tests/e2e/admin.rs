//! The admin port as a scraper, a kubelet and an operator use it.

use crate::feeds::{TOKEN, sinks};
use crate::loggen::crash_log;
use crate::sandbox::{Sandbox, said};
use sealtail_standins::{Datadog, DatadogConfig, Pki, Splunk, SplunkConfig};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Nothing here takes that long, but on a machine under load.
const LONG: Duration = Duration::from_secs(60);

/// A running agent whose admin port is known. Killed when the test is over.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

/// An answer of the admin port.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The sample of this name whose labels hold all of these values.
    pub(crate) fn value(&self, name: &str, labels: &[&str]) -> f64 {
        let found = self.body.lines().find(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|value| line.contains(&format!("=\"{value}\"")))
        });
        let value = found.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or(f64::NAN)
    }
}

impl Agent {
    /// Starts the program; `admin` is to be `127.0.0.1:0`.
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let child = sandbox.start(&[], false);
        let log = sandbox.path("agent.log");
        let mut agent = Self { child, log, address: "127.0.0.1:1".parse().unwrap() };
        let address = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let opened = line["message"] == "the admin port is open";
            opened.then(|| line["address"].as_str()?.parse().ok())?
        };
        let mut found = None;
        until("the admin port", || {
            found = agent.said().lines().rev().find_map(address);
            found.is_some()
        });
        agent.address = found.unwrap();
        agent
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    /// Sends these bytes and reads to the end.
    fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        // It may be refused before it is written whole.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn wait_for(&self, what: &str, done: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        until(what, || {
            let metrics = self.get("/metrics");
            let is_done = done(&metrics);
            last = Some(metrics);
            is_done
        });
        last.unwrap()
    }

    /// Ends in order, within the time.
    fn stop(mut self, within: Duration) {
        let began = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
        assert!(began.elapsed() < within, "it took {:?}", began.elapsed());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Adds lines to a log that is there or not.
fn append(sandbox: &Sandbox, lines: u64, seed: u64) {
    let path = sandbox.path("logs/gateway-json.log");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    crash_log(lines, seed, &mut log).unwrap();
}

/// 4096-01-01, which is what the stand-ins' certificates say.
const CERTIFICATE_END: f64 = 67_090_118_400.0;

#[test]
fn an_outage_of_one_sink_shows_and_the_others_go_on() {
    let pki = Pki::new().unwrap();
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki)).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN).tls(&pki)).unwrap();
    let mut sandbox = Sandbox::directory();
    let ca = sandbox.path("ca.pem");
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    let more = format!(", tls: {{ca: '{}'}}, batch: {{max_age: 50ms}}", ca.display());
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), &more);
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    append(&sandbox, 300, 3);
    let agent = Agent::start(&sandbox);
    let of =
        |m: &Answer, name: &str, sink: &str| m.value(&format!("sealtail_sink_{name}"), &[sink]);
    let is = |m: &Answer, set: &str, sink: &str, state: &str| {
        m.value(&format!("sealtail_sink_{set}"), &[sink, state]) == 1.0
    };
    let well = agent.wait_for("everything to be delivered", |m| {
        let even = |sink| of(m, "lag", sink) == 0.0 && of(m, "lag_seconds", sink) == 0.0;
        m.value("sealtail_records_total", &[]) > 250.0
            && even("splunk")
            && even("datadog")
            && of(m, "delivered_leaves_total", "archive") > 0.0
    });
    for sink in ["splunk", "datadog"] {
        assert!(is(&well, "state", sink, "ok") && is(&well, "breaker", sink, "closed"));
        assert_eq!(of(&well, "certificate_expiry_timestamp_seconds", sink), CERTIFICATE_END);
        assert_eq!(of(&well, "next", sink), well.value("sealtail_journal_end", &[]));
        assert!(of(&well, "window_requests", sink) >= 1.0, "{}", well.body);
        assert!(of(&well, "sent_bytes_total", sink) > 1000.0, "{}", well.body);
    }
    assert!(well.head.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(well.value("sealtail_read_lines_total", &[]) >= 300.0, "{}", well.body);
    assert!(well.value("sealtail_redactions_total", &["phone"]) > 0.0, "{}", well.body);

    splunk.down();
    append(&sandbox, 300, 4);
    let out = agent.wait_for("the outage to show", |m| {
        is(m, "state", "splunk", "retrying")
            && is(m, "breaker", "splunk", "open")
            && of(m, "lag", "splunk") >= 200.0
            && of(m, "lag_seconds", "splunk") > 1.0
            && of(m, "lag", "datadog") == 0.0
            && of(m, "delivered_leaves_total", "archive")
                > of(&well, "delivered_leaves_total", "archive")
    });
    assert!(is(&out, "state", "datadog", "ok") && is(&out, "breaker", "datadog", "closed"));
    let delivered = |m: &Answer, sink| of(m, "delivered_events_total", sink);
    assert!(delivered(&out, "datadog") >= delivered(&well, "datadog") + 200.0, "{}", out.body);
    assert!(delivered(&out, "splunk") < delivered(&well, "splunk") + 200.0, "{}", out.body);
    assert!(of(&out, "failures_total", "splunk") > 0.0, "{}", out.body);
    assert_eq!(of(&out, "failures_total", "datadog"), 0.0);
    // The gateway's pod stays in service.
    assert_eq!((agent.get("/ready").status, agent.get("/live").status), (200, 200));
    // What an operator sees.
    sandbox.settings.admin = agent.address.to_string();
    let status = sandbox.on_config(&["status"]);
    assert!(status.status.success(), "{}", said(&status));
    let text = String::from_utf8(status.stdout).unwrap();
    let row = text.lines().find(|l| l.starts_with("splunk")).unwrap();
    for words in ["splunk_hec", "retrying", " records, ", "of 1, ", "s ago: "] {
        assert!(row.contains(words), "{words}\n{text}");
    }
    assert!(text.contains("journal ") && text.contains("reading "), "{text}");
    let json = sandbox.on_config(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["sinks"][1]["name"], &json["sinks"][1]["state"]),
        (&"splunk".into(), &"retrying".into())
    );
    assert_eq!(json["origin"], "wa/test");

    splunk.up().unwrap();
    agent.wait_for("the end of the outage", |m| {
        is(m, "state", "splunk", "ok")
            && is(m, "breaker", "splunk", "closed")
            && of(m, "lag", "splunk") == 0.0
            && of(m, "lag_seconds", "splunk") == 0.0
    });
    agent.stop(LONG);
}

#[test]
fn dead_letters_and_halts_are_counted() {
    let splunk = Splunk::start(SplunkConfig::new("00000000-0000-4000-8000-000000000000")).unwrap();
    let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.more_sinks = sinks(&sandbox, Some(&splunk.url()), Some(&datadog.url()), "");
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    let line = |n| format!("D 2026-11-22 10:00:00.000 UTC 19 main.cpp:38] round {n}\n");
    let lines: String = (0..20).map(line).collect();
    std::fs::write(sandbox.path("logs/plain.log"), lines).unwrap();
    datadog.set_poison(|entry| entry["message"] == "round 7");
    let agent = Agent::start(&sandbox);
    let metrics = agent.wait_for("the refusals", |m| {
        m.value("sealtail_dead_letters", &["datadog"]) == 1.0
            && m.value("sealtail_sink_condemned_records_total", &["datadog"]) == 1.0
            && m.value("sealtail_sink_state", &["splunk", "halted"]) == 1.0
    });
    assert!(metrics.value("sealtail_dead_letters_used_bytes", &["datadog"]) > 100.0);
    assert_eq!(metrics.value("sealtail_dead_letters", &["splunk"]), 0.0);
    assert!(metrics.value("sealtail_sink_halts_total", &["splunk"]) >= 1.0);
    // Halted for good, but the pod is not taken out of service for that.
    assert_eq!(agent.get("/ready").status, 200);
    sandbox.settings.admin = agent.address.to_string();
    let status = sandbox.on_config(&["status"]);
    assert!(said(&status).contains("1 records were refused"), "{}", said(&status));
    assert!(said(&status).contains("halted"), "{}", said(&status));
    assert!(!said(&status).contains(TOKEN), "{}", said(&status));
    // Another process removes the letter.
    let listed = sandbox.on_config(&["dead-letter", "list", "--json"]);
    let letter: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let removed = sandbox.on_config(&["dead-letter", "remove", letter["name"].as_str().unwrap()]);
    assert!(removed.status.success(), "{}", said(&removed));
    agent.wait_for("the letter to be gone", |m| {
        m.value("sealtail_dead_letters", &["datadog"]) == 0.0
    });
}

#[test]
fn a_taken_port_is_warned_of_and_the_agent_goes_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sandbox = Sandbox::directory();
    sandbox.settings.admin = taken.local_addr().unwrap().to_string();
    append(&sandbox, 100, 3);
    let mut child = sandbox.start(&[], false);
    let log = || std::fs::read_to_string(sandbox.path("agent.log")).unwrap_or_default();
    until("an object", || {
        let files = crate::sandbox::files(&sandbox.path("archive"));
        files.iter().any(|f| f.extension().is_some_and(|e| e == "esdk"))
    });
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(child.wait().unwrap().success(), "{}", log());
    assert_eq!(log().matches("failed to open the admin port").count(), 1, "{}", log());
    sandbox.verify();
}

#[test]
fn once_opens_no_port_and_off_is_off() {
    let mut sandbox = Sandbox::directory();
    append(&sandbox, 10, 3);
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    let out = sandbox.once();
    assert!(out.status.success() && !said(&out).contains("admin port"), "{}", said(&out));
    sandbox.settings.admin = "off".to_owned();
    let off = sandbox.on_config(&["status"]);
    assert_eq!(off.status.code(), Some(2), "{}", said(&off));
    assert!(said(&off).contains("admin.listen: off"), "{}", said(&off));
}

#[test]
fn status_says_when_nobody_or_somebody_else_answers() {
    let mut sandbox = Sandbox::directory();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    sandbox.settings.admin = other.local_addr().unwrap().to_string();
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "it is no status"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "failed to understand the answer"),
        ("", "failed to understand the answer"),
    ] {
        let child = {
            let config = sandbox.config();
            let arguments = ["status", "--json", "-c", config.to_str().unwrap()];
            let piped = std::process::Stdio::piped;
            sandbox.command(&arguments).stdout(piped()).stderr(piped()).spawn().unwrap()
        };
        let (mut stream, _) = other.accept().unwrap();
        let mut request = [0; 1000];
        let n = stream.read(&mut request).unwrap();
        assert!(request[..n].starts_with(b"GET /status HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).unwrap();
        drop(stream.shutdown(std::net::Shutdown::Write));
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{}", said(&out));
        assert!(said(&out).contains(words) && out.stdout.is_empty(), "{words}\n{}", said(&out));
    }
    drop(other);
    let out = sandbox.on_config(&["status"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("is it running"), "{}", said(&out));
}

#[test]
fn status_fails_when_the_agent_hangs() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    let agent = Agent::start(&sandbox);
    let json = agent.get("/status").body.replace("\"live\":true", "\"live\":false");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    sandbox.settings.admin = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len()).unwrap();
    });
    let out = sandbox.on_config(&["status"]);
    answering.join().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(
        said(&out).contains("HANGS") && said(&out).contains("has not read for"),
        "{}",
        said(&out)
    );
}

#[test]
fn garbage_and_slow_requests_do_no_harm() {
    let mut sandbox = Sandbox::directory();
    sandbox.settings.admin = "127.0.0.1:0".to_owned();
    append(&sandbox, 100, 3);
    let agent = Agent::start(&sandbox);
    let slow = |begin: &[u8]| {
        let mut stream = TcpStream::connect(agent.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(begin).unwrap();
        stream
    };
    // Most of the room is taken by those who never get on with it.
    let mut held: Vec<_> = (0..14).map(|_| slow(b"GET /met")).collect();
    for (request, status) in [
        (&b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"[..], 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 200),
        (b"GET /live?x=y HTTP/1.0\r\n\r\n", 200),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS was not asked for\r\n\r\n", 400),
        (b"\r\n\r\n\r\n\x00\x00", 400),
    ] {
        let answer = agent.ask(request);
        assert_eq!(answer.status, status, "{}: {}", String::from_utf8_lossy(request), answer.head);
    }
    let long = [b"GET /metrics?", &vec![b'x'; 300_000][..], b" HTTP/1.1\r\n\r\n"].concat();
    assert!([0, 414, 431].contains(&agent.ask(&long).status));
    let many = ["GET /metrics HTTP/1.1\r\n", &"a: b\r\n".repeat(500), "\r\n"].concat();
    assert!([0, 400, 431].contains(&agent.ask(many.as_bytes()).status));
    // They are cut off, so that others get their turn.
    let began = Instant::now();
    for stream in &mut held {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(agent.get("/ready").status, 200);
    // All of the room, and more: the end does not wait for them.
    let held: Vec<_> = (0..40).map(|_| slow(b"GET /metrics HTTP/1.1\r\n")).collect();
    agent.stop(Duration::from_secs(20));
    drop(held);
    sandbox.verify();
}
