//! What a user asks of a policy.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Dns, EgressPolicyStatus, PolicyRule};
use crate::exit_node::LanAccess;

/// A policy: which pods of a namespace leave by which exit, and what they may reach.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "EgressPolicy",
    plural = "egresspolicies",
    singular = "egresspolicy",
    shortname = "egp",
    category = "postern",
    namespaced,
    status = "EgressPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "EgressPolicy says which pods of its namespace leave by which exit, and what they may reach.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Exit", type_ = "string", json_path = ".status.exitNode"),
    printcolumn(
        name = "Preferred",
        type_ = "string",
        json_path = ".spec.route.exitNodes[0].name",
        priority = 1
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.failureMode"),
    printcolumn(
        name = "Selected",
        type_ = "integer",
        json_path = ".status.pods.selected"
    ),
    printcolumn(
        name = "Enforced",
        type_ = "integer",
        json_path = ".status.pods.enforced"
    ),
    printcolumn(
        name = "Blocked",
        type_ = "integer",
        json_path = ".status.pods.blocked"
    ),
    printcolumn(
        name = "Observed",
        type_ = "integer",
        json_path = ".status.pods.observed"
    ),
    printcolumn(
        name = "Enforcement",
        type_ = "string",
        json_path = ".spec.enforcement"
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        priority = 1
    ),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes.programmed",
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
#[x_kube(validation = Rule::new("self.failureMode != 'Open' || has(self.failOpenAfter)")
    .message("failureMode Open needs failOpenAfter, the time without an exit after which traffic may use the node's uplink, such as 30s").field_path(".failOpenAfter"))]
#[x_kube(validation = Rule::new("self.failureMode == 'Open' || !has(self.failOpenAfter)")
    .message("failOpenAfter is for failureMode Open only; leave it out, or write failureMode: Open").field_path(".failOpenAfter"))]
#[x_kube(validation = Rule::new("self.route.type == 'Exit' || self.failureMode == 'Closed'")
    .message("route type NodeUplink has no exit that could be lost; leave failureMode out, or write failureMode: Closed").field_path(".failureMode"))]
#[x_kube(validation = Rule::new("self.dns.mode == 'Filter' || !has(self.rules) || !self.rules.exists(r, has(r.to) && r.to.exists(t, has(t.fqdn)))")
    .message("a rule with fqdn needs dns.mode Filter, because only the filter learns the addresses of a name; write dns: {mode: Filter}, or use cidr").field_path(".rules"))]
#[x_kube(validation = Rule::new("!has(self.rules) || self.rules.all(r, !has(r.name) || self.rules.exists_one(o, has(o.name) && o.name == r.name))")
    .message("two rules have the same name, so that explanations and logs could mean either; give each rule a name of its own").field_path(".rules"))]
pub struct EgressPolicySpec {
    /// Pods of this namespace that the policy is for; an empty selector chooses all of them.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub pod_selector: LabelSelector,

    /// Which policy counts for a pod that several select: the higher priority, then the name that sorts first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub priority: i32,

    /// Where the traffic leaves.
    pub route: Route,

    /// What happens while no exit works.
    #[serde(default)]
    pub failure_mode: FailureMode,

    /// Time without an exit after which traffic may use the node's uplink; with failureMode Open only, and required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::duration")]
    pub fail_open_after: Option<String>,

    /// What happens to traffic that no rule names.
    pub default_action: Action,

    /// What the pods may reach; the first rule that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<PolicyRule>,

    /// Connections that others open to the pods.
    #[serde(default)]
    pub inbound: Inbound,

    /// How the pods resolve names.
    #[serde(default)]
    pub dns: Dns,

    /// Whether the pods may reach private ranges (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) by the exit, which must allow it as well.
    /// A private prefix in a rule stands for the policy's half only.
    #[serde(default)]
    pub lan_access: LanAccess,

    /// Special-use ranges that the pods may reach all the same.
    #[serde(default, skip_serializing_if = "SpecialUse::is_empty")]
    pub special_use: SpecialUse,

    /// How much each pod may send by its exit; each address of a pod counts by itself. Traffic inside the cluster, replies and what a
    /// rule denies do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limits")]
    pub limits: Option<Limits>,

    /// What happens to connections that a stricter policy would not have let out.
    #[serde(default)]
    pub established_flows: EstablishedFlows,

    /// What is logged of the pods' traffic: metadata, never payload.
    #[serde(default)]
    pub audit: Audit,

    /// Whether the policy refuses what it does not allow, or only counts and reports it.
    #[serde(default)]
    pub enforcement: Enforcement,
}

/// Where traffic leaves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type != 'Exit' || (has(self.exitNodes) && size(self.exitNodes) > 0)")
    .message("route type Exit needs exitNodes, the names of 1 to 8 ExitNodes in order of preference").field_path(".exitNodes"))]
#[x_kube(validation = Rule::new("self.type == 'Exit' || !has(self.exitNodes) || size(self.exitNodes) == 0")
    .message("exitNodes is for route type Exit only; leave it out, or write type: Exit").field_path(".exitNodes"))]
#[x_kube(validation = Rule::new("!has(self.exitNodes) || self.exitNodes.all(e, self.exitNodes.exists_one(o, o.name == e.name))")
    .message("exitNodes names an exit twice; name each exit once, in order of preference").field_path(".exitNodes"))]
pub struct Route {
    /// By an exit, or by the node's own uplink.
    #[serde(rename = "type")]
    pub type_: RouteType,

    /// Exits in order of preference; with type Exit only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exit_nodes: Vec<ExitRef>,
}

/// How traffic leaves.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum RouteType {
    /// By an exit.
    #[default]
    Exit,
    /// By the node's own uplink, filtered by the rules.
    NodeUplink,
}

/// Name of an `ExitNode`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRef {
    /// Name of the `ExitNode`.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub name: String,
}

/// What happens while no exit works.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum FailureMode {
    /// Nothing leaves.
    #[default]
    Closed,
    /// After `failOpenAfter`, traffic may use the node's uplink.
    Open,
}

/// Connections that others open to the pods.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbound {
    /// Which replies may go back the way their connection came.
    #[serde(default)]
    pub replies: Replies,
}

/// Which replies may go back the way their connection came.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Replies {
    /// Those of connections that arrived by a service at one of the node's own or load-balancer addresses.
    #[default]
    Services,
    /// None.
    None,
}

/// Special-use ranges: 0/8, 127/8, ::, ::1, 169.254/16, fe80::/10, multicast, broadcast and metadata addresses.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecialUse {
    /// Prefixes inside the special-use ranges that rules may allow all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::address::special_use_exceptions")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exceptions: Vec<String>,
}

impl SpecialUse {
    /// Whether nothing is excepted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exceptions.is_empty()
    }
}

/// Limits for each pod, of what leaves by its exit: not of traffic inside the cluster, of replies or of what a rule denies.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections at the same time: of TCP those that are not closed, of other protocols those that the node remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,

    /// New connections in a second; after a quiet second as many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 10_000_000))]
    pub new_connections_per_second: Option<u32>,

    /// Packets in a second; after a quiet second as many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 100_000_000))]
    pub packets_per_second: Option<u32>,

    /// Bytes of IP packets in a second, a number or a quantity such as `10Mi`; after a quiet second as many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::bytes")]
    pub bytes_per_second: Option<ByteRate>,
}

/// Bytes in a second. Kubernetes' own type for an integer or a string reads no number above 2 147 483 647, and an object that cannot
/// be read is worse than one that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByteRate {
    Number(i64),
    /// A quantity of Kubernetes without a fraction.
    Quantity(String),
}

impl fmt::Display for ByteRate {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Quantity(text) => text.fmt(f),
        }
    }
}

/// What happens to connections that a stricter policy would not have let out.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum EstablishedFlows {
    /// They are cut.
    #[default]
    Cut,
    /// They may finish by the same exit, where they were let out while the policy said `Keep`.
    Keep,
}

/// Which decisions are recorded.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Which decisions about connections and names are recorded in the log of the node's agent.
    #[serde(default)]
    pub log: AuditLog,
}

/// Which decisions are recorded.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum AuditLog {
    /// None.
    #[default]
    None,
    /// What is refused, and what a policy with `enforcement: Observe` would refuse.
    Denied,
    /// Each connection that is let go, and each answer, too.
    All,
}

/// Whether a policy blocks.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Enforcement {
    /// It blocks.
    #[default]
    Enforce,
    /// What rules, `defaultAction` and `dns.mode` would refuse is counted and reported, and leaves by the exit.
    Observe,
}
