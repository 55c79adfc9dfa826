//! Host numbers of client nodes in an exit's networks.

use std::collections::{BTreeMap, BTreeSet};

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
        let published = published(index);
        let mut by_exit = BTreeMap::new();
        for (exit, nodes) in clients {
            let mut known = published.get(exit).cloned().unwrap_or_default();
            // The setting may have become a smaller range since.
            known.retain(|_, host| *host <= networks.last_host());
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

/// Every number that a client's own document or its gateway's document mentions.
fn published(index: &Index<'_>) -> BTreeMap<ExitName, BTreeMap<NodeName, u32>> {
    let mut found: BTreeMap<ExitName, BTreeMap<NodeName, u32>> = BTreeMap::new();
    let documents = index.published.documents.values();
    for one in documents.flat_map(|document| &document.allocations) {
        let hosts = one.hosts.iter().map(|(node, host)| (node.clone(), *host));
        found.entry(one.exit.clone()).or_default().extend(hosts);
    }
    found
}
