//! What became of an exit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of an exit; counts, never a map per client node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::kubernetes::nobody_has_looked)]
pub struct ExitNodeStatus {
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`, and `SettingsAccepted`, which is about the operator's settings
    /// and the same on every exit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about. A tool that waits for an object, such as kstatus, takes an
    /// older one for "not looked at yet". The value -1 says that no operator has looked at the object since it was made; the
    /// API server writes it where an object has no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::observed_generation")]
    pub observed_generation: Option<i64>,

    /// Nodes that are this exit or stand by for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub gateways: Vec<GatewayStatus>,

    /// Client nodes by how far they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClientCounts")]
    pub clients: Option<ClientCounts>,
}

/// One gateway of an exit.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Name of the node.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub node: String,

    /// `Active`: the first gateway of the order, which clients use unless they went on from it.
    pub role: GatewayRole,

    /// Where client nodes reach the tunnel, as `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::endpoint")]
    pub endpoint: Option<String>,

    /// MTU of its tunnels in bytes, as it reads it back. Absent while it does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub mtu: Option<u32>,

    /// Source addresses that are in force on this node, as it reports. Absent while it does not, and where traffic
    /// takes the address of the uplink.
    #[serde(default, rename = "egressIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::address::reported_ips")]
    pub egress_ips: Vec<String>,

    /// Whether the node carries what is in force for it, as it reported within three minutes.
    #[serde(default)]
    pub healthy: bool,
}

/// What a gateway does for its exit.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum GatewayRole {
    /// Traffic leaves here.
    Active,
    /// Ready to take over.
    #[default]
    Standby,
}

/// Client nodes of an exit, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCounts {
    /// Nodes whose pods are to leave here.
    #[serde(default)]
    pub desired: u32,

    /// Those of them that reported within three minutes that their kernel was read back and does so.
    #[serde(default)]
    pub programmed: u32,

    /// Those of them that reported within three minutes that their guard is in place: their pods leave as they may or
    /// not at all.
    #[serde(default)]
    pub sealed: u32,
}
