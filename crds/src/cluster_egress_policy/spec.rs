//! What an administrator asks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterEgressPolicyStatus, ClusterRule};

/// Rules of administrators for the pods of many namespaces.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ClusterEgressPolicy",
    plural = "clusteregresspolicies",
    singular = "clusteregresspolicy",
    shortname = "cegp",
    category = "postern",
    status = "ClusterEgressPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ClusterEgressPolicy has rules of administrators, which no EgressPolicy of a namespace overrides.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(
        name = "Namespaces",
        type_ = "integer",
        json_path = ".status.namespaces.selected"
    ),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.selected"),
    printcolumn(
        name = "Governed",
        type_ = "integer",
        json_path = ".status.pods.governed"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.rules.all(r, !has(r.name) || self.rules.exists_one(o, has(o.name) && o.name == r.name))")
    .message("two rules have the same name, so that explanations and counts could mean either; give each rule a name of its own").field_path(".rules"))]
#[x_kube(validation = Rule::new("self.tier == 'Admin' || self.rules.all(r, r.action != 'Pass')")
    .message("nothing is asked after tier Baseline that a rule could leave the decision to; write action: Allow or Deny").field_path(".rules"))]
#[x_kube(validation = Rule::new("self.rules.all(r, !has(r.to) || r.to.all(t, !has(t.fqdn)) || (self.tier == 'Baseline' && r.action == 'Allow'))")
    .message("fqdn is for rules of tier Baseline that allow: a denied name is still reachable by its address, and names that tier Admin would allow are the EgressPolicy's to filter; write cidr").field_path(".rules"))]
pub struct ClusterEgressPolicySpec {
    /// When the rules are asked.
    pub tier: Tier,

    /// Which policy of the tier is asked first: the lower number, then the name that sorts first.
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,

    /// Whose traffic the rules are about.
    pub subject: PolicySubject,

    /// The rules; the first one that matches decides.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<ClusterRule>,
}

/// When the rules of a policy are asked.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Tier {
    /// Before the EgressPolicy of the pod, which cannot override them.
    #[default]
    Admin,
    /// For pods that no EgressPolicy selects. What no rule matches leaves by the uplink of the node, but for what the route
    /// NodeUplink refuses to any pod.
    Baseline,
}

/// Whose traffic the rules of a policy are about.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySubject {
    /// All pods of these namespaces; an empty selector chooses every namespace.
    #[schemars(schema_with = "crate::schema::kubernetes::label_selector")]
    pub namespaces: LabelSelector,
}
