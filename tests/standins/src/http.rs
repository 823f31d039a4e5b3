//! HTTP/1.1 requests, as a server reads them.
//!
//! Refused although real servers take it: a request without `Host`, with two lengths, chunked, or
//! of another version than 1.1. The agent knows what it sends.

use std::io::{self, Read};

/// The longest head of a request that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The longest body that is read, in bytes; each service has a lower limit of its own.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request's first line and headers.
#[derive(Debug, Clone)]
pub struct Head {
    /// As it came: `POST`, …
    pub method: String,
    /// As it came: path and query, or an absolute URL, or an authority.
    pub target: String,
    /// In order, names as they were written.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// A parameter of the query; not unescaped, none that we know needs it.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(k, _)| *k == name)
            .map(|(_, v)| v)
    }

    /// The cookie of that name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.header("cookie")?
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(k, _)| *k == name)
            .map(|(_, v)| v)
    }

    pub(crate) fn wants(&self, header: &str, token: &str) -> bool {
        self.header(header)
            .is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }
}

/// Why no request could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The other side went away.
    Io(io::Error),
    /// It is not HTTP as we take it: the status to answer, and why.
    Bad(u16, String),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Bytes from the other side that no request has taken yet.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Waits for at least one byte; false when the other side has closed.
    pub(crate) fn fill(&mut self, from: &mut dyn Read) -> io::Result<bool> {
        if !self.bytes.is_empty() {
            return Ok(true);
        }
        self.more(from)
    }

    fn more(&mut self, from: &mut dyn Read) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let n = loop {
            match from.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        Ok(n > 0)
    }

    /// A request's head, and the length of its body.
    pub(crate) fn head(&mut self, from: &mut dyn Read) -> Result<(Head, usize), ReadError> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&self.bytes) {
                Ok(httparse::Status::Complete(used)) => {
                    let version = request.version;
                    let head = owned(&request);
                    self.bytes.drain(..used);
                    if version != Some(1) {
                        return Err(ReadError::Bad(505, "not HTTP/1.1".into()));
                    }
                    let length = body_length(&head)?;
                    return Ok((head, length));
                }
                Ok(httparse::Status::Partial) if self.bytes.len() < MAX_HEAD => {}
                Ok(httparse::Status::Partial) => {
                    return Err(ReadError::Bad(431, "the head is too long".into()));
                }
                Err(e) => return Err(ReadError::Bad(400, e.to_string())),
            }
            if !self.more(from)? {
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, from: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < length {
            if !self.more(from)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }
}

fn owned(request: &httparse::Request<'_, '_>) -> Head {
    Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: request
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
    }
}

fn body_length(head: &Head) -> Result<usize, ReadError> {
    let bad = |status, why: &str| Err(ReadError::Bad(status, why.to_owned()));
    if head.header("host").is_none() {
        return bad(400, "no Host header");
    }
    if head.header("transfer-encoding").is_some() {
        return bad(411, "a body without Content-Length");
    }
    let mut lengths = head.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let length = match (lengths.next(), lengths.next()) {
        (None, _) if head.method == "POST" || head.method == "PUT" => {
            return bad(411, "a POST without Content-Length");
        }
        (None, _) => return Ok(0),
        (Some(_), Some(_)) => return bad(400, "Content-Length twice"),
        (Some((_, length)), None) => length,
    };
    match length.parse() {
        Ok(length) if length <= MAX_BODY => Ok(length),
        Ok(_) => bad(413, "the body is longer than any that is read here"),
        Err(_) => bad(400, "Content-Length is no number"),
    }
}
