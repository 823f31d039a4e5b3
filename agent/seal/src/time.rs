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

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn known_dates() {
        assert_eq!(civil(0), (1970, 1, 1, 0));
        assert_eq!(civil(951_782_400), (2000, 2, 29, 0));
        assert_eq!(civil(1_795_341_599), (2026, 11, 22, 9));
        assert_eq!(civil(4_107_542_400), (2100, 3, 1, 0));
    }
}
