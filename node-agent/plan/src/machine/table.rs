//! Every transition, on one screen. A pair that is not in the table leaves the state as it is.

use jiff::Timestamp;

use super::event::{Event, EventKind};
use super::state::{State, StateKind};
use crate::check::Seal;

/// One transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// In these states.
    pub from: &'static [StateKind],
    /// When this happens.
    pub on: EventKind,
    /// The scope goes here.
    pub to: StateKind,
}

use EventKind as E;
use StateKind as S;

const CLAIMED: &[S] = &[
    S::Sealing,
    S::Converging,
    S::Verifying,
    S::Opening,
    S::Enforcing,
    S::Degraded,
    S::Blocked,
    S::FailedOpen,
];
const SEALED: &[S] = &[
    S::Converging,
    S::Verifying,
    S::Opening,
    S::Enforcing,
    S::Degraded,
    S::Blocked,
    S::FailedOpen,
];
const WORKING: &[S] = &[
    S::Converging,
    S::Verifying,
    S::Opening,
    S::Enforcing,
    S::Degraded,
];

const fn row(from: &'static [S], on: E, to: S) -> Row {
    Row { from, on, to }
}

/// The machine.
pub const TABLE: [Row; 20] = [
    row(&[S::Unclaimed, S::Releasing], E::Claimed, S::Sealing),
    row(&[S::Blocked], E::Claimed, S::Sealing),
    row(&[S::Unclaimed, S::Releasing], E::ClaimedBlocked, S::Blocked),
    row(CLAIMED, E::ClaimedBlocked, S::Blocked),
    row(&[S::Sealing], E::SealVerified, S::Converging),
    row(CLAIMED, E::SealFailed, S::Blocked),
    row(&[S::Converging], E::Applied, S::Verifying),
    row(&[S::Converging], E::ApplyFailed, S::Blocked),
    row(
        &[S::Verifying, S::Opening, S::Enforcing],
        E::ApplyFailed,
        S::Degraded,
    ),
    row(&[S::Verifying, S::Degraded], E::Verified, S::Opening),
    row(&[S::Opening], E::LeaseGiven, S::Enforcing),
    row(
        &[S::Verifying, S::Opening, S::Enforcing],
        E::Mismatched,
        S::Degraded,
    ),
    row(WORKING, E::ExitLost, S::Blocked),
    row(CLAIMED, E::NoTunnel, S::Blocked),
    row(&[S::Blocked], E::OpenTimeElapsed, S::FailedOpen),
    row(&[S::FailedOpen], E::Claimed, S::Sealing),
    row(SEALED, E::Expired, S::Blocked),
    row(CLAIMED, E::ReleaseAccepted, S::Releasing),
    row(CLAIMED, E::Dropped, S::Releasing),
    row(&[S::Releasing], E::ReleaseDone, S::Unclaimed),
];

/// The state after an event. `seal` says whether the guard was read back, for a block.
#[must_use]
pub fn step(state: State, event: Event, seal: Seal, now: Timestamp) -> State {
    let row = TABLE
        .iter()
        .find(|row| row.on == event.kind() && row.from.contains(&state.kind()));
    let Some(row) = row else { return state };
    match row.to {
        S::Unclaimed => State::Unclaimed,
        S::Sealing => State::Sealing,
        S::Converging => State::Converging,
        S::Verifying => State::Verifying,
        S::Opening => State::Opening,
        S::Enforcing => State::Enforcing,
        S::Degraded => State::Degraded,
        S::Blocked => {
            let seal = if event.kind() == E::SealFailed {
                Seal::NotSealed
            } else {
                seal
            };
            State::Blocked {
                cause: event.cause(),
                seal,
            }
        }
        S::FailedOpen => State::FailedOpen { since: now },
        S::Releasing => State::Releasing,
    }
}
