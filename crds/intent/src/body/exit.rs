//! Exits that the node uses, and those that it serves.

use std::fmt;
use std::net::SocketAddr;

use jiff::SignedDuration;
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
    /// Its gateways in the order in which they are used. Each one but this node itself is a peer of the tunnel. The node uses
    /// one at a time and goes on to the next one by itself when that one is lost.
    pub gateways: Vec<ExitGateway>,
    /// Another one means that a person chose the first gateway anew: the node goes to it, wherever it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// How a gateway is found to be lost.
    pub probe: ExitProbe,
    /// Whether the node returns to an earlier gateway by itself.
    pub failback: ExitFailback,
}

/// How a gateway is found to be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitProbe {
    /// Milliseconds between two echoes to a gateway.
    pub interval_milliseconds: u32,
    /// Intervals without an answer after which a gateway is lost.
    pub failure_threshold: u32,
    /// Servers to which the node opens TCP connections through the gateway in use, at the same pace. One answer is enough.
    pub targets: Vec<SocketAddr>,
}

/// Whether a node returns to an earlier gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitFailback {
    /// When the order in the intent changes, or the gateway in use is lost.
    Manual,
    /// When an earlier one answers again for a while.
    Automatic,
}

/// A gateway of an exit as a client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitGateway {
    pub node: NodeName,
    /// Its own addresses in the tunnel, at most one a family: where it answers probes.
    pub addresses: Vec<Address>,
}

/// An exit of which this node is a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedExit {
    pub exit: ExitName,
    pub interface: IfName,
    /// Its place in the order of the exit's gateways, counted from 0.
    pub rank: u32,
    /// Where it leaves; none: the interface of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<IfName>,
    /// Source addresses. Empty: masquerade. One family only: the other family is dropped.
    pub egress: Vec<Address>,
    /// For how long the node has these addresses.
    pub egress_term: EgressTerm,
    /// What the exit offers.
    pub routes: Vec<Prefix>,
    /// May clients reach the exit's own LAN?
    pub lan: Access,
    /// Changes with everything that the gateway programs for the exit, its peers excepted. The report repeats it.
    pub digest: SectionDigest,
}

/// For how long a gateway has the egress addresses of an exit. An address is on one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EgressTerm {
    /// While the intent is valid: no other gateway waits for them.
    Intent,
    /// While the API server confirms that this intent is the node's newest one ([`EGRESS_FENCE`]): another gateway takes
    /// them over when this one is lost.
    Confirmed,
    /// Not yet: a former gateway may still have them.
    Awaited,
}

/// How long the addresses stay after the question whose answer last confirmed the intent. The kernel ends them also where the
/// agent hangs.
pub const EGRESS_FENCE: SignedDuration = SignedDuration::from_secs(EGRESS_FENCE_SECONDS as i64);

/// [`EGRESS_FENCE`] as the kernel counts it.
pub const EGRESS_FENCE_SECONDS: u32 = 20;

/// What the next gateway waits in addition: the kernel looks for addresses that ended at most every second, and clocks of
/// two kernels do not run at the same pace.
pub const EGRESS_FENCE_MARGIN: SignedDuration = SignedDuration::from_secs(5);

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
