//! Points in time as the service keeps them: milliseconds since 1970 in UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use goldseal_verifier_core::time::Timestamp;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The clock of this machine. One that stands before 1970 reads as 1970, at which every list is from the future and
    /// is refused.
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    /// That many milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// A later point.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time since an earlier point; zero if it is a later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The second, for decisions about documents.
    pub fn timestamp(self) -> Timestamp {
        let seconds = u64::try_from(self.0 / 1_000).unwrap_or(0);
        Timestamp::from_unix(seconds).unwrap_or(Timestamp::MAX)
    }
}

/// `YYYY-MM-DDThh:mm:ssZ`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_those_of_the_format() {
        let time = Time::from_millis(1_767_323_045_999);
        assert_eq!(time.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(time.plus(Duration::from_millis(1)).to_string(), "2026-01-02T03:04:06Z");
        assert_eq!(time.since(time.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(time.plus(Duration::from_secs(1)).since(time), Duration::from_secs(1));
        assert_eq!(Time::from_millis(-1).timestamp(), Timestamp::MIN);
    }
}
