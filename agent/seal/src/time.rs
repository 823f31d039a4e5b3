//! The UTC calendar, as far as object keys need it.

/// Year, month, day and hour of a Unix time in seconds.
///
/// Days to civil date after Howard Hinnant's `civil_from_days`.
pub(crate) fn civil(unix_seconds: u64) -> (u64, u64, u64, u64) {
    let days = unix_seconds / 86_400;
    let hour = unix_seconds % 86_400 / 3600;
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, hour)
}

/// Whether there is such a day in the years 1970 to 9999.
pub(crate) fn is_day(year: u64, month: u64, day: u64) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1970..=9999).contains(&year) && (1..=days).contains(&day)
}

/// Exactly `width` decimal digits.
pub(crate) fn digits(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{civil, is_day};

    #[test]
    fn days_are_those_that_civil_gives() {
        let mut expected = 0;
        for year in 1970..2110 {
            for (month, day) in (0..14).flat_map(|m| (0..33).map(move |d| (m, d))) {
                if is_day(year, month, day) {
                    assert_eq!(civil(expected * 86_400), (year, month, day, 0));
                    expected += 1;
                }
            }
        }
        assert!(!is_day(1969, 12, 31) && !is_day(10_000, 1, 1));
    }

    #[test]
    fn known_dates() {
        assert_eq!(civil(0), (1970, 1, 1, 0));
        assert_eq!(civil(951_782_400), (2000, 2, 29, 0));
        assert_eq!(civil(1_795_341_599), (2026, 11, 22, 9));
        assert_eq!(civil(4_107_542_400), (2100, 3, 1, 0));
    }
}
