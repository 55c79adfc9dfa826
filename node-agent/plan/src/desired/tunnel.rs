use std::collections::BTreeMap;

use postern_intent::body::{Body, Peer, Tunnel, TunnelRole};
use postern_intent::{IfName, Mark, NodeName, Prefix};

use super::{GatewayWarmth, PlanInputs};
use crate::host::{TunnelConfig, TunnelPeer};

/// The WireGuard configuration of each tunnel device.
#[must_use]
pub fn tunnel_configs(inputs: &PlanInputs<'_>) -> BTreeMap<IfName, TunnelConfig> {
    let (Some(body), Some(_)) = (inputs.body, inputs.facts.tunnel_backend) else {
        return BTreeMap::new();
    };
    body.tunnels
        .iter()
        .map(|tunnel| {
            let peers = tunnel.peers.iter();
            let mut peers: Vec<TunnelPeer> = match tunnel.role {
                TunnelRole::Used => peers.map(|peer| used_peer(body, tunnel, peer)).collect(),
                TunnelRole::Served => peers.map(whole_peer).collect(),
            };
            peers.sort();
            let config = TunnelConfig {
                interface: tunnel.interface.clone(),
                listen_port: tunnel.listen_port,
                fwmark: inputs.settings.masked(Mark::OWN).value,
                peers,
            };
            (tunnel.interface.clone(), config)
        })
        .collect()
}

fn whole_peer(peer: &Peer) -> TunnelPeer {
    let mut allowed_ips = peer.allowed_ips.clone();
    allowed_ips.sort();
    TunnelPeer {
        public_key: peer.public_key,
        endpoint: peer.endpoint,
        allowed_ips,
        keepalive_seconds: peer.keepalive_seconds,
    }
}

/// A gateway of an exit that the node uses. WireGuard gives an address to one peer at a time: the gateway in use has all
/// that the body allows, the others their own addresses, at which they are probed.
fn used_peer(body: &Body, tunnel: &Tunnel, peer: &Peer) -> TunnelPeer {
    let whole = whole_peer(peer);
    let place = peer.at.node().and_then(|node| place(body, tunnel, node));
    match place {
        // A peer that is no gateway of the route is the only one of its tunnel.
        None | Some((0, _)) => whole,
        Some((place, own)) => TunnelPeer {
            allowed_ips: own,
            keepalive_seconds: peer
                .keepalive_seconds
                .filter(|_| GatewayWarmth::at(place) == GatewayWarmth::Warm),
            ..whole
        },
    }
}

/// The place of a gateway in the order in which the node uses them, and its own addresses.
fn place(body: &Body, tunnel: &Tunnel, node: &NodeName) -> Option<(usize, Vec<Prefix>)> {
    let mut routes = body.routes.iter();
    let route = routes.find(|route| route.exit == tunnel.exit)?;
    let place = route.gateways.iter().position(|one| &one.node == node)?;
    let gateway = route.gateways.get(place)?;
    let mut own: Vec<Prefix> = gateway
        .addresses
        .iter()
        .copied()
        .map(Prefix::host)
        .collect();
    own.sort();
    Some((place, own))
}
