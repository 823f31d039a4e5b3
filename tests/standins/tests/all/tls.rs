//! TLS: what a client meets that trusts the stand-in's authority.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sealtail_standins::{
    Datadog, DatadogConfig, Fault, Identity, Moment, Pki, Splunk, SplunkConfig, TlsMode,
};

use crate::client::{Client, LONG, entries, events, tcp};

type Link = StreamOwned<ClientConnection, TcpStream>;

const ONE: &str = r#"{"event":1}"#;

fn client(splunk: &Splunk, pki: &Pki, identity: Option<&Identity>) -> Client<Link> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate.unwrap()], key).unwrap()
        }
    };
    let name = "127.0.0.1".try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    Client::over(StreamOwned::new(session, tcp(splunk.addr())))
}

fn splunk(pki: &Arc<Pki>) -> Splunk {
    Splunk::start(SplunkConfig::new("a-token").tls(pki)).unwrap()
}

/// The status, or the client's complaint.
fn ask(mut client: Client<Link>) -> Result<u16, String> {
    use std::io::Write;
    client.stream.write_all(&events(ONE)).map_err(|e| e.to_string())?;
    client.reply().map(|got| got.status).map_err(|e| e.to_string())
}

#[test]
fn events_over_tls() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    assert!(splunk.url().starts_with("https://127.0.0.1:"));
    let mut client = client(&splunk, &pki, None);
    assert_eq!(client.ask(&events(ONE)).status, 200);
    assert_eq!(client.ask(&events(ONE)).status, 200);
    assert_eq!(splunk.observer().stats().connections, 1);
    assert_eq!(splunk.observer().accepted().len(), 2);
}

#[test]
fn what_is_wrong_with_a_certificate_is_what_the_client_says() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    for (mode, complaint) in [
        (TlsMode::Expired, "certificate expired"),
        (TlsMode::WrongHost, "not valid for name"),
        (TlsMode::UnknownCa, "UnknownIssuer"),
    ] {
        splunk.set_tls(mode);
        let error = ask(client(&splunk, &pki, None)).unwrap_err();
        assert!(error.contains(complaint), "{mode:?}: {error}");
    }
    assert!(splunk.observer().wait_until(LONG, |stats| stats.failed_handshakes == 3));
    assert_eq!(splunk.observer().stats().requests, 0);
    splunk.set_tls(TlsMode::Good);
    assert_eq!(ask(client(&splunk, &pki, None)), Ok(200));
}

#[test]
fn handshakes_that_fail() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    splunk.set_tls(TlsMode::CutHandshake);
    let error = ask(client(&splunk, &pki, None)).unwrap_err();
    assert!(error.contains("end of file"), "{error}");
    splunk.set_tls(TlsMode::OnlyTls11);
    let error = ask(client(&splunk, &pki, None)).unwrap_err();
    assert!(error.contains("peer is incompatible"), "{error}");
    assert_eq!(splunk.observer().stats().requests, 0);
}

#[test]
fn a_client_certificate_is_asked_for_and_checked() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    splunk.set_tls(TlsMode::ClientCertificate);
    assert!(ask(client(&splunk, &pki, None)).is_err());
    assert!(ask(client(&splunk, &pki, Some(pki.stranger()))).is_err());
    assert_eq!(splunk.observer().stats().requests, 0);
    assert_eq!(ask(client(&splunk, &pki, Some(pki.client()))), Ok(200));
}

#[test]
fn faults_cut_also_what_is_encrypted() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    for fault in [
        Fault::reset(Moment::BeforeRequest),
        Fault::reset(Moment::MidRequest),
        Fault::reset(Moment::BeforeReply),
        Fault::reset(Moment::MidReply),
    ] {
        splunk.script().push(fault);
        assert!(ask(client(&splunk, &pki, None)).is_err());
    }
    assert_eq!(splunk.observer().accepted().len(), 1);
    splunk.script().push(Fault::half_reply());
    let mut half = client(&splunk, &pki, None);
    half.send(&events(ONE));
    let mut all = Vec::new();
    // No close_notify: a cut, not an end.
    assert!(half.stream.read_to_end(&mut all).is_err());
    assert!(all.ends_with(b"Succ"), "{}", String::from_utf8_lossy(&all));
}

#[test]
fn down_ends_an_encrypted_stall() {
    let pki = Pki::new().unwrap();
    let splunk = splunk(&pki);
    splunk.script().push(Fault::stall());
    let mut client = client(&splunk, &pki, None);
    client.send(&events(ONE));
    assert!(splunk.observer().wait_for_requests(1, LONG));
    splunk.down();
    assert!(client.reply().is_err());
}

#[test]
fn who_speaks_no_tls_is_no_request() {
    let pki = Pki::new().unwrap();
    let datadog = Datadog::start(DatadogConfig::new("a-key").tls(&pki)).unwrap();
    let mut client = Client::connect(datadog.addr());
    client.send(&entries("[]"));
    let _ = client.stream.read(&mut [0; 100]);
    assert!(datadog.observer().wait_until(LONG, |stats| stats.failed_handshakes == 1));
    assert_eq!(datadog.observer().stats().requests, 0);
}
