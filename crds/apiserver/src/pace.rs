//! How long to wait after a failure: longer each time, not all at the same moment. Pure: the random number is given.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Pace {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Pace {
    /// Waits from `first` to `longest`, doubling.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// It went well: the next failure waits for the first time again.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait. `random` is any number; a quarter of the wait hangs on it.
    pub fn failed(&mut self, random: u32) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(self.longest);
        // Between three and five quarters, so that two who failed together do not come back together.
        let part = wait / 512 * (random % 256);
        (wait - wait / 4 + part).min(self.longest + self.longest / 4)
    }

    /// How often it failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// A number that nobody foresees, for [`Pace::failed`] and the lease's jitter; 0 where the system gives none.
#[must_use]
pub fn random_number() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn waits_grow_to_a_bound_and_start_again_when_it_went_well() {
        let mut pace = Pace::new(Duration::from_millis(512), Duration::from_secs(8));
        let waits: Vec<u128> = (0..6).map(|_| pace.failed(128).as_millis()).collect();
        assert_eq!(waits, [512, 1024, 2048, 4096, 8000, 8000]);
        pace.succeeded();
        assert_eq!(pace.failed(128).as_millis(), 512);
    }

    #[test]
    fn luck_moves_a_wait_by_a_quarter() {
        let wait = |random_number| {
            Pace::new(Duration::from_millis(512), Duration::from_secs(8))
                .failed(random_number)
                .as_millis()
        };
        assert_eq!((wait(0), wait(255)), (384, 639));
    }
}
