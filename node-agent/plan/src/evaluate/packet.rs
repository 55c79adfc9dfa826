//! A packet with its interfaces, marks and conntrack facts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use postern_intent::Address;

use crate::host::{Family, MacAddress};
use crate::ruleset::LimitMeasure;

/// A packet as a hook sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The incoming interface; empty for the node's own packets.
    pub iif: String,
    /// The outgoing interface; empty before routing.
    pub oif: String,
    pub source: Address,
    pub destination: Address,
    pub transport: Transport,
    pub mark: u32,
    /// IPv6 hop limit.
    pub hop_limit: u8,
    /// Is the source an address of the node (`fib saddr type local`)?
    pub source_is_local: bool,
    /// What conntrack knows of it.
    pub conntrack: Conntrack,
    /// Limits that its source is over, where a rule asks.
    pub over: BTreeSet<LimitMeasure>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// RFC 9293.
    Tcp {
        sport: u16,
        dport: u16,
        /// Is it a SYN without RST?
        syn: bool,
    },
    /// RFC 768.
    Udp { sport: u16, dport: u16 },
    /// RFC 9260.
    Sctp { dport: u16 },
    /// ICMP of the packet's family, with its type's name in nft's language.
    Icmp(&'static str),
    /// Another protocol, by its number.
    Other(u8),
}

/// What conntrack knows of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conntrack {
    pub state: CtState,
    /// Its direction. A packet without an entry (`invalid`, `untracked`) has none.
    pub direction: CtDirection,
    /// Was the flow's destination translated?
    pub dnat: bool,
    /// Did a packet of the flow go through the node before? An unanswered flow stays `New` all the same.
    pub confirmed: bool,
    /// Source of the flow's first packet.
    pub original_source: Address,
    /// Destination of the flow's first packet, before any translation.
    pub original_destination: Address,
}

/// `ct state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtState {
    /// The first packet of a flow.
    New,
    Established,
    /// Of a flow that another one announced.
    Related,
    Invalid,
    /// Kept out of conntrack by a `notrack`.
    Untracked,
}

/// `ct direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtDirection {
    /// As the first packet.
    Original,
    Reply,
}

/// A frame as a bridge port sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub port: String,
    pub source: MacAddress,
    pub ethertype: u16,
    pub payload: Payload,
}

/// What a frame carries, as far as our rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    Ip(Box<Packet>),
    Arp {
        /// The operation's name in nft's language: `request` or `reply`.
        operation: &'static str,
        mac: MacAddress,
        address: Address,
        target: Address,
    },
    /// Neighbour discovery: the message's type and its target.
    Neighbour {
        /// IPv6 source.
        source: Address,
        /// The type's name in nft's language.
        kind: &'static str,
        target: Address,
    },
    Opaque,
}

impl Packet {
    /// The first packet of a flow.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self {
            iif: String::new(),
            oif: String::new(),
            source,
            destination,
            transport,
            mark: 0,
            hop_limit: 63,
            source_is_local: false,
            conntrack: Conntrack {
                state: CtState::New,
                direction: CtDirection::Original,
                dnat: false,
                confirmed: false,
                original_source: source,
                original_destination: destination,
            },
            over: BTreeSet::new(),
        }
    }

    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(&self.source)
    }

    /// Does conntrack have an entry for it?
    #[must_use]
    pub const fn is_tracked(&self) -> bool {
        !matches!(self.conntrack.state, CtState::Invalid | CtState::Untracked)
    }

    /// `meta l4proto`.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp { .. } => 17,
            Transport::Sctp { .. } => 132,
            Transport::Icmp(_) => match self.family() {
                Family::V4 => 1,
                Family::V6 => 58,
            },
            Transport::Other(number) => number,
        }
    }

    /// The destination port of a protocol that has ports.
    #[must_use]
    pub const fn dport(&self) -> Option<u16> {
        match self.transport {
            Transport::Tcp { dport, .. }
            | Transport::Udp { dport, .. }
            | Transport::Sctp { dport } => Some(dport),
            Transport::Icmp(_) | Transport::Other(_) => None,
        }
    }
}
