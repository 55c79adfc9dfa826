//! What "now" is. A node's wall clock may be turned back, by somebody or by a dead battery; a document that has run
//! out must not come back to life. So now is the highest of the wall clock, the highest time that the ledger has seen,
//! and the time since the start on the boot-time clock, which counts sleep and cannot be set (`clock_gettime(2)`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// The agent's clock. Copies share what was seen.
#[derive(Debug, Clone)]
pub struct Clock {
    anchor: Timestamp,
    boot_anchor: Duration,
    /// The highest answer so far, in milliseconds since the epoch: a wall clock that is set forward and back again
    /// turns nothing back.
    highest: Arc<AtomicI64>,
}

impl Clock {
    /// Starts from the highest time that the ledger has seen.
    #[must_use]
    pub fn new(highest_seen: Option<Timestamp>) -> Self {
        let wall = Timestamp::now();
        Self {
            anchor: highest_seen.map_or(wall, |seen| seen.max(wall)),
            boot_anchor: boot_time(),
            highest: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }

    /// Now: never less than it was.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = boot_time().saturating_sub(self.boot_anchor);
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::ZERO);
        let counted = self.anchor.checked_add(elapsed).unwrap_or(self.anchor);
        let now = counted.max(Timestamp::now());
        let millis = now.as_millisecond();
        let seen = self.highest.fetch_max(millis, Ordering::Relaxed);
        if seen <= millis {
            return now;
        }
        Timestamp::from_millisecond(seen).unwrap_or(now)
    }
}

/// Time since boot, with sleep. A kernel without the clock does not exist any more; zero makes the clock stand still
/// at its anchor, and the wall clock decides.
fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_turned_back_does_not_turn_now_back() {
        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        let clock = Clock::new(Some(tomorrow));
        assert!(clock.now() >= tomorrow);
    }

    #[test]
    fn now_never_falls_below_what_it_was_when_the_wall_clock_is_set_forward_and_back() {
        let clock = Clock::new(None);
        // What the clock answered while the wall clock was an hour ahead: a test cannot set the machine's.
        let ahead = Timestamp::now() + SignedDuration::from_hours(1);
        clock
            .highest
            .store(ahead.as_millisecond(), Ordering::Relaxed);
        let copy = clock.clone();
        for clock in [clock, copy] {
            assert!(clock.now().as_millisecond() >= ahead.as_millisecond());
        }
    }
}
