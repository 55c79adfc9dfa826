//! The facts of the cluster, which all nodes share.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::body::{Cluster, PortSpan};
use postern_intent::{Address, Namespace, Prefix};

use crate::allocate::Numbers;
use crate::gate::ReleaseGate;
use crate::index::Index;
use crate::resolve::ResolvedExits;
use crate::select::Contenders;
use crate::snapshot::SnapshotService;

/// What the cluster document says. O(nodes + services · log services).
pub(crate) fn facts(index: &Index<'_>, exits: &ResolvedExits<'_>, numbers: &Numbers) -> Cluster {
    let settings = &index.snapshot.settings;
    let of_nodes = index.nodes.values().flat_map(|node| &node.pod_ranges);
    let services = &index.snapshot.services;
    // A node's address is inbound on that node alone, whatever a Service claims: elsewhere it would let a pod reach that
    // node's NodePorts, and leave from there.
    let nodes = index.node_addresses();
    let of_services = services
        .iter()
        .flat_map(|service| service.addresses.iter().copied())
        .filter(|address| !nodes.contains(address));
    Cluster {
        pod_ranges: merged(settings.pod_ranges.iter().chain(of_nodes)),
        service_ranges: merged(settings.service_ranges.iter()),
        service_addresses: of_services.collect(),
        node_ports: node_ports(settings.node_ports, services),
        node_services: node_services(services, &nodes),
        api_servers: settings.api_servers.clone(),
        tunnel_ranges: settings.tunnels.ranges.clone(),
        tunnel_endpoints: endpoints(index, exits, numbers),
        dns: settings.dns.clone(),
        encrypted_resolvers: settings.encrypted_resolvers.clone(),
        node_addresses: nodes,
    }
}

/// Namespaces whose unlisted pods are held.
pub(crate) fn guarded(contenders: &Contenders<'_>, gate: &ReleaseGate) -> BTreeSet<Namespace> {
    let mut guarded = contenders.namespaces();
    guarded.extend(gate.deny.iter().cloned());
    guarded
}

/// As few prefixes as say the same, sorted.
pub(super) fn merged<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> Vec<Prefix> {
    let nets: Vec<IpNet> = prefixes.map(Prefix::net).collect();
    let mut merged: Vec<Prefix> = IpNet::aggregate(&nets)
        .into_iter()
        .map(Prefix::from)
        .collect();
    merged.sort();
    merged
}

/// The range of the settings, and every NodePort that lies outside of it. O(services · log services).
fn node_ports(range: PortSpan, services: &[SnapshotService]) -> Vec<PortSpan> {
    let of_services = services.iter().flat_map(|service| &service.node_ports);
    let single = of_services.map(|port| PortSpan {
        from: *port,
        to: *port,
    });
    PortSpan::joined(single.chain([range]))
}

/// Every node translates an external address, also one of another node. Where the owner is another node, a packet that this
/// node did not translate in time would be translated there, as a NodePort is.
fn node_services(services: &[SnapshotService], nodes: &BTreeSet<Address>) -> BTreeSet<SocketAddr> {
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

/// Where every gateway listens, on each of its addresses.
fn endpoints(
    index: &Index<'_>,
    exits: &ResolvedExits<'_>,
    numbers: &Numbers,
) -> BTreeSet<SocketAddr> {
    exits
        .all_active()
        .filter_map(|(exit, active)| Some((active, numbers.get(exit)?.port)))
        .flat_map(|(active, port)| active.serving().map(move |gateway| (gateway, port)))
        .filter_map(|(gateway, port)| Some((index.nodes.get(gateway)?, port)))
        .flat_map(|(gateway, port)| {
            let addresses = index.addresses(gateway);
            addresses.map(move |address| SocketAddr::new(address, port))
        })
        .collect()
}
