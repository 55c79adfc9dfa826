//! `ClusterEgressPolicy`: what administrators rule for the pods of many namespaces.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

mod rule;
mod spec;
mod status;

pub use rule::{ClusterRule, ClusterRuleAction};
pub use spec::{ClusterEgressPolicy, ClusterEgressPolicySpec, PolicySubject, Tier};
pub use status::{ClusterEgressPolicyStatus, GovernedPods, NamespaceCounts};
