//! Rules of administrators.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::egress_policy::{Destination, PortRange};

/// What happens to traffic that a rule names; the first rule that matches, over all policies of the tier, decides.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.to) && size(self.to) > 0) || (has(self.ports) && size(self.ports) > 0)")
    .message("a rule names to, ports or both; for every destination and every port write to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}]").field_path(".to"))]
pub struct ClusterRule {
    /// Name of the rule in explanations, reports and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::label_name")]
    pub name: Option<String>,

    /// What happens to the traffic.
    pub action: ClusterRuleAction,

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

/// What happens to the traffic of a rule.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum ClusterRuleAction {
    /// It leaves by the route of the pod's own policy, as if the first rule of that policy allowed it; with tier Baseline by the uplink
    /// of its node.
    Allow,
    /// It is dropped, whatever the pod's own policy says.
    #[default]
    Deny,
    /// The pod's own policy decides, or the tier Baseline; not with tier Baseline itself.
    Pass,
}
