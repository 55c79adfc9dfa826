use std::collections::BTreeMap;

use postern_intent::body::{Body, Peer, Tunnel, TunnelRole};
use postern_intent::{IfName, Mark, NodeName, Prefix, WgKey};

use super::{GatewayWarmth, PlanInputs};
use crate::host::{TunnelConfig, TunnelPeer};

/// The WireGuard configuration of each tunnel device.
#[must_use]
pub fn tunnel_configs(inputs: &PlanInputs<'_>) -> BTreeMap<IfName, TunnelConfig> {
    let (Some(body), Some(_)) = (inputs.body, inputs.facts.tunnel_backend) else {
        return BTreeMap::new();
    };
    // Without its credential the device of a session would get the node's key, by which no server knows it.
    let is_known = |tunnel: &&Tunnel| {
        tunnel.role != TunnelRole::External || inputs.facts.sessions.contains_key(&tunnel.interface)
    };
    body.tunnels
        .iter()
        .filter(is_known)
        .map(|tunnel| {
            let peers = tunnel.peers.iter();
            let mut peers: Vec<TunnelPeer> = match tunnel.role {
                TunnelRole::Used => peers.map(|peer| used_peer(body, tunnel, peer)).collect(),
                TunnelRole::Served => peers.map(whole_peer).collect(),
                TunnelRole::External => peers.map(|peer| server(inputs, tunnel, peer)).collect(),
            };
            peers.sort();
            let config = TunnelConfig {
                interface: tunnel.interface.clone(),
                listen_port: tunnel.listen_port,
                fwmark: inputs.settings.masked(Mark::OWN).value,
                own_key: own_key(body, tunnel),
                peers,
            };
            (tunnel.interface.clone(), config)
        })
        .collect()
}

fn own_key(body: &Body, tunnel: &Tunnel) -> Option<WgKey> {
    let mut sessions = body.external.iter();
    let session = sessions.find(|session| session.interface == tunnel.interface)?;
    Some(session.public_key)
}

/// The server of an external exit, at the address that its name has.
fn server(inputs: &PlanInputs<'_>, tunnel: &Tunnel, peer: &Peer) -> TunnelPeer {
    let known = inputs.facts.sessions.get(&tunnel.interface);
    TunnelPeer {
        endpoint: known.copied().flatten(),
        ..whole_peer(peer)
    }
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
