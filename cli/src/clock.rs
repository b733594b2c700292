//! The time of this machine, asked in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use goldseal_verifier_core::time::Timestamp;

use crate::failure::Failure;

/// Now.
///
/// # Errors
/// `usage`, if the clock stands before 1970 or after 9999.
pub fn now() -> Result<Timestamp, Failure> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|elapsed| elapsed.as_secs());
    seconds
        .and_then(Timestamp::from_unix)
        .ok_or_else(|| Failure::usage("the clock of this machine is not set", "set it with `date -u -s TIME`"))
}

/// When a list made now is said to be created: `SOURCE_DATE_EPOCH` (reproducible-builds.org), else now.
///
/// # Errors
/// `usage`, if the variable is no number of seconds, or as [`now`].
pub fn created() -> Result<Timestamp, Failure> {
    let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") else { return now() };
    let seconds = epoch.to_str().and_then(|text| text.parse().ok()).and_then(Timestamp::from_unix);
    seconds.ok_or_else(|| {
        Failure::usage(
            "SOURCE_DATE_EPOCH is not a number of seconds since 1970",
            "unset it, or set it to the output of `date +%s`",
        )
    })
}
