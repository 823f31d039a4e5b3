//! Stand-ins for the servers that `sealtail` ships to: Splunk HEC and Datadog's log intake. They
//! run inside a test's process, many at once, each on a free port of 127.0.0.1, and are stricter
//! than the real ones: what the real one refuses they refuse with the real codes, what the real one
//! silently mends, cuts or drops they record as a [`Violation`].
//!
//! ```no_run
//! use std::time::Duration;
//! use sealtail_standins::{Fault, Moment, Reply, Splunk, SplunkConfig};
//!
//! let splunk = Splunk::start(SplunkConfig::new("a-token"))?;
//! splunk.script().push(Fault::index_but_reply(Reply::splunk(503, 9, "Server is busy")));
//! splunk.script().push(Fault::reset(Moment::MidReply));
//! // … an agent that ships to splunk.url() …
//! assert!(splunk.observer().wait_for(10, Duration::from_secs(5)));
//! assert!(splunk.observer().violations().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod body;
mod conn;
mod datadog;
mod fault;
mod gate;
mod http;
mod json;
mod observe;
mod reply;
mod server;
mod splunk;
mod tls;

pub use datadog::{Datadog, DatadogConfig};
pub use fault::{Continue, Fault, Moment, On, Script};
pub use http::Head;
pub use observe::{Accepted, Counts, Observer, Seen, Stats, Violation};
pub use reply::{Reply, http_date};
pub use server::Server;
pub use splunk::{Acks, BALANCER_COOKIE, Splunk, SplunkConfig, Token};
pub use tls::{Identity, Pki, TlsMode};
