//! The tier `Admin`: rules of administrators, which stand before the rules of a scope.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::exit::Access;
use super::rule::{Rule, RulePortRange, RuleProtocol};
use crate::newtypes::Prefix;

/// The rules of one ClusterEgressPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdminPolicy {
    pub name: String,
    /// `metadata.generation` of what is enforced.
    pub generation: i64,
    /// Of two policies the lower one is asked first, then the name that sorts first. Nodes take the order as it is; the operator
    /// reads it of a policy whose update it refuses.
    pub priority: i32,
    /// In order; the first match wins.
    pub rules: Vec<AdminRule>,
}

/// One rule of a ClusterEgressPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdminRule {
    /// The policy's name for it.
    pub name: String,
    pub action: AdminAction,
    /// Destinations; empty: every one.
    pub to: Vec<Prefix>,
    /// Ports; empty: every protocol and port.
    pub ports: Vec<RulePortRange>,
}

/// What happens to what a rule of an administrator matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AdminAction {
    /// As if the first rule of the scope allowed it: what the way out, special use and the LAN ask for still counts.
    Allow,
    /// Refused, whatever the scope says.
    Deny,
    /// The rules of the scope decide.
    Pass,
}

impl fmt::Display for AdminAction {
    /// The word that documents have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl AdminRule {
    /// What it names, as a rule of a scope that allows it.
    #[must_use]
    pub fn allowing(&self) -> Rule {
        Rule {
            name: self.name.clone(),
            action: Access::Allow,
            to: self.to.clone(),
            names: Vec::new(),
            ports: self.ports.clone(),
        }
    }

    fn matches(&self, destination: SocketAddr, protocol: RuleProtocol) -> bool {
        let has_port = |range: &RulePortRange| range.covers(protocol, destination.port());
        let address = destination.ip();
        (self.to.is_empty() || self.to.iter().any(|range| range.contains(&address)))
            && (self.ports.is_empty() || self.ports.iter().any(has_port))
    }
}

impl AdminPolicy {
    /// The rules that deny: they alone are counted.
    pub fn denying(&self) -> impl Iterator<Item = &AdminRule> {
        let rules = self.rules.iter();
        rules.filter(|rule| rule.action == AdminAction::Deny)
    }

    /// The first rule of these policies that matches a destination.
    #[must_use]
    pub fn first_match(
        policies: &[Self],
        destination: SocketAddr,
        protocol: RuleProtocol,
    ) -> Option<&AdminRule> {
        let mut rules = policies.iter().flat_map(|policy| &policy.rules);
        rules.find(|rule| rule.matches(destination, protocol))
    }
}
