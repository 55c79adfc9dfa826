//! The cluster section, which all nodes share but for their own ranges and addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::body::{Cluster, PortSpan};
use postern_intent::{Address, Namespace, Prefix};

use crate::allocate::Numbers;
use crate::gate::Gate;
use crate::index::Index;
use crate::resolve::Exits;
use crate::select::Contenders;
use crate::snapshot::{Node, Service};

/// What every body says alike.
pub(crate) struct Shared {
    /// Namespaces whose unlisted pods are held.
    pub(crate) guarded_namespaces: BTreeSet<Namespace>,
    cluster: Cluster,
}

impl Shared {
    /// Gathers what all bodies share.
    pub(crate) fn new(
        index: &Index<'_>,
        contenders: &Contenders<'_>,
        gate: &Gate,
        exits: &Exits<'_>,
        numbers: &Numbers,
    ) -> Self {
        let settings = &index.snapshot.settings;
        let of_nodes = index.nodes.values().flat_map(|node| &node.pod_ranges);
        let services = &index.snapshot.services;
        // A node's address is inbound on that node alone, whatever a Service claims: elsewhere it would let a pod reach
        // that node's NodePorts, and leave from there.
        let nodes = index.node_addresses();
        let of_services = services
            .iter()
            .flat_map(|service| service.addresses.iter().copied())
            .filter(|address| !nodes.contains(address));
        let cluster = Cluster {
            pod_ranges: merged(settings.pod_ranges.iter().chain(of_nodes)),
            local_pod_ranges: Vec::new(),
            service_ranges: merged(settings.service_ranges.iter()),
            inbound_addresses: of_services.collect(),
            node_ports: node_ports(settings.node_ports, services),
            node_services: node_services(services, &nodes),
            api_servers: settings.api_servers.clone(),
            tunnel_ranges: settings.tunnels.ranges.clone(),
            tunnel_endpoints: endpoints(index, exits, numbers),
            dns: settings.dns.clone(),
            node_addresses: nodes,
        };
        let mut guarded_namespaces = contenders.namespaces();
        guarded_namespaces.extend(gate.deny.iter().cloned());
        Self {
            guarded_namespaces,
            cluster,
        }
    }

    /// The cluster section of one node. A service's address is inbound on every node: which of them it is announced by
    /// is nobody's to say here.
    pub(crate) fn cluster_of<'a>(&self, index: &Index<'a>, node: &'a Node) -> Cluster {
        let mut cluster = self.cluster.clone();
        cluster.local_pod_ranges = merged(node.pod_ranges.iter());
        cluster.inbound_addresses.extend(index.addresses(node));
        cluster
    }
}

/// As few prefixes as say the same, sorted.
fn merged<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> Vec<Prefix> {
    let nets: Vec<IpNet> = prefixes.map(Prefix::net).collect();
    let mut merged: Vec<Prefix> = IpNet::aggregate(&nets)
        .into_iter()
        .map(Prefix::from)
        .collect();
    merged.sort();
    merged
}

/// The range of the settings, and every NodePort that lies outside of it. O(services · log services).
fn node_ports(range: PortSpan, services: &[Service]) -> Vec<PortSpan> {
    let of_services = services.iter().flat_map(|service| &service.node_ports);
    let single = of_services.map(|port| PortSpan {
        from: *port,
        to: *port,
    });
    PortSpan::joined(single.chain([range]))
}

/// Every node translates an external address, whoever owns it. Where the owner is another node, a packet that this
/// node did not translate in time would be translated there, as a NodePort is.
fn node_services(services: &[Service], nodes: &BTreeSet<Address>) -> BTreeSet<SocketAddr> {
    services
        .iter()
        .flat_map(|service| {
            let claimed = service.addresses.intersection(nodes);
            claimed.flat_map(|address| {
                let ports = service.ports.iter();
                ports.map(|port| SocketAddr::new(*address, *port))
            })
        })
        .collect()
}

/// Where every active gateway listens, on each of its addresses.
fn endpoints(index: &Index<'_>, exits: &Exits<'_>, numbers: &Numbers) -> BTreeSet<SocketAddr> {
    exits
        .all_active()
        .filter_map(|(exit, active)| Some((index.nodes.get(active.gateway)?, numbers.get(exit)?)))
        .flat_map(|(gateway, numbers)| {
            index
                .addresses(gateway)
                .map(|address| SocketAddr::new(address, numbers.port))
        })
        .collect()
}
