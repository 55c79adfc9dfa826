//! Since when a scope's exit is lost, and when the signed body lets its pods use the node's uplink instead. This is the
//! only memory that the status of a scope has.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_intent::body::ScopeFailureMode;

/// What the agent remembers of a scope's exit. Every transition is in [`ExitLoss::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitLoss {
    /// The exit carries, or the scope leaves by none.
    #[default]
    Carries,
    /// The exit is lost and nothing leaves.
    Lost {
        /// On a clock that cannot be set: a wall clock that is put right would open the uplink before its time.
        since: Instant,
    },
    /// The exit was lost for longer than the body allows to wait, so that the uplink may be used.
    FailedOpen {
        /// Since when the exit is lost.
        lost: Instant,
        /// When the uplink was opened, for people.
        opened: Timestamp,
    },
}

/// What a reading shows of a scope's exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReading {
    /// Its device is served and the other end answers, or the scope leaves by no tunnel.
    Carries,
    /// Its device is not served, or the other end does not answer.
    Lost,
    /// Its device is not served, and this node has no means to make one.
    NoTunnel,
    /// The scope leaves by the node's own uplink, and this node has none.
    NoUplink,
    /// The part of the host that would show it could not be read.
    Unread,
}

/// Does the kernel still let the scope use the uplink?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UplinkRule {
    /// The scope's chain names the uplink.
    Open,
    Closed,
}

/// The moment of a reading, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On a clock that cannot be set.
    pub instant: Instant,
    /// On the wall clock, for people.
    pub time: Timestamp,
}

impl ExitLoss {
    /// The machine, on one screen:
    ///
    /// | from | reading | to |
    /// |---|---|---|
    /// | any | `Unread` | as it was |
    /// | `FailedOpen` | `Carries`, while the kernel still names the uplink | as it was: the next run closes it |
    /// | any | `Carries` | `Carries` |
    /// | `Carries` | `Lost`, `NoTunnel`, `NoUplink` | `Lost` since now |
    /// | `Lost` | the same, for as long as the body allows to wait | `FailedOpen` |
    /// | `FailedOpen` | the same, where the body no longer allows it | `Lost` since it was lost |
    #[must_use]
    pub fn next(
        self,
        reading: ExitReading,
        uplink: UplinkRule,
        failure: ScopeFailureMode,
        now: Moment,
    ) -> Self {
        match (self, reading) {
            (_, ExitReading::Unread) => return self,
            (Self::FailedOpen { .. }, ExitReading::Carries) if uplink == UplinkRule::Open => {
                return self;
            }
            (_, ExitReading::Carries) => return Self::Carries,
            (_, ExitReading::Lost | ExitReading::NoTunnel | ExitReading::NoUplink) => {}
        }
        let lost = match self {
            Self::Carries => now.instant,
            Self::Lost { since } => since,
            Self::FailedOpen { lost, .. } => lost,
        };
        let may_open = match failure {
            ScopeFailureMode::Closed => false,
            ScopeFailureMode::Open { after_seconds } => {
                now.instant.saturating_duration_since(lost)
                    >= Duration::from_secs(after_seconds.into())
            }
        };
        match self {
            _ if !may_open => Self::Lost { since: lost },
            Self::FailedOpen { .. } => self,
            Self::Carries | Self::Lost { .. } => Self::FailedOpen {
                lost,
                opened: now.time,
            },
        }
    }

    /// May the uplink be used?
    #[must_use]
    pub const fn is_failed_open(&self) -> bool {
        matches!(self, Self::FailedOpen { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: ScopeFailureMode = ScopeFailureMode::Open { after_seconds: 30 };
    const READINGS: [ExitReading; 5] = [
        ExitReading::Carries,
        ExitReading::Lost,
        ExitReading::NoTunnel,
        ExitReading::NoUplink,
        ExitReading::Unread,
    ];

    fn at(begin: Instant, seconds: u64) -> Moment {
        Moment {
            instant: begin + Duration::from_secs(seconds),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some moment to count from; the machine only compares moments"
    )]
    fn begin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_closed_scope_never_fails_open_however_long_its_exit_is_lost() {
        let begin = begin();
        let mut loss = ExitLoss::Carries;
        for seconds in [0, 30, 3_600, 1_000_000] {
            for reading in READINGS {
                for uplink in [UplinkRule::Open, UplinkRule::Closed] {
                    loss = loss.next(
                        reading,
                        uplink,
                        ScopeFailureMode::Closed,
                        at(begin, seconds),
                    );
                    assert!(!loss.is_failed_open(), "{reading:?} after {seconds} s");
                }
            }
        }
    }

    #[test]
    fn an_open_scope_fails_open_when_its_time_is_over_and_not_before() {
        let begin = begin();
        let lost = |loss: ExitLoss, seconds| {
            loss.next(
                ExitReading::Lost,
                UplinkRule::Closed,
                OPEN,
                at(begin, seconds),
            )
        };
        let loss = lost(ExitLoss::Carries, 0);
        assert_eq!(loss, ExitLoss::Lost { since: begin });
        assert_eq!(lost(loss, 29), loss);
        assert!(lost(loss, 30).is_failed_open());
    }

    #[test]
    fn an_exit_that_answers_in_between_begins_the_time_anew() {
        let begin = begin();
        let step = |loss: ExitLoss, reading, seconds| {
            loss.next(reading, UplinkRule::Closed, OPEN, at(begin, seconds))
        };
        let loss = step(ExitLoss::Carries, ExitReading::Lost, 0);
        let loss = step(loss, ExitReading::Carries, 20);
        let loss = step(loss, ExitReading::NoTunnel, 25);
        assert!(!step(loss, ExitReading::Lost, 54).is_failed_open());
        assert!(step(loss, ExitReading::Lost, 55).is_failed_open());
    }

    #[test]
    fn a_reading_that_shows_nothing_changes_nothing() {
        let begin = begin();
        let states = [
            ExitLoss::Carries,
            ExitLoss::Lost { since: begin },
            ExitLoss::FailedOpen {
                lost: begin,
                opened: Timestamp::UNIX_EPOCH,
            },
        ];
        for loss in states {
            let next = loss.next(
                ExitReading::Unread,
                UplinkRule::Closed,
                OPEN,
                at(begin, 3_600),
            );
            assert_eq!(next, loss);
        }
    }

    #[test]
    fn an_exit_that_came_back_counts_as_open_until_the_kernel_has_closed_the_uplink() {
        let begin = begin();
        let open = ExitLoss::FailedOpen {
            lost: begin,
            opened: Timestamp::UNIX_EPOCH,
        };
        let step = |uplink| open.next(ExitReading::Carries, uplink, OPEN, at(begin, 60));
        assert_eq!(step(UplinkRule::Open), open);
        assert_eq!(step(UplinkRule::Closed), ExitLoss::Carries);
    }

    #[test]
    fn a_body_that_no_longer_allows_the_uplink_ends_it_and_forgets_no_time() {
        let begin = begin();
        let open = ExitLoss::FailedOpen {
            lost: begin,
            opened: Timestamp::UNIX_EPOCH,
        };
        let closed = open.next(
            ExitReading::Lost,
            UplinkRule::Open,
            ScopeFailureMode::Closed,
            at(begin, 60),
        );
        assert_eq!(closed, ExitLoss::Lost { since: begin });
    }
}
