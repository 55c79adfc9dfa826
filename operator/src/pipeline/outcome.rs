//! How a run ended.

use std::time::Duration;

use super::publish::Tally;
use crate::watches::Kind;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was decided, and why.
    Idle(IdleReason),
    /// Everything is written; statuses that had to wait may be written after this time.
    Done(Option<Duration>),
    /// What was read was old: another run follows at once.
    Again,
    /// Some writes did not pass: another run follows after a while.
    Later,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdleReason {
    /// Another process leads.
    Standby,
    /// These stores are not complete.
    Missing(Vec<Kind>),
    /// The intents are being stamped.
    Stamping(Tally),
    /// The lease has to be led under a higher epoch.
    TooLow,
    /// The watch has not shown the last writes yet.
    Lagging,
}

impl Outcome {
    /// From what was counted.
    #[must_use]
    pub const fn of(tally: Tally, wait: Option<Duration>) -> Self {
        if tally.passing > 0 || tally.refused > 0 {
            Self::Later
        } else if tally.stale > 0 || tally.late > 0 {
            Self::Again
        } else {
            Self::Done(wait)
        }
    }
}
