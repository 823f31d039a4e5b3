//! The way to a destination.

use crate::world::{How, Run, TOKEN, To, World, halted, key_of, retrying};
use sealtail::sink::State;
use sealtail_standins::{Pki, Splunk, SplunkConfig};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

/// A proxy that opens tunnels; its address, and the first line of each that asked.
fn proxy() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://user:pass@{}", listener.local_addr().unwrap());
    let (told, asked) = sync_channel(100);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = told.try_send(head);
            let Ok(server) = TcpStream::connect(target) else { continue };
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            tunnel(&client, &server);
        }
    });
    (address, asked)
}

fn tunnel(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[test]
fn through_a_proxy_everything_arrives_and_the_proxy_sees_no_token() {
    let pki = Pki::new().unwrap();
    let world = World::new(50);
    let ca = world.path("ca.pem");
    std::fs::write(&ca, pki.ca_pem()).unwrap();
    let splunk = Splunk::start(SplunkConfig::new(TOKEN).tls(&pki)).unwrap();
    let (address, asked) = proxy();
    let mut how = How::default();
    how.http.ca = Some(ca);
    how.http.proxy = Some(address);
    assert_eq!(world.deliver(&To::Splunk(&splunk.url()), &how).ended(), State::Ok);
    assert_eq!(splunk.observer().count_by(key_of).missing("wa/test", 0..50), [0; 0]);
    let heads: Vec<_> = asked.try_iter().collect();
    assert!(!heads.is_empty(), "it went by the proxy");
    for head in heads {
        assert!(head.starts_with(&format!("CONNECT {} ", splunk.addr())), "{head}");
        assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
        assert!(!head.contains(TOKEN), "{head}");
    }
}

/// What a client speaks stands in clear in the first bytes of TLS (RFC 7301).
#[test]
fn http_2_is_offered_and_http_1_1_beside_it() {
    let world = World::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut run = Run::start(world.engine(&To::Splunk(&url), &How::default()));
    let (mut client, _) = listener.accept().unwrap();
    let mut head = [0; 5];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 22, "a handshake");
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    client.read_exact(&mut hello).unwrap();
    let offered = b"\x02h2\x08http/1.1";
    assert!(hello.windows(offered.len()).any(|part| part == offered));
    drop(client);
    run.reaches("in trouble", |state| retrying(state) || halted(state));
    run.kill();
}
