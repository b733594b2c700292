//! How long to wait before the next attempt: longer each time, and not the same on all machines, which may have lost the
//! same registrar in the same second.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Before the second attempt.
const FIRST: Duration = Duration::from_secs(1);

/// Never longer: a registrar that comes back has all its machines after so long.
const LONGEST: Duration = Duration::from_secs(300);

/// The delays between attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    delay: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { delay: FIRST }
    }

    /// The next delay.
    pub(super) fn next(&mut self) -> Duration {
        let mut random = [0; 2];
        // Without randomness machines come at the same time, which is no reason not to come.
        let random = SystemRandom::new().fill(&mut random).map(|()| u16::from_be_bytes(random));
        self.next_of(random.unwrap_or(u16::MAX))
    }

    /// From half of the delay up to all of it.
    fn next_of(&mut self, random: u16) -> Duration {
        let half = self.delay / 2;
        let delay = half + half * u32::from(random) / u32::from(u16::MAX);
        self.delay = (self.delay * 2).min(LONGEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit() {
        let delays = |random| {
            let mut backoff = Backoff::new();
            (0..12).map(|_| backoff.next_of(random).as_millis()).collect::<Vec<_>>()
        };
        let longest = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300];
        assert_eq!(delays(u16::MAX), longest.map(|seconds| seconds * 1000));
        assert_eq!(delays(0), longest.map(|seconds| seconds * 500));
    }

    #[test]
    fn machines_do_not_come_at_once() {
        let delays: std::collections::BTreeSet<_> = (0..64).map(|_| Backoff::new().next()).collect();
        assert!(delays.len() > 16 && delays.iter().all(|delay| (FIRST / 2..=FIRST).contains(delay)));
    }
}
