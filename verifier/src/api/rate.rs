//! How often somebody may ask: a bucket of tokens for each, filled at a steady rate.
//!
//! Promises: bounded memory, whoever asks. Does not promise fairness between those who share a credential or an address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Most buckets: so many addresses or credentials at once, in less than a megabyte.
const MAX_BUCKETS: usize = 4_096;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// A bucket for each key.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// What a token costs, in millionths: the time between two is counted in microseconds.
const TOKEN: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    millionths: u64,
    at: Instant,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// Buckets that are full at first.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.with(key, now, |bucket| match bucket.millionths.checked_sub(TOKEN) {
            Some(left) => {
                bucket.millionths = left;
                Ok(())
            }
            None => Err(self.wait(bucket)),
        })
    }

    /// Whether there is one, without taking it.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.with(key, now, |bucket| if bucket.millionths < TOKEN { Err(self.wait(bucket)) } else { Ok(()) })
    }

    fn wait(&self, bucket: &Bucket) -> Duration {
        let missing = TOKEN.saturating_sub(bucket.millionths);
        Duration::from_micros(missing.div_ceil(u64::from(self.rate.per_second.max(1))))
    }

    fn with<T>(&self, key: &K, now: Instant, work: impl FnOnce(&mut Bucket) -> T) -> T {
        // A panic elsewhere leaves buckets that are still numbers.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(key) {
            let full = self.full();
            buckets.retain(|_, bucket| self.filled(bucket, now) < full);
            // All are in use: the fullest has the least to lose.
            let fullest = buckets.iter().max_by_key(|(_, bucket)| self.filled(bucket, now));
            if let Some(key) = fullest.map(|(key, _)| key.clone()).filter(|_| buckets.len() >= MAX_BUCKETS) {
                buckets.remove(&key);
            }
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { millionths: self.full(), at: now });
        *bucket = Bucket { millionths: self.filled(bucket, now), at: now };
        work(bucket)
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst.max(1)).saturating_mul(TOKEN)
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.saturating_duration_since(bucket.at).as_micros()).unwrap_or(u64::MAX);
        let added = elapsed.saturating_mul(u64::from(self.rate.per_second));
        bucket.millionths.saturating_add(added).min(self.full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let limiter = Limiter::new(Rate { per_second: 2, burst: 3 });
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(limiter.take(&"a", start), Ok(()));
        }
        assert_eq!(limiter.take(&"a", start), Err(Duration::from_millis(500)));
        assert_eq!(limiter.look(&"a", at(499)), Err(Duration::from_millis(1)));
        assert_eq!((limiter.look(&"a", at(500)), limiter.take(&"a", at(500))), (Ok(()), Ok(())));
        assert_eq!(limiter.take(&"a", at(500)), Err(Duration::from_millis(500)));
        // Another one's bucket is another.
        assert_eq!(limiter.take(&"b", start), Ok(()));
        // Never more than the burst.
        for _ in 0..3 {
            assert_eq!(limiter.take(&"a", at(3_600_000)), Ok(()));
        }
        assert!(limiter.take(&"a", at(3_600_000)).is_err());
    }

    #[test]
    fn many_keys_take_no_more_room() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 2 });
        let now = Instant::now();
        // Whoever has used up theirs is not forgotten for newcomers.
        assert!(limiter.take(&0, now).is_ok() && limiter.take(&0, now).is_ok());
        for key in 1..3 * MAX_BUCKETS {
            assert_eq!(limiter.take(&key, now), Ok(()));
        }
        assert_eq!(limiter.buckets.lock().unwrap().len(), MAX_BUCKETS);
        assert!(limiter.take(&0, now).is_err());
    }
}
