//! What a node acts on: its own document, joined with the one that all nodes read.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::allocation::ExitAllocation;
use super::cluster::{Cluster, ClusterDocument};
use super::document::{FORMAT_VERSION, NodeDocument, NodeIdentity};
use super::exit::{ExitRoute, ServedExit};
use super::external::ExternalSession;
use super::isolation::Isolation;
use super::pod::Pod;
use super::scope::Scope;
use super::tunnel::Tunnel;
use crate::newtypes::{Address, ExitName, Namespace, Prefix, Serial};

/// What one node is to do, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The only node that may apply it.
    pub node: NodeIdentity,
    /// Of the node's document.
    pub serial: Serial,
    /// Of the cluster document.
    pub cluster_serial: Serial,
    /// When the node's document was compiled.
    pub issued_at: Timestamp,
    /// When the first of the two documents stops being in force.
    pub not_after: Timestamp,
    /// [`NodeDocument::trace_id`].
    pub trace_id: Option<String>,
    /// [`ClusterDocument::guarded_namespaces`].
    pub guarded_namespaces: BTreeSet<Namespace>,
    /// [`ClusterDocument::cluster`].
    pub cluster: Cluster,
    /// [`NodeDocument::local_pod_ranges`].
    pub local_pod_ranges: Vec<Prefix>,
    /// [`NodeDocument::local_addresses`].
    pub local_addresses: BTreeSet<Address>,
    /// [`NodeDocument::tunnels`].
    pub tunnels: Vec<Tunnel>,
    /// [`NodeDocument::routes`].
    pub routes: Vec<ExitRoute>,
    /// [`NodeDocument::nat`].
    pub nat: Vec<ServedExit>,
    /// [`NodeDocument::external`].
    pub external: Vec<ExternalSession>,
    /// [`NodeDocument::firewall`].
    pub firewall: Vec<Scope>,
    /// [`NodeDocument::pods`].
    pub pods: Vec<Pod>,
    /// [`NodeDocument::isolation`].
    pub isolation: Option<Isolation>,
    /// [`NodeDocument::allocations`].
    pub allocations: Vec<ExitAllocation>,
}

impl NodeDocument {
    /// The session with a server outside, if this node leaves by one for the exit.
    #[must_use]
    pub fn external_session(&self, exit: &ExitName) -> Option<&ExternalSession> {
        session_of(&self.external, exit)
    }
}

fn session_of<'a>(external: &'a [ExternalSession], exit: &ExitName) -> Option<&'a ExternalSession> {
    external.iter().find(|session| &session.exit == exit)
}

impl Body {
    /// Joins two documents. Whether they may be joined is for [`crate::verify::join`] to say.
    #[must_use]
    pub fn of(node: NodeDocument, cluster: ClusterDocument) -> Self {
        Self {
            node: node.node,
            serial: node.serial,
            cluster_serial: cluster.serial,
            issued_at: node.issued_at,
            not_after: node.not_after.min(cluster.not_after),
            trace_id: node.trace_id,
            guarded_namespaces: cluster.guarded_namespaces,
            cluster: cluster.cluster,
            local_pod_ranges: node.local_pod_ranges,
            local_addresses: node.local_addresses,
            tunnels: node.tunnels,
            routes: node.routes,
            nat: node.nat,
            external: node.external,
            firewall: node.firewall,
            pods: node.pods,
            isolation: node.isolation,
            allocations: node.allocations,
        }
    }

    /// Two documents that give this body when they are joined. The operator makes its documents one by one; this is for
    /// whoever has a body first, as tests do.
    #[must_use]
    pub fn documents(self) -> (NodeDocument, ClusterDocument) {
        let cluster = ClusterDocument {
            version: FORMAT_VERSION,
            serial: self.cluster_serial,
            follows: self.cluster_serial,
            changed: self.cluster_serial,
            lost: Vec::new(),
            issued_at: self.issued_at,
            not_after: self.not_after,
            guarded_namespaces: self.guarded_namespaces,
            cluster: self.cluster,
        };
        let node = NodeDocument {
            version: FORMAT_VERSION,
            node: self.node,
            serial: self.serial,
            cluster_serial: self.cluster_serial,
            issued_at: self.issued_at,
            not_after: self.not_after,
            trace_id: self.trace_id,
            local_pod_ranges: self.local_pod_ranges,
            local_addresses: self.local_addresses,
            tunnels: self.tunnels,
            routes: self.routes,
            nat: self.nat,
            external: self.external,
            firewall: self.firewall,
            pods: self.pods,
            isolation: self.isolation,
            allocations: self.allocations,
        };
        (node, cluster)
    }

    /// [`NodeDocument::external_session`].
    #[must_use]
    pub fn external_session(&self, exit: &ExitName) -> Option<&ExternalSession> {
        session_of(&self.external, exit)
    }

    /// The addresses where translated inbound connections may have come in: the node's own and those of Services.
    #[must_use]
    pub fn inbound_addresses(&self) -> BTreeSet<Address> {
        self.local_addresses
            .union(&self.cluster.service_addresses)
            .copied()
            .collect()
    }
}
