//! The document of one node, and whom it is for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::allocation::ExitAllocation;
use super::exit::{ExitRoute, ServedExit};
use super::external::ExternalSession;
use super::isolation::Isolation;
use super::pod::Pod;
use super::scope::Scope;
use super::tunnel::Tunnel;
use crate::newtypes::{Address, NodeName, Prefix, Serial, Uid};

/// The format of the documents that this build writes and reads. Every change of what one says, a new field too, is a new
/// format: a reader refuses what it does not know.
pub const FORMAT_VERSION: u32 = 4;

/// The document for one node: all that it is to do, but for the facts of the cluster, which one document tells all nodes
/// ([`ClusterDocument`](super::ClusterDocument)). An unknown field or class refuses the whole document: a node that does
/// not understand an instruction must not guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDocument {
    /// [`FORMAT_VERSION`]. A reader looks at it before anything else of the document.
    pub version: u32,
    /// The only node that may apply it.
    pub node: NodeIdentity,
    /// Grows with every change.
    pub serial: Serial,
    /// The lowest serial of the cluster document that it may be joined with.
    pub cluster_serial: Serial,
    /// When it was compiled. RFC 3339.
    pub issued_at: Timestamp,
    /// When it stops being in force. RFC 3339.
    pub not_after: Timestamp,
    /// The trace that led to this document (W3C trace id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Pod ranges of this node, as its Node object has them.
    pub local_pod_ranges: Vec<Prefix>,
    /// The node's own addresses: translated inbound connections may have come in there.
    pub local_addresses: BTreeSet<Address>,
    /// WireGuard devices of this node.
    pub tunnels: Vec<Tunnel>,
    /// Which mark leads into which tunnel.
    pub routes: Vec<ExitRoute>,
    /// Exits of which this node is a gateway.
    pub nat: Vec<ServedExit>,
    /// Sessions with servers outside of the cluster that this node alone holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalSession>,
    /// What each scope may do.
    pub firewall: Vec<Scope>,
    /// Every pod that is bound to the node, from before it has an address.
    pub pods: Vec<Pod>,
    /// Which uplink may be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Numbers and names of the exits that the node uses or serves, by exit.
    pub allocations: Vec<ExitAllocation>,
}

/// Who a document is for. Name and UID: a node that was deleted and made again is another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeIdentity {
    pub name: NodeName,
    /// The node object's UID.
    pub uid: Uid,
}
