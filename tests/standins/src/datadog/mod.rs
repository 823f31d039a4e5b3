//! Datadog's log intake, API v2.
//!
//! Stricter than the real one: the key comes in `DD-API-KEY` only, the body is a JSON array and says
//! so, an empty array and an entry over 1 MB are refused (the real one cuts it with a 2xx), and what
//! the real one drops without a word, entries too old or from the future, is a violation.

mod entry;

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde_json::Value;

use crate::body::{self, BodyError};
use crate::fault::On;
use crate::gate::hold;
use crate::http::Head;
use crate::observe::{Accepted, Observer};
use crate::reply::Reply;
use crate::server::{Request, Server, Service};
use crate::tls::Pki;

/// The most that a body may hold, in bytes, before and after decompression.
const MAX_BODY: usize = 5_000_000;
/// The most entries in one array.
const MAX_ENTRIES: usize = 1000;

/// How the stand-in is set up. All but `port` and `tls` may be changed
/// later, by [`Datadog::configure`].
#[derive(Debug, Clone)]
pub struct DatadogConfig {
    /// 0 takes a free one.
    pub port: u16,
    /// Speaks TLS, with certificates of this authority.
    pub tls: Option<Arc<Pki>>,
    /// The keys that are valid.
    pub keys: Vec<String>,
    /// The time of the intake, by which an entry is too old; `None`: the system's.
    pub now: Option<SystemTime>,
}

impl DatadogConfig {
    /// The usual set-up with this one key.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { port: 0, tls: None, keys: vec![key.to_owned()], now: None }
    }

    /// The same over TLS.
    #[must_use]
    pub fn tls(mut self, pki: &Arc<Pki>) -> Self {
        self.tls = Some(Arc::clone(pki));
        self
    }
}

type Predicate = Box<dyn Fn(&Value) -> bool + Send + Sync>;

struct State {
    config: Mutex<DatadogConfig>,
    poison: Mutex<Option<Predicate>>,
}

/// A stand-in for Datadog's intake, listening; see [`Server`] for what all stand-ins can do.
pub struct Datadog {
    server: Server,
    state: Arc<State>,
}

impl Deref for Datadog {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Datadog {
    /// Listens when this returns.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(config: DatadogConfig) -> std::io::Result<Self> {
        let (port, pki) = (config.port, config.tls.clone());
        let state = Arc::new(State { config: Mutex::new(config), poison: Mutex::default() });
        let server = Server::start(port, pki, Arc::clone(&state) as Arc<dyn Service>)?;
        Ok(Self { server, state })
    }

    /// Changes the set-up for the requests to come.
    pub fn configure(&self, change: impl FnOnce(&mut DatadogConfig)) {
        change(&mut hold(&self.state.config));
    }

    /// Refuses each batch that has such an entry with 400; the reply does not say which.
    /// No violation is recorded for it.
    pub fn set_poison(&self, is_poison: impl Fn(&Value) -> bool + Send + Sync + 'static) {
        *hold(&self.state.poison) = Some(Box::new(is_poison));
    }

    /// No entry is poison any more.
    pub fn clear_poison(&self) {
        *hold(&self.state.poison) = None;
    }
}

impl Service for State {
    fn kind(&self, head: &Head) -> On {
        match (head.method.as_str(), head.path()) {
            ("POST", "/api/v2/logs") => On::Events,
            ("GET", "/api/v1/validate") => On::Validate,
            _ => On::Other,
        }
    }

    fn too_large(&self, _: &Head, length: usize) -> Option<Reply> {
        (length > MAX_BODY).then(too_large)
    }

    fn answer(&self, request: &Request<'_>, observer: &Observer) -> Reply {
        let config = hold(&self.config).clone();
        let key = request.head.header("dd-api-key").filter(|key| !key.is_empty());
        let valid = key.is_some_and(|key| config.keys.iter().any(|known| known == key));
        match self.kind(request.head) {
            On::Validate if valid => Reply::json(200, r#"{"valid":true}"#),
            On::Validate => Reply::json(
                403,
                r#"{"status":"error","code":403,"errors":["Forbidden"],"statuspage":"http://status.datadoghq.com","twitter":"http://twitter.com/datadogops","email":"support@datadoghq.com"}"#,
            ),
            On::Events if key.is_none() => Reply::datadog(401, "API key is missing or invalid"),
            On::Events if !valid => Reply::datadog(403, "API key is missing or invalid"),
            On::Events => self.entries(request, &config, observer),
            _ => Reply::json(404, r#"{"errors":["Not Found"]}"#),
        }
    }

    fn busy(&self) -> Reply {
        Reply::datadog(503, "Service Unavailable")
    }
}

fn too_large() -> Reply {
    Reply::datadog(413, "Payload too large")
}

impl State {
    fn entries(&self, request: &Request<'_>, config: &DatadogConfig, observer: &Observer) -> Reply {
        let violation = |what: &str| observer.violation(Some(request.number), what);
        let malformed = |what: &str| {
            violation(what);
            Reply::datadog(400, "Malformed payload")
        };
        let kind = request.head.header("content-type").unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            violation(&format!("Content-Type: {kind}"));
            return Reply::datadog(415, "Unsupported media type");
        }
        let text = match body::text(request.head, request.body, MAX_BODY) {
            Ok(text) => text,
            Err(BodyError::TooLarge) => return too_large(),
            Err(BodyError::Broken(why)) => return malformed(&why),
            Err(BodyError::Encoding(name)) => {
                violation(&format!("Content-Encoding: {name}"));
                return Reply::datadog(415, "Unsupported content encoding");
            }
        };
        let read = match entry::read(&text, config.now.unwrap_or_else(SystemTime::now), MAX_ENTRIES)
        {
            Ok(read) => read,
            Err(why) => return malformed(&why),
        };
        if let Some(is_poison) = hold(&self.poison).as_ref()
            && read.kept.iter().any(|(_, json)| is_poison(json))
        {
            return Reply::datadog(400, "Malformed payload");
        }
        read.dropped.iter().for_each(|why| violation(why));
        let accepted = read.kept.into_iter().map(|(raw, json)| Accepted {
            raw,
            json,
            channel: None,
            indexer: 0,
            received: request.received,
            request: request.number,
        });
        observer.accept(accepted.collect());
        Reply::json(202, "{}")
    }
}
