//! Time of the model: now never changes, and what is remembered grows older.

use jiff::{SignedDuration, Timestamp};

use super::super::super::switch::{CARRIER_WAIT, RETRY_AFTER};
use super::super::super::{IsolationMemory, SwitchPhase};

/// One wait. No limit of the switch is between two of its multiples but the one of its first question, which is shorter.
pub(super) const WAIT: SignedDuration = CARRIER_WAIT;
/// Now, always.
pub(super) const NOW: Timestamp = Timestamp::constant(100_000, 0);

/// The memory after a wait, as one that is read now.
pub(super) fn aged(mut memory: IsolationMemory) -> IsolationMemory {
    match &mut memory.phase {
        SwitchPhase::Open | SwitchPhase::Settled { .. } => {}
        SwitchPhase::Preparing { since, .. } | SwitchPhase::Raising { since, .. } => {
            *since = (*since - WAIT).max(NOW - CARRIER_WAIT);
        }
        // Nothing but the log reads since when a switch goes on.
        SwitchPhase::Isolating { switch } => switch.since = NOW,
        SwitchPhase::Confirming { switch, until } => {
            switch.since = NOW;
            *until = (*until - WAIT).max(NOW);
        }
    }
    for failed in memory.failed.values_mut() {
        failed.at = (failed.at - WAIT).max(NOW - RETRY_AFTER);
    }
    // Nothing but the log reads when a switch was rolled back.
    if let Some(rollback) = &mut memory.rollback {
        rollback.at = NOW;
    }
    memory.silent_since = memory
        .silent_since
        .map(|since| (since - WAIT).max(NOW - RETRY_AFTER));
    memory
}
