//! A server that answers what a test says, one answer a connection, and keeps
//! what it was asked. For what a real store does not do on demand: being busy,
//! losing answers, breaking off.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the server does with one connection.
pub(crate) enum Step {
    /// Reads the whole request, then answers with this head and body.
    Answer(String, Vec<u8>),
    /// Reads the head and so many bytes of the body, then resets.
    Reset(usize),
    /// Reads the head, answers, and resets without reading the body.
    Hasty(String),
}

/// An answer with a status, headers and a body.
pub(crate) fn answer(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Step {
    let len = body.as_ref().len();
    let length = if headers.contains("content-length") {
        String::new()
    } else {
        format!("content-length: {len}\r\n")
    };
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{length}{headers}\r\n");
    Step::Answer(head, body.as_ref().to_vec())
}

/// An error as S3 words it.
pub(crate) fn error(status: u16, code: &str, headers: &str) -> Step {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Error><Code>{code}</Code><Message>because</Message></Error>"
    );
    answer(status, headers, body)
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and target.
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of the body that were read.
    pub(crate) body: usize,
    /// The first of them, as text.
    pub(crate) text: String,
}

/// How much of a body is kept.
const KEPT: usize = 16 * 1024;

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The server. Ends when it is dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<()>>,
    steps: usize,
    stop: Arc<AtomicBool>,
}

impl Stub {
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, count) = (Arc::clone(&asked), steps.len());
        let thread = std::thread::spawn(move || {
            for step in steps {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                if let Some(request) = serve(stream, |_| step) {
                    kept.lock().unwrap().push(request);
                }
            }
        });
        Self { address, asked, thread: Some(thread), steps: count, stop: Arc::default() }
    }

    /// A server that decides by the request's head, until it is dropped.
    pub(crate) fn answering(mut choose: impl FnMut(&Asked) -> Step + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                if let Some(request) = serve(stream, &mut choose) {
                    kept.lock().unwrap().push(request);
                }
            }
        });
        Self { address, asked, thread: Some(thread), steps: 0, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that came until now: there may be fewer than steps.
    pub(crate) fn so_far(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// All requests, once as many came as there were steps.
    pub(crate) fn finish(mut self) -> Vec<Asked> {
        self.thread.take().unwrap().join().unwrap();
        let asked = self.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), self.steps);
        asked
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.stop.store(true, Ordering::SeqCst);
        // Steps that nobody came for: a connection each lets the thread end.
        while !thread.is_finished() {
            drop(TcpStream::connect(self.address));
            std::thread::yield_now();
        }
    }
}

/// `None` when nothing was asked.
fn serve(stream: TcpStream, choose: impl FnOnce(&Asked) -> Step) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut asked = Asked { line, headers, body: 0, text: String::new() };
    let step = choose(&asked);
    let len = asked.header("content-length").map_or(0, |len| len.parse::<usize>().unwrap());
    let wanted = match &step {
        Step::Answer(..) => len,
        Step::Reset(n) => len.min(*n),
        Step::Hasty(_) => 0,
    };
    let mut buf = vec![0; 64 * 1024];
    while asked.body < wanted {
        let room = (wanted - asked.body).min(buf.len());
        match reader.read(&mut buf[..room]) {
            Ok(n) if n > 0 => {
                if asked.body < KEPT {
                    asked.text.push_str(&String::from_utf8_lossy(&buf[..n]));
                }
                asked.body += n;
            }
            _ => return Some(asked),
        }
    }
    let mut stream = stream;
    if let Step::Hasty(head) = &step {
        drop(stream.write_all(head.as_bytes()));
    }
    if let Step::Answer(head, body) = &step {
        let body = if asked.line.starts_with("HEAD") { &[][..] } else { body };
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
    }
    Some(asked)
}
