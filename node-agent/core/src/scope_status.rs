//! The status of a scope. It is a function of what was read back and of [`ExitLoss`], so that it can never say more than
//! the kernel keeps.

use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_crds::node_report::ScopeState;
use postern_intent::body::{BlockedReason, EgressPath, TermsEnforcement};
use postern_plan::check::Seal;

use crate::exit_loss::{ExitLoss, ExitReading};
use crate::scope_reading::{LeaseReading, ScopeReading, WayReading};

/// The status of a scope. `Blocked` carries whether the block holds: "blocked" and "could not block" are never the same
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeStatus {
    /// No body names the scope, and nothing of it is left in the kernel.
    Unclaimed,
    /// Traffic leaves by the exit, and by nothing else.
    Enforcing,
    /// Traffic leaves by the exit and by nothing else, and the policy only counts what its rules would refuse.
    Observing,
    /// The guard holds, and the way out does not stand whole or could not be read.
    Degraded,
    /// Nothing leaves, or, where the seal does not hold, nothing could be blocked.
    Blocked {
        /// Why nothing is let out.
        cause: BlockCause,
        /// Whether the block was read back.
        seal: Seal,
    },
    /// The exit was lost for longer than the policy allows to wait, and the signed body allows the node's uplink.
    FailedOpen {
        /// When the uplink was opened.
        since: Timestamp,
    },
    /// A release is being carried out, or the body no longer names the scope; the guard goes last.
    Releasing,
}

/// Why a scope is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockCause {
    /// The body blocks the scope.
    Body(BlockedReason),
    /// The body's validity has run out.
    Expired,
    /// The node cannot make a tunnel.
    NoTunnel,
    /// The scope leaves by the node's own uplink, and the node has none.
    NoUplink,
    /// The guard could not be written or read back.
    NoGuard,
    /// The exit does not answer.
    ExitLost,
    /// A step failed that the way out needs: the kernel has no lease, so that it lets nothing out.
    ApplyFailed,
}

impl ScopeStatus {
    /// The status of a scope that a body names. The gravest hindrance decides.
    #[must_use]
    pub const fn of(way: &EgressPath, reading: &ScopeReading) -> Self {
        if matches!(reading.seal, Seal::NotSealed) {
            // First of all: without a guard that was read back nothing is known to be blocked.
            return Self::Blocked {
                cause: BlockCause::NoGuard,
                seal: Seal::NotSealed,
            };
        }
        if let EgressPath::Blocked { reason } = way {
            return blocked(BlockCause::Body(*reason));
        }
        match reading.lease {
            LeaseReading::Expired => return blocked(BlockCause::Expired),
            LeaseReading::Overdue => {
                return Self::Blocked {
                    cause: BlockCause::Expired,
                    seal: Seal::NotSealed,
                };
            }
            LeaseReading::Stands | LeaseReading::Missing => {}
        }
        match (reading.loss, reading.exit) {
            (ExitLoss::FailedOpen { opened, .. }, _) => return Self::FailedOpen { since: opened },
            (_, ExitReading::NoTunnel) => return blocked(BlockCause::NoTunnel),
            (_, ExitReading::NoUplink) => return blocked(BlockCause::NoUplink),
            (_, ExitReading::Lost) | (ExitLoss::Lost { .. }, _) => {
                return blocked(BlockCause::ExitLost);
            }
            (ExitLoss::Carries, ExitReading::Carries | ExitReading::Unread) => {}
        }
        match (reading.lease, reading.way, reading.exit) {
            (LeaseReading::Missing, ..) => blocked(BlockCause::ApplyFailed),
            (_, WayReading::Differs, _) | (.., ExitReading::Unread) => Self::Degraded,
            _ => Self::Enforcing,
        }
    }

    /// The status of a scope of a policy with this enforcement: what only observes is never called enforcing.
    #[must_use]
    pub const fn under(self, enforcement: TermsEnforcement) -> Self {
        match (self, enforcement) {
            (Self::Enforcing, TermsEnforcement::Observe) => Self::Observing,
            _ => self,
        }
    }

    /// The status as the report names it.
    #[must_use]
    pub const fn state(&self) -> ScopeState {
        match self {
            Self::Unclaimed => ScopeState::Unclaimed,
            Self::Enforcing => ScopeState::Enforcing,
            Self::Observing => ScopeState::Observing,
            Self::Degraded => ScopeState::Degraded,
            Self::Blocked { .. } => ScopeState::Blocked,
            Self::FailedOpen { .. } => ScopeState::FailedOpen,
            Self::Releasing => ScopeState::Releasing,
        }
    }

    /// The word of [`Self::FailedOpen`], for which an alert looks.
    pub const FAILED_OPEN: &'static str = "FailedOpen";

    /// The status in one word, for the audit log and for metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unclaimed => "Unclaimed",
            Self::Enforcing => "Enforcing",
            Self::Observing => "Observing",
            Self::Degraded => "Degraded",
            Self::Blocked { .. } => "Blocked",
            Self::FailedOpen { .. } => Self::FAILED_OPEN,
            Self::Releasing => "Releasing",
        }
    }

    /// Why the scope has this status.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Enforcing => Reason::Enforced,
            Self::Observing => Reason::Observing,
            Self::Degraded => Reason::Mismatch,
            Self::Blocked {
                seal: Seal::NotSealed,
                ..
            } => Reason::NotSealed,
            Self::Blocked { cause, .. } => cause.reason(),
            Self::FailedOpen { .. } => Reason::FailedOpen,
            Self::Unclaimed | Self::Releasing => Reason::Released,
        }
    }

    /// The reason that the report gives: only a block has one that its state does not name.
    #[must_use]
    pub fn reported_reason(&self) -> Option<Reason> {
        match self {
            Self::Blocked { .. } => Some(self.reason()),
            _ => None,
        }
    }
}

impl BlockCause {
    /// The cause in the vocabulary of conditions.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Body(reason) => reason.into(),
            Self::Expired => Reason::Expired,
            Self::NoTunnel => Reason::NoTunnel,
            Self::NoUplink => Reason::NoUplink,
            Self::NoGuard => Reason::NoGuard,
            Self::ExitLost => Reason::ExitLost,
            Self::ApplyFailed => Reason::ApplyFailed,
        }
    }
}

const fn blocked(cause: BlockCause) -> ScopeStatus {
    ScopeStatus::Blocked {
        cause,
        seal: Seal::Sealed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> ScopeReading {
        ScopeReading {
            seal: Seal::Sealed,
            lease: LeaseReading::Stands,
            exit: ExitReading::Carries,
            loss: ExitLoss::Carries,
            way: WayReading::Whole,
        }
    }

    const FAILED_OPEN: fn() -> ExitLoss = || ExitLoss::FailedOpen {
        lost: moment(),
        opened: Timestamp::UNIX_EPOCH,
    };

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some moment; the status does not depend on it"
    )]
    fn moment() -> std::time::Instant {
        std::time::Instant::now()
    }

    #[test]
    fn each_hindrance_has_its_status_and_the_gravest_one_decides() {
        let lost = ExitLoss::Lost { since: moment() };
        let of = |way: &EgressPath, change: fn(&mut ScopeReading)| {
            let mut reading = well();
            change(&mut reading);
            ScopeStatus::of(way, &reading)
        };
        let tunnel = EgressPath::Tunnel;
        let no_exit = EgressPath::Blocked {
            reason: BlockedReason::NoExit,
        };
        let table = [
            (of(&tunnel, |_| {}), ScopeStatus::Enforcing),
            (
                of(&tunnel, |r| r.way = WayReading::Differs),
                ScopeStatus::Degraded,
            ),
            (
                of(&tunnel, |r| r.exit = ExitReading::Unread),
                ScopeStatus::Degraded,
            ),
            (
                of(&tunnel, |r| r.exit = ExitReading::NoTunnel),
                blocked(BlockCause::NoTunnel),
            ),
            (of(&EgressPath::NodeUplink, |_| {}), ScopeStatus::Enforcing),
            (
                of(&EgressPath::NodeUplink, |r| r.exit = ExitReading::NoUplink),
                blocked(BlockCause::NoUplink),
            ),
            (
                of(&tunnel, |r| r.lease = LeaseReading::Missing),
                blocked(BlockCause::ApplyFailed),
            ),
            (
                of(&tunnel, |r| r.lease = LeaseReading::Overdue),
                ScopeStatus::Blocked {
                    cause: BlockCause::Expired,
                    seal: Seal::NotSealed,
                },
            ),
            (
                of(&tunnel, |r| {
                    r.lease = LeaseReading::Expired;
                    r.loss = FAILED_OPEN();
                }),
                blocked(BlockCause::Expired),
            ),
            (
                of(&no_exit, |r| r.lease = LeaseReading::Expired),
                blocked(BlockCause::Body(BlockedReason::NoExit)),
            ),
            (
                of(&tunnel, |r| r.loss = FAILED_OPEN()),
                ScopeStatus::FailedOpen {
                    since: Timestamp::UNIX_EPOCH,
                },
            ),
        ];
        for (found, wanted) in table {
            assert_eq!(found, wanted);
        }
        let reading = ScopeReading {
            exit: ExitReading::Lost,
            loss: lost,
            ..well()
        };
        assert_eq!(
            ScopeStatus::of(&tunnel, &reading),
            blocked(BlockCause::ExitLost)
        );
    }

    #[test]
    fn without_a_guard_that_was_read_back_no_scope_is_called_enforced_or_blocked() {
        let ways = [
            EgressPath::Tunnel,
            EgressPath::NodeUplink,
            EgressPath::Blocked {
                reason: BlockedReason::NoExit,
            },
        ];
        for way in ways {
            for loss in [ExitLoss::Carries, FAILED_OPEN()] {
                let reading = ScopeReading {
                    seal: Seal::NotSealed,
                    loss,
                    ..well()
                };
                let status = ScopeStatus::of(&way, &reading);
                assert_eq!(status.reason(), Reason::NotSealed, "{way:?} {loss:?}");
                assert_eq!(status.state(), ScopeState::Blocked);
            }
        }
    }

    /// Every reading, against the rule in words: the guard stands, the body runs, and the memory of the exit says open.
    #[test]
    fn a_scope_is_open_where_its_memory_says_so_and_neither_guard_nor_time_forbids_it() {
        let lost = ExitLoss::Lost { since: moment() };
        for (lease, runs) in [
            (LeaseReading::Stands, true),
            (LeaseReading::Missing, true),
            (LeaseReading::Expired, false),
            (LeaseReading::Overdue, false),
        ] {
            for exit in [
                ExitReading::Carries,
                ExitReading::Lost,
                ExitReading::NoTunnel,
                ExitReading::Unread,
            ] {
                for (loss, remembered) in [
                    (ExitLoss::Carries, false),
                    (lost, false),
                    (FAILED_OPEN(), true),
                ] {
                    for (seal, sealed) in [(Seal::Sealed, true), (Seal::NotSealed, false)] {
                        let reading = ScopeReading {
                            seal,
                            lease,
                            exit,
                            loss,
                            ..well()
                        };
                        let is_open = ScopeStatus::of(&EgressPath::Tunnel, &reading).state()
                            == ScopeState::FailedOpen;
                        assert_eq!(is_open, sealed && runs && remembered, "{reading:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_cause_has_the_word_that_conditions_have_for_it() {
        let body = blocked(BlockCause::Body(BlockedReason::ReleaseHeld));
        assert_eq!(body.reported_reason(), Some(Reason::ReleaseHeld));
        assert_eq!(
            blocked(BlockCause::ExitLost).reported_reason(),
            Some(Reason::ExitLost)
        );
        assert_eq!(ScopeStatus::Enforcing.reported_reason(), None);
    }
}
