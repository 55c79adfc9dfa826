//! When an object whose write failed is written again. Each object has its own time, so that one that the API server
//! refuses keeps no other waiting. Pure: it is given the time and a random number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_apiserver::Pace;

use super::object_key::ObjectKey;

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait: a refused write may succeed as soon as a right or a webhook is corrected.
const LONGEST: Duration = Duration::from_secs(30);

/// After what time an object that nobody tries to write any more is forgotten, which is longer than any wait.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// The objects whose last write failed.
#[derive(Debug, Default)]
pub struct WriteBackoff {
    failed: BTreeMap<ObjectKey, FailedWrite>,
}

#[derive(Debug)]
struct FailedWrite {
    pace: Pace,
    until: Instant,
}

impl WriteBackoff {
    /// Whether an object may be written now.
    #[must_use]
    pub fn is_due(&self, key: &ObjectKey, now: Instant) -> bool {
        self.failed.get(key).is_none_or(|write| write.until <= now)
    }

    /// A write of the object failed: it is left alone for a while.
    pub fn failed(&mut self, key: &ObjectKey, now: Instant, random: u32) {
        let write = self
            .failed
            .entry(key.clone())
            .or_insert_with(|| FailedWrite {
                pace: Pace::new(FIRST, LONGEST),
                until: now,
            });
        write.until = now + write.pace.failed(random);
    }

    /// A write of the object succeeded, or what was written is not wanted any more.
    pub fn succeeded(&mut self, key: &ObjectKey) {
        self.failed.remove(key);
    }

    /// After what time the next object may be written again; none: no object waits.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let waits = self
            .failed
            .values()
            .map(|write| write.until.saturating_duration_since(now))
            .filter(|wait| !wait.is_zero());
        waits.min()
    }

    /// How many objects are left alone, after those that nobody tried to write for long are forgotten.
    pub fn waiting(&mut self, now: Instant) -> usize {
        self.failed
            .retain(|_, write| now.saturating_duration_since(write.until) < FORGOTTEN);
        self.failed.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LONGEST, ObjectKey, WriteBackoff};

    #[test]
    fn an_object_whose_write_failed_waits_longer_each_time_and_no_other_object_waits() {
        let (mut backoff, start) = (WriteBackoff::default(), Instant::now());
        let (refused, other) = (
            ObjectKey::cluster("Node", "n1"),
            ObjectKey::cluster("NodeIntent", "n1"),
        );
        backoff.failed(&refused, start, 0);
        let first = backoff.next(start).expect("a wait");
        assert!(!backoff.is_due(&refused, start));
        assert!(backoff.is_due(&other, start), "another object waits");
        assert!(backoff.is_due(&refused, start + first));
        backoff.failed(&refused, start + first, 0);
        let second = backoff.next(start + first).expect("a wait");
        assert!(second > first, "{second:?} after {first:?}");
        for _ in 0..20 {
            backoff.failed(&refused, start, u32::MAX);
        }
        let wait = backoff.next(start).expect("a wait");
        assert!(wait <= LONGEST + LONGEST / 4, "{wait:?}");
        assert_eq!(backoff.waiting(start), 1);
    }

    #[test]
    fn a_write_that_succeeds_starts_again_with_the_shortest_wait() {
        let (mut backoff, start) = (WriteBackoff::default(), Instant::now());
        let key = ObjectKey::cluster("Node", "n1");
        for _ in 0..5 {
            backoff.failed(&key, start, 0);
        }
        backoff.succeeded(&key);
        assert!(backoff.is_due(&key, start));
        assert_eq!(backoff.next(start), None);
        backoff.failed(&key, start, 0);
        assert!(backoff.next(start) < Some(Duration::from_secs(1)));
    }

    #[test]
    fn an_object_that_nobody_writes_any_more_is_forgotten() {
        let (mut backoff, start) = (WriteBackoff::default(), Instant::now());
        backoff.failed(&ObjectKey::cluster("Node", "gone"), start, 0);
        assert_eq!(backoff.waiting(start + Duration::from_secs(400)), 0);
    }
}
