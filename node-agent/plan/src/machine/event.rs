//! What can happen to a scope.

use postern_intent::body::BlockedReason;

use super::state::Cause;

/// What can happen to a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A verified body names the scope, with a way out.
    Claimed,
    /// A verified body names the scope, and says that nothing leaves.
    ClaimedBlocked(BlockedReason),
    /// The guard was read back whole.
    SealVerified,
    /// The guard could not be written, or was not read back whole.
    SealFailed,
    /// Every step of the way out was carried out.
    Applied,
    /// A step of the way out failed.
    ApplyFailed,
    /// The kernel shows everything as it should be.
    Verified,
    /// The kernel shows a difference outside the guard.
    Mismatched,
    /// The lease stands in the kernel.
    LeaseGiven,
    /// The exit no longer answers, or its device is not served.
    ExitLost,
    /// The node has no means to make a tunnel.
    NoTunnel,
    /// No exit has answered for as long as the body allows to wait, and the body allows the node's uplink.
    OpenTimeElapsed,
    /// The body's validity has run out.
    Expired,
    /// A signed release was accepted, or root released the node.
    ReleaseAccepted,
    /// The release was carried out.
    ReleaseDone,
    /// A verified body no longer names the scope.
    Dropped,
}

/// An event without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each is described at the event of the same name"
)]
pub enum EventKind {
    Claimed,
    ClaimedBlocked,
    SealVerified,
    SealFailed,
    Applied,
    ApplyFailed,
    Verified,
    Mismatched,
    LeaseGiven,
    ExitLost,
    NoTunnel,
    OpenTimeElapsed,
    Expired,
    ReleaseAccepted,
    ReleaseDone,
    Dropped,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Claimed,
        Self::ClaimedBlocked,
        Self::SealVerified,
        Self::SealFailed,
        Self::Applied,
        Self::ApplyFailed,
        Self::Verified,
        Self::Mismatched,
        Self::LeaseGiven,
        Self::ExitLost,
        Self::NoTunnel,
        Self::OpenTimeElapsed,
        Self::Expired,
        Self::ReleaseAccepted,
        Self::ReleaseDone,
        Self::Dropped,
    ];
}

impl Event {
    /// The event without what it carries.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Claimed => EventKind::Claimed,
            Self::ClaimedBlocked(_) => EventKind::ClaimedBlocked,
            Self::SealVerified => EventKind::SealVerified,
            Self::SealFailed => EventKind::SealFailed,
            Self::Applied => EventKind::Applied,
            Self::ApplyFailed => EventKind::ApplyFailed,
            Self::Verified => EventKind::Verified,
            Self::Mismatched => EventKind::Mismatched,
            Self::LeaseGiven => EventKind::LeaseGiven,
            Self::ExitLost => EventKind::ExitLost,
            Self::NoTunnel => EventKind::NoTunnel,
            Self::OpenTimeElapsed => EventKind::OpenTimeElapsed,
            Self::Expired => EventKind::Expired,
            Self::ReleaseAccepted => EventKind::ReleaseAccepted,
            Self::ReleaseDone => EventKind::ReleaseDone,
            Self::Dropped => EventKind::Dropped,
        }
    }

    /// The cause of the block that the event leads to.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::ClaimedBlocked(reason) => Cause::Body(*reason),
            Self::Expired => Cause::Expired,
            Self::NoTunnel => Cause::NoTunnel,
            Self::SealFailed => Cause::NoGuard,
            Self::ExitLost => Cause::ExitLost,
            _ => Cause::ApplyFailed,
        }
    }
}
