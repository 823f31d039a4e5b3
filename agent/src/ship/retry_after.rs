//! The `Retry-After` header (RFC 9110, 10.2.3): seconds, or a date.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use std::time::{Duration, SystemTime};

/// How long the server asks to be left alone, measured from `now`. A date in
/// the past is nothing; what cannot be understood is `None`.
#[must_use]
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit: as long as can be.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds(value)?);
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Unix seconds of an HTTP date (RFC 9110, 5.6.7).
#[must_use]
pub fn unix_seconds(value: &str) -> Option<u64> {
    let date = DateTime::from_str(value.trim(), Format::HttpDate).ok()?;
    u64::try_from(date.secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let secs = |n| Some(Duration::from_secs(n));
        assert_eq!(parse("120", now), secs(120));
        assert_eq!(parse(" 0 ", now), secs(0));
        assert_eq!(parse("99999999999999999999999", now), secs(u64::MAX));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:47 GMT", now), secs(10));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT", now), secs(0));
        for bad in ["", "-1", "1.5", "soon", "Sun, 99 Nov 1994 08:49:47 GMT"] {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
    }
}
