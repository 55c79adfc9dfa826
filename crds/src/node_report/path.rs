//! How far packets get on their way out, as the node's own probes show it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One exit as a node that uses it sees it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitReport {
    /// Name of the exit.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub exit: String,

    /// Digest of the exit in the body that was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::section_digest")]
    pub digest: Option<String>,

    /// The gateway that the node uses now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub gateway: Option<String>,

    /// Gateways of the exit that answer the node now.
    #[serde(default)]
    #[schemars(with = "u32")]
    pub answering: u32,

    /// Last WireGuard handshake with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub last_handshake: Option<MicroTime>,

    /// Whether a family gets through to its gateway now.
    #[serde(default)]
    pub healthy: bool,

    /// MTU of the tunnel in bytes, read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub mtu: Option<u32>,

    /// The ways of its families.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub paths: Vec<PathReport>,
}

/// One exit as its gateway sees it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedReport {
    /// Name of the exit.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub exit: String,

    /// Digest of the exit in the body that was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::section_digest")]
    pub digest: Option<String>,

    /// MTU of the tunnel in bytes, read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub mtu: Option<u32>,

    /// Where the gateway reaches the server of an external exit, as `address:port`. Absent for other exits, and while the
    /// server's name has no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::endpoint")]
    pub server: Option<String>,

    /// The ways of its families, from the gateway on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub paths: Vec<PathReport>,
}

/// How far packets of one family get.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathReport {
    /// The family.
    pub family: AddressFamily,

    /// What the probes show.
    pub state: PathState,

    /// Where the way ends, if it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathHop")]
    pub hop: Option<PathHop>,

    /// What was found there, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "crate::schema::text::sentence")]
    pub message: String,
}

/// A family of addresses.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum AddressFamily {
    /// IPv4.
    #[default]
    IPv4,
    /// IPv6.
    IPv6,
}

/// What the probes of a way show.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum PathState {
    /// Nothing is known yet, or there is nothing that could be asked.
    #[default]
    Untested,
    /// What was asked at the farthest known place was answered.
    Works,
    /// It ends at a hop.
    Broken,
}

/// A place on the way from a pod to the world.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum PathHop {
    /// Between client and gateway.
    Tunnel,
    /// In the gateway, between tunnel and uplink.
    Forward,
    /// The exit's source address.
    Source,
    /// The gateway's way out.
    Uplink,
    /// The resolver behind it.
    Resolver,
}
