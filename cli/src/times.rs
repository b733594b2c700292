//! Times as people type them: `never`, a time, or a number of days from now.

use goldseal_verifier_core::header::Expiry;
use goldseal_verifier_core::time::Timestamp;

use crate::failure::Failure;
use crate::printable::Printable;

/// `never`, or as [`parse_time`]; later than `now`. `option` is what messages call it.
///
/// # Errors
/// `usage`.
pub fn parse_expiry(option: &str, typed: &str, now: Timestamp) -> Result<Expiry, Failure> {
    if typed == "never" {
        return Ok(Expiry::Never);
    }
    parse_time(typed, now).filter(|time| *time > now).map(Expiry::At).ok_or_else(|| {
        Failure::usage(
            format!("{option} {} is not a time after {now}", Printable(typed.as_bytes())),
            "use never, a time such as 2027-05-23T00:00:00Z, or a number of days such as 90d",
        )
    })
}

/// A time such as 2027-05-23T00:00:00Z, or a number of days from now, such as 90d.
pub fn parse_time(typed: &str, now: Timestamp) -> Option<Timestamp> {
    let digits = typed.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|days| days.parse::<u32>().ok()) {
        Some(days) => now.plus_seconds(u64::from(days) * 86_400),
        None => Timestamp::parse(typed.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_ahead_is_an_expiry() {
        let time = |text: &str| Timestamp::parse(text.as_bytes()).unwrap();
        let now = time("2026-01-02T03:04:05Z");
        let expiry = |typed| parse_expiry("--expires", typed, now).ok();
        assert_eq!(expiry("never"), Some(Expiry::Never));
        assert_eq!(expiry("2026-01-02T03:04:06Z"), Some(Expiry::At(time("2026-01-02T03:04:06Z"))));
        assert_eq!(expiry("90d"), Some(Expiry::At(time("2026-04-02T03:04:05Z"))));
        for bad in ["2026-01-02T03:04:05Z", "0d", "d", "-1d", "+1d", "90", "", "4294967296d", "99999999d", "Never"] {
            assert_eq!(expiry(bad), None, "{bad}");
        }
    }
}
