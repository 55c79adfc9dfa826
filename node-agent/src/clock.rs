//! What "now" is. A node's wall clock may be turned back, by somebody or by a dead battery; a document that has run
//! out must not come back to life. It may as well be set far ahead and back again, and then everything would have run out
//! until that date. So only the times of verified documents are remembered, and what the boot-time clock, which counts
//! sleep and cannot be set (`clock_gettime(2)`), has counted since. The wall clock counts for as long as it says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use postern_intent::verify::SKEW_ALLOWANCE;

/// The agent's clock. Copies share what was seen.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: fn() -> Timestamp,
    memory: Arc<Mutex<TrustedTime>>,
}

/// A time that is trusted, and when it was.
#[derive(Debug)]
struct TrustedTime {
    time: Timestamp,
    boot: Duration,
}

impl TrustedTime {
    fn of(time: Timestamp) -> Self {
        let boot = boot_time();
        Self { time, boot }
    }

    fn counted(&self) -> Timestamp {
        let elapsed = boot_time().saturating_sub(self.boot);
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::ZERO);
        self.time.checked_add(elapsed).unwrap_or(self.time)
    }
}

impl Clock {
    /// Starts from the highest time that the ledger has seen.
    #[must_use]
    pub fn new(highest_seen: Option<Timestamp>) -> Self {
        Self::reading(Timestamp::now, highest_seen)
    }

    /// The same by another wall clock than the machine's.
    #[must_use]
    pub fn reading(wall: fn() -> Timestamp, highest_seen: Option<Timestamp>) -> Self {
        let memory = TrustedTime::of(highest_seen.unwrap_or(Timestamp::UNIX_EPOCH));
        Self {
            wall,
            memory: Arc::new(Mutex::new(memory)),
        }
    }

    /// Now: the wall clock's time, or the remembered one where the wall clock is behind it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.remembered().max(self.wall())
    }

    /// The time that may be written to the ledger: it is no later than verified documents say.
    #[must_use]
    pub fn remembered(&self) -> Timestamp {
        self.memory().counted()
    }

    /// A document of this time was verified: it is no earlier now, the skew apart that a document may have.
    pub fn learn(&self, issued_at: Timestamp) {
        let mut memory = self.memory();
        let seen = issued_at.checked_sub(SKEW_ALLOWANCE).unwrap_or(issued_at);
        if seen > memory.counted() {
            *memory = TrustedTime::of(seen);
        }
    }

    /// What the wall clock says.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        (self.wall)()
    }

    /// Root says that the wall clock is right: what was remembered is forgotten. Returns the wall clock's time.
    #[must_use]
    pub fn trust_wall(&self) -> Timestamp {
        let wall = self.wall();
        *self.memory() = TrustedTime::of(wall);
        wall
    }

    fn memory(&self) -> MutexGuard<'_, TrustedTime> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Seconds by which the wall clock of these tests is ahead.
    static AHEAD: AtomicI64 = AtomicI64::new(0);

    fn wall() -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(AHEAD.load(Ordering::Relaxed))
    }

    #[test]
    fn a_wall_clock_that_was_turned_back_does_not_turn_now_back() {
        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        let clock = Clock::new(Some(tomorrow));
        assert!(clock.now() >= tomorrow);
        clock.learn(Timestamp::now());
        assert!(clock.now() >= tomorrow);
    }

    #[test]
    fn the_time_of_a_verified_document_is_remembered_whatever_the_wall_clock_says() {
        let clock = Clock::new(None);
        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        clock.learn(tomorrow);
        assert!(clock.now() >= tomorrow - SKEW_ALLOWANCE);
        assert!(clock.remembered() <= tomorrow);
    }

    #[test]
    fn a_wall_clock_that_is_set_ahead_and_back_again_counts_while_it_is_ahead_and_leaves_nothing() {
        let clock = Clock::reading(wall, None);
        clock.learn(Timestamp::now());
        AHEAD.store(30 * 24 * 3600, Ordering::Relaxed);
        let month = Timestamp::now() + SignedDuration::from_hours(29 * 24);
        assert!(clock.now() > month);
        assert!(clock.remembered() < month);
        AHEAD.store(0, Ordering::Relaxed);
        assert!(clock.now() < month);
    }

    #[test]
    fn root_can_say_that_the_wall_clock_is_right() {
        let clock = Clock::new(Some(Timestamp::now() + SignedDuration::from_hours(24)));
        let trusted = clock.trust_wall();
        assert!(clock.now().duration_since(trusted) < SignedDuration::from_hours(1));
    }
}
