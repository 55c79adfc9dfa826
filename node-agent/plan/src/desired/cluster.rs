//! What is the cluster's: the body's word where there is one, else the node's own settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_intent::body::{Cluster, ClusterDns, DEFAULT_NODE_PORTS, EncryptedResolvers, PortSpan};
use postern_intent::{Address, Body, Prefix};

use super::classify::Classes;
use super::ranges::{aggregate, of_family, private_ranges};
use super::{NodeClaim, PlanInputs};
use crate::host::Family;

/// The cluster's ranges as this node takes them to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Pod ranges of the whole cluster.
    pub pods: Vec<Prefix>,
    /// What stands for the pod ranges in `inside` where neither body nor settings name any.
    pub stand_in: Vec<Prefix>,
    /// Sources that are this node's own pods: its pod ranges where they are trusted, and the addresses of its bound and
    /// listed pods that lie outside them.
    pub local: Vec<Prefix>,
    /// What is known of this node's pod ranges, by family.
    pub local_ranges: BTreeMap<Family, LocalRanges>,
    pub services: Vec<Prefix>,
    /// Node addresses, this node's too.
    pub nodes: Vec<Prefix>,
    /// Where translated inbound connections may have come in.
    pub inbound: BTreeSet<Address>,
    /// Ports at which nodes translate connections to endpoints anywhere.
    pub node_ports: Vec<PortSpan>,
    /// Sockets of Services at addresses that are a node's.
    pub node_services: BTreeSet<SocketAddr>,
    pub api_servers: BTreeSet<SocketAddr>,
    /// Where tunnel addresses are taken from.
    pub tunnels: Vec<Prefix>,
    pub endpoints: BTreeSet<SocketAddr>,
    pub dns: ClusterDns,
    /// What pods whose names are filtered or blocked may not ask.
    pub encrypted_resolvers: EncryptedResolvers,
}

/// What is known of this node's pod ranges in one family.
///
/// `Node.spec.podCIDRs` is what the control plane would like the CNI to use. Calico, Cilium and the cloud providers' CNIs
/// take addresses from elsewhere, and a range that is not this node's may hold the pods of another node. So a packet is
/// dropped because of its source only where the node's own pods prove the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalRanges {
    /// Neither body nor settings name a range.
    Unknown,
    /// The body names ranges, and no pod of this node has an address yet that would prove them.
    Unproven,
    /// The setting names the ranges, or pods of this node have addresses in the body's, and no pod has one outside.
    Trusted,
    /// A pod of this node has this address, which is in none of the ranges.
    Contradicted(Address),
}

impl ClusterView {
    /// Joins settings, body, bindings and classes. An empty range of the body leaves the setting in force.
    /// O(pods · ranges).
    #[must_use]
    pub fn new(inputs: &PlanInputs<'_>, classes: &Classes) -> Self {
        let settings = inputs.settings;
        let unknown = Cluster::default();
        let cluster = inputs.body.map_or(&unknown, |body| &body.cluster);
        let or = |theirs: &[Prefix], own: &[Prefix]| {
            aggregate(&if theirs.is_empty() {
                own.to_vec()
            } else {
                theirs.to_vec()
            })
        };
        let addresses: Vec<Prefix> = cluster
            .node_addresses
            .iter()
            .copied()
            .map(Prefix::host)
            .collect();
        let nodes = or(&addresses, &settings.node_ranges);
        let mut inbound = inputs.body.map(Body::inbound_addresses).unwrap_or_default();
        if inbound.is_empty() {
            inbound.clone_from(&settings.own_addresses);
        }
        let bound = inputs.bindings.by_container.values();
        let own: BTreeSet<Address> = bound
            .flat_map(|binding| binding.addresses.iter().copied())
            .chain(classes.keys().copied())
            .collect();
        let local_ranges = inputs.body.map_or(&[][..], |body| &body.local_pod_ranges);
        let named = or(local_ranges, &settings.local_pod_ranges);
        let by = if local_ranges.is_empty() {
            NamedBy::Setting
        } else {
            NamedBy::NodeObject
        };
        let local_ranges: BTreeMap<Family, LocalRanges> = Family::BOTH
            .into_iter()
            .map(|family| {
                let named = of_family(&named, family);
                (family, judge(&named, by, &own, family))
            })
            .collect();
        // Before the first intent pods without a binding are not Postern's: no range makes their addresses so.
        let claimed = inputs.claim() == NodeClaim::Claimed;
        let trusted: Vec<Prefix> = named
            .into_iter()
            .filter(|prefix| {
                claimed
                    && local_ranges.get(&Family::of_prefix(prefix)) == Some(&LocalRanges::Trusted)
            })
            .collect();
        let outside = own
            .into_iter()
            .filter(|address| !trusted.iter().any(|range| range.contains(address)))
            .map(Prefix::host)
            .collect();
        let pods = or(&cluster.pod_ranges, &settings.pod_ranges);
        let stand_in = if inputs.body.is_none() && pods.is_empty() {
            Family::BOTH.into_iter().flat_map(private_ranges).collect()
        } else {
            Vec::new()
        };
        Self {
            pods,
            stand_in,
            local: [trusted, outside].concat(),
            local_ranges,
            services: or(&cluster.service_ranges, &settings.service_ranges),
            nodes,
            inbound,
            node_ports: if cluster.node_ports.is_empty() {
                vec![DEFAULT_NODE_PORTS]
            } else {
                cluster.node_ports.clone()
            },
            node_services: cluster.node_services.clone(),
            api_servers: cluster.api_servers.clone(),
            tunnels: aggregate(&cluster.tunnel_ranges),
            endpoints: cluster.tunnel_endpoints.clone(),
            dns: cluster.dns.clone(),
            encrypted_resolvers: cluster.encrypted_resolvers.clone(),
        }
    }

    /// Where other nodes may be: destinations whose NodePorts are refused.
    #[must_use]
    pub fn other_nodes(&self, family: Family) -> Vec<Prefix> {
        of_family(
            &aggregate(&[&self.nodes[..], &self.stand_in].concat()),
            family,
        )
    }

    /// Pod ranges and node addresses of a family: inside, whatever the port.
    ///
    /// Without a body and without a setting the private ranges stand for the pod ranges: held pods of a node that lost
    /// its ledger would otherwise lose the traffic inside the cluster too.
    #[must_use]
    pub fn inside(&self, family: Family) -> Vec<Prefix> {
        let all = [&self.pods[..], &self.stand_in, &self.nodes].concat();
        of_family(&aggregate(&all), family)
    }

    /// Is a packet of a pod link dropped when its source is in none of the node's pod ranges?
    #[must_use]
    pub fn refuses_sources_outside(&self, family: Family, claim: NodeClaim) -> bool {
        claim == NodeClaim::Claimed && self.local_ranges.get(&family) == Some(&LocalRanges::Trusted)
    }

    /// What no exit offers, API server endpoints apart.
    #[must_use]
    pub fn never_offered(&self, family: Family) -> Vec<Prefix> {
        let all = [&self.pods[..], &self.services, &self.nodes, &self.tunnels].concat();
        of_family(&aggregate(&all), family)
    }

    /// Is the address the cluster's?
    #[must_use]
    pub fn holds(&self, address: &Address) -> bool {
        [&self.pods, &self.services, &self.nodes, &self.tunnels]
            .into_iter()
            .flatten()
            .any(|prefix| prefix.contains(address))
    }
}

/// Who names the node's pod ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Setting,
    NodeObject,
}

fn judge(named: &[Prefix], by: NamedBy, own: &BTreeSet<Address>, family: Family) -> LocalRanges {
    if named.is_empty() {
        return LocalRanges::Unknown;
    }
    let mut own = own.iter().filter(|address| Family::of(address) == family);
    let mut proven = by == NamedBy::Setting;
    let contradiction = own.find(|address| {
        let is_inside = named.iter().any(|range| range.contains(address));
        proven |= is_inside;
        !is_inside
    });
    match contradiction {
        Some(address) => LocalRanges::Contradicted(*address),
        None if proven => LocalRanges::Trusted,
        None => LocalRanges::Unproven,
    }
}
