//! How long a case waits on a machine that others use too.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// However busy the machine is, after so many times its length a wait is over.
const LONGEST: u32 = 6;

/// A deadline that counts only time in which work went on: while tasks stand in line for a processor, a program that is
/// waited for may be one of them. The kernel says how long they stood (pressure stall information); where it does not,
/// all time counts.
#[derive(Debug)]
pub struct Patience {
    length: Duration,
    begun: Instant,
    stalled: Duration,
}

impl Patience {
    pub fn of(length: Duration) -> Self {
        Self {
            length,
            begun: Instant::now(),
            stalled: stalled(),
        }
    }

    pub fn is_over(&self) -> bool {
        let passed = self.begun.elapsed();
        let waited = stalled().saturating_sub(self.stalled);
        is_over(self.length, passed, waited)
    }
}

impl fmt::Display for Patience {
    /// Where the wait is longer than its length: how long it is, and why that much is allowed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.begun.elapsed();
        if passed <= self.length {
            return Ok(());
        }
        let waited = stalled().saturating_sub(self.stalled);
        write!(
            f,
            " ({:.1} s passed, in {:.1} s of them tasks waited for a processor)",
            passed.as_secs_f64(),
            waited.as_secs_f64()
        )
    }
}

/// Is a time that passed longer than it may be, with so much of it that tasks waited for a processor?
pub fn is_over(length: Duration, passed: Duration, waited: Duration) -> bool {
    passed > length * LONGEST || passed.saturating_sub(waited) > length
}

/// Polls until it is done.
///
/// # Panics
/// When it does not happen; the message says what.
pub fn eventually(length: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let patience = Patience::of(length);
    while !done() {
        assert!(!patience.is_over(), "did not happen in {length:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The time since the boot in which some task stood in line for a processor.
pub fn stalled() -> Duration {
    let text = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = text.lines().find(|line| line.starts_with("some"));
    let total = some.and_then(|line| line.rsplit_once("total=")?.1.trim().parse().ok());
    Duration::from_micros(total.unwrap_or_default())
}

#[cfg(test)]
mod cases {
    use super::is_over;
    use std::time::Duration;

    #[test]
    fn time_in_line_does_not_count_and_no_wait_is_endless() {
        let second = Duration::from_secs;
        assert!(!is_over(second(10), second(10), second(0)));
        assert!(is_over(second(10), second(11), second(0)));
        assert!(!is_over(second(10), second(30), second(25)));
        assert!(is_over(second(10), second(61), second(61)));
    }
}
