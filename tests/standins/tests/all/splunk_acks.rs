//! Indexer acknowledgement.

use sealtail_standins::{Acks, BALANCER_COOKIE, Splunk, SplunkConfig};
use serde_json::{Value, json};

use crate::client::{Client, EVENT, Got, TOKEN, request};
use crate::splunk::splunk;

const A: &str = "11111111-2222-3333-4444-555555555555";
const B: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

fn acking(acks: Acks) -> Splunk {
    Splunk::start(SplunkConfig::new("a-token").acks(acks)).unwrap()
}

/// A batch of one event; `extra` are headers beside the token.
fn batch(splunk: &Splunk, channel: &str, extra: &[&str]) -> Got {
    let channel = format!("X-Splunk-Request-Channel: {channel}");
    let headers = [&[TOKEN, &channel], extra].concat();
    Client::connect(splunk.addr()).ask(&request("POST", EVENT, &headers, b"{\"event\":1}"))
}

fn ack(splunk: &Splunk, channel: &str, ids: &str, extra: &[&str]) -> Value {
    let target = format!("/services/collector/ack?channel={channel}");
    let headers = [&[TOKEN], extra].concat();
    let body = format!(r#"{{"acks":{ids}}}"#);
    let got =
        Client::connect(splunk.addr()).ask(&request("POST", &target, &headers, body.as_bytes()));
    assert_eq!(got.status, 200);
    got.json()["acks"].clone()
}

#[test]
fn ids_grow_by_channel_and_a_status_is_forgotten_once_read_as_true() {
    let splunk = acking(Acks::AtOnce);
    let ids: Vec<Value> =
        [A, A, B, A].iter().map(|c| batch(&splunk, c, &[]).json()["ackId"].clone()).collect();
    assert_eq!(ids, [json!(0), json!(1), json!(0), json!(2)]);
    assert_eq!(ack(&splunk, A, "[0,2,9]", &[]), json!({"0": true, "2": true, "9": false}));
    assert_eq!(ack(&splunk, A, "[0,1]", &[]), json!({"0": false, "1": true}));
    assert_eq!(ack(&splunk, &B.to_uppercase(), "[0]", &[]), json!({"0": true}));
    let accepted = splunk.observer().accepted();
    assert_eq!(
        accepted.iter().map(|e| e.channel.as_deref()).collect::<Vec<_>>(),
        [Some(A), Some(A), Some(B), Some(A)]
    );
}

#[test]
fn code_10_channel_is_missing() {
    let splunk = acking(Acks::AtOnce);
    for path in [EVENT, "/services/collector/ack"] {
        let bytes = request("POST", path, &[TOKEN], b"{\"event\":1}");
        assert_eq!(Client::connect(splunk.addr()).ask(&bytes).code(), (400, Some(10)));
    }
}

#[test]
fn code_11_channel_is_no_guid() {
    for acks in [Acks::AtOnce, Acks::Off] {
        let splunk = acking(acks);
        for channel in
            ["1", "11111111222233334444555555555555", "g1111111-2222-3333-4444-555555555555"]
        {
            assert_eq!(batch(&splunk, channel, &[]).code(), (400, Some(11)), "{channel}");
        }
        assert_eq!(batch(&splunk, A, &[]).status, 200);
    }
}

#[test]
fn code_14_ack_is_disabled() {
    let target = format!("/services/collector/ack?channel={A}");
    let bytes = request("POST", &target, &[TOKEN], b"{\"acks\":[0]}");
    assert_eq!(Client::connect(splunk().addr()).ask(&bytes).code(), (400, Some(14)));
}

#[test]
fn a_question_that_is_no_list_of_ids_is_refused() {
    let splunk = acking(Acks::AtOnce);
    for body in [&b"{\"acks\":[\"0\"]}"[..], b"{\"acks\":0}", b"[0]", b"{\"acks\":[0]} x", b""] {
        let target = format!("/services/collector/ack?channel={A}");
        let got = Client::connect(splunk.addr()).ask(&request("POST", &target, &[TOKEN], body));
        assert_eq!(got.code(), (400, Some(6)));
    }
}

#[test]
fn acks_may_come_late_or_never() {
    let splunk = acking(Acks::AfterPolls(2));
    batch(&splunk, A, &[]);
    for want in [false, false, true] {
        assert_eq!(ack(&splunk, A, "[0]", &[]), json!({"0": want}));
    }
    splunk.configure(|c| c.acks = Acks::Lost);
    batch(&splunk, A, &[]);
    splunk.configure(|c| c.acks = Acks::Held);
    batch(&splunk, A, &[]);
    assert_eq!(ack(&splunk, A, "[1,2]", &[]), json!({"1": false, "2": false}));
    splunk.configure(|c| c.acks = Acks::AtOnce);
    assert_eq!(ack(&splunk, A, "[1,2]", &[]), json!({"1": false, "2": true}));
}

#[test]
fn behind_a_balancer_each_indexer_answers_for_itself() {
    let splunk = acking(Acks::AtOnce);
    splunk.configure(|c| c.indexers = 2);
    let first = batch(&splunk, A, &[]);
    let second = batch(&splunk, A, &[]);
    let cookie =
        |got: &Got| got.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(cookie(&first), format!("{BALANCER_COOKIE}=0"));
    assert_eq!(cookie(&second), format!("{BALANCER_COOKIE}=1"));
    let mine = format!("Cookie: other=x; {}", cookie(&second));
    let third = batch(&splunk, A, &[&mine]);
    assert_eq!((third.json()["ackId"].as_u64(), third.header("set-cookie")), (Some(1), None));
    assert_eq!(ack(&splunk, A, "[0,1]", &[]), json!({"0": false, "1": false}));
    let other = format!("Cookie: {}", cookie(&first));
    assert_eq!(ack(&splunk, A, "[1]", &[&other]), json!({"1": false}));
    assert_eq!(ack(&splunk, A, "[0,1]", &[&mine]), json!({"0": true, "1": true}));
    let indexers: Vec<usize> = splunk.observer().accepted().iter().map(|e| e.indexer).collect();
    assert_eq!(indexers, [0, 1, 1]);
}

#[test]
fn a_restarted_indexer_knows_no_channel() {
    let splunk = acking(Acks::AtOnce);
    batch(&splunk, A, &[]);
    splunk.forget_acks();
    assert_eq!(ack(&splunk, A, "[0]", &[]), json!({"0": false}));
    assert_eq!(batch(&splunk, A, &[]).json()["ackId"], 0);
}
