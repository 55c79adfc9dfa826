//! The parts of a report that are not about a scope.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pods of the applied body. Their UIDs are not listed, so that the report stays small.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedPods {
    /// How many pods the body lists.
    #[serde(default)]
    pub count: u32,

    /// SHA-256 over the sorted UIDs, each followed by a line feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::digest")]
    pub digest: Option<String>,
}

/// A difference between what should be in the kernel and what was read back.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    /// The object, such as `route table 7101 default` or `nft inet postern chain guard`.
    #[schemars(schema_with = "crate::schema::text::token")]
    pub object: String,

    /// What is wrong with it.
    pub difference: Difference,

    /// What was expected and what was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "crate::schema::text::sentence")]
    pub message: String,

    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub at: Option<MicroTime>,
}

/// What is wrong with an object.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Difference {
    /// It is not there.
    #[default]
    Missing,
    /// It is there and says something else.
    Changed,
    /// It is there and nobody asked for it.
    Unexpected,
    /// It could not be read, so nothing is claimed about it.
    Unreadable,
}

/// A document that the agent did not obey.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Why, as one word.
    #[schemars(schema_with = "crate::schema::text::reason")]
    pub reason: String,

    /// Serial that the document claimed, when it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub serial: Option<u64>,

    /// Digest of the payload, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::digest")]
    pub digest: Option<String>,

    /// When it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub at: Option<MicroTime>,

    /// Why, as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "crate::schema::text::sentence")]
    pub message: String,
}

/// What the node can do, found by trying.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Kernel release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub kernel: String,

    /// Whether nft tables can be written and read.
    #[serde(default)]
    pub nftables: bool,

    /// How tunnels are made.
    #[serde(default)]
    pub tunnels: TunnelKind,

    /// Whether the XFRM lock can be set.
    #[serde(default)]
    pub second_lock: bool,

    /// Whether the node has IPv6.
    #[serde(default)]
    pub ipv6: bool,

    /// Whether the CNI plugin gives bindings.
    #[serde(default)]
    pub plugin: bool,
}

/// How tunnels are made.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum TunnelKind {
    /// No tunnel is possible.
    #[default]
    None,
    /// WireGuard of the kernel.
    Kernel,
    /// WireGuard in a process.
    Userspace,
}

/// How many proofs a report lists at most: as many as the ids of trusted keys.
pub const PROOFS_LISTED: usize = 16;

/// A proof that the node holds the private half of one of its keys.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyProof {
    /// Id of the signing key for whose holder the proof is.
    #[schemars(length(min = 1, max = 128))]
    pub key_id: String,

    /// HMAC-SHA256 over the node's name and UID, under the secret that the node shares with that signing key, in base64.
    #[schemars(schema_with = "crate::schema::text::public_key")]
    pub mac: String,
}

/// Public keys of the node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKeys {
    /// X25519 key of the node's tunnels, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::public_key")]
    pub wireguard: Option<String>,

    /// Proofs that the node holds the private half of that key, one for each signing key that it trusts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = PROOFS_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub wireguard_proofs: Vec<KeyProof>,

    /// Key to which external credentials are encrypted (HPKE, RFC 9180), in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::public_key")]
    pub credentials: Option<String>,

    /// Proofs that the node holds the private half of that key, one for each signing key that it trusts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = PROOFS_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub credentials_proofs: Vec<KeyProof>,
}
