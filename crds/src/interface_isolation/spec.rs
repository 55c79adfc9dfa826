//! What a user asks of an isolation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InterfaceIsolationStatus;

/// At most one uplink of each chosen node is up at any instant.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "InterfaceIsolation",
    plural = "interfaceisolations",
    singular = "interfaceisolation",
    shortname = "iiso",
    category = "postern",
    status = "InterfaceIsolationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "InterfaceIsolation keeps at most one uplink of each chosen node up at any instant.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".status.nodes.desired"
    ),
    printcolumn(
        name = "Compliant",
        type_ = "integer",
        json_path = ".status.nodes.compliant"
    ),
    printcolumn(
        name = "RolledBack",
        type_ = "integer",
        json_path = ".status.nodes.rolledBack",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceIsolationSpec {
    /// Nodes that are isolated.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub node_selector: LabelSelector,

    /// Uplinks in order of preference, as names or globs. Among equals: carrier first, then wired first.
    #[schemars(schema_with = "crate::schema::text::preferred_interfaces")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub preferred: Vec<String>,

    /// Which interfaces count. Without it: every one but `lo` and those that a CNI, a container engine or Postern owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Domain")]
    pub domain: Option<Domain>,

    /// Two interfaces that may be up together for a while, as a hotspot needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HotspotException")]
    pub exception: Option<HotspotException>,

    /// What counts as success.
    #[serde(default)]
    pub level: Level,

    /// Whether the radios of the other interfaces are blocked as well.
    #[serde(default)]
    pub rfkill: Rfkill,

    /// What must answer after a change, and within what time; else the change is rolled back.
    #[serde(default)]
    pub confirm: Confirm,

    /// Whether the link that carries the API server or an SSH session may be cut.
    #[serde(default)]
    pub remote_safety: RemoteSafety,
}

/// Which interfaces count.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Interfaces that are left alone, as names or globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::text::excluded_interfaces")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exclude: Vec<String>,
}

/// Exactly two interfaces that may be up together, until a time.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.accessPoint != self.upstream")
    .message("accessPoint and upstream must be two interfaces; name the one that serves clients and the one that reaches the network").field_path(".upstream"))]
pub struct HotspotException {
    /// The interface that serves clients.
    #[schemars(schema_with = "crate::schema::text::interface")]
    pub access_point: String,

    /// The interface that reaches the network.
    #[schemars(schema_with = "crate::schema::text::interface")]
    pub upstream: String,

    /// When the exception ends.
    #[schemars(schema_with = "crate::schema::kubernetes::time")]
    pub not_after: Time,
}

/// What counts as success; a level is claimed after its own check only.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Level {
    /// One interface is administratively up, the others are down.
    #[default]
    AdminState,
    /// It has an address and a default route as well.
    Configured,
    /// What the confirmation names answers as well.
    Reachable,
}

/// Whether radios are blocked.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Rfkill {
    /// The radios of the other interfaces are blocked.
    #[default]
    Enforce,
    /// Radios are left alone.
    Ignore,
}

/// What must answer after a change.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// Time within which everything must have answered.
    #[serde(default = "default_within")]
    #[schemars(schema_with = "crate::schema::text::duration")]
    pub within: String,

    /// What must answer.
    #[serde(default = "default_probes")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub probes: Vec<ConfirmProbe>,
}

impl Default for Confirm {
    fn default() -> Self {
        Self {
            within: default_within(),
            probes: default_probes(),
        }
    }
}

fn default_within() -> String {
    "60s".to_owned()
}

fn default_probes() -> Vec<ConfirmProbe> {
    vec![ConfirmProbe::APIServer]
}

/// One thing that must answer.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum ConfirmProbe {
    /// The API server.
    APIServer,
}

/// Whether the link that carries the API server or an SSH session may be cut.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum RemoteSafety {
    /// It is never cut; the change is refused instead.
    #[default]
    Protect,
    /// It may be cut.
    Override,
}
