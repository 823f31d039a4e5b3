//! `limits` and what follows from them: how the memory is dealt out.

use super::convert::Check;
use super::feeds::Feed;
use super::quantity::{RawSize, Size, about};
use super::seal::Codec;
use super::sinks::Sinks;
use super::sources::FileSource;
use schemars::JsonSchema;
use serde::Deserialize;

/// The memory budget and its parts. What the parts say is what the stages get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The whole budget (`limits.memory`), without the program itself (its
    /// code, stacks and TLS: at most 16 MiB more). 16 MiB to 4 GiB.
    pub memory: Size,
    /// The chunk that is read: 256 KiB and one line.
    pub read_buffer: Size,
    /// What joiners and multi-line rules hold, all files together.
    pub joiners: Size,
    /// What is redacted and waits for its fsync.
    pub journal_block: Size,
    /// Compressor, sealer and what is sealed but not written.
    pub seal: Size,
    /// What uploads hold, all archives together.
    pub upload: Size,
    /// What batches of events hold, all Splunk and Datadog sinks together.
    pub feeds: Size,
    /// Bound of the dead letters on disk.
    pub dead_letters: Size,
}

/// Bodies of one Splunk or Datadog sink that are under way or wait for an
/// acknowledgement, in bytes.
pub const HELD: u64 = 2 << 20;

impl Limits {
    /// What is left of the budget: allocator slack, and the newest journal blocks.
    #[must_use]
    pub fn spare(&self) -> Size {
        Size::from_bytes(self.memory.bytes().saturating_sub(self.dealt_out()))
    }

    fn dealt_out(&self) -> u64 {
        [self.read_buffer, self.joiners, self.journal_block, self.seal, self.upload, self.feeds]
            .iter()
            .map(|s| s.bytes())
            .sum()
    }
}

/// Bounds of what the agent takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawLimits {
    /// Memory for all buffers together. 16MiB to 4GiB.
    memory: Option<RawSize>,
    /// Dead letters of all sinks, on disk; when they are full, a sink that refuses
    /// a record halts. 1MiB to 64GiB.
    dead_letters: Option<RawSize>,
}

const DEAD_LETTERS: (Size, Size) = (Size::mib(1), Size::mib(64 << 10));
const MEMORY: (Size, Size) = (Size::mib(16), Size::mib(4096));
const CHUNK: u64 = 256 << 10;

impl RawLimits {
    pub(super) fn convert(
        self,
        sources: Option<&[FileSource]>,
        codec: Option<Codec>,
        sinks: Option<&Sinks>,
        check: &mut Check<'_>,
    ) -> Option<Limits> {
        let memory = check.size_within("limits.memory", self.memory, MEMORY)?;
        let dead_letters =
            check.size_within("limits.dead_letters", self.dead_letters, DEAD_LETTERS)?;
        let archives = sinks.map_or(1, |s| s.archives.len());
        // A body, the record that is added to it, and the body compressed.
        let feed = |f: &Feed| 5 * f.batch.max_bytes as u64 / 4 + HELD;
        let feeds: u64 = sinks.iter().flat_map(|s| &s.feeds).map(feed).sum();
        let longest = sources?.iter().map(|s| s.max_line.bytes()).max()?;
        let limits = Limits {
            memory,
            read_buffer: Size::from_bytes(CHUNK + longest),
            joiners: Size::mib(8),
            // A block is committed at 1 MiB, or with the line that goes past it.
            journal_block: Size::from_bytes((2 << 20).max(2 * longest)),
            seal: Size::from_bytes(compressor(codec?) + 2 * CHUNK),
            upload: Size::from_bytes(2 * CHUNK * archives as u64),
            feeds: Size::from_bytes(feeds),
            dead_letters,
        };
        if limits.dealt_out() > memory.bytes() {
            let needed = Size::mib(limits.dealt_out().div_ceil(1 << 20));
            let what = format!("{memory} is too little: {needed} are needed ({})", parts(&limits));
            check.refuse("limits.memory", what, "raise it, or lower max_line or seal.level");
            return None;
        }
        Some(limits)
    }
}

fn parts(limits: &Limits) -> String {
    format!(
        "read buffer {}, joiners {}, journal block {}, seal {}, upload {}, events {}",
        about(limits.read_buffer),
        about(limits.joiners),
        about(limits.journal_block),
        about(limits.seal),
        about(limits.upload),
        about(limits.feeds)
    )
}

/// What a compressor holds, rounded up: zlib.h (`deflateInit2`) for gzip,
/// `ZSTD_estimateCStreamSize` for zstd.
fn compressor(codec: Codec) -> u64 {
    let mib = match codec {
        Codec::Gzip(_) | Codec::Zstd(..=2) => 2,
        Codec::Zstd(3..=5) => 6,
        Codec::Zstd(6..=8) => 16,
        Codec::Zstd(9..=12) => 48,
        Codec::Zstd(_) => 96,
    };
    mib << 20
}
