//! Rules of a policy.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exit::Access;
use crate::name_pattern::NamePattern;
use crate::newtypes::Prefix;

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The policy's name for it.
    pub name: String,
    /// What happens to what matches.
    pub action: Access,
    /// Destinations by address.
    pub to: Vec<Prefix>,
    /// Destinations by name, with `Allow` and the mode `Filter` only: the addresses that the node's forwarder granted for
    /// these names. Without an address and without a name every destination is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NamePattern>,
    /// Ports; empty: every protocol and port.
    pub ports: Vec<RulePortRange>,
}

impl Rule {
    /// Does it name no destination, and so mean every one?
    #[must_use]
    pub const fn is_everywhere(&self) -> bool {
        self.to.is_empty() && self.names.is_empty()
    }
}

/// A transport protocol that has ports, or ICMP of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuleProtocol {
    /// RFC 9293.
    #[serde(rename = "TCP")]
    Tcp,
    /// RFC 768.
    #[serde(rename = "UDP")]
    Udp,
    /// RFC 9260.
    #[serde(rename = "SCTP")]
    Sctp,
    /// RFC 792 and RFC 4443; has no ports.
    #[serde(rename = "ICMP")]
    Icmp,
}

impl fmt::Display for RuleProtocol {
    /// The word that documents have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A protocol with its ports, both ends included. ICMP carries 0 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulePortRange {
    pub protocol: RuleProtocol,
    pub from: u16,
    pub to: u16,
}

impl RulePortRange {
    #[must_use]
    pub fn covers(&self, protocol: RuleProtocol, port: u16) -> bool {
        self.protocol == protocol && (self.from..=self.to).contains(&port)
    }
}
