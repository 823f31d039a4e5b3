//! Each fault, as a client meets it.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use sealtail_standins::{Continue, Fault, Moment, On, Reply, Splunk, http_date};

use crate::client::{Client, EVENT, LONG, TOKEN, events, request};
use crate::splunk::splunk;

const ONE: &str = r#"{"event":1}"#;

fn indexed(splunk: &Splunk) -> usize {
    splunk.observer().accepted().len()
}

fn ask(splunk: &Splunk) -> std::io::Result<crate::client::Got> {
    let mut client = Client::connect(splunk.addr());
    client.send(&events(ONE));
    client.reply()
}

#[test]
fn the_queue_is_used_up_then_the_default_holds() {
    let splunk = splunk();
    splunk.script().set_default([Fault::reply(Reply::new(500)).on(On::Events)]);
    splunk.script().push(Fault::reply(Reply::new(429).retry_after(7)));
    splunk.script().push_times(2, &Fault::reply(Reply::new(502).body("garbage")));
    splunk.script().push(Fault::none());
    let got: Vec<u16> = (0..6).map(|_| ask(&splunk).unwrap().status).collect();
    assert_eq!(got, [429, 502, 502, 200, 500, 500]);
    assert_eq!((indexed(&splunk), splunk.script().pending()), (1, 0));
    splunk.script().clear();
    assert_eq!(ask(&splunk).unwrap().status, 200);
}

#[test]
fn a_fault_waits_for_the_kind_of_request_that_it_is_for() {
    let splunk = splunk();
    splunk.script().push(Fault::reply(Reply::splunk(503, 18, "queues are full")).on(On::Health));
    assert_eq!(ask(&splunk).unwrap().status, 200);
    let health = request("GET", "/services/collector/health", &[], b"");
    assert_eq!(Client::connect(splunk.addr()).ask(&health).code(), (503, Some(18)));
}

#[test]
fn replies_of_any_shape() {
    let splunk = splunk();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_344_129);
    splunk.script().push(Fault::reply(Reply::new(503).retry_after_date(at)));
    assert_eq!(ask(&splunk).unwrap().header("retry-after"), Some("Sun, 22 Nov 2026 10:42:09 GMT"));
    assert_eq!(http_date(at), "Sun, 22 Nov 2026 10:42:09 GMT");
    splunk.script().push(Fault::reply(Reply::html_404()));
    assert!(ask(&splunk).unwrap().body.starts_with(b"<html>"));
    splunk.script().push(Fault::reply(Reply::redirect(307, "http://127.0.0.1:1/x")));
    assert_eq!(ask(&splunk).unwrap().header("location"), Some("http://127.0.0.1:1/x"));
    splunk.script().push(Fault::reply(Reply::new(200).body(&b"\xff\0{"[..])));
    assert_eq!(ask(&splunk).unwrap().body, b"\xff\0{");
    splunk.script().push(Fault::reply(Reply::new(200)));
    assert_eq!(ask(&splunk).unwrap().body, b"");
    assert_eq!(indexed(&splunk), 0);
}

#[test]
fn indexed_but_told_otherwise() {
    let splunk = splunk();
    splunk.script().push(Fault::index_but_reply(Reply::splunk(503, 9, "Server is busy")));
    assert_eq!(ask(&splunk).unwrap().code(), (503, Some(9)));
    assert_eq!(indexed(&splunk), 1);
}

#[test]
fn resets_at_each_moment() {
    let splunk = splunk();
    for (moment, requests, accepted) in [
        (Moment::BeforeRequest, 0, 0),
        (Moment::MidRequest, 0, 0),
        (Moment::BeforeReply, 1, 0),
        (Moment::MidReply, 2, 1),
    ] {
        splunk.script().push(Fault::reset(moment));
        let error = ask(&splunk).unwrap_err().kind();
        assert_eq!(error, ErrorKind::ConnectionReset, "{moment:?}");
        assert_eq!(splunk.observer().stats().requests, requests, "{moment:?}");
        assert_eq!(indexed(&splunk), accepted, "{moment:?}");
    }
    splunk.script().push(Fault::reset(Moment::BeforeReply).indexed(true));
    assert!(ask(&splunk).is_err());
    assert_eq!(indexed(&splunk), 2);
    assert!(splunk.observer().requests().iter().all(|s| s.status.is_none()));
    assert_eq!(splunk.observer().stats().in_flight, 0);
}

#[test]
fn a_kept_connection_is_reset_before_its_second_request() {
    let splunk = splunk();
    let mut client = Client::connect(splunk.addr());
    assert_eq!(client.ask(&events(ONE)).status, 200);
    splunk.script().push(Fault::reset(Moment::BeforeRequest));
    client.send(&events(ONE));
    assert!(client.reply().is_err());
    assert_eq!(indexed(&splunk), 1);
}

#[test]
fn a_stalled_request_goes_on_when_released() {
    let splunk = splunk();
    splunk.script().push(Fault::stall());
    let mut client = Client::connect(splunk.addr());
    client.send(&events(ONE));
    assert!(splunk.observer().wait_for_requests(1, LONG));
    assert_eq!((indexed(&splunk), splunk.observer().stats().in_flight), (0, 1));
    assert!(splunk.script().wait_stalled(1, LONG));
    splunk.script().release();
    assert_eq!(client.reply().unwrap().status, 200);
    assert_eq!(indexed(&splunk), 1);
}

#[test]
fn a_stalled_request_ends_when_its_client_goes_away() {
    let splunk = splunk();
    splunk.script().push(Fault::stall());
    let mut client = Client::connect(splunk.addr());
    client.send(&events(ONE));
    assert!(splunk.observer().wait_for_requests(1, LONG));
    drop(client);
    assert!(splunk.observer().wait_until(LONG, |stats| stats.in_flight == 0));
    assert_eq!(indexed(&splunk), 0);
}

#[test]
fn half_a_reply_then_the_end() {
    let splunk = splunk();
    splunk.script().push(Fault::half_reply());
    let mut client = Client::connect(splunk.addr());
    client.send(&events(ONE));
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).unwrap();
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with(r#"{"text":"Succ"#), "{text}");
    assert_eq!(indexed(&splunk), 1);
}

#[test]
fn a_reply_byte_by_byte() {
    let splunk = splunk();
    splunk.script().push(Fault::trickle(Duration::from_millis(1)));
    let began = Instant::now();
    assert_eq!(ask(&splunk).unwrap().code(), (200, Some(0)));
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_body_without_end() {
    let splunk = splunk();
    splunk.script().push(Fault::endless());
    let mut client = Client::connect(splunk.addr());
    client.send(&events(ONE));
    let mut megabytes = vec![0; 4 << 20];
    client.stream.read_exact(&mut megabytes).unwrap();
    assert!(megabytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    drop(client);
    assert!(splunk.observer().wait_until(LONG, |stats| stats.in_flight == 0));
}

#[test]
fn a_delay_comes_before_indexing() {
    let splunk = splunk();
    splunk.script().push(Fault::none().after(Duration::from_millis(50)));
    let began = Instant::now();
    assert_eq!(ask(&splunk).unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_client_that_asks_is_told_to_continue_or_not_to() {
    let splunk = splunk();
    let whole = request("POST", EVENT, &[TOKEN, "Expect: 100-continue"], ONE.as_bytes());
    let (head, body) = whole.split_at(whole.len() - ONE.len());
    let mut go_on = [0; 25];
    let mut client = Client::connect(splunk.addr());
    client.send(head);
    client.stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask(body).status, 200);
    splunk.configure(|c| c.max_content_length = 5);
    client.send(head);
    assert_eq!(client.reply().unwrap().status, 413);
}

#[test]
fn oddities_about_continue() {
    let splunk = splunk();
    for (what, interim, status, accepted) in [
        (Continue::Thrice, &[100, 100, 100][..], Some(200), 1),
        (Continue::OtherInterim, &[102, 103], Some(200), 2),
        (Continue::Never, &[], Some(200), 3),
        (Continue::Refused, &[], Some(417), 3),
        (Continue::NothingAfter, &[], None, 3),
    ] {
        splunk.script().push(Fault::go_on(what));
        let mut client = Client::connect(splunk.addr());
        // The body is held back where no answer should wait for it.
        let bytes = events(ONE);
        let held = if status == Some(200) { 0 } else { ONE.len() };
        client.send(&bytes[..bytes.len() - held]);
        let got = client.reply();
        assert_eq!(got.as_ref().ok().map(|got| got.status), status, "{what:?}");
        assert_eq!(got.map(|got| got.interim).unwrap_or_default(), interim, "{what:?}");
        assert_eq!(indexed(&splunk), accepted, "{what:?}");
    }
}

#[test]
fn down_refuses_and_up_listens_on_the_same_port() {
    let splunk = splunk();
    let addr = splunk.addr();
    for _ in 0..20 {
        let mut kept = Client::connect(addr);
        assert_eq!(kept.ask(&events(ONE)).status, 200);
        splunk.down();
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(kept.reply().is_err());
        splunk.up().unwrap();
        splunk.up().unwrap();
    }
    assert_eq!(indexed(&splunk), 20);
}

#[test]
fn down_ends_what_is_stalled_delayed_or_endless() {
    let splunk = splunk();
    let mut clients = Vec::new();
    for fault in [
        Fault::stall(),
        Fault::none().after(LONG),
        Fault::trickle(LONG),
        Fault::endless(),
        Fault::none().after(LONG).indexed(false),
    ] {
        splunk.script().push(fault);
        let mut client = Client::connect(splunk.addr());
        client.send(&events(ONE));
        clients.push(client);
        let n = u64::try_from(clients.len()).unwrap();
        assert!(splunk.observer().wait_for_requests(n, LONG));
    }
    assert_eq!(splunk.observer().stats().max_in_flight, 5);
    let began = Instant::now();
    splunk.down();
    assert!(began.elapsed() < LONG / 2);
    assert_eq!(splunk.observer().stats().in_flight, 0);
}

#[test]
fn many_run_at_once() {
    let all: Vec<Splunk> = (0..20).map(|_| splunk()).collect();
    for splunk in &all {
        assert_eq!(ask(splunk).unwrap().status, 200);
    }
    assert!(all.iter().all(|splunk| indexed(splunk) == 1));
}
