//! One scope as the node sees it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One policy-to-exit binding on the node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeReport {
    /// Id of the scope in the applied body.
    #[schemars(schema_with = "crate::schema::text::token")]
    pub id: String,

    /// Digest of the scope in the body that was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::section_digest")]
    pub digest: Option<String>,

    /// What may flow right now.
    pub posture: Posture,

    /// How the scope is, as it was read back.
    pub state: ScopeState,

    /// Why, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::reason")]
    pub reason: Option<String>,

    /// The policy that the body carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ScopePolicy")]
    pub policy: Option<ScopePolicy>,

    /// The exit in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub exit: Option<String>,

    /// Whether names outside of the cluster can be asked for.
    #[serde(default)]
    pub resolvers: ResolverState,

    /// Resolvers that policy or node name and that are left alone for a while, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::address::reported_ips")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub silent_resolvers: Vec<String>,

    /// Pods of the scope on this node by what holds for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ScopePods")]
    pub pods: Option<ScopePods>,

    /// What a policy that only observes would have refused, by rule; rules that would have refused nothing are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = OBSERVED_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub observed: Vec<RuleCount>,

    /// What rules of administrators refused to the pods of the scope, by rule; rules that refused nothing are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = OBSERVED_LISTED))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub denied: Vec<DeniedCount>,
}

/// The rules of all scopes that a report lists under `observed`, and under `denied`. The metrics of the agent have all of them.
pub const OBSERVED_LISTED: usize = 128;

/// Resolvers of one scope that a report lists.
pub const RESOLVERS_LISTED: usize = 16;

/// What one rule of a policy would have refused.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleCount {
    /// The rule: its name, or its place from 0 where it has none. Absent: `defaultAction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::label_name")]
    pub rule: Option<String>,

    /// Packets since the tables of the node were made anew.
    pub packets: u64,
}

/// What one rule of an administrator refused.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedCount {
    /// The ClusterEgressPolicy.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub policy: String,

    /// The rule: its name, or its place from 0 where it has none.
    #[schemars(schema_with = "crate::schema::text::label_name")]
    pub rule: String,

    /// Packets since the tables of the node were made anew.
    pub packets: u64,
}

/// What may flow right now.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Posture {
    /// The node's uplink may be used.
    Open,
    /// Nothing leaves.
    #[default]
    Sealed,
    /// What leaves does so by the exit.
    TunnelOnly,
}

/// How a scope is.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum ScopeState {
    /// Not this node's business.
    #[default]
    Unclaimed,
    /// Traffic leaves by the exit and by nothing else.
    Enforcing,
    /// Traffic leaves by the exit and by nothing else, and the policy only counts what its rules would refuse.
    Observing,
    /// Enforced, but something that is not needed for it is wrong.
    Degraded,
    /// Nothing leaves.
    Blocked,
    /// No exit works and the policy allows the node's uplink.
    FailedOpen,
    /// A release is being carried out.
    Releasing,
}

/// Whether names outside of the cluster can be asked for.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum ResolverState {
    /// Not asked yet, or the policy forwards no names.
    #[default]
    Untested,
    /// One of the scope's resolvers answers through its exit.
    Answers,
    /// None of them does.
    Silent,
    /// No resolver is known that could be asked.
    Unknown,
}

/// The policy of a scope, as the body carried it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopePolicy {
    /// Namespace of the policy.
    #[schemars(schema_with = "crate::schema::text::label_name")]
    pub namespace: String,

    /// Name of the policy; `tier:baseline` stands for the rules of the tier `Baseline`.
    #[schemars(schema_with = "crate::schema::text::policy_name")]
    pub name: String,

    /// UID of the policy.
    #[schemars(schema_with = "crate::schema::text::uid")]
    pub uid: String,

    /// Generation of the policy.
    #[serde(default)]
    pub generation: i64,
}

/// Pods of a scope on one node, counted.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopePods {
    /// Pods whose packets leave by the exit, by nothing else and as the rules allow, read back.
    #[serde(default)]
    pub enforced: u32,

    /// Pods whose packets leave by the exit and by nothing else, read back, and whose policy only counts what its rules would
    /// refuse.
    #[serde(default)]
    pub observed: u32,

    /// Pods that have no way out.
    #[serde(default)]
    pub blocked: u32,

    /// Pods whose path bypasses the guard.
    #[serde(default)]
    pub unenforceable: u32,
}
