//! The question about one packet, and the reasons why there is no answer.

use postern_compile::intake::IntakeError;
use postern_compile::snapshot::{PodNetwork, SnapshotPod};
use postern_intent::body::RuleProtocol;
use postern_intent::{Address, DocumentRefusal, NamePattern, NodeName};
use postern_plan::explain::{BoundPod, FirstPacket};
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
}

/// The destination of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketTarget {
    pub address: Address,
    pub protocol: RuleProtocol,
    /// The destination port; none for ICMP alone.
    pub port: Option<u16>,
    /// The name whose answer led the pod there; none: the pod did not ask for a name.
    pub name: Option<NamePattern>,
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
        let family = Family::of(&target.address);
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
                destination: target.address,
                protocol: target.protocol,
                port,
            },
            name: target.name.clone(),
        })
    }

    /// Whether the packet never leaves the pod.
    #[must_use]
    pub fn stays_in_the_pod(&self) -> bool {
        let destination = &self.packet.destination;
        destination.is_loopback() || self.pod.addresses.contains(destination)
    }
}
