//! What the compiler reads: the cluster as plain values, the published bodies, what was remembered, and the time.
//!
//! Nothing here knows a client or a Kubernetes type; [`crate::intake`] makes these values from objects.

mod exit;
mod isolation;
mod memory;
mod objects;
mod policy;
mod report;
mod selector;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::{ClusterDocument, NodeDocument, NodeName};

pub use exit::{AllowedNamespaces, Exit, ExitTerms};
pub use isolation::Isolation;
pub use memory::{HeldRecord, Memory, Pin, ReleaseRecord, RememberedPolicy};
pub use objects::{Attachment, Labels, Lifecycle, Namespace, Node, Pod, Service};
pub use policy::{Policy, PolicyKey, PolicyTerms, Refusal};
pub use report::{
    COUNTS_FOR, Freshness, Guard, PathFault, Possession, Report, ReportedExit, ReportedKey,
    ReportedScope,
};
pub use selector::Selector;
pub use settings::{Ceiling, Gate, Permission, Settings, TunnelSettings};

use crate::gate::Approval;

/// Everything that one compile depends on. The order of the lists does not matter.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The time that counts as now.
    pub now: Timestamp,
    /// The administrator's settings.
    pub settings: Settings,
    /// All exits.
    pub exits: Vec<Exit>,
    /// All policies.
    pub policies: Vec<Policy>,
    /// All isolations.
    pub isolations: Vec<Isolation>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All pods that are bound to a node and have not finished.
    pub pods: Vec<Pod>,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// Services with addresses that the outside reaches.
    pub services: Vec<Service>,
    /// What the nodes report, as far as it is read at all.
    pub reports: Vec<Report>,
    /// The published documents of nodes, verified.
    pub previous: BTreeMap<NodeName, NodeDocument>,
    /// The published cluster document, verified; none: there is none, or what is there cannot be read.
    pub previous_cluster: Option<ClusterDocument>,
    /// Whether the calling process published that document itself and therefore knows every later one.
    pub cluster_is_own: bool,
    /// Nodes for which something is published that cannot be read or verified: what they enforce is not known, so they
    /// count as restored.
    pub unreadable: BTreeSet<NodeName>,
    /// Nodes that have spoken before and not since somebody began to listen: what is known of them may be what a restored
    /// store remembers, so nothing new is published for them yet.
    pub awaited: BTreeSet<NodeName>,
    /// What the last compile asked to remember.
    pub memory: Memory,
    /// What people approved.
    pub approvals: Vec<Approval>,
    /// Whether the policies' own definition is there.
    pub definitions: Definitions,
}

/// The state of the policies' CustomResourceDefinition: when it goes, every policy goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Definitions {
    /// It is served.
    #[default]
    Serving,
    /// It is being deleted.
    Terminating,
}
