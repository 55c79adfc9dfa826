//! How long to wait after a failure: longer each time, never the same on two nodes, and never shorter than asked for.

use std::time::Duration;

/// The first wait is about this long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait of its own is longer: a node should notice within this time that the API server is back.
const LONGEST: Duration = Duration::from_secs(15);
/// Whoever refuses what we say will refuse it again: asked slowly.
const REFUSED: Duration = Duration::from_secs(60);
/// A Retry-After (RFC 9110, section 10.2.3) is honoured up to this long.
const ASKED: Duration = Duration::from_secs(120);

/// What kind of wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiWait {
    /// It may work in a moment.
    Short,
    /// Somebody has to change something first.
    Long,
}

/// Waits after failures that follow each other.
#[derive(Debug, Default)]
pub struct ApiBackoff {
    failures: u32,
}

impl ApiBackoff {
    /// It worked: the next failure is a first one.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half and all of what is due, by `random`, which may be any number. What the API server
    /// asked for is the least.
    pub fn next(&mut self, wait: ApiWait, random: u32, asked: Option<Duration>) -> Duration {
        let due = match wait {
            ApiWait::Short => FIRST
                .saturating_mul(2_u32.saturating_pow(self.failures))
                .min(LONGEST),
            ApiWait::Long => REFUSED,
        };
        self.failures = self.failures.saturating_add(1);
        let half = due / 2;
        let jitter = half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        (half + jitter).max(asked.unwrap_or_default().min(ASKED))
    }

    /// [`ApiBackoff::next`] with the system's randomness. Without any, every node waits for the whole time.
    pub(super) fn after(&mut self, wait: ApiWait, asked: Option<Duration>) -> Duration {
        let random = getrandom::u32().unwrap_or(u32::MAX);
        self.next(wait, random, asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_at_the_longest() {
        let mut backoff = ApiBackoff::default();
        let waits: Vec<_> = (0..40)
            .map(|_| backoff.next(ApiWait::Short, u32::MAX, None))
            .collect();
        assert_eq!(waits[0], FIRST);
        assert_eq!(waits[1], FIRST * 2);
        assert_eq!(waits[39], LONGEST);
        assert!(waits.is_sorted());
        backoff.reset();
        assert_eq!(backoff.next(ApiWait::Short, u32::MAX, None), FIRST);
    }

    #[test]
    fn two_nodes_do_not_wait_alike_and_nobody_less_than_half() {
        let least = ApiBackoff::default().next(ApiWait::Short, 0, None);
        let most = ApiBackoff::default().next(ApiWait::Short, u32::MAX, None);
        assert_eq!((least, most), (FIRST / 2, FIRST));
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_and_has_a_bound() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        let next = |asked| ApiBackoff::default().next(ApiWait::Short, 0, asked);
        assert_eq!(next(asked(7)), Duration::from_secs(7));
        assert_eq!(next(asked(1_000_000)), ASKED);
        assert_eq!(next(asked(0)), FIRST / 2);
    }

    #[test]
    fn who_refused_is_asked_slowly_from_the_first_time_on() {
        let wait = ApiBackoff::default().next(ApiWait::Long, 0, None);
        assert_eq!(wait, REFUSED / 2);
    }
}
