//! An exit outside the cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A WireGuard server outside the cluster, reached by one node at a time.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The server, as `host:port`.
    #[schemars(schema_with = "crate::schema::text::endpoint")]
    pub endpoint: String,

    /// The server's public key, in base64.
    #[schemars(schema_with = "crate::schema::text::public_key")]
    pub public_key: String,

    /// Addresses that the server gave to this tunnel, with their prefix lengths.
    #[schemars(schema_with = "crate::schema::address::interface_addresses")]
    pub addresses: Vec<String>,

    /// Secret in the operator's own namespace with `privateKey` and, where the server asks for it, `presharedKey`.
    pub credentials_secret_ref: SecretRef,

    /// Nodes that may hold the credential; exactly one of them does at a time.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub gateway_node_selector: LabelSelector,
}

/// Name of a Secret in the operator's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub name: String,
}
