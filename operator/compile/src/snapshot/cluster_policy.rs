//! Policies of administrators, for many namespaces.

use postern_crds::cluster_egress_policy::Tier;
use postern_intent::body::{AdminRule, Rule};

use super::policy::SpecRefusal;
use super::selector::ParsedSelector;

/// A policy of administrators. Its tier, subject and priority count even when its rules are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotClusterPolicy {
    pub name: String,
    pub generation: i64,
    pub tier: Tier,
    /// The lower one is asked first, then the name that sorts first.
    pub priority: i32,
    /// The namespaces whose pods it is about.
    pub namespaces: ParsedSelector,
    /// The rules in their order, or why the policy is refused.
    pub rules: Result<ClusterPolicyRules, SpecRefusal>,
}

/// The rules of one policy of administrators, by its tier.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterPolicyRules {
    Admin(Vec<AdminRule>),
    /// As in an EgressPolicy: nothing comes after this tier that a rule could leave the decision to.
    Baseline(Vec<Rule>),
}
