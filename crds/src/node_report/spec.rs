//! The report as a whole.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    AppliedPods, Capabilities, ExitReport, IsolationReport, Mismatch, PublicKeys, Refusal,
    ScopeReport, ServedReport,
};

/// Whose report it is; the operator sets this when it makes the object.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "NodeReport",
    plural = "nodereports",
    singular = "nodereport",
    category = "postern",
    status = "NodeReportStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "NodeReport is what one node's agent saw, read back from the kernel. Internal: only that agent writes its status.",
    printcolumn(
        name = "FailClosed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="FailClosed")].status"#
    ),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Verified")].status"#
    ),
    printcolumn(
        name = "Serial",
        type_ = "integer",
        json_path = ".status.appliedSerial"
    ),
    printcolumn(name = "Released", type_ = "boolean", json_path = ".status.released"),
    printcolumn(name = "VerifiedAt", type_ = "date", json_path = ".status.verifiedAt"),
    printcolumn(
        name = "Tunnels",
        type_ = "string",
        json_path = ".status.capabilities.tunnels",
        priority = 1
    ),
    printcolumn(
        name = "SecondLock",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="SecondLock")].status"#,
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].reason"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NodeReportSpec {
    /// UID of the Node object whose agent reports.
    #[serde(rename = "nodeUID")]
    #[schemars(schema_with = "crate::schema::text::uid")]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("nodeUID is set once; delete the report and let the operator make a new one for the new node"))]
    pub node_uid: String,
}

/// How many scopes a report lists at most; scopes beyond it are covered by the serial of the body only.
pub const SCOPES_LISTED: usize = 128;

/// As many guarded namespaces as a report lists.
pub const GUARDED_LISTED: usize = 1024;
/// How many served exits a report lists at most.
pub const SERVED_LISTED: usize = 64;

/// What the agent saw. Untrusted input to everybody who reads it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReportStatus {
    /// `Accepted`, `Programmed`, `Verified`, `FailClosed`, `SourceBinding`, `SecondLock`, `Preflight`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// Version of the agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub agent_version: String,

    /// Formats of bodies that the agent reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub body_formats: Vec<u32>,

    /// Serial of the body that the kernel carries; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub applied_serial: Option<u64>,

    /// Digest of the payload that the kernel carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::digest")]
    pub applied_digest: Option<String>,

    /// Serial of the cluster document that the applied body was joined with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub applied_cluster_serial: Option<u64>,

    /// When the kernel was last read back and agreed with the applied body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub verified_at: Option<MicroTime>,

    /// Highest serial that the agent's ledger has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub ledger_serial: Option<u64>,

    /// Highest serial of a cluster document that the agent's ledger has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub ledger_cluster_serial: Option<u64>,

    /// Version of the key set that the agent trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub key_set_version: Option<u64>,

    /// Ids of the signing keys that the agent trusts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::text::key_ids")]
    pub trusted_key_ids: Vec<String>,

    /// Whether the node was released and lets its pods out.
    #[serde(default)]
    pub released: bool,

    /// Guarded namespaces of the applied body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::text::namespace_names")]
    pub guarded_namespaces: Vec<String>,

    /// Pods of the applied body, as a count and a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AppliedPods")]
    pub applied_pods: Option<AppliedPods>,

    /// Scopes of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SCOPES_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub scopes: Vec<ScopeReport>,

    /// Exits that the node uses, as its probes see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["exit".into()]))]
    pub exits: Vec<ExitReport>,

    /// Exits that the node serves, as it sees its own way out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = SERVED_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["exit".into()]))]
    pub served: Vec<ServedReport>,

    /// Which uplink is up, where an isolation is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IsolationReport")]
    pub isolation: Option<IsolationReport>,

    /// Differences that reading the kernel back found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub mismatches: Vec<Mismatch>,

    /// Documents that were refused, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub refusals: Vec<Refusal>,

    /// Counters by name, such as repairs, held packets, and as `questions_*` the questions of pods for names by how they ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::text::counters")]
    pub counters: BTreeMap<String, u64>,

    /// What the node can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Capabilities")]
    pub capabilities: Option<Capabilities>,

    /// Public keys whose private halves were made on the node and never leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PublicKeys")]
    pub public_keys: Option<PublicKeys>,
}
