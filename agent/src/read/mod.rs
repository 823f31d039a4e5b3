//! The read side: what an auditor does with an archive.
//!
//! [`verify`] answers in separate verdicts, [`open`] gives the records back,
//! [`fields`] opens sealed fields in what Splunk and Datadog give back.
//! All trust nothing but the public key (and, to open, the identity): every
//! byte that comes from the archive is checked against a signed leaf first.

pub mod archive;
pub mod batch;
pub mod field_keys;
pub mod fields;
pub mod given_up;
mod identity;
pub mod open;
#[cfg(test)]
mod tests;
pub mod verify;
mod walk;

pub use archive::Archive;
pub use identity::Identities;
