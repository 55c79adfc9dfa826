//! The document as a whole, and whom it is for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::dns::ScopeDns;
use super::exit::{ExitRoute, ServedExit};
use super::isolation::Isolation;
use super::pod::Pod;
use super::scope::Scope;
use super::tunnel::Tunnel;
use crate::words::{Namespace, NodeName, Serial, Uid};

/// The document that tells one node what to do. An unknown field or class refuses the whole body: a node that does
/// not understand an instruction must not guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body {
    /// The only node that may apply it.
    pub node: NodeIdentity,
    /// Grows with every change.
    pub serial: Serial,
    /// When it was compiled. RFC 3339.
    pub issued_at: Timestamp,
    /// When it stops being in force. RFC 3339.
    pub not_after: Timestamp,
    /// The trace that led to this body (W3C trace id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Namespaces with a policy in them or with the `deny` label: a pod of these that is not listed is held.
    pub guarded_namespaces: BTreeSet<Namespace>,
    /// What is the cluster's.
    pub cluster: Cluster,
    /// WireGuard devices of this node.
    pub tunnels: Vec<Tunnel>,
    /// Which mark leads into which tunnel.
    pub routes: Vec<ExitRoute>,
    /// Exits whose active gateway this node is.
    pub nat: Vec<ServedExit>,
    /// What each scope may do.
    pub firewall: Vec<Scope>,
    /// What becomes of the names that a scope's pods ask for.
    pub dns: Vec<ScopeDns>,
    /// Every pod that is bound to the node, from before it has an address.
    pub pods: Vec<Pod>,
    /// Which uplink may be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// Who a body is for. Name and UID: a node that was deleted and made again is another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeIdentity {
    /// The node's name.
    pub name: NodeName,
    /// The node object's UID.
    pub uid: Uid,
}
