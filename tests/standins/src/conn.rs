//! One connection: requests in, replies out, and the faults between.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

use crate::fault::{Act, Continue, Fault, Moment};
use crate::gate::Epoch;
use crate::http::{Buffer, Head, ReadError};
use crate::observe::Observer;
use crate::reply::Reply;
use crate::server::{Inner, Request};

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";

/// Serves until the client or the stand-in has had enough.
pub(crate) fn serve(inner: &Inner, socket: &TcpStream, epoch: Epoch) {
    let id = inner.observer.connection();
    let mut plain = socket;
    let Some(tls) = &inner.tls else {
        exchange(&mut Conn {
            inner,
            socket,
            epoch,
            id,
            link: &mut plain,
            buffer: Buffer::default(),
        });
        return;
    };
    let mut session = match tls.handshake(plain) {
        Ok(Some(session)) => session,
        Ok(None) => return,
        Err(_) => return inner.observer.handshake_failed(),
    };
    let mut link = rustls::Stream::new(&mut session, &mut plain);
    let mut conn = Conn { inner, socket, epoch, id, link: &mut link, buffer: Buffer::default() };
    if exchange(&mut conn) == Next::Close {
        session.send_close_notify();
        // Whether the client still wants to know is its own affair.
        let _ = session.complete_io(&mut plain);
    }
}

fn exchange(conn: &mut Conn<'_>) -> Next {
    loop {
        match conn.turn() {
            Ok(Next::Request) => {}
            Ok(end) => return end,
            // The client's going away.
            Err(_) => return Next::Abort,
        }
    }
}

/// What requests are read from and replies are written to.
trait Link: Read + Write {}

impl<T: Read + Write> Link for T {}

/// What comes after a reply.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    Close,
    /// Close without a word, also where TLS has one for it.
    Abort,
}

struct Conn<'a> {
    inner: &'a Inner,
    socket: &'a TcpStream,
    epoch: Epoch,
    id: u64,
    link: &'a mut dyn Link,
    buffer: Buffer,
}

impl Conn<'_> {
    fn turn(&mut self) -> io::Result<Next> {
        if !self.buffer.fill(self.link)? {
            return Ok(Next::Close);
        }
        if self.inner.script.take_before_request() {
            return self.reset();
        }
        let (head, length) = match self.buffer.head(self.link) {
            Ok(read) => read,
            Err(ReadError::Io(e)) => return Err(e),
            Err(ReadError::Bad(status, why)) => {
                self.inner.observer.violation(None, format!("HTTP: {why}"));
                self.link
                    .write_all(&Reply::new(status).header("Connection", "close").to_bytes())?;
                return Ok(Next::Close);
            }
        };
        let flight = Flight::begin(&self.inner.observer);
        let fault = self.inner.script.take(self.inner.service.kind(&head));
        let next = self.request(&head, length, &fault, flight)?;
        Ok(if head.wants("connection", "close") { Next::Close } else { next })
    }

    fn request(
        &mut self,
        head: &Head,
        length: usize,
        fault: &Fault,
        flight: Flight<'_>,
    ) -> io::Result<Next> {
        if let Some(next) = self.go_on(head, length, &fault.act)? {
            return Ok(next);
        }
        if fault.act == Act::Reset(Moment::MidRequest) {
            self.buffer.take(self.link, length / 2)?;
            return self.reset();
        }
        let body = self.buffer.take(self.link, length)?;
        let (number, received) = self.inner.observer.request(self.id, head, &body);
        if !self.inner.script.gate.pause(fault.delay, self.epoch) {
            return Ok(Next::Close);
        }
        if fault.act == Act::Stall && !self.inner.script.gate.stall(self.socket, self.epoch) {
            return Ok(Next::Close);
        }
        let request = Request { number, received, head, body: &body };
        let own = if !fault.indexed {
            self.inner.service.busy()
        } else if let Some(reply) = self.inner.service.too_large(head, length) {
            reply
        } else {
            self.inner.service.answer(&request, &self.inner.observer)
        };
        self.reply(number, own, &fault.act, flight)
    }

    /// What is said before the body: `Some` when that was all.
    fn go_on(&mut self, head: &Head, length: usize, act: &Act) -> io::Result<Option<Next>> {
        let asked = head.wants("expect", "100-continue");
        match act {
            Act::Continue(Continue::Thrice) => self.link.write_all(&GO_ON.repeat(3))?,
            Act::Continue(Continue::Never) => {}
            Act::Continue(Continue::NothingAfter) => {
                self.link.write_all(GO_ON)?;
                return Ok(Some(Next::Close));
            }
            Act::Continue(Continue::Refused) => {
                self.link.write_all(&Reply::new(417).header("Connection", "close").to_bytes())?;
                return Ok(Some(Next::Close));
            }
            _ if asked => {
                if let Some(reply) = self.inner.service.too_large(head, length) {
                    self.link.write_all(&reply.header("Connection", "close").to_bytes())?;
                    return Ok(Some(Next::Close));
                }
                self.link.write_all(GO_ON)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn reply(
        &mut self,
        number: u64,
        own: Reply,
        act: &Act,
        flight: Flight<'_>,
    ) -> io::Result<Next> {
        let reply = if let Act::Reply(reply) = act { reply.clone() } else { own };
        let bytes = reply.to_bytes();
        // In the middle of the body; of the head when there is none.
        let middle = match reply.body.len() {
            0 => bytes.len() / 2,
            body => bytes.len() - body.div_ceil(2),
        };
        let half = bytes.get(..middle).unwrap_or_default();
        match act {
            Act::Reset(Moment::BeforeReply) => return self.reset(),
            Act::Reset(_) => {
                self.link.write_all(half)?;
                return self.reset();
            }
            Act::HalfReply => {
                self.link.write_all(half)?;
                self.link.flush()?;
                return Ok(Next::Abort);
            }
            Act::Trickle(every) => return self.trickle(number, &reply, *every, flight),
            Act::Endless => return self.endless(number),
            Act::Continue(Continue::OtherInterim) => {
                self.link.write_all(PROCESSING)?;
                self.link.write_all(HINTS)?;
            }
            Act::Answer | Act::Reply(_) | Act::Stall | Act::Continue(_) => {}
        }
        // First the books, then the reply: who has the reply finds them kept.
        self.inner.observer.replied(number, reply.status);
        drop(flight);
        self.link.write_all(&bytes)?;
        Ok(Next::Request)
    }

    fn trickle(
        &mut self,
        number: u64,
        reply: &Reply,
        every: Duration,
        flight: Flight<'_>,
    ) -> io::Result<Next> {
        let bytes = reply.to_bytes();
        let Some((last, rest)) = bytes.split_last() else { return Ok(Next::Close) };
        for byte in rest {
            self.link.write_all(&[*byte])?;
            if !self.inner.script.gate.pause(every, self.epoch) {
                return Ok(Next::Close);
            }
        }
        self.inner.observer.replied(number, reply.status);
        drop(flight);
        self.link.write_all(&[*last])?;
        Ok(Next::Request)
    }

    /// Writes until the client or the stand-in closes.
    fn endless(&mut self, number: u64) -> io::Result<Next> {
        let head = Reply::json(200, "").header("Transfer-Encoding", "chunked");
        self.inner.observer.replied(number, head.status);
        self.link.write_all(&head.to_bytes())?;
        let mut chunk = b"10000\r\n".to_vec();
        chunk.resize(chunk.len() + 0x10000, b' ');
        chunk.extend_from_slice(b"\r\n");
        while self.inner.script.gate.epoch() == self.epoch {
            self.link.write_all(&chunk)?;
        }
        Ok(Next::Close)
    }

    /// With no time to linger, the close that follows is a RST.
    fn reset(&self) -> io::Result<Next> {
        sockopt::set_socket_linger(self.socket, Some(Duration::ZERO))?;
        Ok(Next::Abort)
    }
}

/// A request in work, until dropped.
struct Flight<'a>(&'a Observer);

impl<'a> Flight<'a> {
    fn begin(observer: &'a Observer) -> Self {
        observer.begin();
        Self(observer)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
