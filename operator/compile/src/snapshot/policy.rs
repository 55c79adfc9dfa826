//! Policies: what selects is apart from what is allowed, because selection does not depend on acceptance.

use std::fmt;

use postern_crds::conditions::Reason;
use postern_intent::body::{ScopeFailureMode, Terms};
use postern_intent::{ExitName, Namespace, Uid};

use super::selector::ParsedSelector;

/// Where a policy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyKey {
    pub namespace: Namespace,
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A policy. Its selector and priority count even when its terms are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotPolicy {
    pub key: PolicyKey,
    pub uid: Uid,
    pub generation: i64,
    /// Which pods of its namespace it is for.
    pub selector: ParsedSelector,
    /// The higher one wins, then the name that sorts first.
    pub priority: i32,
    /// What the pods may do, or why the policy is refused.
    pub terms: Result<PolicyTerms, SpecRefusal>,
}

/// What the pods of a policy may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTerms {
    /// Where they leave.
    pub route: PolicyRoute,
    /// What they may do there; the exit's half of the permission to reach private ranges is checked when a scope is made.
    pub terms: Terms,
    /// What may happen when no gateway of the exit answers.
    pub failure: ScopeFailureMode,
}

/// Where the pods of a policy leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyRoute {
    /// By the first of these exits that can be used; at least one.
    Exits(Vec<ExitName>),
    /// By the uplink of the node that they are on.
    NodeUplink,
}

impl PolicyRoute {
    /// The exits, in order of preference.
    #[must_use]
    pub fn exits(&self) -> &[ExitName] {
        match self {
            Self::Exits(exits) => exits,
            Self::NodeUplink => &[],
        }
    }
}

/// Why an object is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecRefusal {
    pub reason: Reason,
    /// For people: what is wrong and what to write instead.
    pub message: String,
}
