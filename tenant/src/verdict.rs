//! How a machine stands, as an exit code; and waiting for its first verdict.

use std::time::{Duration, Instant};

use goldseal_cli::failure::{Exit, Failure};
use goldseal_cli::report::Outcome;
use serde_json::Value;

use crate::answers::Details;
use crate::client::{Client, escape};

/// How often a verdict is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// The exit code and reason for a state.
pub fn outcome(state: &str) -> Outcome {
    match state {
        "accepted" => Outcome::done(),
        "failed" => Outcome::new(Exit::No, "rejected"),
        "stale-policy" => Outcome::new(Exit::Stale, "stale"),
        _ => Outcome::new(Exit::Input, "no-verdict"),
    }
}

/// The worst of several: failed, then no verdict, then stale, then accepted.
pub fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let rank = |exit: Exit| match exit {
        Exit::No => 0,
        Exit::Usage | Exit::Input => 1,
        Exit::Stale => 2,
        Exit::Done => 3,
    };
    outcomes.into_iter().min_by_key(|outcome| rank(outcome.exit)).unwrap_or_else(Outcome::done)
}

/// Asks how a machine stands until there is a verdict, or the time is over; the last answer.
///
/// # Errors
/// [`Failure`], exit 3.
pub fn wait(client: &Client, uuid: &str, until: Instant) -> Result<(Value, Details), Failure> {
    loop {
        let answer = client.get(&format!("/v1/agents/{}", escape(uuid.as_bytes())))?;
        let details: Details = client.understand(&answer)?;
        let now = Instant::now();
        if outcome(&details.agent.state).reason != "no-verdict" || now >= until {
            return Ok((answer, details));
        }
        std::thread::sleep(LOOK.min(until.saturating_duration_since(now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_is_success() {
        for (state, exit, reason) in [
            ("accepted", Exit::Done, "ok"),
            ("failed", Exit::No, "rejected"),
            ("stale-policy", Exit::Stale, "stale"),
            ("attesting", Exit::Input, "no-verdict"),
            ("unreachable", Exit::Input, "no-verdict"),
            ("lagging", Exit::Input, "no-verdict"),
            ("no-policy", Exit::Input, "no-verdict"),
            ("ACCEPTED", Exit::Input, "no-verdict"),
            ("", Exit::Input, "no-verdict"),
        ] {
            let found = outcome(state);
            assert_eq!((found.exit, found.reason), (exit, reason), "{state}");
        }
        assert_eq!(worst(["accepted", "stale-policy", "unreachable", "failed"].map(outcome)).exit, Exit::No);
        assert_eq!(worst(["accepted", "stale-policy", "unreachable"].map(outcome)).exit, Exit::Input);
        assert_eq!(worst(["accepted", "stale-policy"].map(outcome)).exit, Exit::Stale);
    }
}
