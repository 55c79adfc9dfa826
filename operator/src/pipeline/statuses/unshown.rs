//! Intents that were decided and that the watch does not show: their write is refused, or is kept back. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::pipeline::object_key::ObjectKey;

/// How long a publication may take before the status of what is still there mentions it.
const IN_PUBLICATION: Duration = Duration::from_secs(30);

/// Since when the same serial is shown while another one is decided. A decision that is repeated has a new serial each
/// time, so the time of a decision does not tell for how long publications fail.
#[derive(Debug, Default)]
pub(super) struct UnshownStatuses(BTreeMap<ObjectKey, UnshownStatus>);

#[derive(Debug)]
struct UnshownStatus {
    shown: Option<u64>,
    since: Instant,
}

impl UnshownStatuses {
    /// What is decided is shown, or the object is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// This serial is shown, and another one is decided. After what time that is worth a status.
    pub(super) fn rest(&mut self, key: &ObjectKey, shown: Option<u64>, now: Instant) -> Duration {
        let waiting = self
            .0
            .entry(key.clone())
            .or_insert(UnshownStatus { shown, since: now });
        if waiting.shown != shown {
            *waiting = UnshownStatus { shown, since: now };
        }
        IN_PUBLICATION.saturating_sub(now.saturating_duration_since(waiting.since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::UnshownStatuses;
    use crate::pipeline::object_key::ObjectKey;

    #[test]
    fn a_publication_that_fails_for_half_a_minute_is_overdue_and_one_that_goes_on_never_is() {
        let key = ObjectKey::cluster("NodeIntent/status", "n1");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut unshown = UnshownStatuses::default();
        assert_eq!(unshown.rest(&key, Some(1), at(0)), Duration::from_secs(30));
        assert_eq!(unshown.rest(&key, Some(1), at(20)), Duration::from_secs(10));
        // Another serial is shown: publications arrive.
        assert_eq!(unshown.rest(&key, Some(2), at(25)), Duration::from_secs(30));
        assert_eq!(unshown.rest(&key, Some(2), at(55)), Duration::ZERO);
        unshown.forget(&key);
        assert_eq!(unshown.rest(&key, Some(2), at(60)), Duration::from_secs(30));
    }
}
