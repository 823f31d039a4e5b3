//! The port without an agent behind it: what probes are told.

use super::*;
use crate::disk::SharedDisk;
use crate::disk::sim::SimDisk;
use crate::journal::{Journal, JournalKey, Options};
use crate::metrics::Counted;
use crate::run::{Live, Phase as RunPhase};
use crate::ship::dead::DeadLetters;
use std::path::Path;

struct Port {
    address: SocketAddr,
    live: Arc<Live>,
    phase: watch::Sender<RunPhase>,
    stop: watch::Sender<Stop>,
    served: tokio::task::JoinHandle<()>,
}

/// `age`: for how long the agent has run, without a turn.
async fn port(age: Duration) -> Port {
    let disk: SharedDisk = Arc::new(SimDisk::new());
    let key = JournalKey::new([5; 32]);
    let path = Path::new("/j");
    let options = Options { path: path.into(), max_bytes: 64 << 20, segment_bytes: 1 << 20 };
    let journal = Journal::open(Arc::clone(&disk), options, &key, "wa/test", 1).unwrap();
    let live = Arc::new(Live::begun(age));
    let (phase, phase_rx) = watch::channel(RunPhase::Running);
    let (stop, stop_rx) = watch::channel(Stop::No);
    let sources = Sources {
        origin: "wa/test".to_owned(),
        incarnation: journal.id().incarnation.clone(),
        live: Arc::clone(&live),
        phase: phase_rx,
        journal: journal.handle(),
        outbox: None,
        sinks: Vec::new(),
        dead: Arc::new(Counted::new(DeadLetters::new(disk, path, key, 1 << 20))),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move { listen(&listener, Arc::new(sources), stop_rx).await });
    Port { address, live, phase, stop, served }
}

impl Port {
    async fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = client::get(self.address, path).await.unwrap();
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn live_while_the_loop_turns_and_ready_while_it_reads() {
    let port = port(Duration::ZERO).await;
    assert_eq!(port.get("/ready").await, (503, "starting\n".into()));
    assert_eq!(port.get("/live").await.0, 200);
    port.live.turn();
    assert_eq!(port.get("/ready").await, (200, "ready\n".into()));
    port.phase.send_replace(RunPhase::Draining);
    assert_eq!(port.get("/ready").await, (503, "draining\n".into()));
    assert_eq!(port.get("/live").await.0, 200);
    port.stop.send_replace(Stop::Now);
    port.served.await.unwrap();
    assert!(client::get(port.address, "/live").await.is_err());
}

#[tokio::test]
async fn an_agent_that_hangs_says_so_as_long_as_it_hangs() {
    let port = port(crate::metrics::STALLED).await;
    assert_eq!(port.get("/live").await.0, 503);
    let (_, status) = client::status(port.address).await.unwrap();
    assert!(!status.live && status.reading.turned_seconds_ago >= 60.0);
    port.live.turn();
    assert_eq!(port.get("/live").await.0, 200);
    let (_, status) = client::status(port.address).await.unwrap();
    assert!(status.live && status.sealing.is_none() && status.sinks.is_empty());
}
