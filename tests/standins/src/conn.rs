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
    let (mut from, mut to) = (socket, socket);
    let mut conn =
        Conn { inner, socket, epoch, id, from: &mut from, to: &mut to, buffer: Buffer::default() };
    // An error here is the client's going away, or a fault that was asked for.
    while let Ok(Next::Request) = conn.turn() {}
}

/// What comes after a reply.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

struct Conn<'a> {
    inner: &'a Inner,
    socket: &'a TcpStream,
    epoch: Epoch,
    id: u64,
    from: &'a mut dyn Read,
    to: &'a mut dyn Write,
    buffer: Buffer,
}

impl Conn<'_> {
    fn turn(&mut self) -> io::Result<Next> {
        if !self.buffer.fill(self.from)? {
            return Ok(Next::Close);
        }
        if self.inner.script.take_before_request() {
            return self.reset();
        }
        let (head, length) = match self.buffer.head(self.from) {
            Ok(read) => read,
            Err(ReadError::Io(e)) => return Err(e),
            Err(ReadError::Bad(status, why)) => {
                self.inner.observer.violation(None, format!("HTTP: {why}"));
                self.to.write_all(&Reply::new(status).header("Connection", "close").to_bytes())?;
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
            self.buffer.take(self.from, length / 2)?;
            return self.reset();
        }
        let body = self.buffer.take(self.from, length)?;
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
            Act::Continue(Continue::Thrice) => self.to.write_all(&GO_ON.repeat(3))?,
            Act::Continue(Continue::Never) => {}
            Act::Continue(Continue::NothingAfter) => {
                self.to.write_all(GO_ON)?;
                return Ok(Some(Next::Close));
            }
            Act::Continue(Continue::Refused) => {
                self.to.write_all(&Reply::new(417).header("Connection", "close").to_bytes())?;
                return Ok(Some(Next::Close));
            }
            _ if asked => {
                if let Some(reply) = self.inner.service.too_large(head, length) {
                    self.to.write_all(&reply.header("Connection", "close").to_bytes())?;
                    return Ok(Some(Next::Close));
                }
                self.to.write_all(GO_ON)?;
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
                self.to.write_all(half)?;
                return self.reset();
            }
            Act::HalfReply => {
                self.to.write_all(half)?;
                return Ok(Next::Close);
            }
            Act::Trickle(every) => return self.trickle(number, &reply, *every, flight),
            Act::Endless => return self.endless(number),
            Act::Continue(Continue::OtherInterim) => {
                self.to.write_all(PROCESSING)?;
                self.to.write_all(HINTS)?;
            }
            Act::Answer | Act::Reply(_) | Act::Stall | Act::Continue(_) => {}
        }
        // First the books, then the reply: who has the reply finds them kept.
        self.inner.observer.replied(number, reply.status);
        drop(flight);
        self.to.write_all(&bytes)?;
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
            self.to.write_all(&[*byte])?;
            if !self.inner.script.gate.pause(every, self.epoch) {
                return Ok(Next::Close);
            }
        }
        self.inner.observer.replied(number, reply.status);
        drop(flight);
        self.to.write_all(&[*last])?;
        Ok(Next::Request)
    }

    /// Writes until the client or the stand-in closes.
    fn endless(&mut self, number: u64) -> io::Result<Next> {
        let head = Reply::json(200, "").header("Transfer-Encoding", "chunked");
        self.inner.observer.replied(number, head.status);
        self.to.write_all(&head.to_bytes())?;
        let mut chunk = b"10000\r\n".to_vec();
        chunk.resize(chunk.len() + 0x10000, b' ');
        chunk.extend_from_slice(b"\r\n");
        while self.inner.script.gate.epoch() == self.epoch {
            self.to.write_all(&chunk)?;
        }
        Ok(Next::Close)
    }

    /// With no time to linger, the close that follows is a RST.
    fn reset(&self) -> io::Result<Next> {
        sockopt::set_socket_linger(self.socket, Some(Duration::ZERO))?;
        Ok(Next::Close)
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
