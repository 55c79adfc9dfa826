//! Exits that the node uses, and those that it serves.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::newtypes::{Address, ExitName, IfName, Mark, NodeName, Prefix, SectionDigest, TableId};

/// A mark, its table and the used tunnel behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitRoute {
    pub exit: ExitName,
    /// One of [`Mark::EXITS`], numbered per node.
    pub mark: Mark,
    /// The routing table of the exit on this node.
    pub table: TableId,
    pub interface: IfName,
    /// Changes with everything that the node programs for the exit. The report repeats it.
    pub digest: SectionDigest,
    /// Its gateways in the order in which they are used. Each is a peer of the tunnel.
    pub gateways: Vec<ExitGateway>,
}

/// A gateway of an exit as a client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitGateway {
    pub node: NodeName,
    /// Its own addresses in the tunnel, at most one a family: where it answers probes.
    pub addresses: Vec<Address>,
}

/// An exit whose active gateway this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedExit {
    pub exit: ExitName,
    pub interface: IfName,
    /// Where it leaves; none: the interface of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<IfName>,
    /// Source addresses. Empty: masquerade. One family only: the other family is dropped.
    pub egress: Vec<Address>,
    /// What the exit offers.
    pub routes: Vec<Prefix>,
    /// May clients reach the exit's own LAN?
    pub lan: Access,
    /// Changes with everything that the gateway programs for the exit, its peers excepted. The report repeats it.
    pub digest: SectionDigest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    Allow,
    Deny,
}

impl fmt::Display for Access {
    /// The word that documents have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
