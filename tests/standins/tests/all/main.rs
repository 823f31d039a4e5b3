//! The stand-ins themselves, asked by a client that writes bytes to a socket.

#[cfg(test)]
mod client;
#[cfg(test)]
mod datadog;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod splunk;
#[cfg(test)]
mod splunk_acks;
#[cfg(test)]
mod tls;
