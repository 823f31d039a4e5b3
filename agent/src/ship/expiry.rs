//! When a destination's certificate ends: an audit trail that stops because nobody
//! renewed a certificate is told of a month before.

/// How many days before its end a certificate is warned of.
pub const WARN_DAYS: i64 = 30;

/// When the certificate (DER) ends, Unix seconds. `None` when it cannot be read.
#[must_use]
pub fn ends(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// Days until the certificate (DER) ends, at Unix ms `now`; negative when it has
/// ended. `None` when it cannot be read.
#[must_use]
pub fn days_left(certificate: &[u8], now: u64) -> Option<i64> {
    let now = i64::try_from(now / 1000).ok()?;
    Some((ends(certificate)? - now).div_euclid(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_certificate() {
        for bytes in [&b""[..], b"x", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 100]] {
            assert_eq!(days_left(bytes, 0), None);
        }
    }
}
