//! Flows of connection tracking: which of them a cut deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_intent::{Address, Prefix};

use crate::desired::{Classes, ClusterView, dns::is_redirected};
use crate::host::Family;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The port of DNS.
const DNS: u16 = 53;

/// An entry of connection tracking. The port of a protocol without ports is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEntry {
    pub protocol: u8,
    /// Source and destination of the first packet.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of replies: the source is where DNAT has led the flow.
    pub reply: (SocketAddr, SocketAddr),
}

/// How much of what an address has is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutExtent {
    /// What the pod opened to a destination outside the cluster, after DNAT: its terms changed.
    Outgoing,
    /// What was opened from outside too: another pod has the address, and inherits nothing.
    BothWays,
}

/// Whose flows are to be cut.
pub type Cuts = BTreeMap<Address, CutExtent>;

/// A cut, as the kernel's table is read for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowCut {
    pub addresses: Cuts,
    /// Clients whose flows all go, whatever they are: the tunnel addresses of a node that is given back.
    pub clients: Vec<Prefix>,
    /// Which of the flows of `addresses` go on.
    pub inside: InsideFlows,
}

impl FlowCut {
    /// Is this flow deleted? O(log addresses + log ranges).
    #[must_use]
    pub fn takes(&self, flow: &FlowEntry) -> bool {
        let (client, server) = (flow.original.0, flow.reply.0);
        let contains = |prefix: &Prefix| prefix.net().contains(&client.ip());
        if self.clients.iter().any(contains) {
            return true;
        }
        let extent = |end: SocketAddr| self.addresses.get(&end.ip());
        let Some(extent) = extent(client).max(extent(server)) else {
            return false;
        };
        let inside = &self.inside;
        let leaves = !inside.answers(flow.protocol, server);
        let enters = *extent == CutExtent::BothWays && !inside.asks(client);
        leaves || enters || inside.is_misdirected(flow)
    }

    /// Whose flow is it, of those that the cut is about?
    #[must_use]
    pub fn owners(&self, flow: &FlowEntry) -> BTreeSet<Address> {
        let ends = [flow.original.0.ip(), flow.reply.0.ip()];
        let ends = ends.into_iter();
        ends.filter(|end| self.addresses.contains_key(end))
            .collect()
    }
}

/// Flows inside the cluster: no edit of a policy is about them, and they go on through every one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsideFlows {
    /// First and last addresses of disjoint ranges, sorted.
    ranges: Vec<(Address, Address)>,
    api_servers: BTreeSet<SocketAddr>,
    api_hosts: BTreeSet<Address>,
    services: Vec<Prefix>,
    resolvers: BTreeSet<Address>,
    /// Addresses whose questions are redirected to the node's forwarder.
    redirected: BTreeSet<Address>,
    forwarder: u16,
}

impl InsideFlows {
    /// Of a view of the cluster and the classes of its pods.
    #[must_use]
    pub fn new(cluster: &ClusterView, classes: &Classes, forwarder: u16) -> Self {
        let ranges = Family::BOTH.map(|family| cluster.inside(family)).concat();
        let mut ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.net().network(), range.net().broadcast()))
            .collect();
        ranges.sort_unstable();
        let redirected = classes
            .iter()
            .filter(|(_, classified)| is_redirected(&classified.class))
            .map(|(address, _)| *address);
        Self {
            ranges,
            api_hosts: cluster.api_servers.iter().map(SocketAddr::ip).collect(),
            api_servers: cluster.api_servers.clone(),
            services: cluster.services.clone(),
            resolvers: cluster.dns.addresses.iter().copied().collect(),
            redirected: redirected.collect(),
            forwarder,
        }
    }

    fn contains(&self, address: &Address) -> bool {
        let after = self.ranges.partition_point(|(first, _)| first <= address);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        before.is_some_and(|(_, last)| address <= last)
    }

    fn answers(&self, protocol: u8, server: SocketAddr) -> bool {
        self.contains(&server.ip()) || (protocol == TCP && self.api_servers.contains(&server))
    }

    fn asks(&self, client: SocketAddr) -> bool {
        self.contains(&client.ip()) || self.api_hosts.contains(&client.ip())
    }

    /// A question that goes on to where it went when another class was in force: past the forwarder, or to a forwarder
    /// that does not know the pod any more.
    fn is_misdirected(&self, flow: &FlowEntry) -> bool {
        let (client, asked) = flow.original;
        if asked.port() != DNS || !matches!(flow.protocol, TCP | UDP) {
            return false;
        }
        let is_server_of_a_service = self.services.iter().any(|one| one.contains(&asked.ip()))
            && !self.resolvers.contains(&asked.ip());
        let should_be = self.redirected.contains(&client.ip()) && !is_server_of_a_service;
        should_be != (flow.reply.0.port() == self.forwarder)
    }
}
