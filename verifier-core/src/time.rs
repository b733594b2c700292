//! Points in time as the format writes them. The clock itself is the caller's: time is an argument everywhere.

use std::fmt;

/// A second in UTC between 1970 and 9999, written `YYYY-MM-DDThh:mm:ssZ` (RFC 3339, this one form only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

const SECONDS_PER_DAY: u64 = 86_400;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);

    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted; `None` after [`Timestamp::MAX`].
    pub fn from_unix(seconds: u64) -> Option<Self> {
        (seconds <= Self::MAX.0).then_some(Self(seconds))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix(self) -> u64 {
        self.0
    }

    /// The point `seconds` later; `None` after [`Timestamp::MAX`].
    pub fn plus_seconds(self, seconds: u64) -> Option<Self> {
        self.0.checked_add(seconds).and_then(Self::from_unix)
    }

    /// Reads exactly `YYYY-MM-DDThh:mm:ssZ`, a date that exists, from 1970 on.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2, b'Z'] = text
        else {
            return None;
        };
        let [year, month, day] = [number(&[*y1, *y2, *y3, *y4])?, number(&[*mo1, *mo2])?, number(&[*d1, *d2])?];
        let [hour, minute, second] = [number(&[*h1, *h2])?, number(&[*mi1, *mi2])?, number(&[*s1, *s2])?];
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_from_civil(year, month, day)?;
        let of_day = hour.checked_mul(3_600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
        Self::from_unix(days.checked_mul(SECONDS_PER_DAY)?.checked_add(of_day)?)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.0 / SECONDS_PER_DAY, self.0 % SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> Option<u64> {
    let days = MONTH_DAYS.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    days.checked_add(u64::from(month == 2 && is_leap(year)))
}

/// Days before 1 January of `year`, counted from the year 0 of the proleptic Gregorian calendar.
fn days_before(year: u64) -> Option<u64> {
    let last = year.checked_sub(1)?;
    let leap_days = (last / 4).checked_sub(last / 100)?.checked_add(last / 400)?;
    year.checked_mul(365)?.checked_add(leap_days)
}

/// Days from 1970-01-01 to a date; `None` if there is no such date, or it lies before.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if day == 0 || day > month_days(year, month)? {
        return None;
    }
    let whole_years = days_before(year)?.checked_sub(days_before(1970)?)?;
    (1..month).try_fold(whole_years.checked_add(day.checked_sub(1)?)?, |days, month| {
        days.checked_add(month_days(year, month)?)
    })
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // At most two years off, since the mean year has 365.2425 days: the loop below settles it.
    let mut year = (days / 366).saturating_add(1970);
    while days_from_civil(year.saturating_add(1), 1, 1).is_some_and(|start| start <= days) {
        year = year.saturating_add(1);
    }
    let mut rest = days.saturating_sub(days_from_civil(year, 1, 1).unwrap_or(days));
    for month in 1..12 {
        match rest.checked_sub(month_days(year, month).unwrap_or(31)) {
            Some(beyond) => rest = beyond,
            None => return (year, month, rest.saturating_add(1)),
        }
    }
    (year, 12, rest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -u -d @N +%FT%TZ` prints them.
    const KNOWN: [(u64, &str); 8] = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_732_406_400, "2024-11-24T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_798_761_599, "2026-12-31T23:59:59Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ];

    #[test]
    fn agrees_with_date() {
        for (seconds, text) in KNOWN {
            assert_eq!(Timestamp::from_unix(seconds).map(|time| time.to_string()).as_deref(), Some(text));
            assert_eq!(Timestamp::parse(text.as_bytes()).map(Timestamp::unix), Some(seconds));
        }
        assert_eq!(Timestamp::from_unix(253_402_300_800), None);
    }

    #[test]
    fn every_day_survives_print_and_parse() {
        for day in (0..Timestamp::MAX.0 / SECONDS_PER_DAY).step_by(13) {
            let time = Timestamp(day.saturating_mul(SECONDS_PER_DAY).saturating_add(day % SECONDS_PER_DAY));
            assert_eq!(Timestamp::parse(time.to_string().as_bytes()), Some(time));
        }
    }

    #[test]
    fn other_spellings_and_dates_that_do_not_exist_are_refused() {
        for bad in [
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+00:00",
            "2026-1-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(Timestamp::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
