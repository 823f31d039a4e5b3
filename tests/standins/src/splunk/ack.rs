//! Channels and acknowledgements. A status belongs to an indexer and a channel, and is forgotten
//! once it was read as true.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::gate::hold;
use crate::http::Head;
use crate::json::{self, Kind};
use crate::reply::Reply;

use super::{Acks, BALANCER_COOKIE, SplunkConfig};

/// A batch that was taken and not yet read as acknowledged.
struct Open {
    lost: bool,
    /// How often it was answered with false.
    polls: u32,
}

#[derive(Default)]
struct Channel {
    next: u64,
    open: BTreeMap<u64, Open>,
}

/// All channels of all indexers.
#[derive(Default)]
pub(super) struct Channels {
    channels: HashMap<(usize, String), Channel>,
    /// Where the balancer sends the next client that it does not know.
    turn: usize,
}

impl Channels {
    /// A batch was taken: its `ackId`.
    pub(super) fn open(&mut self, indexer: usize, channel: &str, acks: Acks) -> u64 {
        let channel = self.channels.entry((indexer, channel.to_owned())).or_default();
        let id = channel.next;
        channel.next += 1;
        channel.open.insert(id, Open { lost: acks == Acks::Lost, polls: 0 });
        id
    }

    /// Is it acknowledged? False means pending, lost and unknown alike.
    pub(super) fn read(&mut self, indexer: usize, channel: &str, id: u64, acks: Acks) -> bool {
        let Some(channel) = self.channels.get_mut(&(indexer, channel.to_owned())) else {
            return false;
        };
        let Some(open) = channel.open.get_mut(&id) else { return false };
        let done = !open.lost
            && match acks {
                Acks::AtOnce | Acks::Lost => true,
                Acks::AfterPolls(n) => open.polls >= n,
                Acks::Held | Acks::Off => false,
            };
        if done {
            channel.open.remove(&id);
        } else {
            open.polls += 1;
        }
        done
    }
}

/// Which indexer the balancer gives a request to.
#[derive(Clone, Copy)]
pub(super) enum Indexer {
    /// There is but one.
    Only,
    /// The client's cookie names this one.
    Known(usize),
    /// The client had no cookie; it gets one for this indexer.
    New(usize),
}

impl Indexer {
    pub(super) fn number(self) -> usize {
        match self {
            Self::Only => 0,
            Self::Known(n) | Self::New(n) => n,
        }
    }

    pub(super) fn is_known(self) -> bool {
        !matches!(self, Self::New(_))
    }

    pub(super) fn remember(self, reply: Reply) -> Reply {
        match self {
            Self::New(n) => {
                reply.header("Set-Cookie", &format!("{BALANCER_COOKIE}={n}; Path=/; HttpOnly"))
            }
            Self::Only | Self::Known(_) => reply,
        }
    }
}

pub(super) fn indexer(head: &Head, config: &SplunkConfig, channels: &Mutex<Channels>) -> Indexer {
    if config.indexers <= 1 {
        return Indexer::Only;
    }
    let named = head.cookie(BALANCER_COOKIE).and_then(|value| value.parse().ok());
    if let Some(n) = named.filter(|n| *n < config.indexers) {
        return Indexer::Known(n);
    }
    let mut channels = hold(channels);
    let n = channels.turn % config.indexers;
    channels.turn += 1;
    Indexer::New(n)
}

/// The channel that a request names, in lower case; an error when it is no GUID.
pub(super) fn channel(head: &Head) -> Option<Result<String, Reply>> {
    let named = head.header("x-splunk-request-channel").or_else(|| head.query("channel"))?;
    if named.is_empty() {
        return None;
    }
    let lengths: Vec<usize> = named.split('-').map(str::len).collect();
    let hex = named.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    Some(if hex && lengths == [8, 4, 4, 4, 12] {
        Ok(named.to_ascii_lowercase())
    } else {
        Err(Reply::splunk(400, 11, "Invalid data channel"))
    })
}

pub(super) fn channel_missing() -> Reply {
    Reply::splunk(400, 10, "Data channel is missing")
}

/// The ids of `{"acks":[0,1]}`.
pub(super) fn ids(text: &str) -> Option<Vec<u64>> {
    let parsed = json::first(text)?.ok()?;
    if !text.get(parsed.end..)?.trim().is_empty() {
        return None;
    }
    let [(key, node)] = parsed.node.members()? else { return None };
    let Kind::Array(items) = &node.kind else { return None };
    if key != "acks" {
        return None;
    }
    items.iter().map(|item| item.raw.parse().ok()).collect()
}
