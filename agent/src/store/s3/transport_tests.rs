//! The way to a store: whose certificates are believed, and through which proxy.

use super::tests::{KEY, options, sha};
use super::*;
use crate::aws::Transport;
use crate::store::Class;
use sealtail_standins::{Datadog, DatadogConfig, Pki, TlsMode};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

async fn put(store: &S3Store) -> StoreError {
    let body = Body::Bytes(Bytes::from_static(b"x"));
    store.put_new(KEY, &body, sha(b"x"), &ObjectMeta::default()).await.unwrap_err()
}

/// Any server with TLS will do: what it answers shows that it was believed.
#[tokio::test]
async fn only_the_given_authorities_are_believed_and_the_file_is_read_again() {
    let (pki, other) = (Pki::new().unwrap(), Pki::new().unwrap());
    let server = Datadog::start(DatadogConfig::new("key").tls(&pki)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, other.ca_pem()).unwrap();
    let with = |ca: Option<&std::path::Path>| S3Options {
        transport: Transport { ca: ca.map(Into::into), proxy: None },
        ..options(&server.url())
    };
    let store = S3Store::open(with(Some(&ca))).await.unwrap();
    let e = put(&store).await;
    assert!(e.to_string().contains("certificate"), "{e}");
    assert_eq!(server.observer().stats().requests, 0);
    // Put in its place, as an operator does; times have a grain.
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&ca).unwrap().set_modified(later).unwrap();
    let e = put(&store).await;
    assert!(!e.to_string().contains("certificate"), "{e}");
    assert!(server.observer().stats().requests > 0);
    // What cannot be used any more changes nothing.
    std::fs::write(&ca, "half a fi").unwrap();
    let later = later + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&ca).unwrap().set_modified(later).unwrap();
    let e = put(&store).await;
    assert!(!e.to_string().contains("certificate"), "{e}");
    // The system does not know them.
    let e = put(&S3Store::open(with(None)).await.unwrap()).await;
    assert!(e.to_string().contains("certificate"), "{e}");
    server.set_tls(TlsMode::Expired);
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    let e = put(&S3Store::open(with(Some(&ca))).await.unwrap()).await;
    assert_eq!(e.class(), Class::Halt, "{e}");
}

#[tokio::test]
async fn a_file_without_authorities_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for text in [None, Some(""), Some("no PEM"), Some(broken)] {
        if let Some(text) = text {
            std::fs::write(&ca, text).unwrap();
        }
        let transport = Transport { ca: Some(ca.clone()), proxy: None };
        let options = S3Options { transport, ..options("https://127.0.0.1:9") };
        let e = S3Store::open(options).await.unwrap_err();
        assert_eq!(e.class(), Class::Halt);
        assert!(e.to_string().contains("ca.pem"), "{e}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").unwrap();
        line
    });
    let options = S3Options {
        transport: Transport { ca: None, proxy: Some(proxy) },
        ..options("https://s3.example.test")
    };
    let e = put(&S3Store::open(options).await.unwrap()).await;
    assert_eq!(asked.join().unwrap(), "CONNECT s3.example.test:443 HTTP/1.1\r\n");
    assert!(matches!(e.class(), Class::Retry { .. }), "{e}");
}
