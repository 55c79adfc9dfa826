//! Tunnels: one used device for each exit of the node, one served device for each exit of which it is a gateway, and one
//! for each session with a server outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::body::{Peer, PeerEnd, Tunnel, TunnelRole};
use postern_intent::{ExitName, Prefix};

use super::{LoweringContext, NodePlan};
use crate::allocate::{ExitNumbers, Networks};
use crate::index::Index;
use crate::resolve::{ActiveExit, SessionOffer};
use crate::snapshot::SnapshotNode;

/// The tunnels of a node, by exit; used before served, and external last.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> Vec<Tunnel> {
    let used = plan
        .used_exits()
        .into_iter()
        .filter_map(|exit| used(context, plan.node, exit));
    let served = context
        .exits
        .all_active()
        .filter(|(_, active)| active.rank(&plan.node.name).is_some())
        .filter_map(|(exit, active)| served(context, plan.node, exit, active));
    let held = plan.held_exits(context).into_iter();
    let external = held.filter_map(|(exit, offer)| external(context, exit, offer));
    let mut tunnels: Vec<Tunnel> = used.chain(served).chain(external).collect();
    tunnels.sort_by(|a, b| (&a.exit, a.role).cmp(&(&b.exit, b.role)));
    tunnels
}

fn used(context: &LoweringContext<'_>, node: &SnapshotNode, exit: &ExitName) -> Option<Tunnel> {
    let active = context.exits.active(exit)?;
    let numbers = context.numbers.get(exit)?;
    let host = context.hosts.get(exit, &node.name)?;
    // What the exit offers is the gateway's to enforce; here it would also refuse the ICMP errors of routers on the way,
    // and with them path MTU discovery. Each gateway may have everything, and the node gives it to one at a time.
    let networks = context.networks.of(numbers.network);
    let allowed_ips: Vec<Prefix> = networks.iter().filter_map(default_route).collect();
    let others = active.serving().filter(|gateway| **gateway != node.name);
    let peers = others.filter_map(|gateway| {
        let gateway = context.index.nodes.get(gateway)?;
        Some(Peer {
            at: PeerEnd::Node {
                name: gateway.name.clone(),
            },
            public_key: context.keys.get(&gateway.name)?,
            endpoint: Some(endpoint(context.index, gateway, node, numbers)?),
            allowed_ips: allowed_ips.clone(),
            keepalive_seconds: Some(context.index.snapshot.settings.tunnels.keepalive_seconds),
        })
    });
    Some(Tunnel {
        exit: exit.clone(),
        role: TunnelRole::Used,
        interface: numbers.used.clone(),
        listen_port: None,
        mtu: active.offer.mtu,
        // Only the address itself: the network behind it would become a route of the main table.
        addresses: context
            .networks
            .hosts(numbers.network, host)
            .into_iter()
            .map(IpNet::from)
            .collect(),
        peers: peers.collect(),
    })
}

fn served(
    context: &LoweringContext<'_>,
    node: &SnapshotNode,
    exit: &ExitName,
    active: &ActiveExit<'_>,
) -> Option<Tunnel> {
    let numbers = context.numbers.get(exit)?;
    let own = context.hosts.gateway(exit, &node.name)?;
    let nodes = context.peers.get(exit).into_iter().flatten();
    let nodes = nodes.filter(|client| **client != node.name);
    let peers = nodes.filter_map(|client| {
        let host = context.hosts.get(exit, client)?;
        let addresses = context.networks.hosts(numbers.network, host);
        Some(Peer {
            at: PeerEnd::Node {
                name: client.clone(),
            },
            public_key: context.keys.get(client)?,
            endpoint: None,
            allowed_ips: addresses.into_iter().map(Prefix::host).collect(),
            keepalive_seconds: None,
        })
    });
    Some(Tunnel {
        exit: exit.clone(),
        role: TunnelRole::Served,
        interface: numbers.served.clone(),
        listen_port: Some(numbers.port),
        mtu: active.offer.mtu,
        addresses: gateway_addresses(context.networks, numbers.network, own),
        peers: peers.collect(),
    })
}

/// The device of a session with a server outside. What the server gave is one address of each family: the network around it
/// would become a route of the main table, and take unselected traffic.
fn external(
    context: &LoweringContext<'_>,
    exit: &ExitName,
    offer: &SessionOffer<'_>,
) -> Option<Tunnel> {
    let addresses: Vec<IpNet> = offer.addresses.iter().copied().map(IpNet::from).collect();
    let allowed: BTreeSet<Prefix> = addresses.iter().filter_map(default_route).collect();
    Some(Tunnel {
        exit: exit.clone(),
        role: TunnelRole::External,
        interface: context.numbers.get(exit)?.external.clone(),
        listen_port: None,
        mtu: context.exits.active(exit)?.offer.mtu,
        addresses,
        peers: vec![Peer {
            at: PeerEnd::External,
            public_key: offer.server_key,
            endpoint: None,
            allowed_ips: allowed.into_iter().collect(),
            keepalive_seconds: Some(context.index.snapshot.settings.tunnels.keepalive_seconds),
        }],
    })
}

/// The gateway's addresses with the whole network behind them, so that the clients are on the link.
fn gateway_addresses(networks: &Networks, network: u32, host: u32) -> Vec<IpNet> {
    let lengths = networks.of(network).into_iter().map(|net| net.prefix_len());
    let hosts = networks.hosts(network, host);
    hosts
        .into_iter()
        .zip(lengths)
        .filter_map(|(host, length)| IpNet::new(host, length).ok())
        .collect()
}

fn default_route(family: &IpNet) -> Option<Prefix> {
    match family {
        IpNet::V4(_) => "0.0.0.0/0".parse().ok(),
        IpNet::V6(_) => "::/0".parse().ok(),
    }
}

/// Where the client reaches the gateway: by IPv4 where both have it, else by the gateway's first address.
fn endpoint<'a>(
    index: &Index<'a>,
    gateway: &'a SnapshotNode,
    client: &'a SnapshotNode,
    numbers: &ExitNumbers,
) -> Option<SocketAddr> {
    let v4 = index.addresses(client).any(|address| address.is_ipv4());
    let mut all = index.addresses(gateway);
    let first = all.clone().next();
    let address = all.find(|address| address.is_ipv4() == v4).or(first)?;
    Some(SocketAddr::new(address, numbers.port))
}
