//! WireGuard devices and their other ends.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::newtypes::{ExitName, IfName, NodeName, Prefix, WgKey};

/// Which end of an exit's WireGuard network a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TunnelRole {
    /// `pst-c-*`: pods of this node leave by it.
    Used,
    /// `pst-s-*`: other nodes' traffic arrives by it.
    Served,
    /// `pst-x-*`: this node is the client of a server outside of the cluster.
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tunnel {
    /// Whose network it is.
    pub exit: ExitName,
    /// Which end this is.
    pub role: TunnelRole,
    pub interface: IfName,
    /// UDP port to listen on; none on a client, where the kernel chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// MTU in bytes.
    pub mtu: u16,
    /// The device's own addresses with their prefix length.
    pub addresses: Vec<IpNet>,
    pub peers: Vec<Peer>,
}

/// What is at the other end of a WireGuard session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum PeerEnd {
    /// A node of the cluster.
    Node { name: NodeName },
    /// A WireGuard server outside of the cluster.
    External,
    /// A node that passes the packets on to the gateway.
    Relay { name: NodeName },
}

impl PeerEnd {
    /// The node of the cluster that the session ends at.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Node { name } => Some(name),
            Self::External | Self::Relay { .. } => None,
        }
    }
}

/// The other end of a WireGuard session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// What is at the other end.
    pub at: PeerEnd,
    /// Its key. That of a node is pinned per node and UID by the compiler.
    pub public_key: WgKey,
    /// Where it listens; none on a gateway, which learns it, and for a server outside, whose name the node resolves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// What may come from it, and what is sent to it.
    pub allowed_ips: Vec<Prefix>,
    /// Seconds between keepalives; none: no keepalives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_seconds: Option<u16>,
}
