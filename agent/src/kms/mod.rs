//! AWS KMS as a recipient: data keys that a key of KMS wraps.
//!
//! It promises: one `GenerateDataKey` a message, bound to the message's context;
//! every further key wraps that same data key with `Encrypt` under the same
//! context. What is unwrapped is asked of the very key that the message names,
//! with the context that the message has. No answer is believed that names
//! another key, or holds a key of another length.
//!
//! It refuses: plain `http://` to another machine that only the environment
//! names; data keys would go over it. What crosses the SDK (the request and the
//! answer with the data key in it) cannot be wiped from memory; our copies are.

mod arn;
mod classify;
mod client;
#[cfg(test)]
mod live_tests;
mod source;
#[cfg(test)]
mod tests;

pub use arn::KeyArn;
pub use classify::Fault;
pub use client::{KmsKey, KmsOptions};
pub use source::{KmsKeys, Slot};
