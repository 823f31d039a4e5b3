//! Datadog's intake: what it takes, refuses and drops.

use std::time::{Duration, SystemTime};

use sealtail_standins::{Datadog, DatadogConfig};
use serde_json::json;

use crate::client::{Client, Got, JSON, KEY, entries, gzip, request};

/// 2026-11-22T10:42:09Z in milliseconds, and that time.
const NOW: u64 = 1_795_344_129_000;

pub(crate) fn datadog() -> Datadog {
    let mut config = DatadogConfig::new("a-key");
    config.now = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW));
    Datadog::start(config).unwrap()
}

fn ask(datadog: &Datadog, bytes: &[u8]) -> Got {
    Client::connect(datadog.addr()).ask(bytes)
}

fn entry(at: u64) -> String {
    json!({"message": "m", "ddsource": "whatsapp", "ddtags": "env:prod,origin:wa/prod/gateway-0",
        "service": "s", "hostname": "h", "timestamp": at, "sealtail": {"seq": 1}})
    .to_string()
}

fn refused(body: &str) {
    let datadog = datadog();
    let got = ask(&datadog, &entries(body));
    let want = json!({"errors": [
        {"status": "400", "title": "Bad Request", "detail": "Malformed payload"}]});
    assert_eq!((got.status, got.json()), (400, want), "{body:.200}");
    assert!(datadog.observer().accepted().is_empty());
    assert_eq!(datadog.observer().violations().len(), 1, "{body:.200}");
}

#[test]
fn entries_are_taken_with_202_plain_and_gzipped() {
    let datadog = datadog();
    let (a, b) = (entry(NOW), entry(NOW - 1));
    let got = ask(&datadog, &entries(&format!("[{a}, {b}]")));
    assert_eq!((got.status, got.json()), (202, json!({})));
    let iso = r#"{"message":"m","timestamp":"2026-11-22T10:42:09.5Z"}"#;
    let body = gzip(format!("[{iso}]").as_bytes());
    let headers = [KEY, JSON, "Content-Encoding: gzip"];
    assert_eq!(ask(&datadog, &request("POST", "/api/v2/logs", &headers, &body)).status, 202);
    let accepted = datadog.observer().accepted();
    assert_eq!(accepted.iter().map(|e| e.raw.as_str()).collect::<Vec<_>>(), [&a, &b, iso]);
    assert_eq!(datadog.observer().violations(), []);
}

#[test]
fn without_a_valid_key_401_and_403() {
    let datadog = datadog();
    let body = format!("[{}]", entry(NOW));
    for (headers, status, title) in
        [(&[JSON][..], 401, "Unauthorized"), (&[JSON, "DD-API-KEY: other"], 403, "Forbidden")]
    {
        let got = ask(&datadog, &request("POST", "/api/v2/logs", headers, body.as_bytes()));
        let want = json!({"errors": [{"status": status.to_string(), "title": title,
            "detail": "API key is missing or invalid"}]});
        assert_eq!((got.status, got.json()), (status, want));
    }
    assert!(datadog.observer().accepted().is_empty());
}

#[test]
fn the_key_can_be_checked() {
    let datadog = datadog();
    let got = ask(&datadog, &request("GET", "/api/v1/validate", &[KEY], b""));
    assert_eq!((got.status, got.json()), (200, json!({"valid": true})));
    for headers in [&[][..], &["DD-API-KEY: other"]] {
        let got = ask(&datadog, &request("GET", "/api/v1/validate", headers, b""));
        assert_eq!((got.status, &got.json()["errors"]), (403, &json!(["Forbidden"])));
    }
    assert_eq!(ask(&datadog, &request("GET", "/api/v2/logs", &[KEY], b"")).status, 404);
}

#[test]
fn what_is_no_array_of_entries_is_400() {
    for body in ["", "no JSON", "{\"message\":\"m\"}", "[]", "[1]", "[{}]", "[{}] x"] {
        refused(body);
    }
}

#[test]
fn an_entry_that_is_not_right_refuses_them_all() {
    for (key, value) in [
        ("message", json!(null)),
        ("message", json!({"a": 1})),
        ("message", json!(" ")),
        ("ddsource", json!(1)),
        ("service", json!(["s"])),
        ("hostname", json!(true)),
        ("ddtags", json!(["env:prod"])),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(1_795_344_129_000.5)),
        ("timestamp", json!(true)),
        ("extra", json!(null)),
    ] {
        let mut bad: serde_json::Value = serde_json::from_str(&entry(NOW)).unwrap();
        bad[key] = value;
        refused(&format!("[{},{bad}]", entry(NOW)));
    }
    refused(r#"[{"message":"m"}]"#);
    refused(&format!(r#"[{{"message":"m","message":"n","timestamp":{NOW}}}]"#));
}

#[test]
fn tags_that_datadog_would_change_are_refused() {
    for tags in ["", "env:prod,", ",env:prod", "env: prod", "1env:prod", "env:", "a;b", "a b"] {
        refused(&json!([{"message": "m", "timestamp": NOW, "ddtags": tags}]).to_string());
    }
    refused(
        &json!([{"message": "m", "timestamp": NOW, "ddtags": "t:".to_owned() + &"x".repeat(199)}])
            .to_string(),
    );
}

#[test]
fn more_than_1000_entries_are_refused() {
    let thousand = vec![entry(NOW); 1000].join(",");
    assert_eq!(ask(&datadog(), &entries(&format!("[{thousand}]"))).status, 202);
    refused(&format!("[{thousand},{}]", entry(NOW)));
}

#[test]
fn an_entry_over_1_mb_is_refused_not_cut() {
    let fill = 1_000_000 - json!({"message": "", "timestamp": NOW}).to_string().len();
    let body = |n| json!([{"message": "x".repeat(n), "timestamp": NOW}]).to_string();
    assert_eq!(ask(&datadog(), &entries(&body(fill))).status, 202);
    refused(&body(fill + 1));
}

#[test]
fn over_5_mb_is_413_also_when_compressed() {
    let datadog = datadog();
    let body =
        json!(vec![json!({"message": "x".repeat(900_000), "timestamp": NOW}); 6]).to_string();
    let headers = [KEY, JSON, "Content-Encoding: gzip"];
    let bytes = request("POST", "/api/v2/logs", &headers, &gzip(body.as_bytes()));
    assert_eq!(ask(&datadog, &bytes).status, 413);
    assert_eq!(ask(&datadog, &entries(&body)).status, 413);
    assert!(datadog.observer().accepted().is_empty());
}

#[test]
fn other_encodings_and_media_types_are_415() {
    let datadog = datadog();
    let body = format!("[{}]", entry(NOW));
    for headers in
        [[KEY, JSON, "Content-Encoding: zstd"], [KEY, "Content-Type: text/plain", "X-Nothing: 1"]]
    {
        let bytes = request("POST", "/api/v2/logs", &headers, body.as_bytes());
        assert_eq!(ask(&datadog, &bytes).status, 415);
    }
}

#[test]
fn what_is_too_old_or_ahead_vanishes_with_202_and_is_a_violation() {
    let datadog = datadog();
    const HOUR: u64 = 3_600_000;
    let body = [NOW - 18 * HOUR - 1, NOW - 18 * HOUR, NOW + 2 * HOUR, NOW + 2 * HOUR + 1]
        .map(entry)
        .join(",");
    assert_eq!(ask(&datadog, &entries(&format!("[{body}]"))).status, 202);
    assert_eq!(datadog.observer().accepted().len(), 2);
    let what: Vec<String> = datadog.observer().violations().into_iter().map(|v| v.what).collect();
    assert!(
        what[0].starts_with("entry 0 is older") && what[1].starts_with("entry 3 is over"),
        "{what:?}"
    );
    datadog.configure(|c| c.now = Some(SystemTime::UNIX_EPOCH));
    assert_eq!(ask(&datadog, &entries(&format!("[{}]", entry(0)))).status, 202);
    assert_eq!(datadog.observer().accepted().len(), 3);
}

#[test]
fn poison_is_400_without_a_word_which() {
    let datadog = datadog();
    datadog.set_poison(|entry| entry["message"] == "bad");
    let bad = format!(r#"[{},{{"message":"bad","timestamp":{NOW}}}]"#, entry(NOW));
    assert_eq!(ask(&datadog, &entries(&bad)).status, 400);
    assert!(datadog.observer().accepted().is_empty());
    datadog.clear_poison();
    assert_eq!(ask(&datadog, &entries(&bad)).status, 202);
    assert_eq!(datadog.observer().violations(), []);
}
