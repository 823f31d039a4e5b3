//! HTTP to one destination: one request at a time is described, sent, and its
//! answer read to a limit.
//!
//! It promises: nothing is followed (a redirect would carry the token to who
//! knows where), nothing is decoded, nothing is retried here; a reply is never
//! read past [`MAX_REPLY`]; cookies are kept (a balancer's sticky ones); client
//! certificates and the CA are read again when their files change.

use super::retry_after;
use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Bytes of a reply that are read; what comes after is of no interest.
pub const MAX_REPLY: usize = 64 * 1024;

/// How a destination is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Only these certificate authorities are believed (PEM); `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `http://[user:password@]host:port`; `None`: as the environment says.
    pub proxy: Option<String>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until the whole reply is there.
    pub timeout: Duration,
    /// Connections that are kept for the next request.
    pub connections: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca: None,
            identity: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            connections: 4,
        }
    }
}

/// A request. The URL and the headers may hold secrets: not shown.
pub struct Request {
    /// GET without a body, POST with one.
    pub body: Option<Bytes>,
    /// Where to.
    pub url: String,
    /// Names in lower case, and values. What is no header value is an error.
    pub headers: Vec<(&'static str, String)>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// A reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, from now on.
    pub retry_after: Option<Duration>,
    /// The `Date` header, Unix seconds.
    pub date: Option<u64>,
    /// At most [`MAX_REPLY`] bytes.
    pub body: Vec<u8>,
    /// The server's certificate (DER), when there is one.
    pub certificate: Option<Vec<u8>>,
}

/// Why there is no reply. The messages complete "failed to reach …: " and never
/// hold a URL (its query or user part may be secret).
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// No connection, a time-out, a connection that broke: it may pass.
    #[error("{0}")]
    Passing(String),
    /// The server's certificate is not believed, a file of ours is not usable:
    /// somebody has to act.
    #[error("{0}")]
    Lasting(String),
}

/// A client for one destination.
pub struct Http {
    options: HttpOptions,
    client: Mutex<(reqwest::Client, Stamp)>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// When the files were last changed.
type Stamp = Vec<Option<SystemTime>>;

impl Http {
    /// Makes a client. Nothing is connected.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn open(options: HttpOptions) -> Result<Self, HttpError> {
        let stamp = stamp(&options);
        let client = Mutex::new((client(&options)?, stamp));
        Ok(Self { options, client })
    }

    /// Sends a request and reads the reply.
    ///
    /// # Errors
    /// When there is no whole reply: what the server did with the request, if it
    /// got it, is not known then.
    pub async fn send(&self, request: Request) -> Result<Reply, HttpError> {
        let client = self.client()?;
        let mut builder = match request.body {
            Some(body) => client.post(&request.url).body(body),
            None => client.get(&request.url),
        };
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut response = builder.send().await.map_err(|e| failure(&e))?;
        let headers = response.headers();
        let retry_after = text(headers, RETRY_AFTER.as_str())
            .and_then(|value| retry_after::parse(value, SystemTime::now()));
        let date = text(headers, "date").and_then(retry_after::unix_seconds);
        let certificate = response
            .extensions()
            .get::<reqwest::tls::TlsInfo>()
            .and_then(|info| info.peer_certificate().map(<[u8]>::to_vec));
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failure(&e))? {
            let room = MAX_REPLY - body.len();
            body.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
            if body.len() == MAX_REPLY {
                break;
            }
        }
        Ok(Reply { status, retry_after, date, body, certificate })
    }

    /// The client; a new one when the files have changed. A file that is being
    /// replaced right now keeps the old client for another moment.
    fn client(&self) -> Result<reqwest::Client, HttpError> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.options);
        if stamp != held.1 {
            *held = (client(&self.options)?, stamp);
        }
        Ok(held.0.clone())
    }
}

fn stamp(options: &HttpOptions) -> Stamp {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let identity = options.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    options.ca.iter().chain(identity).map(|path| modified(path)).collect()
}

fn client(options: &HttpOptions) -> Result<reqwest::Client, HttpError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| HttpError::Lasting(format!("{}: {e}", path.display())))
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("sealtail/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .cookie_store(true)
        .tls_info(true)
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout)
        .pool_max_idle_per_host(options.connections)
        .pool_idle_timeout(Duration::from_secs(60));
    if let Some(ca) = &options.ca {
        let bad =
            || HttpError::Lasting(format!("{}: it holds no certificates in PEM", ca.display()));
        let certificates = reqwest::Certificate::from_pem_bundle(&read(ca)?).map_err(|_| bad())?;
        if certificates.is_empty() {
            return Err(bad());
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = &options.identity {
        let mut pem = zeroize::Zeroizing::new(read(certificate)?);
        pem.push(b'\n');
        pem.extend_from_slice(&zeroize::Zeroizing::new(read(key)?));
        let identity = reqwest::Identity::from_pem(&pem).map_err(|_| {
            HttpError::Lasting(format!(
                "{} and {}: they are no certificate and key in PEM",
                certificate.display(),
                key.display()
            ))
        })?;
        builder = builder.identity(identity);
    }
    if let Some(proxy) = &options.proxy {
        let proxy = reqwest::Proxy::all(proxy)
            .map_err(|_| HttpError::Lasting("the proxy is no URL".to_owned()))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|e| HttpError::Lasting(format!("no TLS client: {}", causes(&e))))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Sorts what went wrong. TLS errors are told by their words: the libraries
/// below hand them through as text alone.
fn failure(error: &reqwest::Error) -> HttpError {
    let causes = causes(error);
    if error.is_builder() {
        return HttpError::Lasting(causes);
    }
    const TRUST: [&str; 6] = [
        "invalid peer certificate",
        "certificate",
        "UnknownIssuer",
        "NotValidForName",
        "received fatal alert",
        "peer is incompatible",
    ];
    if error.is_timeout() {
        return HttpError::Passing(if error.is_connect() {
            "no connection within connect_timeout".to_owned()
        } else {
            "no whole reply within timeout".to_owned()
        });
    }
    if TRUST.iter().any(|word| causes.contains(word)) {
        return HttpError::Lasting(causes);
    }
    HttpError::Passing(causes)
}

/// The innermost causes, without the URL that the outermost has.
fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        let text = e.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = e.source();
    }
    // The last two say what happened; the ones above only where.
    let from = texts.len().saturating_sub(2);
    match texts.get(from..) {
        Some(last) if !last.is_empty() => last.join(": "),
        _ => "the request could not be made".to_owned(),
    }
}
