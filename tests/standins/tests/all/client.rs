//! A client of a few lines: what it sends is exactly what the test wrote.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything here takes; a wait that ends by it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(10);

pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Got {
    /// Statuses of the interim replies before it.
    pub(crate) interim: Vec<u16>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> (u16, Option<u64>) {
        (self.status, self.json()["code"].as_u64())
    }
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::over(tcp(addr))
    }
}

pub(crate) fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn ask(&mut self, bytes: &[u8]) -> Got {
        self.send(bytes);
        self.reply().unwrap()
    }

    /// The next final reply.
    pub(crate) fn reply(&mut self) -> io::Result<Got> {
        let mut interim = Vec::new();
        loop {
            let mut got = self.one()?;
            if got.status >= 200 {
                let length = got.header("content-length").map_or(0, |v| v.parse().unwrap());
                while self.buffer.len() < length {
                    self.more()?;
                }
                got.body = self.buffer.drain(..length).collect();
                got.interim = interim;
                return Ok(got);
            }
            interim.push(got.status);
        }
    }

    fn one(&mut self) -> io::Result<Got> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 50];
            let mut reply = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(used) = reply.parse(&self.buffer).unwrap() {
                let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
                let headers =
                    reply.headers.iter().map(|h| (h.name.into(), text(h.value))).collect();
                let status = reply.code.unwrap();
                self.buffer.drain(..used);
                return Ok(Got { interim: Vec::new(), status, headers, body: Vec::new() });
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}

/// A request with `Host` and, for POST, `Content-Length` added.
pub(crate) fn request(method: &str, target: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: standin.test\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if method == "POST" {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

pub(crate) const EVENT: &str = "/services/collector/event";
pub(crate) const TOKEN: &str = "Authorization: Splunk a-token";

/// A POST of events with the right token.
pub(crate) fn events(body: &str) -> Vec<u8> {
    request("POST", EVENT, &[TOKEN], body.as_bytes())
}

pub(crate) const KEY: &str = "DD-API-KEY: a-key";
pub(crate) const JSON: &str = "Content-Type: application/json";

/// A POST of entries with the right key.
pub(crate) fn entries(body: &str) -> Vec<u8> {
    request("POST", "/api/v2/logs", &[KEY, JSON], body.as_bytes())
}
