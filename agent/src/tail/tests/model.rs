//! A random writer against the tail: what was written is delivered once, in
//! order, or a gap was given for it.
