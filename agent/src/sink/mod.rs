//! Where records go: one module a kind of destination.

pub mod archive;
pub mod cursor;
