//! What became of the rules of an administrator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::egress_policy::NodeCounts;

/// What became of the rules of an administrator; counts, never a map per node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::kubernetes::nobody_has_looked)]
pub struct ClusterEgressPolicyStatus {
    /// `Accepted`, `Programmed`, `FullyEnforced`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about. A tool that waits for an object, such as kstatus, takes an
    /// older one for "not looked at yet". The value -1 says that no operator has looked at the object since it was made; the
    /// API server writes it where an object has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::observed_generation")]
    pub observed_generation: Option<i64>,

    /// Namespaces of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NamespaceCounts")]
    pub namespaces: Option<NamespaceCounts>,

    /// Pods of the subject by what holds for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "GovernedPods")]
    pub pods: Option<GovernedPods>,

    /// Nodes with pods that the rules are in force for, by how far they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NodeCounts")]
    pub nodes: Option<NodeCounts>,
}

/// Namespaces of a subject, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCounts {
    /// Namespaces that the selector chooses.
    #[serde(default)]
    pub selected: u32,
}

/// Pods of a subject, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GovernedPods {
    /// Pods of the subject; with tier Baseline those that no EgressPolicy selects.
    #[serde(default)]
    pub selected: u32,

    /// Those that the rules are asked for: with tier Admin what an EgressPolicy or the tier Baseline decides about.
    #[serde(default)]
    pub governed: u32,

    /// Those that have no way out without these rules, such as in a namespace that denies.
    #[serde(default)]
    pub blocked: u32,

    /// Those that no EgressPolicy selects and that leave by the node's own way: the rules are not asked for them.
    #[serde(default)]
    pub ungoverned: u32,

    /// Those that cannot be told apart by address (hostNetwork).
    #[serde(default)]
    pub unenforceable: u32,
}
