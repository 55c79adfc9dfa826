//! The input of the compiler: the cluster as plain values, the published documents, what was remembered, and the time.
//!
//! Nothing here knows a client or a Kubernetes type; [`crate::intake`] makes these values from objects.

mod cluster_policy;
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

pub use cluster_policy::{ClusterPolicyRules, SnapshotClusterPolicy};
pub use exit::{
    CredentialFacts, ExitNamespaces, ExitSwitch, ExitTerms, ExternalTerms, SelectedGateway,
    SnapshotExit,
};
pub use isolation::SnapshotIsolation;
pub use memory::{
    CompilerMemory, ExitHolder, HeldRecord, HolderFence, Pin, ReleaseRecord, RememberedPolicy,
    RememberedUplink,
};
pub use objects::{
    Labels, Lifecycle, NodeScheduling, PodNetwork, SnapshotNamespace, SnapshotNode, SnapshotPod,
    SnapshotService,
};
pub use policy::{PolicyKey, PolicyRoute, PolicyTerms, SnapshotPolicy, SpecRefusal};
pub use report::{
    COUNTS_FOR, Freshness, Guard, PathFault, Possession, ReportedExit, ReportedIsolation,
    ReportedKey, ReportedScope, SnapshotReport,
};
pub use selector::ParsedSelector;
pub use settings::{Ceiling, CompilerSettings, GateSettings, Permission, TunnelSettings};

use crate::gate::Approval;

/// Everything that one compile depends on. The order of the lists does not matter.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The time that counts as now.
    pub now: Timestamp,
    pub settings: CompilerSettings,
    pub exits: Vec<SnapshotExit>,
    pub policies: Vec<SnapshotPolicy>,
    pub cluster_policies: Vec<SnapshotClusterPolicy>,
    pub isolations: Vec<SnapshotIsolation>,
    pub nodes: Vec<SnapshotNode>,
    /// All pods that are bound to a node and have not finished.
    pub pods: Vec<SnapshotPod>,
    pub namespaces: Vec<SnapshotNamespace>,
    /// Services with addresses that the outside reaches.
    pub services: Vec<SnapshotService>,
    /// What is known of the Secrets that exits name, by name; one that is not there does not exist.
    pub credentials: BTreeMap<String, CredentialFacts>,
    /// What the nodes report, as far as it is read at all.
    pub reports: Vec<SnapshotReport>,
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
    pub memory: CompilerMemory,
    pub approvals: Vec<Approval>,
    /// Whether the policies' own definition is there.
    pub definitions: Definitions,
    /// Whether the definition of policies of administrators is there.
    pub admin_definition: Definitions,
}

/// The state of a CustomResourceDefinition of policies: when it is deleted, every policy is deleted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Definitions {
    #[default]
    Serving,
    /// It is being deleted.
    Terminating,
}
