//! A JSON scanner that allocates nothing in steady state.
//!
//! [`Tape::parse`] checks one document against RFC 8259, strictly, and leaves
//! its structure on a tape of nodes that point into the text: no tree, no
//! `String`, every value losslessly there as the raw slice it was. Duplicate
//! keys stay duplicates, so that a reader can look at all of them.
//!
//! Refused: nesting deeper than [`MAX_DEPTH`], texts over 4 GiB, and whatever
//! RFC 8259 refuses (trailing commas, bare control characters, lone surrogate
//! escapes, numbers such as `01`). Input is `&str`: the caller settles invalid
//! UTF-8 first.

mod tape;
mod text;

pub use tape::{Kind, MAX_DEPTH, Node, ParseError, Tape};
pub use text::{escape_into, unescape_into};
