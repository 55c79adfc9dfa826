//! Which packets are not a pod's: answers to connections that others opened, refusals by the node itself, and what
//! hosts of one link say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::lab::topology::{LAN4, LAN6};
use crate::proof::monitor::frame::{Note, Packet, Tuple};

/// How long after the last packet of the other side a node may reply, in nanoseconds.
const REPLY_AGE: i64 = 60_000_000_000;

/// How long after a packet a node may refuse it, in nanoseconds.
const REFUSAL_AGE: i64 = 3_000_000_000;

/// So many flows are kept before old ones are let go.
const KEPT: usize = 200_000;

/// What a packet that left a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Anything that is not one of the others.
    Plain,
    /// A reply of a connection that somebody outside opened to this node's address (a node port): counted apart from
    /// what pods open. A connection to a pod's own address has no such replies: they must not come.
    Reply,
    /// A reset or an ICMP error from the node's own address that answers one packet: the node refuses a flow that it no
    /// longer knows, and no pod has sent it.
    NodeReset,
    /// Neighbour discovery and multicast membership of the node's own interface about its own link.
    Link,
    /// A frame that the node's own interface has not sent: of a second interface on the LAN.
    Foreign,
}

/// A node's interface on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) mac: [u8; 6],
}

/// Packets that came for a flow and may still be refused.
#[derive(Clone, Copy, Debug, Default)]
struct Unanswered {
    packets: u32,
    last: i64,
}

/// The connections that others have opened, and those that came from nodes.
///
/// A tuple belongs to the side that used it first. So a pod that forges a world client towards a node port does not
/// turn its own packets into replies: the world has never sent the first packet of that connection.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    nodes: BTreeMap<String, Uplink>,
    /// With the time of the last packet that came.
    inbound: BTreeMap<Tuple, i64>,
    outbound: BTreeSet<Tuple>,
    unanswered: BTreeMap<Tuple, Unanswered>,
}

impl Flows {
    pub(crate) fn new(nodes: BTreeMap<String, Uplink>) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// A packet from the world or from another host of the LAN that is no node.
    pub(crate) fn arrived(&mut self, packet: &Packet, time: i64) {
        let mut nodes = self.nodes.values();
        if !nodes.any(|node| node.addresses.contains(&packet.destination)) {
            return;
        }
        let reply = packet.reverse();
        if packet.ports.is_some() && !self.outbound.contains(&reply) {
            self.inbound.insert(reply, time);
        }
        if self.unanswered.len() > KEPT {
            self.unanswered
                .retain(|_, came| time - came.last <= REFUSAL_AGE);
        }
        let came = self.unanswered.entry(reply).or_default();
        came.packets = came.packets.saturating_add(1);
        came.last = time;
    }

    /// A packet that came in by the port of this node.
    pub(crate) fn left(&mut self, node: &str, packet: &Packet, time: i64) -> Kind {
        let Some(uplink) = self.nodes.get(node).filter(|node| node.mac == packet.mac) else {
            return Kind::Foreign;
        };
        if about_the_link(packet) {
            return Kind::Link;
        }
        let own = uplink.addresses.contains(&packet.source);
        let came = self.inbound.get(&packet.tuple());
        if own && came.is_some_and(|last| time - last <= REPLY_AGE) {
            return Kind::Reply;
        }
        if let Note::Refusal(flow) = packet.note
            && own
            && self.refuses(&flow, time)
        {
            return Kind::NodeReset;
        }
        if packet.ports.is_some() {
            self.outbound.insert(packet.tuple());
        }
        Kind::Plain
    }

    /// Whether a packet of this flow came that was not refused yet.
    fn refuses(&mut self, flow: &Tuple, time: i64) -> bool {
        let came = self.unanswered.get_mut(flow);
        let Some(came) = came.filter(|came| time - came.last <= REFUSAL_AGE) else {
            return false;
        };
        let some = came.packets > 0;
        came.packets = came.packets.saturating_sub(1);
        some
    }
}

/// Neighbour discovery about an address of the LAN or of the link, or multicast membership.
fn about_the_link(packet: &Packet) -> bool {
    let on_link = match packet.destination {
        IpAddr::V4(four) => four.is_multicast() || LAN4.contains(&four),
        IpAddr::V6(six) => of_the_link(six.into()) || LAN6.contains(&six),
    };
    match packet.note {
        Note::Neighbour(target) => {
            let lan = matches!(target, IpAddr::V6(six) if LAN6.contains(&six));
            on_link && (lan || of_the_link(target))
        }
        Note::Membership => on_link,
        Note::None | Note::Refusal(_) => false,
    }
}

/// Link-local, as unicast or as multicast.
fn of_the_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.is_unicast_link_local() || six.segments()[0] == 0xff02)
}

#[cfg(test)]
mod tests;
