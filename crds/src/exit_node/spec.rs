//! What a user asks of an exit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExitNodeStatus, External, Gateway};

/// An exit: where the traffic of selected pods leaves.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ExitNode",
    plural = "exitnodes",
    singular = "exitnode",
    shortname = "exit",
    category = "postern",
    status = "ExitNodeStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ExitNode is where the traffic of selected pods leaves: gateway nodes of the cluster, or an external WireGuard server.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = r#".status.gateways[?(@.role=="Active")].node"#
    ),
    printcolumn(
        name = "Clients",
        type_ = "integer",
        json_path = ".status.clients.programmed"
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".status.clients.desired",
        priority = 1
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = r#".status.gateways[?(@.role=="Active")].endpoint"#,
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
#[x_kube(validation = Rule::new("has(self.gateway) != has(self.external)")
    .message("write exactly one of gateway (nodes of this cluster) and external (a WireGuard server)"))]
#[x_kube(validation = Rule::new("!self.paths.exists(p, p == 'Relay') || has(self.relay)")
    .message("path Relay needs relay.nodeSelector; write it, or leave Relay out of paths").field_path(".relay"))]
#[x_kube(validation = Rule::new("!has(self.relay) || self.paths.exists(p, p == 'Relay')")
    .message("relay is used by path Relay only; add Relay to paths, or leave relay out").field_path(".relay"))]
pub struct ExitNodeSpec {
    /// The exit is a node of this cluster. Exactly one of gateway and external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Gateway")]
    pub gateway: Option<Gateway>,

    /// The exit is a WireGuard server outside. Exactly one of gateway and external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "External")]
    pub external: Option<External>,

    /// What the exit offers, always minus the cluster ranges. What it does not offer is dropped, never sent elsewhere.
    #[serde(default = "default_routes")]
    #[schemars(schema_with = "crate::schema::address::routes")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub routes: Vec<String>,

    /// Whether clients may reach the exit's own LAN (private and link-local ranges). The policy must allow it as well.
    #[serde(default)]
    pub lan_access: LanAccess,

    /// Ways from a client node to the exit, tried in this order.
    #[serde(default = "default_paths")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub paths: Vec<Path>,

    /// Nodes that pass traffic on for path Relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Relay")]
    pub relay: Option<Relay>,

    /// MTU of the tunnel in bytes. Without it, it is found from the uplink's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1280, max = 9000))]
    pub mtu: Option<u32>,

    /// How a gateway is found to be lost: by echoes through the tunnel, and by connections through it where targets are named.
    /// Without it: an echo each 100 ms, and a gateway without an answer for 350 ms is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Probe")]
    pub probe: Option<Probe>,

    /// Whether a client node returns to an earlier gateway by itself when that one is healthy again.
    #[serde(default)]
    pub failback: Failback,

    /// Namespaces whose policies may name this exit.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
}

impl Default for ExitNodeSpec {
    fn default() -> Self {
        Self {
            gateway: None,
            external: None,
            routes: default_routes(),
            lan_access: LanAccess::default(),
            paths: default_paths(),
            relay: None,
            mtu: None,
            probe: None,
            failback: Failback::default(),
            allowed_namespaces: AllowedNamespaces::default(),
        }
    }
}

fn default_routes() -> Vec<String> {
    vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]
}

fn default_paths() -> Vec<Path> {
    vec![Path::Direct]
}

/// Whether private and link-local ranges may be reached.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum LanAccess {
    /// They may not.
    #[default]
    Deny,
    /// They may, where the other side allows it as well.
    Allow,
}

/// A way from a client node to the exit.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Path {
    /// WireGuard over UDP, straight to the exit.
    Direct,
    /// WireGuard in segments that look like TCP, for networks that drop UDP.
    FakeTCP,
    /// WireGuard by way of a relay node.
    Relay,
}

/// Nodes that pass tunnels on.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// Nodes that can be the relay.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub node_selector: LabelSelector,
}

/// Probes through the tunnel.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Time between two probes.
    #[serde(default = "default_interval")]
    #[schemars(schema_with = "crate::schema::text::probe_interval")]
    pub interval: String,

    /// Intervals without an answer, and half of one more, after which the gateway counts as lost; never less than 100 ms.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u32,

    /// Servers that accept connections, to which clients connect through the gateway, to find a gateway whose uplink is dead; one is enough. Without it
    /// the gateway itself is asked, and nothing behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub targets: Vec<ProbeTarget>,
}

fn default_interval() -> String {
    "100ms".to_owned()
}

const fn default_failure_threshold() -> u32 {
    3
}

/// One thing to connect to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTarget {
    /// `address:port` to open a TCP connection to.
    #[schemars(schema_with = "crate::schema::text::probe_target")]
    pub tcp: String,
}

/// When a client node returns to an earlier gateway.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Failback {
    /// When a person says so.
    #[default]
    Manual,
    /// When the earlier gateway has been healthy for 10 s.
    Automatic,
}

/// Namespaces whose policies may name an exit.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
    .message("from Selector needs selector, and from All takes none").field_path(".selector"))]
pub struct AllowedNamespaces {
    /// All namespaces, or those that the selector chooses by their labels.
    #[serde(default)]
    pub from: FromNamespaces,

    /// Labels of the namespaces; with from Selector only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum FromNamespaces {
    /// Every namespace.
    #[default]
    All,
    /// Namespaces that match the selector.
    Selector,
}
