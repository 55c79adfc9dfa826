//! Rules: what the selected pods may reach.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to traffic that a rule names; the first rule that matches decides.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.to) && size(self.to) > 0) || (has(self.ports) && size(self.ports) > 0)")
    .message("a rule names to, ports or both; for every destination and every port write to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}]").field_path(".to"))]
#[x_kube(validation = Rule::new("self.action == 'Allow' || !has(self.to) || !self.to.exists(t, has(t.fqdn))")
    .message("a name can only be allowed, because a denied name is still reachable by its address; use action Allow, or deny a cidr").field_path(".action"))]
pub struct PolicyRule {
    /// Name of the rule in explanations and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::label_name")]
    pub name: Option<String>,

    /// Whether the traffic may leave.
    pub action: Action,

    /// Destinations. Without any, every destination is meant, and the rule has ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Vec<Destination>,

    /// Protocols and ports. Without any, every protocol and port is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ports: Vec<PortRange>,
}

/// Whether traffic may leave.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Action {
    /// It leaves by the route of the policy.
    Allow,
    /// It is dropped.
    #[default]
    Deny,
}

/// One destination: exactly one of a prefix and a name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.fqdn)")
    .message("write exactly one of cidr and fqdn; use one entry for each destination"))]
pub struct Destination {
    /// A prefix without host bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::address::cidr")]
    pub cidr: Option<String>,

    /// A name, or `*.` and a name for every name below it at any depth, without the name itself; with action Allow
    /// only, and in an EgressPolicy with dns.mode Filter. Case and the dot at the end do not matter, and an IDN may be written either way. The rule is about
    /// the addresses that the forwarder of the node learned for such a name, while the answer is valid, for 60 s at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::fqdn")]
    pub fqdn: Option<String>,
}

/// A protocol and its ports.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.protocol != 'ICMP' || (!has(self.port) && !has(self.endPort))")
    .message("ICMP has no ports; leave port and endPort out").field_path(".port"))]
#[x_kube(validation = Rule::new("!has(self.endPort) || has(self.port)")
    .message("endPort needs port, the first port of the range").field_path(".port"))]
#[x_kube(validation = Rule::new("!has(self.endPort) || !has(self.port) || self.endPort >= self.port")
    .message("endPort must not be below port; exchange the two").field_path(".endPort"))]
pub struct PortRange {
    /// Protocol; ICMP stands for ICMPv6 as well.
    pub protocol: Protocol,

    /// The port, or the first one of a range. Without it, every port is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// The last port of a range, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub end_port: Option<u16>,
}

/// A protocol above IP.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
    /// SCTP.
    SCTP,
    /// ICMP and ICMPv6.
    ICMP,
}
