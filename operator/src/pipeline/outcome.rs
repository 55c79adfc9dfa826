//! How a run ended.

use std::time::Duration;

use super::publish::{Tallies, Tally};
use crate::watches::WatchedKind;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// Nothing was decided, and why.
    Idle(IdleReason),
    Done,
    /// What was read was old: another run follows at once.
    Again,
    /// Some writes failed, and everything else is written. Each of these objects is tried again at its own time.
    Partly {
        intents: usize,
        /// After what time the next object is tried again.
        retry: Option<Duration>,
    },
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdleReason {
    Standby,
    /// These stores are not complete.
    Missing(Vec<WatchedKind>),
    /// The intents are being stamped.
    Stamping(Tally),
    /// The lease has to be led under a higher epoch.
    TooLow,
    /// The watch has not shown the last writes yet.
    Lagging,
}

impl RunOutcome {
    /// From what was counted.
    #[must_use]
    pub const fn of(tallies: Tallies, retry: Option<Duration>) -> Self {
        let sum = tallies.sum();
        if sum.stale > 0 || sum.late > 0 {
            Self::Again
        } else if sum.failed() > 0 {
            Self::Partly {
                intents: tallies.intents.failed(),
                retry,
            }
        } else {
            Self::Done
        }
    }
}
