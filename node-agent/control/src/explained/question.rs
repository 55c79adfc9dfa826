//! The question about one packet, and why it cannot be asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use postern_intent::body::RuleProtocol;
use postern_intent::{Address, NamePattern, NodeName};
use postern_plan::explain::{BoundPod, FirstPacket, NodeModel};
use postern_plan::host::Family;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A packet of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketQuestion {
    pub pod: BoundPod,
    /// The node that it is bound to.
    pub node: NodeName,
    pub packet: FirstPacket,
    /// The name whose answer led the pod to the destination.
    pub name: Option<NamePattern>,
    /// Where the destination comes from.
    pub origin: DestinationOrigin,
}

/// Where the destination of a packet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationOrigin {
    Asked,
    /// Only the name is known. An address of documentation replaces the address of its answer.
    StandIn,
}

/// The destination of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacketTarget {
    /// None: the address of the answer for `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    pub protocol: RuleProtocol,
    /// The destination port; none for ICMP alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The name whose answer led the pod there; none: the pod did not ask for a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NamePattern>,
}

/// Where a packet goes to, as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedDestination {
    Address(Address),
    /// The address of the answer for this name.
    Name(NamePattern),
}

impl AskedDestination {
    /// An address, or a name that `name` reads.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn read(
        written: &str,
        name: impl FnOnce(&str) -> Result<NamePattern, String>,
    ) -> Result<Self, String> {
        // The last label of a name begins with a letter.
        let last = written.rsplit('.').next().unwrap_or_default();
        let is_address =
            written.contains(':') || last.starts_with(|first: char| first.is_ascii_digit());
        match is_address {
            true => written
                .parse()
                .map(Self::Address)
                .map_err(|error: std::net::AddrParseError| error.to_string()),
            false => name(written).map(Self::Name),
        }
    }

    /// A packet there.
    #[must_use]
    pub fn target(self, protocol: RuleProtocol, port: Option<NonZeroU16>) -> PacketTarget {
        let (address, name) = match self {
            Self::Address(address) => (Some(address), None),
            Self::Name(name) => (None, Some(name)),
        };
        PacketTarget {
            address,
            protocol,
            port: port.map(NonZeroU16::get),
            name,
        }
    }
}

/// Addresses of documentation (RFC 5737, RFC 3849, RFC 9637), which stand for the answer for a name.
const fn stand_ins(family: Family) -> [Address; 3] {
    match family {
        Family::V4 => [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
            IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        ],
        Family::V6 => [
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1)),
        ],
    }
}

/// Why a packet cannot be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PacketQuestionError {
    /// The protocol has ports.
    #[error("a packet of {protocol} has a port: name it with --port")]
    PortMissing { protocol: RuleProtocol },
    /// The protocol has none.
    #[error("ICMP has no ports: leave --port out")]
    PortOfIcmp,
    /// The pod sends no packet of this family.
    #[error("pod {pod} has no IPv{} address, so that it sends no packet there", family.digit())]
    NoAddress {
        pod: String,
        /// The family of the destination.
        family: Family,
    },
}

impl PacketQuestion {
    /// The first packet of a connection from a pod, from its address of the destination's family.
    ///
    /// # Errors
    /// [`PacketQuestionError`] if the pod sends no such packet.
    pub fn new(
        pod: BoundPod,
        node: NodeName,
        target: &PacketTarget,
    ) -> Result<Self, PacketQuestionError> {
        let port = match (target.protocol, target.port) {
            (RuleProtocol::Icmp, Some(_)) => return Err(PacketQuestionError::PortOfIcmp),
            (RuleProtocol::Icmp, None) => 0,
            (_, Some(port)) => port,
            (protocol, None) => return Err(PacketQuestionError::PortMissing { protocol }),
        };
        let first = pod.addresses.iter().map(Family::of).next();
        let family = match (target.address, first) {
            (Some(address), _) => Family::of(&address),
            (None, first) => first.unwrap_or(Family::V4),
        };
        let destination = target.address.unwrap_or(stand_ins(family)[0]);
        let mut addresses = pod.addresses.iter();
        let source = addresses.find(|address| Family::of(address) == family);
        let source = *source.ok_or_else(|| PacketQuestionError::NoAddress {
            pod: format!("{}/{}", pod.namespace, pod.name),
            family,
        })?;
        Ok(Self {
            pod,
            node,
            packet: FirstPacket {
                source,
                destination,
                protocol: target.protocol,
                port,
            },
            name: target.name.clone(),
            origin: match target.address {
                Some(_) => DestinationOrigin::Asked,
                None => DestinationOrigin::StandIn,
            },
        })
    }

    /// The same to an address that no rule of the pod's policy names, where only a name was asked about; none: each that could stand
    /// for the answer is named, or is the cluster's.
    #[must_use]
    pub fn unnamed(&self, model: &NodeModel<'_>) -> Option<Self> {
        let mut question = self.clone();
        if self.origin == DestinationOrigin::StandIn {
            let source = &self.packet.source;
            let mut all = stand_ins(Family::of(source)).into_iter();
            question.packet.destination = all.find(|one| model.is_unnamed(source, one))?;
        }
        Some(question)
    }

    /// Whether the packet never leaves the pod.
    #[must_use]
    pub fn stays_in_the_pod(&self) -> bool {
        let destination = &self.packet.destination;
        destination.is_loopback() || self.pod.addresses.contains(destination)
    }
}
