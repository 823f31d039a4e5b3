//! Asks a running agent at its admin port.

use crate::metrics::status::Status;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// For the whole question and answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a status is some kilobytes.
const MAX_ANSWER: usize = 4 << 20;

/// Why there is no status. Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered.
    #[error("reach the agent at {address}: {what}; is it running, and with this configuration?")]
    Nobody {
        /// Where it was asked.
        address: SocketAddr,
        /// What happened.
        what: String,
    },
    /// Somebody answered something else.
    #[error("understand the answer of {address}: {what}; another program or another version?")]
    Strange {
        /// Where it was asked.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
}

/// The status of the agent that listens at `listen` (the unspecified address stands
/// for this machine), as it was sent and as it is understood.
///
/// # Errors
/// When nobody answers within five seconds, or the answer is not understood.
pub async fn status(listen: SocketAddr) -> Result<(Bytes, Status), AskError> {
    let address = here(listen);
    let nobody = |what: String| AskError::Nobody { address, what };
    let strange = |what: String| AskError::Strange { address, what };
    let (code, body) = match tokio::time::timeout(TIMEOUT, get(address, "/status")).await {
        Err(_) => return Err(nobody("no answer within five seconds".to_owned())),
        Ok(Err(Fault::Connect(e))) => return Err(nobody(e.to_string())),
        Ok(Err(Fault::Answer(e))) => return Err(strange(e.to_string())),
        Ok(Ok(answer)) => answer,
    };
    if code != StatusCode::OK {
        return Err(strange(format!("HTTP {}", code.as_u16())));
    }
    match serde_json::from_slice(&body) {
        Ok(status) => Ok((body, status)),
        Err(e) => Err(strange(format!("it is no status ({e})"))),
    }
}

/// What went wrong: before there was a connection, or with the answer.
#[derive(Debug)]
pub(super) enum Fault {
    Connect(std::io::Error),
    Answer(Box<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    fn answer(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Answer(e.into())
    }
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), Fault> {
    let stream = TcpStream::connect(address).await.map_err(Fault::Connect)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Fault::answer)?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(Fault::answer)?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(Fault::answer)?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((code, body.map_err(Fault::answer)?.to_bytes()))
    };
    // The connection works only while it is polled; it knows best why there is no answer.
    match tokio::join!(asked, connection) {
        (Err(_), Err(e)) => Err(Fault::answer(e)),
        (answer, _) => answer,
    }
}

/// Where an agent that listens at this address is reached from its own machine.
fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
