//! Policies: what selects is apart from what is allowed, because selection does not depend on acceptance.

use std::fmt;
use std::net::SocketAddr;

use postern_crds::conditions::Reason;
use postern_intent::body::{Access, DnsMode, EstablishedFlows, Replies, Rule};
use postern_intent::{ExitName, Namespace, Prefix, Uid};

use super::selector::Selector;

/// Where a policy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyKey {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A policy. Its selector and priority count even when its terms are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Where it is.
    pub key: PolicyKey,
    /// Its UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Which pods of its namespace it is for.
    pub selector: Selector,
    /// The higher one wins, then the name that sorts first.
    pub priority: i32,
    /// What the pods may do, or why the policy is refused.
    pub terms: Result<PolicyTerms, Refusal>,
}

/// What the pods of a policy may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTerms {
    /// Exits in order of preference; at least one.
    pub exits: Vec<ExitName>,
    /// In order; the first match wins.
    pub rules: Vec<Rule>,
    /// For what no rule names.
    pub default_action: Access,
    /// What replies of inbound connections may do.
    pub replies: Replies,
    /// The policy's half of the permission to reach private ranges.
    pub lan: Access,
    /// Special-use destinations that are allowed all the same.
    pub special_use_exceptions: Vec<Prefix>,
    /// What becomes of flows that are no longer allowed.
    pub established_flows: EstablishedFlows,
    /// What becomes of names.
    pub dns: DnsTerms,
}

/// What becomes of the names that pods ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsTerms {
    /// What is done.
    pub mode: DnsMode,
    /// Resolvers to ask through the exit; empty: the setting.
    pub upstreams: Vec<SocketAddr>,
}

/// Why an object is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people: what is wrong and what to write instead.
    pub message: String,
}
