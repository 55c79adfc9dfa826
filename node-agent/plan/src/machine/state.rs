//! Where a scope is.

use jiff::{SignedDuration, Timestamp};
use postern_intent::body::BlockedReason;
use serde::{Deserialize, Serialize};

use crate::check::Seal;

/// The state of a scope. `Blocked` says whether the block holds: "blocked" and "could not block" are never the same
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No body has named it.
    Unclaimed,
    /// The guard is being written.
    Sealing,
    /// The guard holds; links, tunnel, routes and names are being made.
    Converging,
    /// Everything was written; the kernel is being read back.
    Verifying,
    /// Read back whole; the lease is being given.
    Opening,
    /// Traffic leaves by the exit, and by nothing else.
    Enforcing,
    /// The guard holds, the way out does not stand whole; it is being mended.
    Degraded,
    /// Nothing leaves.
    Blocked {
        /// Why.
        cause: Cause,
        /// Does the block hold?
        seal: Seal,
    },
    /// The exit was lost for longer than the policy allows to wait, and the signed body allows the node's uplink.
    FailedOpen {
        /// Since when.
        since: Timestamp,
    },
    /// A signed release is being carried out; the guard goes last.
    Releasing,
}

/// Why a scope is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The body says so.
    Body(BlockedReason),
    /// The body's validity has run out.
    Expired,
    /// The node cannot make a tunnel.
    NoTunnel,
    /// The guard could not be written or read back.
    NoGuard,
    /// The exit does not answer.
    ExitLost,
    /// A step failed.
    ApplyFailed,
}

/// A state without what it carries: what the table is keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is described at the state of the same name"
)]
pub enum StateKind {
    Unclaimed,
    Sealing,
    Converging,
    Verifying,
    Opening,
    Enforcing,
    Degraded,
    Blocked,
    FailedOpen,
    Releasing,
}

impl StateKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unclaimed,
        Self::Sealing,
        Self::Converging,
        Self::Verifying,
        Self::Opening,
        Self::Enforcing,
        Self::Degraded,
        Self::Blocked,
        Self::FailedOpen,
        Self::Releasing,
    ];

    /// How long a scope may stay before the agent says so and tries again from the start. Resting states have none.
    #[must_use]
    pub const fn patience(self) -> Option<SignedDuration> {
        match self {
            Self::Sealing => Some(SignedDuration::from_secs(5)),
            Self::Converging => Some(SignedDuration::from_secs(15)),
            Self::Verifying | Self::Opening => Some(SignedDuration::from_secs(5)),
            Self::Releasing => Some(SignedDuration::from_secs(30)),
            Self::Unclaimed
            | Self::Enforcing
            | Self::Degraded
            | Self::Blocked
            | Self::FailedOpen => None,
        }
    }

    /// The state's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unclaimed => "Unclaimed",
            Self::Sealing => "Sealing",
            Self::Converging => "Converging",
            Self::Verifying => "Verifying",
            Self::Opening => "Opening",
            Self::Enforcing => "Enforcing",
            Self::Degraded => "Degraded",
            Self::Blocked => "Blocked",
            Self::FailedOpen => "FailedOpen",
            Self::Releasing => "Releasing",
        }
    }
}

impl State {
    /// The state without what it carries.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Unclaimed => StateKind::Unclaimed,
            Self::Sealing => StateKind::Sealing,
            Self::Converging => StateKind::Converging,
            Self::Verifying => StateKind::Verifying,
            Self::Opening => StateKind::Opening,
            Self::Enforcing => StateKind::Enforcing,
            Self::Degraded => StateKind::Degraded,
            Self::Blocked { .. } => StateKind::Blocked,
            Self::FailedOpen { .. } => StateKind::FailedOpen,
            Self::Releasing => StateKind::Releasing,
        }
    }
}
