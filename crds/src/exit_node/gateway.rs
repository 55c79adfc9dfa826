//! An exit on nodes of the cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Nodes of the cluster that can be this exit; one is active, the others stand by.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Nodes that can be the gateway.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub node_selector: LabelSelector,

    /// Source addresses of what leaves, at most one of each family. Without any, traffic is masqueraded to the uplink's own address.
    /// With an address of one family only, the other family is blocked. Postern puts them on the uplink of the active gateway.
    #[serde(default, rename = "egressIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::address::egress_ips")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub egress_ips: Vec<String>,

    /// Uplink of the gateway. Without it, the interface of the default route is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::uplink")]
    pub interface: Option<String>,
}
