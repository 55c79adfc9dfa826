//! What the next compile has to know, besides the published documents. The caller saves it; a lost
//! memory never loosens anything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::{Address, ExitName, Namespace, NodeName, NodeUid, Serial, Uid, WgKey};
use serde::{Deserialize, Serialize};

use super::policy::PolicyRoute;
use super::selector::ParsedSelector;
use crate::gate::{ApprovalCause, ApprovalSubject, HeldUntil};

/// Everything that is remembered.
///
/// Unknown fields are ignored: an operator that is rolled back reads what the newer one wrote, as long as the format of the
/// pages did not change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompilerMemory {
    /// Policies as they selected last: to tell a policy's change from a pod's own, and to keep what is held.
    #[serde(default)]
    pub policies: BTreeMap<Namespace, BTreeMap<Uid, RememberedPolicy>>,
    #[serde(default)]
    pub deny: BTreeSet<Namespace>,
    /// WireGuard keys by node.
    #[serde(default)]
    pub pins: BTreeMap<NodeName, Pin>,
    /// Which node has the egress IPs or the session of each exit that has such, or had them last.
    #[serde(default)]
    pub holders: BTreeMap<ExitName, ExitHolder>,
    /// Nodes that had further egress IPs of an exit before it was changed, and did not give them up yet.
    #[serde(default)]
    pub leaving: Vec<ExitHolder>,
    /// What was released lately.
    #[serde(default)]
    pub releases: Vec<ReleaseRecord>,
    /// What waits for an approval, or has one and is not published yet.
    #[serde(default)]
    pub held: Vec<HeldRecord>,
}

/// A policy as it was last accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RememberedPolicy {
    pub name: String,
    pub generation: i64,
    /// Its priority when it was last accepted, else the one that it asks for.
    pub priority: i32,
    /// Its selector; none: not known, since only a published document speaks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<ParsedSelector>,
    /// Its selector when it was last accepted, where that is another one: the release of what it no longer selects is
    /// held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<ParsedSelector>,
    /// The selector of a refused update: pods that nothing else selects are blocked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<ParsedSelector>,
    /// Its exits in order.
    pub exits: Vec<ExitName>,
    /// Whether it leaves by the nodes' uplinks, and so by none of the exits.
    #[serde(default, skip_serializing_if = "RememberedUplink::is_unused")]
    pub uplink: RememberedUplink,
}

/// Does a policy, as it was last accepted, leave by the uplinks of its nodes?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RememberedUplink {
    #[default]
    Unused,
    Used,
}

impl RememberedUplink {
    const fn is_unused(&self) -> bool {
        matches!(self, Self::Unused)
    }
}

impl RememberedPolicy {
    /// The route that was last accepted; none: the policy never was.
    #[must_use]
    pub fn route(&self) -> Option<PolicyRoute> {
        match self.uplink {
            RememberedUplink::Used => Some(PolicyRoute::NodeUplink),
            RememberedUplink::Unused => {
                (!self.exits.is_empty()).then(|| PolicyRoute::Exits(self.exits.clone()))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    pub uid: NodeUid,
    pub key: WgKey,
    /// When it was pinned.
    pub since: Timestamp,
}

/// The node whose document had what only one node may have of an exit: its egress IPs, or the session with its server.
/// Another node begins only when this one has applied a later document, or when it cannot have them any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitHolder {
    pub node: NodeName,
    pub uid: NodeUid,
    /// Of the last document with them.
    pub serial: Serial,
    /// From when on the node cannot have them: when that document runs out, and with it the lease of the node's kernel; or,
    /// where the API server has to confirm it, a while after a document without them was published.
    pub until: Timestamp,
    /// When the first document with them was issued.
    #[serde(default)]
    pub since: Timestamp,
    #[serde(default)]
    pub fence: HolderFence,
    /// The egress IPs; none of a session, whose addresses are the server's.
    #[serde(default)]
    pub addresses: BTreeSet<Address>,
    /// The node had no fenced document up to this serial. Absent: it has applied one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<Serial>,
}

/// What ends a holder that applies no later document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HolderFence {
    /// The end of its document.
    #[default]
    Intent,
    /// The last confirmation by the API server.
    Confirmed,
}

/// Pods that were let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    pub at: Timestamp,
    /// Whose; none in what was remembered before releases were counted by namespace: it counts for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    pub pods: BTreeSet<Uid>,
}

/// Since when something waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldRecord {
    /// What it is about.
    pub subject: ApprovalSubject,
    pub cause: ApprovalCause,
    pub since: Timestamp,
    #[serde(default)]
    pub until: HeldUntil,
}
