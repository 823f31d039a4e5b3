//! sealtail: an audit-log shipping agent for WhatsApp gateways.
//!
//! The modules bear the names of the stages of a line's life; ARCHITECTURE.md
//! has the picture.

pub mod admin;
pub mod aws;
pub mod classify;
pub mod cli;
pub mod config;
pub mod decode;
pub mod disk;
pub mod fault;
pub mod frame;
pub mod journal;
pub mod json;
pub mod keygen;
pub mod kms;
pub mod line;
pub mod metrics;
pub mod pipeline;
pub mod read;
pub mod redact;
pub mod run;
pub mod sealer;
pub mod ship;
pub mod sink;
pub mod source;
pub mod store;
pub mod tail;
pub mod text;
