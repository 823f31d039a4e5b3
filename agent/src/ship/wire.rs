//! One destination, as the engine sees it: send a body, ask for
//! acknowledgements, read the credentials again.

use super::answer::Answer;
use super::expiry;
use super::http::{Http, HttpError, HttpOptions, Reply, Request};
use crate::sink::datadog::{self, Datadog};
use crate::sink::event::{Log, Notice};
use crate::sink::splunk::{self, Splunk};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use zeroize::Zeroizing;

/// Reads the token or key from where it is.
pub type ReadSecret = Arc<dyn Fn() -> Result<Zeroizing<String>, String> + Send + Sync>;

/// What is spoken.
pub enum Dialect {
    /// Splunk HEC.
    Splunk(Splunk, splunk::Metadata),
    /// Datadog logs.
    Datadog(Datadog, datadog::Metadata),
}

impl Dialect {
    /// The type of sink, as the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Splunk(..) => "splunk_hec",
            Self::Datadog(..) => "datadog",
        }
    }
}

/// A certificate that a server showed.
struct Shown {
    der: Vec<u8>,
    /// Unix seconds, if it could be read.
    ends: Option<i64>,
}

/// A destination that is reached over HTTP.
pub struct Wire {
    dialect: Dialect,
    log: Log,
    options: HttpOptions,
    http: OnceLock<Http>,
    secret: ReadSecret,
    /// The newest certificate that the server showed (DER), and when it ends.
    certificate: Mutex<Option<Shown>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// Nothing is opened before the first request.
    #[must_use]
    pub fn new(dialect: Dialect, log: Log, options: HttpOptions, secret: ReadSecret) -> Self {
        Self { dialect, log, options, http: OnceLock::new(), secret, certificate: Mutex::default() }
    }

    /// The type of sink, as the configuration calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.dialect.name()
    }

    /// Sends a body that holds events. `compressed`: it is gzip.
    pub async fn deliver(&self, body: Bytes, compressed: bool) -> Answer {
        match &self.dialect {
            Dialect::Splunk(splunk, _) => {
                splunk.judge(self.send(splunk.request(body, compressed)).await)
            }
            Dialect::Datadog(datadog, _) => {
                datadog::judge(self.send(datadog.request(body, compressed)).await)
            }
        }
    }

    /// Which of these the destination keeps.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn ask(&self, acks: &[u64]) -> Result<Vec<u64>, Answer> {
        match &self.dialect {
            Dialect::Splunk(splunk, _) => splunk::acknowledged(self.send(splunk.ask(acks)).await),
            Dialect::Datadog(..) => Ok(acks.to_vec()),
        }
    }

    /// Leaves the channel: nothing that was accepted in it can be asked for.
    pub fn new_channel(&self) {
        if let Dialect::Splunk(splunk, _) = &self.dialect {
            splunk.new_channel();
        }
    }

    /// Reads token or key again.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub fn reload(&self) -> Result<(), String> {
        let secret = (self.secret)()?;
        match &self.dialect {
            Dialect::Splunk(splunk, _) => splunk.set_token(secret),
            Dialect::Datadog(datadog, _) => datadog.set_key(secret),
        }
        Ok(())
    }

    /// The agent's own word, as a body.
    #[must_use]
    pub fn notice(&self, notice: &Notice<'_>) -> Bytes {
        match &self.dialect {
            Dialect::Splunk(_, metadata) => splunk::notice(&self.log, metadata, notice),
            Dialect::Datadog(_, metadata) => datadog::notice(&self.log, metadata, notice),
        }
    }

    /// The question whether it is there and the credentials are right, without
    /// sending anything that is kept.
    ///
    /// # Errors
    /// When there is no reply.
    pub async fn probe(&self) -> Result<Reply, HttpError> {
        self.send(match &self.dialect {
            Dialect::Splunk(splunk, _) => splunk.health(),
            Dialect::Datadog(datadog, _) => datadog.validate(),
        })
        .await
    }

    /// Whether the destination is there and well, before anything is sent.
    ///
    /// # Errors
    /// What speaks against it.
    pub async fn health(&self) -> Result<(), Answer> {
        let reply = self.probe().await;
        match &self.dialect {
            Dialect::Splunk(..) => splunk::healthy(reply),
            Dialect::Datadog(..) => datadog::valid(reply),
        }
    }

    /// The server's newest certificate (DER), if it has shown one.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.shown().as_ref().map(|shown| shown.der.clone())
    }

    /// When that certificate ends, Unix seconds.
    #[must_use]
    pub fn certificate_end(&self) -> Option<i64> {
        self.shown().as_ref().and_then(|shown| shown.ends)
    }

    fn shown(&self) -> MutexGuard<'_, Option<Shown>> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: Request) -> Result<Reply, HttpError> {
        let http = match self.http.get() {
            Some(http) => http,
            None => {
                let opened = Http::open(self.options.clone())?;
                self.http.get_or_init(|| opened)
            }
        };
        let mut reply = http.send(request).await?;
        if let Some(der) = reply.certificate.take() {
            let mut newest = self.shown();
            if newest.as_ref().is_none_or(|shown| shown.der != der) {
                *newest = Some(Shown { ends: expiry::ends(&der), der });
            }
        }
        Ok(reply)
    }
}
