//! The listening side that all stand-ins share: a port on loopback that stays theirs while they are
//! down, a thread a connection, and an end that waits for all of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::SystemTime;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

use crate::conn;
use crate::fault::{On, Script};
use crate::gate::{Epoch, hold};
use crate::http::Head;
use crate::observe::Observer;
use crate::reply::Reply;
use crate::tls::{Pki, Tls, TlsMode};

/// How many of the last requests keep their headers in the observer.
const KEEP_HEADERS: usize = 1000;

/// A request as a service sees it.
pub(crate) struct Request<'a> {
    pub(crate) number: u64,
    pub(crate) received: SystemTime,
    pub(crate) head: &'a Head,
    pub(crate) body: &'a [u8],
}

/// What a stand-in stands in for.
pub(crate) trait Service: Send + Sync {
    fn kind(&self, head: &Head) -> On;
    /// The answer to a request whose body is too long, known from its head.
    fn too_large(&self, head: &Head, length: usize) -> Option<Reply>;
    fn answer(&self, request: &Request<'_>, observer: &Observer) -> Reply;
    /// "Not now", in the service's own words.
    fn busy(&self) -> Reply;
}

pub(crate) struct Inner {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) script: Script,
    pub(crate) observer: Observer,
    pub(crate) tls: Option<Tls>,
    live: Mutex<Vec<Weak<TcpStream>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Running {
    listener: Arc<TcpListener>,
    accepting: JoinHandle<()>,
}

/// A stand-in that listens on 127.0.0.1. Dropping it closes everything.
pub struct Server {
    inner: Arc<Inner>,
    addr: SocketAddr,
    running: Mutex<Option<Running>>,
    /// Bound and never listening, so that nobody else gets the port while this is down.
    _reserved: OwnedFd,
}

impl Server {
    /// Listens when this returns; `port` 0 takes a free one.
    pub(crate) fn start(
        port: u16,
        pki: Option<Arc<Pki>>,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let reserved = bound(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let addr = SocketAddr::try_from(rustix::net::getsockname(&reserved)?)?;
        let inner = Arc::new(Inner {
            service,
            script: Script::new(),
            observer: Observer::new(KEEP_HEADERS),
            tls: pki.map(Tls::new),
            live: Mutex::default(),
            threads: Mutex::default(),
        });
        let server = Self { inner, addr, running: Mutex::new(None), _reserved: reserved };
        server.up()?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// How the handshakes to come go; nothing on a stand-in that speaks no TLS.
    pub fn set_tls(&self, mode: TlsMode) {
        if let Some(tls) = &self.inner.tls {
            tls.set(mode);
        }
    }

    /// What it saw.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    /// What is to go wrong.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.inner.script
    }

    /// Refuses connections from now on; those that there are end. When this returns, no request is
    /// in work any more. What was indexed stays.
    pub fn down(&self) {
        let Some(running) = hold(&self.running).take() else { return };
        self.inner.script.gate.end_epoch();
        // Ends the accept() of the other thread: a listener that is shut down takes nobody.
        let _ = rustix::net::shutdown(&running.listener, Shutdown::Both);
        let _ = running.accepting.join();
        drop(running.listener);
        for socket in hold(&self.inner.live).drain(..).filter_map(|weak| weak.upgrade()) {
            let _ = sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO));
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let threads = std::mem::take(&mut *hold(&self.inner.threads));
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Listens again, on the same port; nothing when it does already.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn up(&self) -> io::Result<()> {
        let mut running = hold(&self.running);
        if running.is_some() {
            return Ok(());
        }
        let SocketAddr::V4(addr) = self.addr else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let socket = bound(addr)?;
        rustix::net::listen(&socket, 1024)?;
        let listener = Arc::new(TcpListener::from(socket));
        let epoch = self.inner.script.gate.epoch();
        let (inner, theirs) = (Arc::clone(&self.inner), Arc::clone(&listener));
        let accepting = std::thread::Builder::new()
            .name(format!("standin-{}", self.addr.port()))
            .spawn(move || inner.accept(&theirs, epoch))?;
        *running = Some(Running { listener, accepting });
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

impl Inner {
    fn accept(self: Arc<Self>, listener: &TcpListener, epoch: Epoch) {
        while self.script.gate.epoch() == epoch {
            let Ok((socket, _)) = listener.accept() else { continue };
            let _ = socket.set_nodelay(true);
            let socket = Arc::new(socket);
            let mut live = hold(&self.live);
            live.retain(|weak| weak.strong_count() > 0);
            live.push(Arc::downgrade(&socket));
            drop(live);
            let inner = Arc::clone(&self);
            let thread = std::thread::Builder::new().name("standin-connection".into());
            let spawned = thread.spawn(move || conn::serve(&inner, &socket, epoch));
            let mut threads = hold(&self.threads);
            threads.retain(|thread| !thread.is_finished());
            threads.extend(spawned.ok());
        }
    }
}

/// A socket on that address that others of ours may bind too, but nobody else.
fn bound(addr: SocketAddrV4) -> io::Result<OwnedFd> {
    let (inet, stream) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket_with(inet, stream, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &addr)?;
    Ok(socket)
}
