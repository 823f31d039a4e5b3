//! `admin`: the port for metrics, probes and `sealtail status`.

use super::convert::Check;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// The port for metrics, probes and `sealtail status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; `None`: there is none. Port 0: a free one, which the log names.
    pub listen: Option<SocketAddr>,
}

impl Admin {
    /// Whether others than this machine reach it.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.listen.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// The port for metrics, probes and `sealtail status`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawAdmin {
    /// An IP address and a port, or `off`. There is no authentication: addresses other than
    /// loopback are open to the network.
    #[schemars(extend("examples" = ["\"127.0.0.1:8686\""]))]
    listen: Option<String>,
}

impl RawAdmin {
    pub(super) fn convert(self, check: &mut Check<'_>) -> Option<Admin> {
        let text = self.listen?;
        if text == "off" {
            return Some(Admin { listen: None });
        }
        match text.parse() {
            Ok(address) => Some(Admin { listen: Some(address) }),
            Err(_) => {
                let path = "admin.listen";
                let what = format!("`{}` is no IP address with a port", check.shown(path));
                check.refuse(path, what, "write 127.0.0.1:8686, [::1]:8686, or off");
                None
            }
        }
    }
}
