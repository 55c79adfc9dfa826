//! Scopes: one way out, and what may happen when it is lost.

use serde::{Deserialize, Serialize};

use super::exit::Access;
use super::rule::Rule;
use crate::words::{ExitName, Namespace, Prefix, ScopeId, Uid};

/// One policy-to-exit binding on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// Its name, unique on the node.
    pub id: ScopeId,
    /// The policy that it enforces, for the report.
    pub policy: PolicyRef,
    /// The one way out.
    pub way: Way,
    /// What may happen when the way out is lost.
    pub failure: FailureMode,
    /// In order; the first match wins.
    pub rules: Vec<Rule>,
    /// For traffic that no rule names.
    pub default_action: Access,
    /// What replies of inbound connections may do.
    pub replies: Replies,
    /// Private ranges (RFC 1918, RFC 6598, RFC 4193): policy and exit both allow.
    pub lan: Access,
    /// Special-use destinations that are allowed all the same (RFC 6890).
    pub special_use_exceptions: Vec<Prefix>,
    /// What becomes of flows that the scope no longer allows.
    pub established_flows: EstablishedFlows,
}

/// The policy's identity as the body carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// `metadata.generation` of what is enforced.
    pub generation: i64,
}

/// The one way out of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Way {
    /// Into the used tunnel of the exit.
    Tunnel {
        /// The exit; [`ExitRoute`](super::ExitRoute) has its mark and device.
        exit: ExitName,
    },
    /// This node is the exit's active gateway: by its uplink with the exit's source address.
    LocalExit {
        /// The exit; [`ServedExit`](super::ServedExit) has its limits.
        exit: ExitName,
    },
    /// By the node's own uplink, filtered.
    NodeUplink,
    /// Nothing leaves.
    Blocked {
        /// Why.
        reason: BlockedReason,
    },
}

/// Why a scope or a pod is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BlockedReason {
    /// No exit of the policy is there or has an eligible gateway.
    NoExit,
    /// The key of client or gateway is not known yet.
    NoPeerKey,
    /// All five marks of the node are taken.
    NoMarkLeft,
    /// The policy was refused.
    PolicyRefused,
    /// The policy sets a field that is not honoured yet.
    NotImplemented,
    /// The policy names something that does not exist or may not be used.
    RefNotResolved,
    /// The namespace has the `deny` label and no policy selects the pod.
    NamespaceDeny,
    /// The policy that selected the pod went, and its release is held until it is approved.
    ReleaseHeld,
    /// The node's intent would not fit into its budget.
    TooLarge,
    /// The node cannot make a tunnel.
    NoTunnel,
}

/// What may happen when the way out is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FailureMode {
    /// Nothing leaves.
    Closed,
    /// After this time the node's uplink may be used.
    Open {
        /// Seconds without a way out before it opens.
        after_seconds: u32,
    },
}

/// What replies of inbound connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replies {
    /// Go back the way they came, if the connection came by a service of this node.
    Services,
    /// Nothing.
    None,
}

/// What becomes of flows that a stricter policy no longer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EstablishedFlows {
    /// Their conntrack entries are deleted.
    Cut,
    /// They may end by themselves, as far as the rules let them.
    Keep,
}
