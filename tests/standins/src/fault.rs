//! What goes wrong, when, and to which requests: a queue of faults, and one that holds when the
//! queue has none. All of it may be changed while the stand-in runs.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::gate::{Gate, hold};
use crate::reply::Reply;

/// Which requests a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All.
    Any,
    /// Those that carry events.
    Events,
    /// Splunk: questions about acknowledgements.
    Ack,
    /// Splunk: questions about health.
    Health,
    /// Datadog: is the key valid?
    Validate,
    /// Other paths and methods.
    Other,
}

/// When a connection is reset (with RST, so that nothing is left to read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request begins to arrive; nothing of it is looked at, so it takes a fault for [`On::Any`].
    BeforeRequest,
    /// The head and half of the body have been read.
    MidRequest,
    /// The request is there, no byte of the reply is sent.
    BeforeReply,
    /// Half of the reply is sent.
    MidReply,
}

/// Odd things that a server may do about `100 Continue`, all but the last allowed by RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continue {
    /// Three of them before the final reply, asked for or not.
    Thrice,
    /// 102 and 103 before the final reply.
    OtherInterim,
    /// None, though asked for: the client must send its body after a while all the same.
    Never,
    /// 417 instead, and the connection is closed.
    Refused,
    /// A 100 and nothing after it: the connection is closed.
    NothingAfter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// The service's own answer.
    Answer,
    Reply(Reply),
    Reset(Moment),
    Stall,
    HalfReply,
    Trickle(Duration),
    Endless,
    Continue(Continue),
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) on: On,
    pub(crate) delay: Duration,
    /// The service sees the request, so its events are indexed.
    pub(crate) indexed: bool,
    pub(crate) act: Act,
}

impl Fault {
    fn new(act: Act, indexed: bool) -> Self {
        Self { on: On::Any, delay: Duration::ZERO, indexed, act }
    }

    /// No fault: one request is answered as it should be.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Act::Answer, true)
    }

    /// This reply; nothing is indexed.
    #[must_use]
    pub fn reply(reply: Reply) -> Self {
        Self::new(Act::Reply(reply), false)
    }

    /// The events are indexed, and the client is told this.
    #[must_use]
    pub fn index_but_reply(reply: Reply) -> Self {
        Self::new(Act::Reply(reply), true)
    }

    /// The connection is reset. Only [`Moment::MidReply`] comes after indexing, unless
    /// [`Fault::indexed`] says otherwise.
    #[must_use]
    pub fn reset(at: Moment) -> Self {
        Self::new(Act::Reset(at), at == Moment::MidReply)
    }

    /// No answer until [`Script::release`]; then the request is indexed and answered as usual. With
    /// `indexed(false)` it is then answered 503 instead.
    #[must_use]
    pub fn stall() -> Self {
        Self::new(Act::Stall, true)
    }

    /// The reply names its whole length, half of it comes, and the connection is closed.
    #[must_use]
    pub fn half_reply() -> Self {
        Self::new(Act::HalfReply, true)
    }

    /// The reply comes one byte at a time, with this much time between two.
    #[must_use]
    pub fn trickle(every: Duration) -> Self {
        Self::new(Act::Trickle(every), true)
    }

    /// 200 with a body that does not end before the client goes away.
    #[must_use]
    pub fn endless() -> Self {
        Self::new(Act::Endless, true)
    }

    /// Something odd about `100 Continue`.
    #[must_use]
    pub fn go_on(what: Continue) -> Self {
        let indexed = !matches!(what, Continue::Refused | Continue::NothingAfter);
        Self::new(Act::Continue(what), indexed)
    }

    /// Only for such requests.
    #[must_use]
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    /// After this much time, counted from when the request was complete.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Whether the service sees the request at all.
    #[must_use]
    pub fn indexed(mut self, indexed: bool) -> Self {
        self.indexed = indexed;
        self
    }
}

#[derive(Default)]
struct Queue {
    queued: VecDeque<Fault>,
    default: Vec<Fault>,
}

/// The faults to come.
pub struct Script {
    queue: Mutex<Queue>,
    pub(crate) gate: Gate,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), gate: Gate::new() }
    }

    /// Queues a fault for the next request that it is for.
    pub fn push(&self, fault: Fault) {
        hold(&self.queue).queued.push_back(fault);
    }

    /// Queues a fault `n` times.
    pub fn push_times(&self, n: usize, fault: &Fault) {
        hold(&self.queue).queued.extend(std::iter::repeat_n(fault.clone(), n));
    }

    /// What happens to requests that the queue has no fault for: the first of these that is for
    /// them, or nothing. Replaces what was set before.
    pub fn set_default(&self, faults: impl IntoIterator<Item = Fault>) {
        hold(&self.queue).default = faults.into_iter().collect();
    }

    /// No more faults, and whatever is stalled goes on.
    pub fn clear(&self) {
        *hold(&self.queue) = Queue::default();
        self.release();
    }

    /// How many queued faults have not happened yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        hold(&self.queue).queued.len()
    }

    /// Waits until so many requests have stalled: [`Script::release`] is for those alone.
    #[must_use]
    pub fn wait_stalled(&self, n: u64, timeout: Duration) -> bool {
        self.gate.wait_stalled(n, timeout)
    }

    /// Lets the requests go on that are stalled now.
    pub fn release(&self) {
        self.gate.release();
    }

    /// Whether the request that begins now is reset unseen.
    pub(crate) fn take_before_request(&self) -> bool {
        let unseen = |f: &Fault| f.act == Act::Reset(Moment::BeforeRequest);
        let mut queue = hold(&self.queue);
        match queue.queued.front() {
            Some(fault) if unseen(fault) => queue.queued.pop_front().is_some(),
            Some(_) => false,
            None => queue.default.first().is_some_and(unseen),
        }
    }

    pub(crate) fn take(&self, kind: On) -> Fault {
        let mut queue = hold(&self.queue);
        let meant = |f: &Fault| {
            (f.on == On::Any || f.on == kind) && f.act != Act::Reset(Moment::BeforeRequest)
        };
        if let Some(at) = queue.queued.iter().position(meant) {
            return queue.queued.remove(at).unwrap_or_else(Fault::none);
        }
        queue.default.iter().find(|f| meant(f)).cloned().unwrap_or_else(Fault::none)
    }
}
