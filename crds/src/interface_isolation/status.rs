//! What became of an isolation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What became of an isolation; counts, never a map per node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::kubernetes::nobody_has_looked)]
pub struct InterfaceIsolationStatus {
    /// `Accepted`, `Programmed`, `Ready`, `RolledBack`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about. A tool that waits for an object, such as kstatus, takes an
    /// older one for "not looked at yet". The value -1 says that no operator has looked at the object since it was made; the
    /// API server writes it where an object has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::observed_generation")]
    pub observed_generation: Option<i64>,

    /// Chosen nodes by how far they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IsolationCounts")]
    pub nodes: Option<IsolationCounts>,
}

/// Chosen nodes, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationCounts {
    /// Nodes that the selector chooses.
    #[serde(default)]
    pub desired: u32,

    /// Those with at most one uplink up, read back.
    #[serde(default)]
    pub compliant: u32,

    /// Those that went back to what was before.
    #[serde(default)]
    pub rolled_back: u32,
}
