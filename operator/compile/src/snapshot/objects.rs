//! Nodes, pods and namespaces, as far as the compiler looks at them.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{
    Address, Namespace as NamespaceName, NodeName, NodeUid, PodName, Prefix, Uid,
};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Is somebody deleting the object?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Lifecycle {
    #[default]
    Live,
    /// It has a deletion time stamp.
    Deleting,
}

/// Does the scheduler place pods on a node?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NodeScheduling {
    #[default]
    Schedulable,
    /// `spec.unschedulable`: the node is about to be drained.
    Cordoned,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNode {
    pub name: NodeName,
    /// Its UID: a node that was deleted and made again is another node.
    pub uid: NodeUid,
    pub labels: Labels,
    pub scheduling: NodeScheduling,
    /// Its addresses, the ones that other nodes reach first.
    pub addresses: Vec<Address>,
    /// The ranges that its pods' addresses come from.
    pub pod_ranges: Vec<Prefix>,
}

/// How a pod is attached to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PodNetwork {
    /// It has a network namespace and addresses of its own.
    #[default]
    Own,
    /// It uses the node's; its address does not distinguish it.
    Host,
}

/// A pod that is bound to a node and has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPod {
    pub namespace: NamespaceName,
    pub name: PodName,
    pub uid: Uid,
    /// The node that it is bound to.
    pub node: NodeName,
    pub labels: Labels,
    /// How it is attached.
    pub attachment: PodNetwork,
    /// Its addresses; empty until the kubelet reports them.
    pub addresses: BTreeSet<Address>,
    /// Whether it is being deleted.
    pub lifecycle: Lifecycle,
}

/// A service, as far as the outside reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotService {
    pub namespace: NamespaceName,
    pub name: String,
    /// Load-balancer and external addresses; connections to them are translated on every node.
    pub addresses: BTreeSet<Address>,
    /// Its ports at those addresses.
    pub ports: BTreeSet<u16>,
    /// Ports at which every node translates connections to it.
    pub node_ports: BTreeSet<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNamespace {
    pub name: NamespaceName,
    pub labels: Labels,
    /// Whether it is being deleted.
    pub lifecycle: Lifecycle,
}

impl SnapshotNamespace {
    /// Does its label ask that pods without a policy have no way out?
    ///
    /// Whatever the label's value is: admission refuses every other one, and whoever wrote `Deny` or `true` before it was
    /// installed did not mean that everything may leave.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.labels
            .contains_key(postern_crds::names::EGRESS_DEFAULT_LABEL)
    }
}
