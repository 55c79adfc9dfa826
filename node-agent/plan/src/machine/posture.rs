//! What may flow in a state. `docs/security.md` carries the same names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::StateKind;

/// What may flow right now, besides inside traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Posture {
    /// Whatever the node would let out without us.
    Open,
    /// Nothing leaves.
    Sealed,
    /// By the exit, and by nothing else.
    TunnelOnly,
}

impl Posture {
    /// The posture of a state. Only two states are open: a scope that nobody claimed, and one that the signed body
    /// allows to fail open.
    #[must_use]
    pub const fn of(state: StateKind) -> Self {
        match state {
            StateKind::Unclaimed | StateKind::FailedOpen => Self::Open,
            StateKind::Enforcing
            | StateKind::Degraded
            | StateKind::Opening
            | StateKind::Verifying => Self::TunnelOnly,
            StateKind::Sealing
            | StateKind::Converging
            | StateKind::Blocked
            | StateKind::Releasing => Self::Sealed,
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open: whatever the node lets out",
            Self::Sealed => "sealed: nothing leaves",
            Self::TunnelOnly => "tunnel only: by the exit and by nothing else",
        })
    }
}
