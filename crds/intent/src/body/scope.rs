//! Scopes: one way out, and what may happen when it is lost.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::newtypes::{ExitName, Namespace, ScopeId, SectionDigest, Uid};

/// One policy-to-exit binding on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// Its name, unique on the node.
    pub id: ScopeId,
    /// Changes with everything that the node programs for the scope alone: not with its pods, nor with the cluster's facts.
    /// The report repeats it.
    pub digest: SectionDigest,
    /// The policy that it enforces, for the report.
    pub policy: PolicyRef,
    /// The exit of the policy, also where the way is blocked; none where the policy has no exit that can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitName>,
    /// The one way out.
    pub way: EgressPath,
    /// What may happen when the way out is lost.
    pub failure: ScopeFailureMode,
    /// What its pods may do.
    pub terms: Terms,
}

impl Scope {
    /// The exit whose tunnel of this node the scope leaves by.
    #[must_use]
    pub const fn tunnel_exit(&self) -> Option<&ExitName> {
        match self.way {
            EgressPath::Tunnel => self.exit.as_ref(),
            EgressPath::LocalExit | EgressPath::NodeUplink | EgressPath::Blocked { .. } => None,
        }
    }

    /// The exit that this node serves and that the scope leaves by.
    #[must_use]
    pub const fn local_exit(&self) -> Option<&ExitName> {
        match self.way {
            EgressPath::LocalExit => self.exit.as_ref(),
            EgressPath::Tunnel | EgressPath::NodeUplink | EgressPath::Blocked { .. } => None,
        }
    }
}

/// The policy's identity as the body carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    pub namespace: Namespace,
    /// That of an EgressPolicy, or [`BASELINE`](crate::BASELINE).
    pub name: String,
    pub uid: Uid,
    /// `metadata.generation` of what is enforced.
    pub generation: i64,
}

/// The one way out of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum EgressPath {
    /// Into the used tunnel of the scope's exit; [`ExitRoute`](super::ExitRoute) has its mark and device.
    Tunnel,
    /// This node is the first gateway of the scope's exit, or has chosen itself: by its uplink with the exit's source address.
    /// [`ServedExit`](super::ServedExit) has its limits.
    LocalExit,
    /// By the node's own uplink, filtered.
    NodeUplink,
    Blocked {
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

impl fmt::Display for BlockedReason {
    /// The word that documents have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What may happen when the way out is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ScopeFailureMode {
    Closed,
    /// After this time the node's uplink may be used.
    Open {
        /// Seconds without a way out before it opens.
        after_seconds: u32,
    },
}
