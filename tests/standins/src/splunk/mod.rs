//! Splunk's HTTP Event Collector.
//!
//! Stricter than the real one: unknown and duplicate keys of an event are refused, `time` is epoch
//! seconds with at most nine decimals, blank strings are blank, the token comes in the
//! `Authorization` header only, and a channel that is named must be a GUID even where none is asked
//! for. Codes, texts and bodies are those of Splunk 9 and 10.

mod ack;
mod config;
mod event;

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::body::{self, BodyError};
use crate::fault::On;
use crate::gate::hold;
use crate::http::Head;
use crate::observe::{Accepted, Observer};
use crate::reply::Reply;
use crate::server::{Request, Server, Service};
use ack::Channels;
pub use config::{Acks, SplunkConfig, Token};

/// The cookie by which the balancer knows which indexer a client belongs to.
pub const BALANCER_COOKIE: &str = "standin-lb";
/// What a body may hold once decompressed, in bytes. Splunk has no such limit; memory has.
const MAX_TEXT: usize = 64 * 1024 * 1024;
const EVENTS: [&str; 3] =
    ["/services/collector/event", "/services/collector", "/services/collector/event/1.0"];
const ACK: [&str; 2] = ["/services/collector/ack", "/services/collector/ack/1.0"];
const HEALTH: [&str; 2] = ["/services/collector/health", "/services/collector/health/1.0"];

type Predicate = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// Events that are refused though nothing is wrong with them.
pub(crate) struct Poison {
    is_poison: Predicate,
    numbered: bool,
}

struct State {
    config: Mutex<SplunkConfig>,
    channels: Mutex<Channels>,
    poison: Mutex<Option<Poison>>,
}

/// A stand-in for Splunk HEC, listening; see [`Server`] for what all stand-ins can do.
pub struct Splunk {
    server: Server,
    state: Arc<State>,
}

impl Deref for Splunk {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Splunk {
    /// Listens when this returns.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(config: SplunkConfig) -> std::io::Result<Self> {
        let (port, pki) = (config.port, config.tls.clone());
        let state = Arc::new(State {
            config: Mutex::new(config),
            channels: Mutex::default(),
            poison: Mutex::default(),
        });
        let server = Server::start(port, pki, Arc::clone(&state) as Arc<dyn Service>)?;
        Ok(Self { server, state })
    }

    /// Changes the set-up for the requests to come.
    pub fn configure(&self, change: impl FnOnce(&mut SplunkConfig)) {
        change(&mut hold(&self.state.config));
    }

    /// Refuses each batch that has such an event, with code 6 and, if `numbered`, with
    /// `invalid-event-number`. No violation is recorded for it.
    pub fn set_poison(
        &self,
        numbered: bool,
        is_poison: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) {
        *hold(&self.state.poison) = Some(Poison { is_poison: Box::new(is_poison), numbered });
    }

    /// No event is poison any more.
    pub fn clear_poison(&self) {
        *hold(&self.state.poison) = None;
    }

    /// As after a restart of the indexers: no channel is known, `ackId` begins at 0 again.
    pub fn forget_acks(&self) {
        *hold(&self.state.channels) = Channels::default();
    }
}

impl Service for State {
    fn kind(&self, head: &Head) -> On {
        match (head.method.as_str(), head.path()) {
            ("POST", path) if EVENTS.contains(&path) => On::Events,
            ("POST", path) if ACK.contains(&path) => On::Ack,
            ("GET", path) if HEALTH.contains(&path) => On::Health,
            _ => On::Other,
        }
    }

    fn too_large(&self, _: &Head, length: usize) -> Option<Reply> {
        let most = hold(&self.config).max_content_length;
        (length > most).then(|| {
            let what = format!("Content-Length of {length} too large (maximum is {most})");
            Reply::new(413).header("Content-Type", "text/html; charset=UTF-8").body(format!(
                "<!doctype html><html><head><title>413 {what}</title></head><body><h1>{what}</h1>\
                 <p>HTTP Request was too large.</p></body></html>\r\n"
            ))
        })
    }

    fn answer(&self, request: &Request<'_>, observer: &Observer) -> Reply {
        let config = hold(&self.config).clone();
        match self.kind(request.head) {
            On::Health => Reply::splunk(200, 17, "HEC is healthy"),
            On::Events => self
                .refuse_token(request.head, &config)
                .unwrap_or_else(|| self.events(request, &config, observer)),
            On::Ack => self
                .refuse_token(request.head, &config)
                .unwrap_or_else(|| self.ack(request, &config, observer)),
            // What Docker's driver asks before its first event.
            _ if request.head.method == "OPTIONS" && EVENTS.contains(&request.head.path()) => {
                Reply::new(200).header("Allow", "OPTIONS, POST")
            }
            _ => Reply::splunk(404, 404, "The requested URL was not found on this server."),
        }
    }

    fn busy(&self) -> Reply {
        Reply::splunk(503, 9, "Server is busy")
    }
}

impl State {
    fn refuse_token(&self, head: &Head, config: &SplunkConfig) -> Option<Reply> {
        if head.query("token").is_some() {
            return Some(Reply::splunk(400, 16, "Query string authorization is not enabled"));
        }
        let Some(authorization) = head.header("authorization").filter(|v| !v.trim().is_empty())
        else {
            return Some(Reply::splunk(401, 2, "Token is required"));
        };
        let Some(token) = authorization.strip_prefix("Splunk ") else {
            return Some(Reply::splunk(401, 3, "Invalid authorization"));
        };
        match config.tokens.iter().find(|known| known.value == token) {
            None => Some(Reply::splunk(403, 4, "Invalid token")),
            Some(known) if !known.enabled => Some(Reply::splunk(403, 1, "Token disabled")),
            Some(_) => None,
        }
    }

    fn events(&self, request: &Request<'_>, config: &SplunkConfig, observer: &Observer) -> Reply {
        let channel = match ack::channel(request.head) {
            Some(Err(reply)) => return reply,
            Some(Ok(channel)) => Some(channel),
            None if config.acks == Acks::Off => None,
            None => return ack::channel_missing(),
        };
        let violation = |what: String| observer.violation(Some(request.number), what);
        let text = match body::text(request.head, request.body, MAX_TEXT) {
            Ok(text) => text,
            Err(error) => return refuse_body(error, violation),
        };
        let batch = event::read(&text, config, hold(&self.poison).as_ref());
        let indexer = ack::indexer(request.head, config, &self.channels);
        if batch.refused.is_none() || config.index_prefix {
            let accepted = batch.events.into_iter().map(|(raw, json)| Accepted {
                raw,
                json,
                channel: channel.clone(),
                indexer: indexer.number(),
                received: request.received,
                request: request.number,
            });
            observer.accept(accepted.collect());
        }
        if let Some(refused) = batch.refused {
            refused.violation.into_iter().for_each(violation);
            return refused.reply;
        }
        let reply = match channel.filter(|_| config.acks != Acks::Off) {
            None => Reply::splunk(200, 0, "Success"),
            Some(channel) => {
                let id = hold(&self.channels).open(indexer.number(), &channel, config.acks);
                Reply::json(200, &format!(r#"{{"text":"Success","code":0,"ackId":{id}}}"#))
            }
        };
        indexer.remember(reply)
    }

    fn ack(&self, request: &Request<'_>, config: &SplunkConfig, observer: &Observer) -> Reply {
        if config.acks == Acks::Off {
            return Reply::splunk(400, 14, "ACK is disabled");
        }
        let channel = match ack::channel(request.head) {
            Some(Ok(channel)) => channel,
            Some(Err(reply)) => return reply,
            None => return ack::channel_missing(),
        };
        let violation = |what: String| observer.violation(Some(request.number), what);
        let text = match body::text(request.head, request.body, MAX_TEXT) {
            Ok(text) => text,
            Err(error) => return refuse_body(error, violation),
        };
        let Some(ids) = ack::ids(&text) else {
            violation(format!("/ack: not {{\"acks\":[numbers]}}: {text:.100}"));
            return Reply::splunk(400, 6, "Invalid data format");
        };
        let indexer = ack::indexer(request.head, config, &self.channels);
        let mut channels = hold(&self.channels);
        let statuses: Vec<String> = ids
            .into_iter()
            .map(|id| {
                let known = indexer.is_known();
                let done = known && channels.read(indexer.number(), &channel, id, config.acks);
                format!(r#""{id}":{done}"#)
            })
            .collect();
        indexer.remember(Reply::json(200, &format!(r#"{{"acks":{{{}}}}}"#, statuses.join(","))))
    }
}

fn refuse_body(error: BodyError, violation: impl Fn(String)) -> Reply {
    match error {
        BodyError::Encoding(name) => {
            violation(format!("Content-Encoding: {name}"));
            Reply::new(415)
        }
        BodyError::TooLarge => Reply::new(413),
        BodyError::Broken(why) => {
            violation(why);
            Reply::json(400, r#"{"text":"Invalid data format","code":6,"invalid-event-number":0}"#)
        }
    }
}
