//! `sources`: which files are tailed, and how they are read.

use super::convert::Check;
use super::quantity::{RawDuration, RawSize, Size};
use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// One set of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Absolute globs (at least one); `*` does not cross a `/`, `**` does.
    pub include: Vec<Pattern>,
    /// Files that are left out: absolute globs match the path, others (without
    /// a `/`) the file's name.
    pub exclude: Vec<Pattern>,
    /// The container's framing.
    pub format: Format,
    /// Where a file begins that is seen for the first time.
    pub start_at: StartAt,
    /// Longest line; a longer one is split and marked. 1 KiB to 16 MiB.
    pub max_line: Size,
    /// How long the rest of a partial line is waited for. 100 ms to 1 h.
    pub partial_wait: Duration,
}

/// A glob that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The glob, for `globset` with `literal_separator`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The framing that a container runtime puts around each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    /// Decided for each file from its first lines.
    Auto,
    /// Docker's json-file.
    Docker,
    /// Kubernetes' CRI.
    Cri,
    /// Plain lines.
    Text,
    /// Lines that are JSON documents.
    Json,
}

/// Where a file begins that is seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StartAt {
    /// At its first byte.
    Beginning,
    /// At its end: what it held before is not shipped.
    End,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Type {
    /// Log files on this machine.
    File,
}

/// A set of log files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct RawSource {
    /// What kind of source this is.
    #[schemars(required)]
    r#type: Option<Type>,
    /// Absolute globs of the files; `*` does not cross a `/`, `**` does.
    #[schemars(required, extend("minItems" = 1, "examples" = [["/var/log/containers/wa-*.log"]]))]
    include: Option<Vec<Option<String>>>,
    /// Globs of files that are left out: absolute ones match the path, others the name.
    #[schemars(extend("examples" = [["*.gz"]]))]
    exclude: Option<Vec<Option<String>>>,
    /// The container's framing; `auto` decides for each file.
    format: Option<Format>,
    /// Where a file begins that is seen for the first time.
    start_at: Option<StartAt>,
    /// Longest line; a longer one is split and marked. 1KiB to 16MiB.
    max_line: Option<RawSize>,
    /// How long the rest of a partial line is waited for. 100ms to 1h.
    partial_wait: Option<RawDuration>,
}

pub(super) const MAX_LINE: (Size, Size) = (Size::from_bytes(1024), Size::mib(16));
const PARTIAL_WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));

pub(super) fn convert(
    raw: Option<Vec<Option<RawSource>>>,
    check: &mut Check<'_>,
) -> Option<Vec<FileSource>> {
    let raw = raw?;
    if raw.is_empty() {
        check.refuse(
            "sources",
            "there is no source",
            "name at least one, or delete `sources` to take the defaults",
        );
        return None;
    }
    let sources: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(n, source)| source?.convert(&format!("sources[{n}]"), check))
        .collect();
    sources.into_iter().collect()
}

impl RawSource {
    fn convert(self, path: &str, check: &mut Check<'_>) -> Option<FileSource> {
        let include = patterns(self.include, &format!("{path}.include"), true, check);
        let exclude = patterns(self.exclude, &format!("{path}.exclude"), false, check);
        let max_line = check.size_within(&format!("{path}.max_line"), self.max_line, MAX_LINE);
        let partial_wait =
            check.duration(&format!("{path}.partial_wait"), self.partial_wait, PARTIAL_WAIT);
        if include.as_ref().is_some_and(Vec::is_empty) {
            check.refuse(
                &format!("{path}.include"),
                "names no file",
                "write at least one glob: [\"/var/log/containers/wa-*.log\"]",
            );
            return None;
        }
        let Type::File = self.r#type?;
        Some(FileSource {
            include: include?,
            exclude: exclude?,
            format: self.format?,
            start_at: self.start_at?,
            max_line: max_line?,
            partial_wait: partial_wait?,
        })
    }
}

fn patterns(
    raw: Option<Vec<Option<String>>>,
    path: &str,
    absolute: bool,
    check: &mut Check<'_>,
) -> Option<Vec<Pattern>> {
    let patterns: Vec<_> = raw?
        .into_iter()
        .enumerate()
        .map(|(n, text)| pattern(text?, &format!("{path}[{n}]"), absolute, check))
        .collect();
    patterns.into_iter().collect()
}

fn pattern(text: String, path: &str, absolute: bool, check: &mut Check<'_>) -> Option<Pattern> {
    let shown = check.shown(path);
    if absolute && !text.starts_with('/') {
        let what = format!("`{shown}` is not absolute");
        check.refuse(path, what, "begin at the root: /var/log/containers/wa-*.log");
        return None;
    }
    if !absolute && !text.starts_with('/') && text.contains('/') {
        let what = format!("`{shown}` is neither a file's name nor absolute");
        check.refuse(path, what, "write *.gz to match names, or begin at the root");
        return None;
    }
    if text.split('/').any(|part| part == "..") {
        check.refuse(path, format!("`{shown}` climbs with `..`"), "write the folder itself");
        return None;
    }
    match GlobBuilder::new(&text).literal_separator(true).build() {
        Ok(_) if !text.is_empty() => Some(Pattern(text)),
        Ok(_) => {
            check.refuse(path, "is empty", "write a glob such as *.gz");
            None
        }
        Err(e) => {
            let what = format!("`{shown}` is not a glob: {}", e.kind());
            check.refuse(path, what, "a special character itself is written in brackets: [*]");
            None
        }
    }
}
