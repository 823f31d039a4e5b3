//! What a test can ask for afterwards, and wait for meanwhile.

use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, EVENT, LONG, TOKEN, events, request};
use crate::splunk::splunk;

fn key_of(event: &Value) -> Option<(String, u64)> {
    let fields = &event["fields"];
    Some((fields["origin"].as_str()?.to_owned(), fields["seq"].as_u64()?))
}

fn event(seq: u64) -> String {
    format!(r#"{{"event":1,"fields":{{"origin":"o","seq":{seq}}}}}"#)
}

#[test]
fn events_are_counted_by_the_callers_key() {
    let splunk = splunk();
    let mut client = Client::connect(splunk.addr());
    client
        .ask(&events(&[event(1), event(2), event(2), event(4), r#"{"event":1}"#.into()].concat()));
    let counts = splunk.observer().count_by(key_of);
    assert_eq!(counts.duplicates(), [("o".to_owned(), 2)]);
    assert_eq!(counts.missing("o", 0..5), [0, 3]);
    assert_eq!(counts.without_key, 1);
}

#[test]
fn waiting_ends_with_the_event_or_with_the_time() {
    let splunk = splunk();
    let none = Duration::from_millis(1);
    assert!(!splunk.observer().wait_for(1, none));
    let addr = splunk.addr();
    let client = std::thread::spawn(move || {
        let mut client = Client::connect(addr);
        for seq in [1, 2, 2, 3] {
            client.ask(&events(&event(seq)));
        }
    });
    assert!(splunk.observer().wait_for_keys(3, LONG, key_of));
    assert!(splunk.observer().wait_for(4, LONG));
    assert!(splunk.observer().wait_for_requests(4, LONG));
    client.join().unwrap();
    assert!(!splunk.observer().wait_for_keys(4, none, key_of));
}

#[test]
fn requests_keep_their_headers_and_the_digest_of_their_body() {
    let splunk = splunk();
    let mut client = Client::connect(splunk.addr());
    for (body, trace) in [("{\"event\":1}", "a"), ("{\"event\":2}", "b"), ("{\"event\":1}", "c")] {
        let header = format!("X-Trace: {trace}");
        client.ask(&request("POST", EVENT, &[TOKEN, &header], body.as_bytes()));
    }
    let seen = splunk.observer().requests();
    assert_eq!(seen[0].body_sha256, seen[2].body_sha256);
    assert_ne!(seen[0].body_sha256, seen[1].body_sha256);
    assert_eq!(seen[1].head.header("x-trace"), Some("b"));
    assert!(seen.iter().all(|s| s.status == Some(200) && s.connection == 0 && s.body_bytes == 11));
    let stats = splunk.observer().stats();
    assert_eq!((stats.requests, stats.connections, stats.body_bytes), (3, 1, 33));
    assert_eq!((stats.in_flight, stats.max_in_flight, stats.accepted), (0, 1, 3));
}

#[test]
fn http_that_no_client_of_ours_sends_is_a_violation() {
    for (bytes, status) in [
        ("POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
        ("POST /x HTTP/1.1\r\nHost: h\r\n\r\n", 411),
        ("POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        ("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("POST /x HTTP/1.0\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
        ("nonsense\r\n\r\n", 400),
    ] {
        let splunk = splunk();
        assert_eq!(Client::connect(splunk.addr()).ask(bytes.as_bytes()).status, status, "{bytes}");
        assert_eq!(splunk.observer().violations().len(), 1, "{bytes}");
    }
}

#[test]
fn each_event_can_be_tapped() {
    let splunk = splunk();
    let (to, from) = std::sync::mpsc::sync_channel(8);
    splunk.observer().set_tap(move |event| to.send(event.raw.clone()).unwrap());
    Client::connect(splunk.addr()).ask(&events(&event(1)));
    assert_eq!(from.recv_timeout(LONG).unwrap(), event(1));
}
