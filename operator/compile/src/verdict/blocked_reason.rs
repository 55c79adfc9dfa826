//! Reasons of conditions for what a body blocks.

use postern_crds::conditions::Reason;
use postern_intent::body::BlockedReason;

/// The reason of a condition for something that is blocked.
pub(super) const fn reason(blocked: BlockedReason) -> Reason {
    match blocked {
        BlockedReason::NoExit => Reason::NoExit,
        BlockedReason::NoPeerKey => Reason::NoPeerKey,
        BlockedReason::NoMarkLeft => Reason::NoMarkLeft,
        BlockedReason::PolicyRefused => Reason::PolicyRefused,
        BlockedReason::NotImplemented => Reason::NotImplemented,
        BlockedReason::RefNotResolved => Reason::RefNotResolved,
        BlockedReason::NamespaceDeny => Reason::NamespaceDeny,
        BlockedReason::ReleaseHeld => Reason::ReleaseHeld,
        BlockedReason::TooLarge => Reason::TooLarge,
        BlockedReason::NoTunnel => Reason::NoTunnel,
    }
}
