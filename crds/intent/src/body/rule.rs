//! Rules of a policy.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exit::Access;
use crate::newtypes::Prefix;

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The policy's name for it.
    pub name: String,
    /// What happens to what matches.
    pub action: Access,
    /// Destinations; empty: every destination.
    pub to: Vec<Prefix>,
    /// Ports; empty: every protocol and port.
    pub ports: Vec<RulePortRange>,
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
