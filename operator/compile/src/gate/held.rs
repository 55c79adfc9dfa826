//! What a release is about, why it would happen, and a person's consent to it.

use std::fmt;

use jiff::Timestamp;
use postern_intent::{Namespace, NodeName, Uid};
use serde::{Deserialize, Serialize};

/// What a release is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalSubject {
    Policy(String),
    Namespace(Namespace),
    Node(NodeName),
}

impl ApprovalSubject {
    /// The namespace that it is in or is; none: it is of the cluster.
    #[must_use]
    pub fn namespace(&self) -> Option<Namespace> {
        match self {
            Self::Policy(name) => name.split_once('/')?.0.parse().ok(),
            Self::Namespace(name) => Some(name.clone()),
            Self::Node(_) => None,
        }
    }
}

impl fmt::Display for ApprovalSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// Why something would loosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ApprovalCause {
    /// A policy was deleted.
    PolicyDeleted,
    /// A policy of this name is there, but under another UID.
    PolicyReplaced,
    /// The policies' definition is being deleted, and the policy went with it.
    DefinitionTerminating,
    /// A policy no longer selects what it selected.
    SelectorChanged,
    /// A namespace lost its `deny` label.
    DenyLabelRemoved,
    /// A pod is blocked, and what it was blocked for is not known any more; or a policy went, and whom it selected is
    /// not known any more.
    Forgotten,
    /// A node has seen newer documents than the published one, or the published one cannot be read.
    Restored,
}

impl fmt::Display for ApprovalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A person's consent to one release. It is good until what it lets go is published: what waits later waits since
/// another time, and has another digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// What it is about.
    pub subject: ApprovalSubject,
    /// Why it would loosen.
    pub cause: ApprovalCause,
    /// [`PendingApproval::digest`] of what it loosens.
    pub digest: String,
}

/// Something that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingApproval {
    /// What it is about.
    pub subject: ApprovalSubject,
    /// Why it would loosen.
    pub cause: ApprovalCause,
    /// SHA-256 in hex of what would loosen and since when it waits.
    pub digest: String,
    pub since: Timestamp,
    /// How many pods it would release now.
    pub pods: usize,
    /// What lets it go.
    #[serde(default)]
    pub until: HeldUntil,
    /// The UID of the policy or node, also of a policy that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
}

/// What ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum HeldUntil {
    /// A person's approval and nothing else.
    #[default]
    Approved,
    /// It is within the limits by itself, and is judged again when others have left the window; or an approval.
    Window,
}

/// What a release hangs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReleaseGround {
    pub(crate) subject: ApprovalSubject,
    pub(crate) cause: ApprovalCause,
    /// The policy's UID, the node's UID and serial, or nothing.
    pub(crate) identity: String,
}

impl ApprovalCause {
    /// A policy that went with its definition, or came back as another object, may have gone by accident; where
    /// something was lost, nobody can say what may go.
    pub(super) const fn always_held(self) -> bool {
        matches!(
            self,
            Self::PolicyReplaced | Self::DefinitionTerminating | Self::Forgotten | Self::Restored
        )
    }
}
