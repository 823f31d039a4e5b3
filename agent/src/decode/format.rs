//! Which framing a file's lines have, and how `auto` finds out.

use memchr::memchr;
use serde::de::IgnoredAny;

use super::{Part, cri, docker};
use crate::line::Stream;

/// The framing of a file's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Docker json-file records.
    Docker,
    /// CRI lines of Kubernetes runtimes.
    Cri,
    /// Plain text.
    Text,
    /// One JSON value a line; passed on like text.
    Json,
}

/// How many lines that are text or JSON settle a file as that under `auto`.
///
/// Until then a Docker or CRI line still decides it: a file that was cut by a
/// rotation can begin with the rest of a line.
const SETTLED: u8 = 16;

/// The format of one file: configured, or decided from its first lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatChoice {
    decided: Option<Format>,
    /// How many more lines may change the decision.
    open: u8,
}

impl FormatChoice {
    /// Decided by the file's first lines.
    #[must_use]
    pub fn auto() -> Self {
        Self { decided: None, open: SETTLED }
    }

    /// As the configuration says.
    #[must_use]
    pub fn fixed(format: Format) -> Self {
        Self { decided: Some(format), open: 0 }
    }

    /// What the file is taken for so far.
    #[must_use]
    pub fn format(self) -> Option<Format> {
        self.decided
    }

    /// As two bytes for a position.
    pub(crate) fn encode(self) -> [u8; 2] {
        let format = match self.decided {
            None => 0,
            Some(Format::Docker) => 1,
            Some(Format::Cri) => 2,
            Some(Format::Text) => 3,
            Some(Format::Json) => 4,
        };
        [format, self.open]
    }

    /// Reads [`FormatChoice::encode`]; `None` if it is none.
    pub(crate) fn decode([format, open]: [u8; 2]) -> Option<Self> {
        let decided = match format {
            0 => None,
            1 => Some(Format::Docker),
            2 => Some(Format::Cri),
            3 => Some(Format::Text),
            4 => Some(Format::Json),
            _ => return None,
        };
        (open <= SETTLED).then_some(Self { decided, open })
    }

    /// Takes the framing off a raw line; one that does not fit is text.
    pub(crate) fn part<'a>(&mut self, raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Part<'a> {
        if self.open > 0 {
            self.decide(raw, scratch);
        }
        let part = match self.decided {
            Some(Format::Docker) => docker::parse(raw, scratch),
            Some(Format::Cri) => cri::parse(raw),
            Some(Format::Text | Format::Json) | None => None,
        };
        part.unwrap_or(Part { text: raw, stream: Stream::None, time: None, more: false })
    }

    fn decide(&mut self, raw: &[u8], scratch: &mut Vec<u8>) {
        if raw.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if docker::parse(raw, scratch).is_some() {
            *self = Self::fixed(Format::Docker);
        } else if cri::parse(raw).is_some() {
            *self = Self::fixed(Format::Cri);
        } else {
            self.open -= 1;
            if self.decided.is_none() {
                let json = memchr(b'{', raw).is_some()
                    && serde_json::from_slice::<IgnoredAny>(raw).is_ok();
                self.decided = Some(if json { Format::Json } else { Format::Text });
            }
        }
    }
}
