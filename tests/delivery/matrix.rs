//! Every status and code, and every way in which a connection can go wrong: the
//! class is right, nothing is lost, and no more comes twice than must.

use crate::world::{How, LONG, Run, TOKEN, To, World, halted, key_of, retrying};
use sealtail::sink::{State, Stop};
use sealtail_standins::{
    Continue, Datadog, DatadogConfig, Fault, Moment, Observer, On, Pki, Reply, Script, Splunk,
    SplunkConfig, TlsMode,
};
use std::time::Duration;

/// The class of an answer, as it shows from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    /// No trouble at all.
    Fine,
    Retry,
    Halt,
    /// Refused as poison; taken when it is tried in parts.
    Parts,
    /// Some trouble, judged elsewhere.
    Any,
}

const RECORDS: u64 = 30;

fn check(name: &str, class: Class, twice: usize, run: Run, observer: &Observer, world: &World) {
    run.stop.send_replace(Stop::WhenDone);
    let counters = std::sync::Arc::clone(&run.counters);
    assert_eq!(run.ended(), State::Ok, "{name}");
    let some = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed) > 0;
    assert_eq!(some(&counters.failures), class != Class::Fine, "{name}");
    if class != Class::Any {
        assert_eq!(some(&counters.halts), class == Class::Halt, "{name}");
    }
    let counts = observer.count_by(key_of);
    assert_eq!(counts.missing("wa/test", 0..RECORDS), [0; 0], "{name}: lost");
    assert_eq!(counts.duplicates().len(), twice, "{name}: twice {:?}", counts.duplicates());
    assert_eq!(observer.violations(), [], "{name}");
    assert_eq!(world.dead(0).names().unwrap().len(), 0, "{name}: condemned");
    assert_eq!(world.cursor("sink"), RECORDS, "{name}: cursor");
}

/// One fault at the second of three batches.
fn with_fault(name: &str, fault: &Fault, class: Class, twice: usize, splunk: bool) {
    let world = World::new(RECORDS);
    let how = How::default();
    let serve = |to: &To<'_>, script: &Script, observer: &Observer| {
        // The question for health, and the first batch.
        script.push_times(2, &Fault::none());
        script.push(fault.clone());
        let run = Run::start(world.engine(to, &how));
        check(name, class, twice, run, observer, &world);
        assert_eq!(script.pending(), 0, "{name}: the fault did not happen");
        script.release();
        same_bytes(name, class, observer);
    };
    if splunk {
        let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
        serve(&To::Splunk(&splunk.url()), splunk.script(), splunk.observer());
    } else {
        let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
        serve(&To::Datadog(&datadog.url()), datadog.script(), datadog.observer());
    }
}

/// What is sent again is the same, byte for byte: three batches, three bodies.
fn same_bytes(name: &str, class: Class, observer: &Observer) {
    let bodies: std::collections::BTreeSet<_> = observer
        .requests()
        .iter()
        .filter(|r| r.body_bytes > 0)
        .map(|r| r.body_sha256.clone())
        .collect();
    if class != Class::Parts && class != Class::Halt {
        assert_eq!(bodies.len(), 3, "{name}: {} bodies", bodies.len());
    }
}

#[test]
fn every_code_of_hec() {
    use Class::{Fine, Halt, Parts, Retry};
    for (status, codes, class) in [
        (200, &[24_u16, 25][..], Fine),
        (400, &[5, 7, 14, 15, 16, 21, 22], Halt),
        (401, &[2, 3], Halt),
        (403, &[1, 4], Halt),
        (400, &[6, 12, 13], Parts),
        (400, &[10, 11], Retry),
        (429, &[26, 27], Retry),
        (500, &[8], Retry),
        (503, &[9, 18, 19, 20, 23], Retry),
    ] {
        for code in codes {
            let fault = Fault::reply(Reply::splunk(status, *code, "as it says"));
            let fault = fault.indexed(class == Fine);
            with_fault(&format!("{status} code {code}"), &fault, class, 0, true);
        }
    }
}

/// Statuses that say nothing of the destination's own.
fn statuses() -> Vec<(u16, Class)> {
    use Class::{Halt, Parts, Retry};
    let mut all = vec![(400, Parts), (413, Parts)];
    all.extend(
        [301, 302, 307, 308, 401, 403, 404, 405, 407, 410, 415, 418, 451].map(|s| (s, Halt)),
    );
    all.extend([408, 429, 500, 501, 502, 503, 504, 507, 520, 599].map(|s| (s, Retry)));
    all.extend([201, 204, 206].map(|s| (s, Retry)));
    all
}

#[test]
fn every_status_from_splunk_without_a_code() {
    for (status, class) in statuses() {
        let reply =
            if status == 204 { Reply::new(status) } else { Reply::new(status).body("<html>") };
        with_fault(&format!("splunk {status}"), &Fault::reply(reply), class, 0, true);
    }
}

#[test]
fn every_status_from_datadog() {
    for (status, class) in statuses() {
        let reply =
            if status == 204 { Reply::new(status) } else { Reply::new(status).body("<html>") };
        with_fault(&format!("datadog {status}"), &Fault::reply(reply), class, 0, false);
    }
}

/// What can go wrong on the way, and how many records then come twice: those of
/// one batch where the server may have taken it before the client knew.
fn faults() -> Vec<(&'static str, Fault, Class, usize)> {
    use Class::{Halt, Retry};
    let busy = || Reply::splunk(503, 9, "Server is busy");
    vec![
        ("reset before the request", Fault::reset(Moment::BeforeRequest), Retry, 0),
        ("reset in the request", Fault::reset(Moment::MidRequest), Retry, 0),
        ("reset before the reply", Fault::reset(Moment::BeforeReply), Retry, 0),
        (
            "taken, reset before the reply",
            Fault::reset(Moment::BeforeReply).indexed(true),
            Retry,
            10,
        ),
        ("reset in the reply", Fault::reset(Moment::MidReply), Retry, 10),
        ("a stall", Fault::stall().indexed(false), Retry, 0),
        ("half a reply", Fault::half_reply(), Retry, 10),
        ("a reply byte by byte", Fault::trickle(Duration::from_millis(100)), Retry, 10),
        ("taken, and said to be busy", Fault::index_but_reply(busy()), Retry, 10),
        ("a proxy's page for 404", Fault::reply(Reply::html_404()), Halt, 0),
        ("a redirect", Fault::reply(Reply::redirect(307, "http://127.0.0.1:9/")), Halt, 0),
        ("200 with a page", Fault::reply(Reply::new(200).body("<html>hello</html>")), Retry, 0),
        ("200 with nothing", Fault::reply(Reply::new(200)), Retry, 0),
        ("200 without an end", Fault::endless(), Retry, 10),
        ("100 and nothing more", Fault::go_on(Continue::NothingAfter), Retry, 0),
    ]
}

#[test]
fn every_way_in_which_a_connection_to_splunk_goes_wrong() {
    for (name, fault, class, twice) in faults() {
        with_fault(&format!("splunk: {name}"), &fault, class, twice, true);
    }
}

#[test]
fn every_way_in_which_a_connection_to_datadog_goes_wrong() {
    for (name, fault, class, twice) in faults() {
        with_fault(&format!("datadog: {name}"), &fault, class, twice, false);
    }
    for (name, what) in [("thrice", Continue::Thrice), ("others", Continue::OtherInterim)] {
        with_fault(&format!("datadog: 100 {name}"), &Fault::go_on(what), Class::Fine, 0, false);
    }
}

#[test]
fn tls_that_cannot_be_trusted_halts_and_goes_on_when_it_can() {
    let pki = Pki::new().unwrap();
    for (mode, class) in [
        (TlsMode::Expired, Class::Halt),
        (TlsMode::WrongHost, Class::Halt),
        (TlsMode::UnknownCa, Class::Halt),
        (TlsMode::OnlyTls11, Class::Halt),
        (TlsMode::CutHandshake, Class::Retry),
        (TlsMode::ClientCertificate, Class::Halt),
    ] {
        let name = format!("{mode:?}");
        let world = World::new(RECORDS);
        let ca = world.path("ca.pem");
        std::fs::write(&ca, pki.ca_pem()).unwrap();
        let mut how = How::default();
        how.http.ca = Some(ca);
        let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki)).unwrap();
        splunk.set_tls(mode);
        let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &how));
        let is = if class == Class::Halt { halted } else { retrying };
        let state = run.reaches(&name, is);
        assert!(!format!("{state:?}").contains("http"), "no url: {state:?}");
        assert_eq!(splunk.observer().stats().accepted, 0, "{name}");
        splunk.set_tls(TlsMode::Good);
        check(&name, Class::Any, 0, run, splunk.observer(), &world);
    }
}

#[test]
fn a_client_certificate_is_shown_and_read_again_when_it_changes() {
    let pki = Pki::new().unwrap();
    let world = World::new(RECORDS);
    let paths = ["ca.pem", "client.pem", "client.key"].map(|name| world.path(name));
    let [ca, certificate, key] = &paths;
    std::fs::write(ca, pki.ca_pem()).unwrap();
    let write = |identity: &sealtail_standins::Identity| {
        std::fs::write(certificate, &identity.certificate_pem).unwrap();
        std::fs::write(key, &identity.key_pem).unwrap();
    };
    write(pki.stranger());
    let mut how = How::default();
    how.http.ca = Some(ca.clone());
    how.http.identity = Some((certificate.clone(), key.clone()));
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki)).unwrap();
    splunk.set_tls(TlsMode::ClientCertificate);
    let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &how));
    run.reaches("refused", |s| halted(s) || retrying(s));
    write(pki.client());
    check("client certificate", Class::Any, 0, run, splunk.observer(), &world);
}

#[test]
fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    for date in [false, true] {
        let world = World::new(RECORDS);
        let datadog = Datadog::start(DatadogConfig::new(TOKEN)).unwrap();
        let reply = Reply::new(429);
        let reply = if date {
            reply.retry_after_date(std::time::SystemTime::now() + Duration::from_secs(3))
        } else {
            reply.retry_after(1)
        };
        datadog.script().push(Fault::reply(reply).on(On::Events));
        let run = world.deliver(&To::Datadog(&datadog.url()), &How::default());
        assert_eq!(run.ended(), State::Ok);
        let mut seen = datadog.observer().requests();
        seen.retain(|r| r.body_bytes > 0);
        let wait = seen[1].received.duration_since(seen[0].received).unwrap();
        assert!((Duration::from_millis(990)..LONG).contains(&wait), "{wait:?}");
    }
}

#[test]
fn a_destination_that_is_not_well_is_asked_again_before_anything_is_sent() {
    let world = World::new(RECORDS);
    let splunk = Splunk::start(SplunkConfig::new(TOKEN)).unwrap();
    splunk.script().push_times(
        3,
        &Fault::reply(Reply::splunk(503, 18, "HEC is unhealthy, queues are full")).on(On::Health),
    );
    let mut run = Run::start(world.engine(&To::Splunk(&splunk.url()), &How::default()));
    run.reaches("retrying", retrying);
    run.stop.send_replace(Stop::WhenDone);
    assert_eq!(run.ended(), State::Ok);
    let seen = splunk.observer().requests();
    assert_eq!(seen.iter().take_while(|r| r.body_bytes == 0).count(), 4);
    assert_eq!(splunk.observer().count_by(key_of).missing("wa/test", 0..RECORDS), [0; 0]);
}
