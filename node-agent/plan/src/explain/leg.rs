//! What becomes of a packet on one node.

use postern_intent::{Address, ExitName, IfName, NodeName};
use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::names::NameAnswer;
use crate::evaluate::Trace;

/// The way of a packet through one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLeg {
    pub node: NodeName,
    /// What becomes of the packet there.
    pub end: LegEnd,
    pub cause: Cause,
    /// The deciding rule; none: no rule of ours decides.
    pub deciding: Option<NftRule>,
    /// Every rule that decided or changed something, in order.
    pub rules: Vec<NftRule>,
}

/// A rule of `table inet postern` with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftRule {
    pub chain: String,
    /// The rule, from 0; none: the chain's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// The rule in nft's language.
    pub text: String,
}

impl From<&Trace> for NftRule {
    fn from(trace: &Trace) -> Self {
        Self {
            chain: trace.chain.clone(),
            rule: trace.rule,
            text: trace.text.clone(),
        }
    }
}

/// What becomes of a packet on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEnd {
    /// The packet stays in the cluster or on its link.
    Stays,
    /// The node itself receives the packet.
    Delivered,
    /// The node's DNS forwarder receives the packet.
    Forwarder {
        /// The port of the forwarder.
        port: u16,
        /// What the forwarder does with a question.
        names: NameAnswer,
    },
    /// Its destination is an address of a Service: another program translates it to an endpoint before our rules judge it.
    Translated,
    /// The node drops the packet and sends a reset or an ICMP error.
    Rejected,
    /// The node drops the packet silently.
    Dropped,
    /// The packet enters the tunnel of an exit.
    Tunnel(TunnelEntry),
    /// The packet leaves by an exit that this node serves.
    Exit {
        exit: ExitName,
        /// Its source then; none: an address of the interface that it leaves by.
        source: Option<Address>,
    },
    /// The packet leaves by the node's own uplink, with the source that the node gives it.
    Uplink,
}

/// A packet in the tunnel of an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelEntry {
    pub exit: ExitName,
    /// The device that it went into.
    pub interface: IfName,
    /// Its source in the tunnel.
    pub source: Address,
    /// The gateways in the order in which they are used; none: the other end is no node of the cluster.
    pub gateways: Vec<NodeName>,
}
