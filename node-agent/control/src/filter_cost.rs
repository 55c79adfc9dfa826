//! What the DNS forwarder adds to the time of its resolvers, and whether that is within the bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Times of one way, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencySummary {
    pub answered: usize,
    pub missed: usize,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
}

/// Both ways, measured in turn with the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterCost {
    /// By the forwarder, from the message of a pod to its answer.
    pub forwarder: LatencySummary,
    /// The same resolvers by the same exit, asked directly.
    pub upstream: LatencySummary,
}

impl LatencySummary {
    /// Times of answers; none: there was no answer.
    #[must_use]
    pub fn of(times: &[Option<Duration>]) -> Self {
        let mut answered: Vec<u64> = times
            .iter()
            .flatten()
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
            .collect();
        answered.sort_unstable();
        let percentile = |percent: usize| {
            let place = (answered.len() * percent).div_ceil(100).max(1) - 1;
            answered.get(place).copied().unwrap_or_default()
        };
        Self {
            answered: answered.len(),
            missed: times.len() - answered.len(),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
        }
    }
}

impl FilterCost {
    /// What the forwarder adds to the 99th percentile.
    #[must_use]
    pub const fn added(&self) -> Duration {
        Duration::from_micros(self.forwarder.p99.saturating_sub(self.upstream.p99))
    }

    /// Is that within the bound? Not where nothing was measured, or where the forwarder missed more than its resolvers did.
    #[must_use]
    pub fn holds(&self, bound: Duration) -> bool {
        let [forwarder, upstream] = [self.forwarder, self.upstream];
        forwarder.answered > 0
            && upstream.answered > 0
            && forwarder.missed <= upstream.missed
            && self.added() <= bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: impl IntoIterator<Item = u64>) -> Vec<Option<Duration>> {
        let times = milliseconds.into_iter();
        times.map(|one| Some(Duration::from_millis(one))).collect()
    }

    #[test]
    fn percentiles_are_of_the_answers_and_missed_ones_are_counted() {
        let mut hundred = times((1..=100).rev());
        hundred.push(None);
        let found = LatencySummary::of(&hundred);
        let wanted = LatencySummary {
            answered: 100,
            missed: 1,
            p50: 50_000,
            p95: 95_000,
            p99: 99_000,
        };
        assert_eq!(found, wanted);
        assert_eq!(LatencySummary::of(&[]), LatencySummary::default());
        assert_eq!(LatencySummary::of(&times([7])).p99, 7_000);
    }

    #[test]
    fn the_bound_is_about_what_the_forwarder_adds_and_holds_for_no_answers_at_all_never() {
        let bound = Duration::from_millis(50);
        let cost = |forwarder: &[Option<Duration>], upstream: &[Option<Duration>]| FilterCost {
            forwarder: LatencySummary::of(forwarder),
            upstream: LatencySummary::of(upstream),
        };
        assert!(cost(&times([250]), &times([200])).holds(bound));
        assert!(!cost(&times([251]), &times([200])).holds(bound));
        assert!(!cost(&[], &[]).holds(bound));
        assert!(!cost(&[None], &times([1])).holds(bound));
        let mut some = times([1]);
        some.push(None);
        assert!(!cost(&some, &times([1, 1])).holds(bound), "one was missed");
    }
}
