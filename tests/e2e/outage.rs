//! The server goes away, in the middle of things too, and comes back.

use crate::loggen::{crash_log, serial_of};
use crate::sandbox::{Destination, S3, Sandbox};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Stands between the agent and a real server, and can be cut.
#[derive(Default)]
pub(crate) struct Plug {
    pub(crate) pulled: AtomicBool,
    /// Connections that were refused or cut.
    pub(crate) refused: AtomicU64,
    /// Bytes that went to the server; the plug pulls itself at `fuse`.
    sent: AtomicU64,
    fuse: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Plug {
    pub(crate) fn pull(&self) {
        self.pulled.store(true, SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            self.refused.fetch_add(1, SeqCst);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, counted: bool) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let before = if counted { self.sent.fetch_add(n as u64, SeqCst) } else { 0 };
            let fuse = self.fuse.load(SeqCst);
            if counted && before < fuse && before + n as u64 >= fuse {
                self.pull();
            }
            if self.pulled.load(SeqCst) || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

/// A plug in front of `server` (`http://host:port`): its own address.
pub(crate) fn plug(server: &str) -> (Arc<Plug>, String) {
    let server = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let plug = Arc::new(Plug { fuse: AtomicU64::new(u64::MAX), ..Plug::default() });
    let shared = Arc::clone(&plug);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if shared.pulled.load(SeqCst) {
                shared.refused.fetch_add(1, SeqCst);
                continue;
            }
            let Ok(upstream) = TcpStream::connect(&server) else { continue };
            let both = || Some((client.try_clone().ok()?, upstream.try_clone().ok()?));
            let (Some((a, b)), Some((c, d))) = (both(), both()) else { continue };
            shared.open.lock().unwrap().extend([a, b]);
            let (one, two) = (Arc::clone(&shared), Arc::clone(&shared));
            std::thread::spawn(move || one.forward(client, upstream, true));
            std::thread::spawn(move || two.forward(d, c, false));
        }
    });
    (plug, address)
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "timed out waiting for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Down before anything is sent; then cut at many places within the requests.
#[test]
fn a_server_that_goes_and_comes_back_gets_everything_once() {
    let Some(mut s3) = S3::from_env("outage") else { return };
    let (plug, address) = plug(&s3.endpoint);
    s3.endpoint = address;
    let mut sandbox = Sandbox::new(Destination::S3(s3));
    sandbox.settings.batch_records = 200;
    let log = sandbox.path("logs/gateway-json.log");
    let expected = crash_log(4000, 9, &mut std::fs::File::create(log).unwrap()).unwrap();
    plug.pull();
    let mut child = sandbox.start(&[], false);
    wait_for("three refused connections", || plug.refused.load(SeqCst) >= 3);
    for cut in 0..5 {
        let seen = plug.refused.load(SeqCst);
        // Somewhere in a head, a body or an answer.
        plug.fuse.store(plug.sent.load(SeqCst) + 700 + cut * 7300, SeqCst);
        plug.pulled.store(false, SeqCst);
        wait_for("the cut", || {
            plug.refused.load(SeqCst) > seen || child.try_wait().unwrap().is_some()
        });
    }
    plug.fuse.store(u64::MAX, SeqCst);
    plug.pulled.store(false, SeqCst);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = child.wait().unwrap();
    let said = std::fs::read_to_string(sandbox.path("agent.log")).unwrap();
    assert!(status.success(), "{status}\n{said}");
    assert!(said.contains("failed to"), "an outage is said:\n{said}");
    let report = sandbox.verify();
    assert!(report.contains("intact     yes") && report.contains("complete   yes"), "{report}");
    let serials: Vec<_> = sandbox.open().iter().filter_map(|r| serial_of(r)).collect();
    assert_eq!(serials, expected.iter().map(|e| e.serial).collect::<Vec<_>>());
}
