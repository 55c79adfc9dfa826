//! The packet that is explained, and whose it is.

use std::collections::BTreeSet;

use postern_intent::body::RuleProtocol;
use postern_intent::{Address, Namespace, PodName, Uid};

use crate::binding::Binding;
use crate::evaluate::{Packet, Transport};
use crate::settings::POD_LINKS;

/// The pod whose packet is explained, as its Pod object has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    pub namespace: Namespace,
    pub name: PodName,
    pub uid: Uid,
    pub addresses: BTreeSet<Address>,
}

impl BoundPod {
    /// The binding of a pod of which only its object is known: behind the bridge `cni0`.
    pub(super) fn assumed_binding(&self) -> Option<Binding> {
        Some(Binding {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            container_id: self.uid.to_string(),
            ifname: "eth0".to_owned(),
            addresses: self.addresses.clone(),
            host_interface: "veth-pod".parse().ok()?,
            mac: None,
            pod_link: POD_LINKS[0].parse().ok()?,
        })
    }
}

/// The first packet of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPacket {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes to, as the pod wrote it.
    pub destination: Address,
    pub protocol: RuleProtocol,
    /// The destination port; ICMP has none.
    pub port: u16,
}

/// An ephemeral port: no rule looks at it.
const SOURCE_PORT: u16 = 49_152;

impl FirstPacket {
    pub(super) fn packet(&self) -> Packet {
        let (sport, dport) = (SOURCE_PORT, self.port);
        let transport = match self.protocol {
            RuleProtocol::Tcp => Transport::Tcp {
                sport,
                dport,
                syn: true,
            },
            RuleProtocol::Udp => Transport::Udp { sport, dport },
            RuleProtocol::Sctp => Transport::Sctp { dport },
            RuleProtocol::Icmp => Transport::Icmp("echo-request"),
        };
        Packet::new(self.source, self.destination, transport)
    }
}
