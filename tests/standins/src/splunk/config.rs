//! How a Splunk stand-in is set up.

use std::sync::Arc;

use crate::tls::Pki;

/// A HEC token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// As it stands after `Authorization: Splunk `.
    pub value: String,
    /// A disabled one is answered with code 1.
    pub enabled: bool,
}

/// Indexer acknowledgement: when is a batch acknowledged?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Never asked for: the token has it off, replies have no `ackId`, `/ack` answers code 14.
    Off,
    /// As soon as somebody asks.
    AtOnce,
    /// At the question that follows so many that were answered with false.
    AfterPolls(u32),
    /// Not before this is set to something else.
    Held,
    /// What comes in meanwhile is never acknowledged.
    Lost,
}

/// How the stand-in is set up. All but `port` and `tls` may be changed
/// later, by [`Splunk::configure`](super::Splunk::configure).
#[derive(Debug, Clone)]
pub struct SplunkConfig {
    /// 0 takes a free one.
    pub port: u16,
    /// Speaks TLS, with certificates of this authority.
    pub tls: Option<Arc<Pki>>,
    /// The tokens that it knows.
    pub tokens: Vec<Token>,
    /// The indexes that events may name; `None`: any.
    pub indexes: Option<Vec<String>>,
    /// The longest body on the wire, in bytes; Splunk's `max_content_length` was this for years.
    pub max_content_length: usize,
    /// Indexer acknowledgement.
    pub acks: Acks,
    /// More than one: so many indexers stand behind a balancer that knows its clients by a cookie,
    /// and each answers only for the batches that itself took.
    pub indexers: usize,
    /// Of a batch with an invalid event, those before it are indexed all the same, as Splunk does.
    pub index_prefix: bool,
}

impl SplunkConfig {
    /// The usual set-up with this one token: no acknowledgement, any index.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self {
            port: 0,
            tls: None,
            tokens: vec![Token { value: token.to_owned(), enabled: true }],
            indexes: None,
            max_content_length: 1_000_000,
            acks: Acks::Off,
            indexers: 1,
            index_prefix: true,
        }
    }

    /// The same over TLS.
    #[must_use]
    pub fn tls(mut self, pki: &Arc<Pki>) -> Self {
        self.tls = Some(Arc::clone(pki));
        self
    }

    /// The same with indexer acknowledgement.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }
}
