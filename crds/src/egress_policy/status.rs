//! What became of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy; counts, never a map per node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::kubernetes::nobody_has_looked)]
pub struct EgressPolicyStatus {
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`, `FullyEnforced`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about. A tool that waits for an object, such as kstatus, takes an
    /// older one for "not looked at yet". The value -1 says that no operator has looked at the object since it was made; the
    /// API server writes it where an object has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::observed_generation")]
    pub observed_generation: Option<i64>,

    /// The exit that its pods are to leave by now: the first of those in `spec.route.exitNodes` that can be used. Absent while none
    /// can, and with route type `NodeUplink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub exit_node: Option<String>,

    /// Selected pods by what holds for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PodCounts")]
    pub pods: Option<PodCounts>,

    /// Nodes with selected pods by how far they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NodeCounts")]
    pub nodes: Option<NodeCounts>,
}

/// Selected pods, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCounts {
    /// Pods that the selector chooses.
    #[serde(default)]
    pub selected: u32,

    /// Those that leave by the exit, by nothing else and as the rules allow, on nodes that are programmed.
    #[serde(default)]
    pub enforced: u32,

    /// Those that leave by the exit and by nothing else, and whose policy only counts what its rules would refuse.
    #[serde(default)]
    pub observed: u32,

    /// Those that have no way out now, on nodes that are programmed.
    #[serde(default)]
    pub blocked: u32,

    /// Those that another policy of this namespace decides about.
    #[serde(default)]
    pub overridden: u32,

    /// Those that cannot be told apart by address (hostNetwork) or whose path bypasses the guard.
    #[serde(default)]
    pub unenforceable: u32,
}

/// Nodes, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes with selected pods.
    #[serde(default)]
    pub desired: u32,

    /// Those that reported within three minutes that their kernel was read back and carries this generation.
    #[serde(default)]
    pub programmed: u32,

    /// Those of which nobody knows: what they last reported, more than three minutes ago, no longer counts.
    #[serde(default)]
    pub stale: u32,
}
