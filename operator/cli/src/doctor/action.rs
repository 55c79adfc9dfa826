//! The gravity of each reason of a condition, and the act that ends it.

use postern_crds::conditions::{Reason, Reason as R};

use super::finding::Gravity;
use super::finding::Gravity::{Blocked, Degraded, Notice, Open};

/// Reasons that are as grave and are met by the same act.
type ReasonGroup = (&'static [Reason], Gravity, &'static str);

/// Every reason belongs to one group; a test compares the groups with the reasons.
const GROUPS: [ReasonGroup; 46] = [
    (
        &[R::FailedOpen],
        Open,
        "bring an exit of the policy back; posternctl status shows where its path ends",
    ),
    (
        &[R::Released],
        Open,
        "on the node, as root: postern-agent claim, or wait for the next intent; during an uninstallation it is as asked for",
    ),
    (
        &[R::DataplaneBypassed],
        Open,
        "take the program at the pod's link away, or move the pod to a node without it; docs/compatibility.md",
    ),
    (
        &[R::UnknownPodLink],
        Open,
        "add the link to the agent's --pod-links",
    ),
    (
        &[R::HostNetwork],
        Open,
        "take the pod off the host's network, or out of the policy's selector",
    ),
    (
        &[R::NoGuard, R::NotSealed],
        Open,
        "on the node: postern-agent preflight, and the log of its agent",
    ),
    (
        &[R::NoPlugin, R::Unbound],
        Open,
        "see that postern-cni is chained (kubectl logs POD -c plugin), then start the named pods anew",
    ),
    (
        &[R::LeaseExpired, R::Expired],
        Blocked,
        "let an operator lead again: kubectl -n postern-system get pods,lease",
    ),
    (
        &[
            R::NoExit,
            R::ExitLost,
            R::NoHandshake,
            R::NotForwarded,
            R::NoUplink,
            R::EgressIPMissing,
        ],
        Blocked,
        "look at the gateway: posternctl status shows where the path ends",
    ),
    (
        &[R::CredentialMissing, R::CredentialMalformed],
        Blocked,
        "write the Secret that the exit names, in the operator's namespace; posternctl exit import makes one of a wg-quick file",
    ),
    (
        &[R::NoCredentialKey, R::HolderHeld],
        Blocked,
        "see that the agent of the named node runs and reports, and that no two exits name one egress IP; docs/operation.md, A server of a provider",
    ),
    (
        &[R::NoPeerKey, R::KeyNotProved],
        Blocked,
        "see that the agents of client and gateway run and report; a key that is not proved is replaced by removing wireguard.key on its node",
    ),
    (
        &[R::NoTunnel],
        Blocked,
        "on the node: modprobe wireguard, or modprobe tun",
    ),
    (
        &[
            R::NoMarkLeft,
            R::NoTunnelAddressLeft,
            R::NoPortLeft,
            R::TooLarge,
        ],
        Blocked,
        "use fewer exits or smaller policies there, or give the setting that the message names more room",
    ),
    (
        &[R::ResolverSilent, R::NoResolver],
        Blocked,
        "name resolvers that answer through the exit: spec.dns.upstreams, or the setting dnsUpstreams",
    ),
    (
        &[R::FamilyBlocked],
        Degraded,
        "give the exit addresses of the other family, or take that family away from its clients",
    ),
    (
        &[R::NoClass, R::NamespaceDeny],
        Blocked,
        "let a policy select the pod, or wait for the next intent",
    ),
    (
        &[
            R::PolicyRefused,
            R::RefNotResolved,
            R::Invalid,
            R::NotImplemented,
            R::UnknownField,
            R::NotPermitted,
            R::NamespaceNotAllowed,
            R::RefNotFound,
            R::RefNotAccepted,
            R::Conflict,
        ],
        Blocked,
        "change the object as the message says; until then what it selects is blocked or keeps its former rules",
    ),
    (
        &[R::SwitchedOff],
        Blocked,
        "posternctl exit on EXIT, when the exit is wanted again",
    ),
    (
        &[R::NoEligibleNode],
        Blocked,
        "label a node as the exit's gateway.nodeSelector asks",
    ),
    (
        &[R::RangesUnknown],
        Blocked,
        "write the ranges that the message names into the settings; docs/settings.md",
    ),
    (
        &[R::SettingsRefused],
        Degraded,
        "correct the keys that the message names; docs/operator.md, Settings that are refused",
    ),
    (
        &[R::RemoteLinkProtected, R::SwitchRolledBack],
        Degraded,
        "look at the link that the message names; docs/isolation.md says when a switch is held or rolled back",
    ),
    (
        &[R::LinkStuck, R::NoLink],
        Degraded,
        "look at the interfaces of the node: ip link, and spec.preferred and spec.domain of the object",
    ),
    (
        &[R::LinkNotRestored],
        Degraded,
        "let the host's manager configure the link that the message names, or add its routes: ip route",
    ),
    (
        &[R::LinkMemoryLost],
        Degraded,
        "do what the message says: docs/isolation.md, A memory that cannot be read",
    ),
    (
        &[R::RadioNotBlocked],
        Degraded,
        "block the radio by rfkill, or write rfkill: Ignore",
    ),
    (
        &[R::ReleaseHeld],
        Degraded,
        "look at it, then posternctl approve",
    ),
    (
        &[R::Restored, R::FormerLineage],
        Degraded,
        "compare the policies with what was in force, then posternctl approve --all --cause Restored",
    ),
    (
        &[R::SigningKeyLost],
        Degraded,
        "apply the backup of the Secret; docs/operator.md, A lost signing key",
    ),
    (
        &[R::Stale],
        Degraded,
        "look at the agent of the node: kubectl -n postern-system get pods -o wide, and its log",
    ),
    (
        &[R::NoSecondLock],
        Degraded,
        "load the kernel's XFRM modules and set the node's ranges; until then a program that flushes nft opens the node until the repair",
    ),
    (
        &[R::CheckFailed],
        Degraded,
        "do what the message says on the node; postern-agent preflight lists every check",
    ),
    (
        &[
            R::TransactionFailed,
            R::ApplyFailed,
            R::Mismatch,
            R::HostUnreadable,
            R::FlowsNotCut,
            R::NotConfirmed,
        ],
        Degraded,
        "look at the log of the node's agent; what was in force stays",
    ),
    (
        &[R::LedgerLost, R::NoIntent],
        Degraded,
        "wait for an intent; where none comes, see that an operator leads",
    ),
    (
        &[R::NotDurable],
        Degraded,
        "make room on the disk of the node, or of the API server's store",
    ),
    (
        &[
            R::Malformed,
            R::PayloadType,
            R::UnknownKey,
            R::BadSignature,
            R::BadPayload,
            R::WrongNode,
            R::WrongNodeUid,
            R::FromTheFuture,
            R::Replayed,
            R::Equivocation,
            R::KeySetVersion,
            R::BadKeySet,
            R::EmptyKeySet,
        ],
        Degraded,
        "find out who wrote that document: only the operator writes NodeIntents; docs/operator.md",
    ),
    (
        &[R::FormatVersion, R::NotUnderstood],
        Degraded,
        "upgrade the agent of the node",
    ),
    (
        &[R::Inconsistent, R::ClusterAwaited],
        Degraded,
        "wait for the next documents; where it stays so, look at the operator's log",
    ),
    (
        &[R::Observing],
        Notice,
        "look at what the reports of the nodes count under observed, then write enforcement: Enforce",
    ),
    (
        &[R::Ungoverned],
        Notice,
        "write an EgressPolicy for these pods, or label their namespaces postern.dev/egress-default: deny",
    ),
    (
        &[R::Overridden, R::Unused],
        Notice,
        "delete it, or change its selector or priority",
    ),
    (
        &[R::Repaired],
        Notice,
        "find the program that changes objects of Postern; the audit log of the node has each repair",
    ),
    (
        &[R::NoHostInterface, R::NotBound],
        Notice,
        "start the named pods anew",
    ),
    (
        &[R::Pending, R::Converging, R::Switching, R::Confirming],
        Notice,
        "wait; where it stays so for minutes, look at the operator and at the node's agent",
    ),
    (
        &[
            R::Accepted,
            R::Resolved,
            R::Programmed,
            R::Ready,
            R::Enforced,
            R::Verified,
            R::Sealed,
            R::Bound,
            R::Checked,
            R::Locked,
            R::Isolated,
            R::Confirmed,
        ],
        Notice,
        "look at the object: its status contradicts itself",
    ),
];

/// Gravity and action of a reason.
pub(super) fn of(reason: Reason) -> (Gravity, &'static str) {
    let group = GROUPS
        .iter()
        .find(|(reasons, _, _)| reasons.contains(&reason));
    group.map_or(
        (
            Degraded,
            "look at the object, and at the log of the operator",
        ),
        |(_, gravity, action)| (*gravity, *action),
    )
}

#[cfg(test)]
mod tests {
    use postern_crds::conditions::Reason;

    use super::GROUPS;

    #[test]
    fn every_reason_stands_in_one_group_and_no_other() {
        for reason in Reason::ALL {
            let groups = GROUPS
                .iter()
                .filter(|(reasons, _, _)| reasons.contains(reason));
            assert_eq!(groups.count(), 1, "{reason}");
        }
    }
}
