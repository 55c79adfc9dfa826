//! Host numbers of client nodes in an exit's networks.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use postern_intent::body::TunnelRole;
use postern_intent::{ExitName, NodeName};

use super::network::{GATEWAY_HOST, Networks};
use crate::index::Index;

/// Host numbers by exit and node.
pub(crate) struct Hosts {
    by_exit: BTreeMap<ExitName, BTreeMap<NodeName, u32>>,
}

impl Hosts {
    /// Gives every client of every exit a number. A client for which none is left gets none.
    pub(crate) fn new(
        index: &Index<'_>,
        networks: &Networks,
        clients: &BTreeMap<ExitName, BTreeSet<NodeName>>,
    ) -> Self {
        let published = published(index, networks);
        let mut by_exit = BTreeMap::new();
        for (exit, nodes) in clients {
            let known = published.get(exit).cloned().unwrap_or_default();
            let mut taken: BTreeSet<u32> = known.values().copied().collect();
            let mut numbers: BTreeMap<NodeName, u32> = nodes
                .iter()
                .filter_map(|node| known.get(node).map(|host| (node.clone(), *host)))
                .collect();
            let mut free = GATEWAY_HOST + 1..=networks.last_host();
            for node in nodes.iter().filter(|node| !known.contains_key(node)) {
                if let Some(host) = free.find(|host| !taken.contains(host)) {
                    taken.insert(host);
                    numbers.insert(node.clone(), host);
                }
            }
            by_exit.insert(exit.clone(), numbers);
        }
        Self { by_exit }
    }

    /// The host number of a client.
    pub(crate) fn get(&self, exit: &ExitName, node: &NodeName) -> Option<u32> {
        self.by_exit
            .get(exit)
            .and_then(|numbers| numbers.get(node))
            .copied()
    }
}

/// Every number that a client's own body or its gateway's body mentions.
fn published(
    index: &Index<'_>,
    networks: &Networks,
) -> BTreeMap<ExitName, BTreeMap<NodeName, u32>> {
    let mut found: BTreeMap<ExitName, BTreeMap<NodeName, u32>> = BTreeMap::new();
    for (node, body) in index.published.bodies {
        for tunnel in &body.tunnels {
            let numbers = found.entry(tunnel.exit.clone()).or_default();
            let located = |net: &IpNet| networks.locate(net.addr()).map(|(_, host)| host);
            match tunnel.role {
                TunnelRole::Used => {
                    numbers.extend(
                        tunnel
                            .addresses
                            .first()
                            .and_then(located)
                            .map(|host| (node.clone(), host)),
                    );
                }
                TunnelRole::Served => numbers.extend(tunnel.peers.iter().filter_map(|peer| {
                    let host = peer
                        .allowed_ips
                        .first()
                        .and_then(|prefix| located(&prefix.net()))?;
                    Some((peer.node.clone(), host))
                })),
            }
        }
    }
    found
}
