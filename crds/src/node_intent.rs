//! `NodeIntent`: the signed document that tells one node what to do. Internal; only the operator writes it.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Largest envelope payload in bytes of base64. Together with a key set it stays below etcd's limit of 1.5 MiB for one request.
pub const PAYLOAD_LIMIT: usize = 716_800;

/// The signed document for one node, with printable copies of what identifies it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "NodeIntent",
    plural = "nodeintents",
    singular = "nodeintent",
    category = "postern",
    status = "NodeIntentStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "NodeIntent is the signed document that tells one node what to do. Internal: only the operator writes it, and nothing secret stands in it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Serial", type_ = "integer", json_path = ".spec.serial"),
    printcolumn(
        name = "Applied",
        type_ = "integer",
        json_path = ".status.appliedSerial"
    ),
    printcolumn(name = "NotAfter", type_ = "string", json_path = ".spec.notAfter"),
    printcolumn(
        name = "KeySet",
        type_ = "integer",
        json_path = ".spec.keySet.version",
        priority = 1
    ),
    printcolumn(
        name = "NodeUID",
        type_ = "string",
        json_path = ".spec.nodeUID",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.serial >= oldSelf.serial")
    .message("serial must not fall; read the object again and write a higher serial with its resourceVersion").field_path(".serial"))]
#[x_kube(validation = Rule::new("!has(oldSelf.keySet) || (has(self.keySet) && self.keySet.version >= oldSelf.keySet.version)")
    .message("keySet.version must not fall and keySet must not go; write a higher version").field_path(".keySet"))]
#[x_kube(validation = Rule::new("self.serial != oldSelf.serial || (self.nodeUID == oldSelf.nodeUID && has(self.notAfter) == has(oldSelf.notAfter) && (!has(self.notAfter) || self.notAfter == oldSelf.notAfter) && has(self.envelope) == has(oldSelf.envelope) && (!has(self.envelope) || (self.envelope.payload == oldSelf.envelope.payload && self.envelope.payloadType == oldSelf.envelope.payloadType)))")
    .message("nodeUID, notAfter and the envelope's payload change together with a higher serial only; write the new serial").field_path(".serial"))]
#[x_kube(validation = Rule::new("self.serial != oldSelf.serial || (has(self.keySet) && (!has(oldSelf.keySet) || self.keySet.version != oldSelf.keySet.version)) || !has(self.envelope) || !has(oldSelf.envelope) || self.envelope.signatures == oldSelf.envelope.signatures")
    .message("the envelope's signatures change together with a higher serial or a higher keySet.version only; write one of them").field_path(".envelope"))]
#[x_kube(validation = Rule::new("!has(self.keySet) || !has(oldSelf.keySet) || self.keySet.version != oldSelf.keySet.version || self.keySet == oldSelf.keySet")
    .message("keySet changes together with a higher keySet.version only; write the new version").field_path(".keySet"))]
pub struct NodeIntentSpec {
    /// UID of the Node object that the document is for.
    #[serde(rename = "nodeUID")]
    #[schemars(schema_with = "crate::schema::text::uid")]
    pub node_uid: String,

    /// Serial of the document in the envelope; 0 while there is none.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub serial: u64,

    /// When the document in the envelope runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub not_after: Option<Time>,

    /// An intent or a release, signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Envelope")]
    pub envelope: Option<Envelope>,

    /// Keys that the node is to trust, signed by one that it trusts already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeySet")]
    pub key_set: Option<KeySet>,
}

/// How the node stands, as the operator sees it: its own verdict, and what the node's report says while that counts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeIntentStatus {
    /// `Accepted`, `Programmed`, `Ready`, `Verified`, `FailClosed`, `SourceBinding`, `SecondLock`, `Preflight`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::kubernetes::conditions")]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about. A tool that waits for an object, such as kstatus, takes an
    /// older one for "not looked at yet".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::observed_generation")]
    pub observed_generation: Option<i64>,

    /// Serial that the node's kernel carries, as it reports; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub applied_serial: Option<u64>,
}

/// A DSSE envelope (secure-systems-lab/dsse, envelope.md), field for field.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Media type of the payload.
    #[schemars(length(min = 1, max = 128))]
    pub payload_type: String,

    /// The bytes that were signed, in base64.
    #[schemars(length(min = 1, max = 716_800))]
    pub payload: String,

    /// One signature, or several while keys rotate.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Key id, a hint for the choice of the key.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub keyid: String,

    /// The signature, in base64.
    #[schemars(length(min = 1, max = 128))]
    pub sig: String,
}

/// A versioned set of trusted keys, signed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeySet {
    /// Version of the set, which only grows.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub version: u64,

    /// The document, signed by a key that is trusted already.
    pub envelope: Envelope,
}
