//! The admin port: metrics, probes and status over HTTP/1.1. Nothing can be changed
//! through it, and it tells nothing that was in a log.
//!
//! It promises: whoever talks to it, however slowly or wrongly, costs a bounded number
//! of connections for a bounded time and nothing else; a port that cannot be had is
//! a warning; it ends at once when the agent does.
//!
//! It refuses: every method but GET, every other path, bodies, long heads. There is no
//! authentication (see `config/admin.rs` for where it listens).
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | OpenMetrics 1.0 text |
//! | `/status` | [`Status`](crate::metrics::status::Status) as JSON |
//! | `/live` | 200, or 503 when the loop that reads hangs |
//! | `/ready` | 200 while the agent reads, 503 before and when it drains |
//!
//! A sink that is away or halted does not make it unready: the readiness of a sidecar
//! is its pod's, and a gateway is not to lose its traffic because Splunk is down. That
//! is what alerts on `sealtail_sink_state` are for.

pub mod client;
#[cfg(test)]
mod tests;

use crate::metrics::status::Phase;
use crate::metrics::{CONTENT_TYPE, Sources, openmetrics};
use crate::sink::Stop;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections at a time; others wait in the system's queue.
const CONNECTIONS: usize = 16;
/// From accepting a connection to its end: one request each.
const WHOLE: Duration = Duration::from_secs(10);
/// Of those, for the request's head.
const HEAD: Duration = Duration::from_secs(5);
/// Bytes and headers of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How long a listener is left alone that cannot accept (no descriptors left).
const PAUSE: Duration = Duration::from_millis(200);

/// Answers until the sinks have ended, or are told to end at once.
pub(crate) async fn serve(
    address: Option<SocketAddr>,
    sources: Arc<Sources>,
    stop: watch::Receiver<Stop>,
) {
    if let Some(listener) = bind(address).await {
        listen(&listener, sources, stop).await;
    }
}

async fn listen(listener: &TcpListener, sources: Arc<Sources>, mut stop: watch::Receiver<Stop>) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < CONNECTIONS;
        // Each branch only waits; a connection that was accepted is kept.
        tokio::select! {
            () = async { drop(stop.wait_for(|s| *s == Stop::Now).await) } => break,
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&sources)))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
    connections.shutdown().await;
}

/// `None`, and a warning, when the address cannot be had.
async fn bind(address: Option<SocketAddr>) -> Option<TcpListener> {
    let address = address?;
    let listener = TcpListener::bind(address).await;
    match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((address, listener)) => {
            // The real one: the configuration may leave the port to the system.
            tracing::info!(address = %address, "the admin port is open");
            Some(listener)
        }
        Err(e) => {
            tracing::warn!(
                address = %address,
                "failed to open the admin port: {e}; there are no metrics, probes and status of this \
                 run, all else goes on (admin.listen)"
            );
            None
        }
    }
}

/// One connection, one request. What the other side does wrong is its own concern.
async fn connection(stream: TcpStream, sources: Arc<Sources>) {
    let service = service_fn(|request| answer(request, Arc::clone(&sources)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    drop(tokio::time::timeout(WHOLE, served).await);
}

async fn answer(
    request: Request<Incoming>,
    sources: Arc<Sources>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    if !["/metrics", "/status", "/live", "/ready"].contains(&path) {
        let known = "not found; there are /metrics, /status, /live and /ready\n";
        return Ok(text(StatusCode::NOT_FOUND, known));
    }
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Ok(refused);
    }
    Ok(match path {
        "/live" if sources.is_live() => text(StatusCode::OK, "live\n"),
        "/live" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the loop that reads has not turned for a minute\n",
        ),
        "/ready" => match sources.phase() {
            Phase::Running => text(StatusCode::OK, "ready\n"),
            other => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", other.name())),
        },
        "/metrics" => match openmetrics(sources.status().await) {
            Ok(metrics) => reply(StatusCode::OK, CONTENT_TYPE, metrics.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "not rendered\n"),
        },
        _ => match serde_json::to_vec(&sources.status().await) {
            Ok(json) => reply(StatusCode::OK, "application/json", json.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "not rendered\n"),
        },
    })
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(body.as_bytes()))
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
