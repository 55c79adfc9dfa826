//! The question about one packet, and the reasons why there is no answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern_compile::intake::IntakeError;
use postern_compile::snapshot::{PodNetwork, SnapshotPod};
use postern_intent::body::RuleProtocol;
use postern_intent::{Address, DocumentRefusal, NamePattern, NodeName};
use postern_plan::explain::{BoundPod, FirstPacket, NodeModel};
use postern_plan::host::Family;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketTarget {
    /// None: the address of the answer for `name`.
    pub address: Option<Address>,
    pub protocol: RuleProtocol,
    /// The destination port; none for ICMP alone.
    pub port: Option<u16>,
    /// The name whose answer led the pod there; none: the pod did not ask for a name.
    pub name: Option<NamePattern>,
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

/// Why a packet cannot be judged.
#[derive(Debug, Error)]
pub enum PacketError {
    /// The protocol has ports.
    #[error("a packet of {protocol} has a port: name it with --port")]
    PortMissing { protocol: RuleProtocol },
    /// The protocol has none.
    #[error("ICMP has no ports: leave --port out")]
    PortOfIcmp,
    /// The pod is not understood.
    #[error("the pod is not understood")]
    Pod(#[source] IntakeError),
    /// The pod has the addresses of its node.
    #[error(
        "pod {pod} uses the host network: its packets cannot be told from those of its node, and are not judged"
    )]
    HostNetwork { pod: String },
    /// The pod sends no packet of this family.
    #[error("pod {pod} has no IPv{} address, so that it sends no packet there", family.digit())]
    NoAddress {
        pod: String,
        /// The family of the destination.
        family: Family,
    },
    /// The node has no intent.
    #[error(
        "nothing is published for node {node}: before its first intent it lets pods out that ran before Postern, and holds \
         those that start through the plugin"
    )]
    Unpublished { node: NodeName },
    /// The node has seen documents that are not known here.
    #[error(
        "what node {node} carries is not known here: it has seen newer documents than there are, and gets none until a person \
         approves (`posternctl approve`)"
    )]
    Restored { node: NodeName },
    /// A NodeIntent is not understood.
    #[error("NodeIntent {name} is not understood: {why}; is this program as new as the operator?")]
    NotUnderstood { name: String, why: String },
    /// A document is not one that an agent would take.
    #[error(
        "the document in NodeIntent {name} cannot be used; is this program as new as the operator?"
    )]
    Document {
        /// The name of the NodeIntent.
        name: String,
        #[source]
        source: DocumentRefusal,
    },
    /// The document is another node's.
    #[error(
        "the agent of node {node} refuses the document in NodeIntent {node}, and goes on with the one before; an operator that \
         runs puts the right one back: look at `posternctl status`, and try again"
    )]
    Foreign {
        node: NodeName,
        #[source]
        source: DocumentRefusal,
    },
    /// Two documents do not fit.
    #[error(
        "the document of node {node} cannot be joined with the cluster document, so that its agent waits; try again"
    )]
    Apart {
        node: NodeName,
        #[source]
        source: DocumentRefusal,
    },
}

impl PacketQuestion {
    /// The first packet of a connection from a pod, from its address of the destination's family.
    ///
    /// # Errors
    /// [`PacketError`] if the pod sends no such packet.
    pub fn new(pod: &SnapshotPod, target: &PacketTarget) -> Result<Self, PacketError> {
        let name = || format!("{}/{}", pod.namespace, pod.name);
        if pod.attachment == PodNetwork::Host {
            return Err(PacketError::HostNetwork { pod: name() });
        }
        let port = match (target.protocol, target.port) {
            (RuleProtocol::Icmp, Some(_)) => return Err(PacketError::PortOfIcmp),
            (RuleProtocol::Icmp, None) => 0,
            (_, Some(port)) => port,
            (protocol, None) => return Err(PacketError::PortMissing { protocol }),
        };
        let first = pod.addresses.iter().map(Family::of).next();
        let family = match (target.address, first) {
            (Some(address), _) => Family::of(&address),
            (None, first) => first.unwrap_or(Family::V4),
        };
        let destination = target.address.unwrap_or(stand_ins(family)[0]);
        let mut addresses = pod.addresses.iter();
        let source = addresses.find(|address| Family::of(address) == family);
        let source = *source.ok_or_else(|| PacketError::NoAddress {
            pod: name(),
            family,
        })?;
        Ok(Self {
            pod: BoundPod {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                addresses: pod.addresses.clone(),
            },
            node: pod.node.clone(),
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
