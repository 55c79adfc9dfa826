//! What is the cluster's: the body's word where there is one, else the node's own settings.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_intent::body::{Body, Cluster, ClusterDns};
use postern_intent::{Address, Prefix};

use crate::host::Family;
use crate::settings::Settings;

/// The cluster's ranges as this node takes them to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Pod ranges of the whole cluster.
    pub pods: Vec<Prefix>,
    /// Pod ranges of this node.
    pub local: Vec<Prefix>,
    /// Service ranges.
    pub services: Vec<Prefix>,
    /// Node addresses, this node's too.
    pub nodes: Vec<Prefix>,
    /// Where translated inbound connections may have come in.
    pub inbound: BTreeSet<Address>,
    /// API server endpoints.
    pub api_servers: BTreeSet<SocketAddr>,
    /// Where tunnel addresses are taken from.
    pub tunnels: Vec<Prefix>,
    /// Where gateways listen.
    pub endpoints: BTreeSet<SocketAddr>,
    /// The cluster's resolver.
    pub dns: ClusterDns,
}

impl ClusterView {
    /// Joins settings and body. An empty range of the body leaves the setting in force.
    #[must_use]
    pub fn of(settings: &Settings, body: Option<&Body>) -> Self {
        let unknown = Cluster::default();
        let cluster = body.map_or(&unknown, |body| &body.cluster);
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
        let inbound: BTreeSet<Address> = if cluster.inbound_addresses.is_empty() {
            settings.own_addresses.clone()
        } else {
            cluster.inbound_addresses.clone()
        };
        Self {
            pods: or(&cluster.pod_ranges, &settings.pod_ranges),
            local: or(&cluster.local_pod_ranges, &settings.local_pod_ranges),
            services: or(&cluster.service_ranges, &settings.service_ranges),
            nodes,
            inbound,
            api_servers: cluster.api_servers.clone(),
            tunnels: aggregate(&cluster.tunnel_ranges),
            endpoints: cluster.tunnel_endpoints.clone(),
            dns: cluster.dns.clone(),
        }
    }

    /// Pod ranges and node addresses of a family: inside, whatever the port.
    #[must_use]
    pub fn inside(&self, family: Family) -> Vec<Prefix> {
        of_family(&aggregate(&[&self.pods[..], &self.nodes].concat()), family)
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

/// The prefixes of one family.
pub(super) fn of_family(prefixes: &[Prefix], family: Family) -> Vec<Prefix> {
    prefixes
        .iter()
        .copied()
        .filter(|prefix| Family::of_prefix(prefix) == family)
        .collect()
}

/// Disjoint prefixes: an interval set refuses overlapping ones (`Error: conflicting intervals specified`).
pub(super) fn aggregate(prefixes: &[Prefix]) -> Vec<Prefix> {
    let nets: Vec<ipnet::IpNet> = prefixes.iter().map(Prefix::net).collect();
    ipnet::IpNet::aggregate(&nets)
        .into_iter()
        .map(Prefix::from)
        .collect()
}
