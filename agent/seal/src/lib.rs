//! The sealed archive of sealtail: formats only, no I/O.
//!
//! Everything here follows a published format, so that an auditor can read an
//! archive without us:
//!
//! - [`message`]: AWS Encryption SDK message format 2, suite 0x0478
//! - [`merkle`]: RFC 6962 trees
//! - [`note`]: C2SP signed notes and checkpoints
//! - [`proof`]: C2SP tlog-proofs
//! - [`field`]: single values, sealed for systems that are no archive
//! - [`leaf`], [`record`], [`layout`], [`keys`]: what is ours: the leaves' text,
//!   the blinded record hash, the object keys, the key files
//!
//! Bytes that come from outside are parsed strictly: what does not encode back
//! to the same bytes is refused, and nothing panics.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod entropy;
pub mod field;
pub mod keys;
pub mod layout;
pub mod leaf;
pub mod merkle;
pub mod message;
pub mod note;
pub mod proof;
pub mod record;

mod base64;
mod time;
