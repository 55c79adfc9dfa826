//! Which packets are answers: to connections that the world opened, or by a node on its own behalf.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::proof::monitor::frame::{Note, Packet};

/// What a packet that left a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Anything that is not one of the others.
    Plain,
    /// A reply of a connection that the world opened to a node's address (a node port): counted apart from what pods
    /// open. A connection that the world opened to a pod's own address has no such replies: they must not come.
    Reply,
    /// A reset or an unreachable message from the node's own address: the node answers for a flow that it no longer
    /// knows, and no pod has sent it.
    NodeReset,
}

type Tuple = (u8, IpAddr, u16, IpAddr, u16);

/// The connections that the world has opened, and those that came from nodes.
///
/// A tuple belongs to the side that used it first. So a pod that forges a world client towards a node port does not
/// turn its own packets into replies: the world has never sent the first packet of that connection.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    inbound: BTreeSet<Tuple>,
    outbound: BTreeSet<Tuple>,
}

impl Flows {
    pub(crate) fn new(nodes: BTreeMap<String, BTreeSet<IpAddr>>) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// A packet from the world.
    pub(crate) fn arrived(&mut self, packet: &Packet) {
        let Some((from, to)) = packet.ports else {
            return;
        };
        let to_node = self
            .nodes
            .values()
            .any(|own| own.contains(&packet.destination));
        let reply = (packet.protocol, packet.destination, to, packet.source, from);
        if to_node && !self.outbound.contains(&reply) {
            self.inbound.insert(reply);
        }
    }

    /// A packet that this node sent to the world.
    pub(crate) fn left(&mut self, node: &str, packet: &Packet) -> Kind {
        let own = self
            .nodes
            .get(node)
            .is_some_and(|own| own.contains(&packet.source));
        let tuple = packet
            .ports
            .map(|(from, to)| (packet.protocol, packet.source, from, packet.destination, to));
        if tuple.is_some_and(|tuple| self.inbound.contains(&tuple)) {
            return Kind::Reply;
        }
        if own && packet.note == Note::Refusal {
            return Kind::NodeReset;
        }
        self.outbound.extend(tuple);
        Kind::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::{Flows, Kind};
    use crate::proof::monitor::frame::{Note, Packet};

    fn packet(source: &str, from: u16, destination: &str, to: u16) -> Packet {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Packet {
            source,
            destination,
            protocol: 6,
            ports: Some((from, to)),
            note: Note::None,
        }
    }

    fn flows() -> Flows {
        Flows::new([("n1".to_owned(), ["192.168.10.11".parse().unwrap()].into())].into())
    }

    #[test]
    fn the_answer_to_a_node_port_connection_of_the_world_is_a_reply() {
        let mut flows = flows();
        flows.arrived(&packet("203.0.112.9", 5000, "192.168.10.11", 30080));
        assert_eq!(
            flows.left("n1", &packet("192.168.10.11", 30080, "203.0.112.9", 5000)),
            Kind::Reply
        );
    }

    #[test]
    fn what_a_node_opened_stays_its_own_when_the_world_answers() {
        let mut flows = flows();
        let out = packet("192.168.10.11", 4000, "203.0.112.9", 7);
        assert_eq!(flows.left("n1", &out), Kind::Plain);
        flows.arrived(&packet("203.0.112.9", 7, "192.168.10.11", 4000));
        assert_eq!(flows.left("n1", &out), Kind::Plain);
    }

    #[test]
    fn a_forged_client_that_the_world_never_was_makes_no_reply() {
        assert_eq!(
            flows().left("n1", &packet("192.168.10.11", 30080, "203.0.112.9", 5000)),
            Kind::Plain
        );
    }

    #[test]
    fn a_connection_straight_to_a_pod_has_no_replies() {
        let mut flows = flows();
        flows.arrived(&packet("203.0.112.9", 5000, "10.244.1.2", 8080));
        assert_eq!(
            flows.left("n1", &packet("10.244.1.2", 8080, "203.0.112.9", 5000)),
            Kind::Plain
        );
    }

    #[test]
    fn a_reset_is_the_nodes_own_only_from_its_own_address() {
        let mut flows = flows();
        let reset = |source| Packet {
            note: Note::Refusal,
            ..packet(source, 7, "203.0.112.9", 5000)
        };
        assert_eq!(flows.left("n1", &reset("192.168.10.11")), Kind::NodeReset);
        assert_eq!(flows.left("n1", &reset("10.244.1.2")), Kind::Plain);
        assert_eq!(flows.left("n2", &reset("192.168.10.11")), Kind::Plain);
    }
}
