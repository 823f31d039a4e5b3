//! Durations and sizes as people write them: `30s`, `1h30m`, `16MiB`.
//!
//! A number always wears its unit: a bare `30` is refused, because nobody can
//! tell what it counts. Sizes are powers of 1024 with an `i` (KiB, MiB, GiB,
//! TiB) and powers of 1000 without (kB, MB, GB, TB), as IEC 80000-13 has it.

use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes.
    pub(super) const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    /// In the largest unit that needs no fraction: `16MiB`, `1500B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["TiB", "GiB", "MiB", "KiB"];
        for (unit, shift) in units.iter().zip([40, 30, 20, 10]) {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A size for a sentence: `1.25MiB`.
pub(super) fn about(size: Size) -> String {
    const MIB: u64 = 1 << 20;
    let (whole, hundredths) = (size.0 / MIB, size.0 % MIB * 100 / MIB);
    match (whole, hundredths) {
        (0, _) | (_, 0) => size.to_string(),
        (whole, part) => format!("{}MiB", format!("{whole}.{part:02}").trim_end_matches('0')),
    }
}

/// A size as it stands in the file, not read yet.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(
    inline,
    extend("pattern" = "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$", "examples" = ["16MiB"])
)]
pub(super) struct RawSize(pub(super) String);

/// A duration as it stands in the file, not read yet.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = "^([0-9]+(ms|s|m|h|d))+$", "examples" = ["30s", "5m"]))]
pub(super) struct RawDuration(pub(super) String);

/// Reads a size; the error says what is wrong.
pub(super) fn size(text: &str) -> Result<Size, Cow<'static, str>> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.trim_start_matches(' ') {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "" => return Err("a size needs its unit".into()),
        other => return Err(format!("`{other}` is no unit of size").into()),
    };
    number.checked_mul(factor).map(Size).ok_or_else(|| "that is too large".into())
}

/// Reads a duration; the error says what is wrong.
pub(super) fn duration(text: &str) -> Result<Duration, Cow<'static, str>> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, tail) = split(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err("a duration needs its unit".into()),
            other => return Err(format!("`{other}` is no unit of time").into()),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis);
        total = part.and_then(|p| total.checked_add(p)).ok_or("that is too long")?;
        rest = next;
    }
    Ok(total)
}

fn split(text: &str) -> Result<(u64, &str), Cow<'static, str>> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err("it has to begin with a whole number".into());
    }
    Ok((number.parse().map_err(|_| "that is too large")?, unit))
}

/// A duration as people write it: `1h30m`, `500ms`.
pub(super) fn spoken(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut out = String::new();
    for (unit, length) in
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        if left >= length {
            out.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0B", 0),
            ("16MiB", 16 << 20),
            ("1GiB", 1 << 30),
            ("1 KiB", 1024),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(size(text).unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "16", "MiB", "1.5GiB", "-1B", "16mib", "99999999999TiB", "16 MiB x"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(spoken(Duration::from_millis(ms)), text);
        }
        for text in ["", "30", "s", "1.5h", "5 m", "5min", "99999999999999999999s", "30s5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_without_fractions() {
        for text in ["16MiB", "1GiB", "1KiB", "0B", "1500B", "1025KiB"] {
            assert_eq!(size(text).unwrap().to_string(), text);
        }
        for (text, spoken) in [
            ("1280KiB", "1.25MiB"),
            ("32MiB", "32MiB"),
            ("512KiB", "512KiB"),
            ("2GiB", "2GiB"),
            ("1074KiB", "1.04MiB"),
        ] {
            assert_eq!(about(size(text).unwrap()), spoken);
        }
    }
}
