//! How a machine stands, and what may follow what. Pure: an event and a state give a state.
//!
//! ```text
//! registered ──provisioned──▶ attesting ──appraised──▶ accepted | stale-policy | lagging | failed
//! provisioned ──registered──▶ attesting ──────────────▶ unreachable | no-policy
//! ```
//!
//! Promises: only an appraisal leads to `accepted` or `stale-policy`, and nothing that a poll finds leads out of `failed` but a
//! new boot. Does not promise that a machine which is asked is good: that is what `attesting` says.

use std::fmt;

/// How a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its TPM proved that it holds its AK. Nobody asked for it to be polled.
    Registered,
    /// The tenant asked for it to be polled. It has not registered yet.
    Provisioned,
    /// It is asked, and there is no verdict yet: a first quote, a new policy, a new boot, or a reactivation.
    Attesting,
    /// Everything that its last quote confirms is allowed.
    Accepted,
    /// The same, by a list that is past its expiry.
    StalePolicy,
    /// What its last quote confirms is allowed, and leaves out entries that an earlier answer had shown.
    Lagging,
    /// It does not answer, or answers nothing that could be a quote. There is no verdict.
    Unreachable,
    /// Rejected, or not to be believed. It stays so until it is reactivated, gets another policy, or boots anew.
    Failed,
    /// Its list no longer verifies, and judges nothing.
    NoPolicy,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Registered,
        Self::Provisioned,
        Self::Attesting,
        Self::Accepted,
        Self::StalePolicy,
        Self::Lagging,
        Self::Unreachable,
        Self::Failed,
        Self::NoPolicy,
    ];

    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Provisioned => "provisioned",
            Self::Attesting => "attesting",
            Self::Accepted => "accepted",
            Self::StalePolicy => "stale-policy",
            Self::Lagging => "lagging",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::NoPolicy => "no-policy",
        }
    }

    /// The state of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether it is polled, so that what a poll finds may follow.
    pub const fn is_polled(self) -> bool {
        !matches!(self, Self::Registered | Self::Provisioned)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its TPM proved that it holds its AK.
    Registered,
    /// The tenant asked for it to be polled.
    Provisioned,
    /// An appraisal accepted it.
    Accepted,
    /// The same by a stale list.
    AcceptedStale,
    /// The same, and the quote does not cover what was seen before.
    Lagging,
    /// It lagged for longer than it may.
    LaggedTooLong,
    /// An appraisal rejected it.
    Rejected,
    /// Its quote or its measurement list cannot be believed.
    Disbelieved,
    /// It does not answer.
    Unreachable,
    /// A believed quote is of another boot than the last.
    NewBoot,
    /// Its list no longer verifies.
    PolicyLost,
    /// The tenant gave it a list.
    PolicyAssigned,
    /// The tenant asked for it to be polled again.
    Reactivated,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Registered,
        Self::Provisioned,
        Self::Accepted,
        Self::AcceptedStale,
        Self::Lagging,
        Self::LaggedTooLong,
        Self::Rejected,
        Self::Disbelieved,
        Self::Unreachable,
        Self::NewBoot,
        Self::PolicyLost,
        Self::PolicyAssigned,
        Self::Reactivated,
    ];

    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Provisioned => "provisioned",
            Self::Accepted => "accepted",
            Self::AcceptedStale => "accepted-stale",
            Self::Lagging => "lagging",
            Self::LaggedTooLong => "lagged-too-long",
            Self::Rejected => "rejected",
            Self::Disbelieved => "disbelieved",
            Self::Unreachable => "unreachable",
            Self::NewBoot => "new-boot",
            Self::PolicyLost => "policy-lost",
            Self::PolicyAssigned => "policy-assigned",
            Self::Reactivated => "reactivated",
        }
    }

    /// The event of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.word() == word)
    }
}

/// The state after an event.
///
/// # Errors
/// [`Illegal`]: the event cannot happen there.
pub const fn next(state: State, event: Event) -> Result<State, Illegal> {
    match (state, event) {
        (State::Provisioned, Event::Registered) | (State::Registered, Event::Provisioned) => Ok(State::Attesting),
        // It has a list and no AK: still nothing to ask.
        (State::Provisioned, Event::PolicyAssigned | Event::Reactivated) => Ok(State::Provisioned),
        (State::Registered | State::Provisioned, _) | (_, Event::Registered | Event::Provisioned) => {
            Err(Illegal { state, event })
        }
        (_, Event::PolicyAssigned | Event::Reactivated | Event::NewBoot) => Ok(State::Attesting),
        // A failed machine stays one, whatever else goes wrong.
        (State::Failed, Event::Rejected | Event::Disbelieved | Event::Unreachable | Event::PolicyLost) => {
            Ok(State::Failed)
        }
        (State::Failed, Event::Accepted | Event::AcceptedStale | Event::Lagging | Event::LaggedTooLong) => {
            Err(Illegal { state, event })
        }
        (_, Event::Accepted) => Ok(State::Accepted),
        (_, Event::AcceptedStale) => Ok(State::StalePolicy),
        (_, Event::Lagging) => Ok(State::Lagging),
        (_, Event::Rejected | Event::Disbelieved | Event::LaggedTooLong) => Ok(State::Failed),
        (_, Event::Unreachable) => Ok(State::Unreachable),
        (_, Event::PolicyLost) => Ok(State::NoPolicy),
    }
}

/// An event that cannot happen to a machine that stands so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// How it stands.
    pub state: State,
    /// The event.
    pub event: Event,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot follow on {}", self.event.word(), self.state.word())
    }
}

impl std::error::Error for Illegal {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for each state, a column for each event in the order of [`Event::ALL`]: the state after it, or `-`.
    const TABLE: &str = "
                 regist provis accept stale  lagging toolong reject disbel unreach newboot lost   assign react
    registered   -      attes  -      -      -       -       -      -      -       -       -      -      -
    provisioned  attes  -      -      -      -       -       -      -      -       -       -      prov   prov
    attesting    -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    accepted     -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    stale-policy -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    lagging      -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    unreachable  -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    failed       -      -      -      -      -       -       fail   fail   fail    attes   fail   attes  attes
    no-policy    -      -      accept stale  lagg    fail    fail   fail   unreach attes   no-pol attes  attes
    ";

    #[test]
    fn every_event_in_every_state() {
        let rows: Vec<Vec<&str>> = TABLE.trim().lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), State::ALL.len());
        for (row, state) in rows.iter().zip(State::ALL) {
            assert_eq!((row[0], row.len()), (state.word(), 1 + Event::ALL.len()));
            for (expected, event) in row[1..].iter().zip(Event::ALL) {
                match next(state, event) {
                    Ok(next) => assert!(
                        *expected != "-" && next.word().starts_with(expected),
                        "{state} {event:?}: {next}, expected {expected}"
                    ),
                    Err(illegal) => {
                        assert_eq!(*expected, "-", "{illegal}");
                        assert_eq!(illegal, Illegal { state, event });
                    }
                }
            }
        }
    }

    #[test]
    fn words_are_told_apart() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.word()), Some(state));
        }
        for event in Event::ALL {
            assert_eq!(Event::from_word(event.word()), Some(event));
        }
        assert_eq!((State::from_word("good"), Event::from_word("")), (None, None));
    }
}
