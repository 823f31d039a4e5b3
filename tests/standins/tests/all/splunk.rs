//! Splunk HEC: every code, and the requests that a real client was seen to send.

use sealtail_standins::{Splunk, SplunkConfig};
use serde_json::{Value, json};

use crate::client::{Client, EVENT, Got, TOKEN, events, gzip, request};

pub(crate) fn splunk() -> Splunk {
    Splunk::start(SplunkConfig::new("a-token")).unwrap()
}

fn ask(splunk: &Splunk, bytes: &[u8]) -> Got {
    Client::connect(splunk.addr()).ask(bytes)
}

/// The answer to a batch that is refused, and that it stays refused: nothing of it is indexed.
fn refused(body: &str) -> Value {
    let splunk = splunk();
    let got = ask(&splunk, &events(body));
    assert_eq!(got.status, 400, "{body}");
    assert!(splunk.observer().accepted().is_empty(), "{body}");
    assert_eq!(splunk.observer().violations().len(), 1, "{body}");
    got.json()
}

#[test]
fn success_is_code_0_and_events_are_kept_as_they_came() {
    let splunk = splunk();
    let (a, b) = (r#"{"time":1795344129.123456789,"event":{"n":1}}"#, r#"{ "event" : "two" }"#);
    let mut client = Client::connect(splunk.addr());
    let got = client.ask(&events(&format!("{a}{b}\n")));
    assert_eq!((got.status, got.json()), (200, json!({"text": "Success", "code": 0})));
    let more = client.ask(&request("POST", "/services/collector", &[TOKEN], b"{\"event\":3}"));
    assert_eq!(more.code(), (200, Some(0)));
    let accepted = splunk.observer().accepted();
    let raw: Vec<&str> = accepted.iter().map(|e| e.raw.as_str()).collect();
    assert_eq!(raw, [a, b, r#"{"event":3}"#]);
    assert_eq!(accepted.iter().map(|e| e.request).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(splunk.observer().violations(), []);
}

#[test]
fn the_requests_of_dockers_driver_are_taken() {
    let sample = include_str!("../../samples/docker-splunk-driver-requests.txt");
    let token = "00000000-0000-0000-0000-000000000000";
    let splunk = Splunk::start(SplunkConfig::new(token)).unwrap();
    let mut client = Client::connect(splunk.addr());
    let requests: Vec<&str> = sample.split("\n----").map(str::trim).collect();
    // The first line was recorded without its version, and the body decompressed.
    let head = |text: &str, length: Option<usize>| {
        let mut lines = text.lines().filter(|line| !line.starts_with("Content-Length"));
        let first = format!("{} HTTP/1.1", lines.next().unwrap());
        let length = length.map(|n| format!("Content-Length: {n}"));
        let lines: Vec<String> =
            std::iter::once(first).chain(lines.map(str::to_owned)).chain(length).collect();
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    };
    let probe = client.ask(&head(requests[0], None));
    assert_eq!((probe.status, probe.body.len()), (200, 0));
    let (text, body) = requests[1].split_once("\n\n").unwrap();
    let body = gzip(body.as_bytes());
    let bytes = [head(text, Some(body.len())), body].concat();
    assert_eq!(client.ask(&bytes).code(), (200, Some(0)));
    let accepted = splunk.observer().accepted();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[0].json["event"]["line"], json!({"a": 1}));
    assert_eq!(splunk.observer().violations(), []);
}

#[test]
fn code_1_token_disabled() {
    let splunk = splunk();
    splunk.configure(|c| c.tokens[0].enabled = false);
    assert_eq!(ask(&splunk, &events(r#"{"event":1}"#)).code(), (403, Some(1)));
}

#[test]
fn code_2_token_required() {
    let splunk = splunk();
    for headers in [&[][..], &["Authorization: "]] {
        let got = ask(&splunk, &request("POST", EVENT, headers, b"{\"event\":1}"));
        assert_eq!(got.code(), (401, Some(2)));
    }
}

#[test]
fn code_3_invalid_authorization() {
    let splunk = splunk();
    for scheme in ["Bearer a-token", "Basic eDphLXRva2Vu", "splunk a-token", "a-token"] {
        let header = format!("Authorization: {scheme}");
        let got = ask(&splunk, &request("POST", EVENT, &[&header], b"{\"event\":1}"));
        assert_eq!(got.code(), (401, Some(3)), "{scheme}");
    }
}

#[test]
fn code_4_invalid_token() {
    let splunk = splunk();
    let wrong = request("POST", EVENT, &["Authorization: Splunk other"], b"{\"event\":1}");
    assert_eq!(ask(&splunk, &wrong).code(), (403, Some(4)));
    let wrong = request("POST", "/services/collector/ack", &["Authorization: Splunk other"], b"{}");
    assert_eq!(ask(&splunk, &wrong).code(), (403, Some(4)));
    assert!(splunk.observer().accepted().is_empty());
}

#[test]
fn code_5_no_data() {
    for body in ["", " \r\n"] {
        assert_eq!(refused(body), json!({"text": "No data", "code": 5}));
    }
}

#[test]
fn code_6_invalid_data_format() {
    for body in [
        "no JSON",
        "[{\"event\":1}]",
        "17",
        r#"{"event":1,"event":2}"#,
        r#"{"event":{"a":1,"a":2}}"#,
        r#"{"event":1,"evnt":2}"#,
        r#"{"event":1,"host":17}"#,
        r#"{"event":1,"source":""}"#,
        r#"{"event":1,"time":1795344129196}"#,
        r#"{"event":1,"time":1.7e9}"#,
        r#"{"event":1,"time":-5}"#,
        r#"{"event":1,"time":1795344129.1234567890}"#,
        r#"{"event":1,"time":"2026-11-23T08:00:00Z"}"#,
        r#"{"event":1,"time":null}"#,
        r#"{"event":1"#,
    ] {
        let want = json!({"text": "Invalid data format", "code": 6, "invalid-event-number": 0});
        assert_eq!(refused(body), want, "{body}");
    }
}

#[test]
fn code_6_for_what_is_no_gzip_or_no_utf8() {
    let splunk = splunk();
    let mut garbage_behind = gzip(b"{\"event\":1}");
    garbage_behind.extend_from_slice(b"garbage");
    let mut cut = gzip(b"{\"event\":1}");
    cut.truncate(cut.len() - 3);
    for body in [&garbage_behind[..], &cut, b"{\"event\":1}"] {
        let bytes = request("POST", EVENT, &[TOKEN, "Content-Encoding: gzip"], body);
        assert_eq!(ask(&splunk, &bytes).code(), (400, Some(6)));
    }
    let bytes = request("POST", EVENT, &[TOKEN], b"{\"event\":\"\xff\"}");
    assert_eq!(ask(&splunk, &bytes).code(), (400, Some(6)));
    assert!(splunk.observer().accepted().is_empty());
}

#[test]
fn code_7_incorrect_index() {
    let splunk = splunk();
    splunk.configure(|c| c.indexes = Some(vec!["audit".into()]));
    let body = r#"{"event":1,"index":"audit"}{"event":1}{"event":1,"index":"main"}"#;
    let got = ask(&splunk, &events(body));
    let want = json!({"text": "Incorrect index", "code": 7, "invalid-event-number": 2});
    assert_eq!((got.status, got.json()), (400, want));
}

#[test]
fn code_12_event_field_is_required() {
    let want = json!({"text": "Event field is required", "code": 12, "invalid-event-number": 0});
    assert_eq!(refused(r#"{"time":1795344129}"#), want);
    assert_eq!(refused(r#"{"event":null}"#), want);
}

#[test]
fn code_13_event_field_cannot_be_blank() {
    let want =
        json!({"text": "Event field cannot be blank", "code": 13, "invalid-event-number": 0});
    for body in [r#"{"event":""}"#, r#"{"event":" \n"}"#, r#"{"event":{}}"#] {
        assert_eq!(refused(body), want, "{body}");
    }
}

#[test]
fn code_15_error_in_handling_indexed_fields() {
    for fields in
        [r#"{"a":{"b":1}}"#, r#"{"a":null}"#, r#"{"a":[[1]]}"#, r#"{"":1}"#, "[]", "\"x\""]
    {
        let got = refused(&format!(r#"{{"event":1,"fields":{fields}}}"#));
        assert_eq!(
            (&got["code"], &got["invalid-event-number"]),
            (&json!(15), &json!(0)),
            "{fields}"
        );
    }
    let flat = r#"{"event":1,"fields":{"a":"x","b":2,"c":true,"d":["x",1]}}"#;
    assert_eq!(ask(&splunk(), &events(flat)).code(), (200, Some(0)));
}

#[test]
fn code_16_no_token_in_the_query() {
    let target = format!("{EVENT}?token=a-token");
    let got = ask(&splunk(), &request("POST", &target, &[TOKEN], b"{\"event\":1}"));
    assert_eq!(got.code(), (400, Some(16)));
}

#[test]
fn code_17_health_needs_no_token() {
    let got = ask(&splunk(), &request("GET", "/services/collector/health", &[], b""));
    assert_eq!((got.status, got.json()), (200, json!({"text": "HEC is healthy", "code": 17})));
}

#[test]
fn everything_else_is_not_found() {
    let want = json!({"text": "The requested URL was not found on this server.", "code": 404});
    for (method, path) in
        [("GET", "/"), ("GET", EVENT), ("POST", "/services/collector/raw"), ("POST", "/services")]
    {
        let got = ask(&splunk(), &request(method, path, &[TOKEN], b""));
        assert_eq!((got.status, got.json()), (404, want.clone()), "{method} {path}");
    }
}

#[test]
fn a_body_over_the_limit_is_413() {
    let splunk = splunk();
    splunk.configure(|c| c.max_content_length = 20);
    let mut client = Client::connect(splunk.addr());
    assert_eq!(client.ask(&events(r#"{"event":"0123456789"}"#)).status, 413);
    assert_eq!(client.ask(&events(r#"{"event":"01234567"}"#)).status, 200);
}

#[test]
fn other_encodings_are_415() {
    let splunk = splunk();
    for (encoding, status) in [("zstd", 415), ("deflate", 415), ("identity", 200)] {
        let header = format!("Content-Encoding: {encoding}");
        let bytes = request("POST", EVENT, &[TOKEN, &header], b"{\"event\":1}");
        assert_eq!(ask(&splunk, &bytes).status, status, "{encoding}");
    }
}

#[test]
fn events_before_an_invalid_one_are_indexed_if_so_set() {
    let body = r#"{"event":1}{"event":2}{"event":""}{"event":4}"#;
    for (index_prefix, indexed) in [(true, 2), (false, 0)] {
        let splunk = splunk();
        splunk.configure(|c| c.index_prefix = index_prefix);
        let got = ask(&splunk, &events(body));
        assert_eq!(got.json()["invalid-event-number"], 2);
        assert_eq!(splunk.observer().accepted().len(), indexed);
    }
}

#[test]
fn poison_is_refused_with_or_without_its_number() {
    let splunk = splunk();
    splunk.configure(|c| c.index_prefix = false);
    let body = r#"{"event":1}{"event":{"seq":7}}"#;
    splunk.set_poison(true, |event| event["event"]["seq"] == 7);
    let got = ask(&splunk, &events(body));
    assert_eq!((got.code(), &got.json()["invalid-event-number"]), ((400, Some(6)), &json!(1)));
    splunk.set_poison(false, |event| event["event"]["seq"] == 7);
    let got = ask(&splunk, &events(body));
    assert_eq!(got.json(), json!({"text": "Invalid data format", "code": 6}));
    splunk.clear_poison();
    assert_eq!(ask(&splunk, &events(body)).status, 200);
    assert_eq!(splunk.observer().violations(), []);
}
