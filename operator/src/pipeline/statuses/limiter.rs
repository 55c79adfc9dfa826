//! At most one write a second for each object. Pure: it is given the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Who was written when.
#[derive(Debug)]
pub struct Limiter<K> {
    period: Duration,
    last: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Limiter<K> {
    /// One write of each key in `period`.
    #[must_use]
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            last: BTreeMap::new(),
        }
    }

    /// May it be written now? Then that counts as a write.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        if let Some(last) = self.last.get(key) {
            let passed = now.saturating_duration_since(*last);
            if passed < self.period {
                return Err(self.period - passed);
            }
        }
        self.last.insert(key.clone(), now);
        Ok(())
    }

    /// Forgets writes that limit nothing any more.
    pub fn forget(&mut self, now: Instant) {
        let period = self.period;
        self.last
            .retain(|_, last| now.saturating_duration_since(*last) < period);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Limiter;

    #[test]
    fn each_object_is_written_at_most_once_in_a_period() {
        let mut limiter = Limiter::new(Duration::from_secs(1));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(limiter.admit(&"a", at(0)), Ok(()));
        assert_eq!(
            limiter.admit(&"a", at(300)),
            Err(Duration::from_millis(700))
        );
        assert_eq!(limiter.admit(&"b", at(300)), Ok(()));
        assert_eq!(limiter.admit(&"a", at(1000)), Ok(()));
        limiter.forget(at(1999));
        assert_eq!(limiter.admit(&"a", at(1999)), Err(Duration::from_millis(1)));
        limiter.forget(at(5000));
        assert!(limiter.last.is_empty());
    }
}
