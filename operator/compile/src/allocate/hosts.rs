//! Host numbers of gateways and client nodes in an exit's networks. A node that is both has two: a device of its own for
//! each.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::ExitAllocation;
use postern_intent::{ExitName, NodeName};

use super::network::{FIRST_HOST, Networks};
use crate::index::Index;
use crate::resolve::ResolvedExits;

type NodeNumbers = BTreeMap<NodeName, u32>;

/// Host numbers by exit and node.
pub(crate) struct Hosts {
    by_exit: BTreeMap<ExitName, HostNumbers>,
}

#[derive(Default)]
struct HostNumbers {
    gateways: NodeNumbers,
    clients: NodeNumbers,
}

impl Hosts {
    /// Gives every gateway and every client of every exit a number. A node for which none is left gets none.
    pub(crate) fn new(
        index: &Index<'_>,
        networks: &Networks,
        exits: &ResolvedExits<'_>,
        clients: &BTreeMap<ExitName, BTreeSet<NodeName>>,
    ) -> Self {
        let mut published = published(index);
        let mut by_exit = BTreeMap::new();
        let none = BTreeSet::new();
        for (exit, active) in exits.all_active() {
            let mut known = published.remove(exit).unwrap_or_default();
            let all = [&mut known.gateways, &mut known.clients];
            let mut taken = BTreeSet::new();
            for numbers in all {
                // The setting may have become a smaller range since.
                numbers.retain(|_, host| *host <= networks.last_host());
                taken.extend(numbers.values().copied());
            }
            let mut free = (FIRST_HOST..=networks.last_host()).filter(|host| !taken.contains(host));
            let mut number = |nodes: &mut dyn Iterator<Item = &NodeName>, known: &NodeNumbers| {
                let numbered = nodes.filter_map(|node| {
                    let host = known.get(node).copied().or_else(|| free.next())?;
                    Some((node.clone(), host))
                });
                numbered.collect()
            };
            let numbers = HostNumbers {
                gateways: number(&mut active.serving(), &known.gateways),
                clients: number(
                    &mut clients.get(exit).unwrap_or(&none).iter(),
                    &known.clients,
                ),
            };
            by_exit.insert(exit.clone(), numbers);
        }
        Self { by_exit }
    }

    /// The host number of a client.
    pub(crate) fn get(&self, exit: &ExitName, node: &NodeName) -> Option<u32> {
        self.by_exit.get(exit)?.clients.get(node).copied()
    }

    /// The host number of a gateway.
    pub(crate) fn gateway(&self, exit: &ExitName, node: &NodeName) -> Option<u32> {
        self.by_exit.get(exit)?.gateways.get(node).copied()
    }
}

/// Every number that a published document mentions.
fn published(index: &Index<'_>) -> BTreeMap<ExitName, HostNumbers> {
    let mut found: BTreeMap<ExitName, HostNumbers> = BTreeMap::new();
    let documents = index.published.documents.values();
    for one in documents.flat_map(|document| &document.allocations) {
        let ExitAllocation {
            exit,
            hosts,
            gateways,
            ..
        } = one;
        let numbers = found.entry(exit.clone()).or_default();
        numbers.clients.extend(hosts.clone());
        numbers.gateways.extend(gateways.clone());
    }
    found
}
