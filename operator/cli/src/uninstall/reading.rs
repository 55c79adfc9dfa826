//! What there is of Postern in a cluster.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use postern_compile::gate::PendingApproval;
use postern_crds::NodeReport;

use crate::cluster::ReadResult;

/// An object by its name, and whether it is being deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMark {
    pub namespace: Option<String>,
    pub name: String,
    pub is_going: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct UninstallReading {
    pub policies: Vec<ObjectMark>,
    /// Namespaces with the label `postern.dev/egress-default`.
    pub labelled: Vec<String>,
    /// What waits for an approval.
    pub held: Vec<PendingApproval>,
    pub reports: Vec<ReadResult<NodeReport>>,
    pub operator: Option<Deployment>,
    pub lease: Option<Lease>,
    pub agents: Option<DaemonSet>,
    pub tunnels: Option<DaemonSet>,
    /// Pods of the namespace that belong to Postern, also those that clean up.
    pub pods: Vec<Pod>,
    pub exits: Vec<ObjectMark>,
    pub cluster_policies: Vec<ObjectMark>,
    pub isolations: Vec<ObjectMark>,
    pub intents: Vec<ObjectMark>,
    /// Definitions of the group.
    pub definitions: Vec<ObjectMark>,
}
