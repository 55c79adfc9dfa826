//! The numbers of an exit, the same on every node: UDP port, network, device names.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use postern_crds::conditions::Reason;
use postern_intent::{ExitName, IfName};

use super::names;
use super::network::Networks;
use crate::index::Index;
use crate::resolve::ResolvedExits;

/// The numbers of one exit.
pub(crate) struct ExitNumbers {
    /// Where its gateway listens.
    pub(crate) port: u16,
    /// Which of the networks is its own.
    pub(crate) network: u32,
    /// What follows the prefix in the names of its devices.
    pub(crate) stem: String,
    /// The device on client nodes.
    pub(crate) used: IfName,
    /// The device on the gateway.
    pub(crate) served: IfName,
    /// The device of the session with a server outside, where the exit has one.
    pub(crate) external: IfName,
}

/// The numbers of every exit that works.
pub(crate) struct Numbers {
    by_exit: BTreeMap<ExitName, ExitNumbers>,
}

/// What published documents mention.
#[derive(Default)]
struct Mentioned {
    port: BTreeMap<ExitName, u16>,
    network: BTreeMap<ExitName, u32>,
    stem: BTreeMap<ExitName, String>,
}

impl Numbers {
    /// Gives every exit its numbers; one for which none is left is taken out of use.
    pub(crate) fn new(
        index: &Index<'_>,
        networks: &Networks,
        exits: &mut ResolvedExits<'_>,
    ) -> Self {
        let mut mentioned = mentioned(index);
        let mut by_exit = BTreeMap::new();
        let names: Vec<ExitName> = exits.all_active().map(|(name, _)| name.clone()).collect();
        for exit in names {
            match number(index, networks, &mut mentioned, &exit) {
                Ok(numbers) => {
                    by_exit.insert(exit, numbers);
                }
                Err(reason) => exits.exhaust(&exit, reason),
            }
        }
        Self { by_exit }
    }

    /// The numbers of an exit.
    pub(crate) fn get(&self, exit: &ExitName) -> Option<&ExitNumbers> {
        self.by_exit.get(exit)
    }
}

fn number(
    index: &Index<'_>,
    networks: &Networks,
    mentioned: &mut Mentioned,
    exit: &ExitName,
) -> Result<ExitNumbers, Reason> {
    let ports = index.snapshot.settings.tunnels.ports.clone();
    let port = keep_or_take(&mut mentioned.port, exit, ports).ok_or(Reason::NoPortLeft)?;
    let free = (0..networks.count()).filter(|network| is_free(index, &networks.of(*network)));
    let network =
        keep_or_take(&mut mentioned.network, exit, free).ok_or(Reason::NoTunnelAddressLeft)?;
    let stem = match mentioned.stem.get(exit) {
        Some(stem) => stem.clone(),
        None => names::stem(exit, &mentioned.stem.values().cloned().collect()),
    };
    let ends = names::used(&stem).zip(names::served(&stem));
    let devices = ends.zip(names::external(&stem));
    mentioned.stem.insert(exit.clone(), stem.clone());
    let ((used, served), external) = devices.ok_or(Reason::Invalid)?;
    Ok(ExitNumbers {
        port,
        network,
        stem,
        used,
        served,
        external,
    })
}

/// The number that is published for the exit, if it is still one of the candidates, else the first that nobody has.
fn keep_or_take<N: Copy + Ord>(
    mentioned: &mut BTreeMap<ExitName, N>,
    exit: &ExitName,
    candidates: impl Iterator<Item = N> + Clone,
) -> Option<N> {
    let own = mentioned.get(exit).copied();
    if let Some(own) = own.filter(|own| candidates.clone().any(|candidate| candidate == *own)) {
        return Some(own);
    }
    let taken: BTreeSet<N> = mentioned.values().copied().collect();
    let fresh = candidates
        .into_iter()
        .find(|candidate| !taken.contains(candidate))?;
    mentioned.insert(exit.clone(), fresh);
    Some(fresh)
}

/// A network that overlaps with something of the cluster's would capture it.
fn is_free(index: &Index<'_>, networks: &[IpNet]) -> bool {
    let settings = &index.snapshot.settings;
    let ranges = settings.pod_ranges.iter().chain(&settings.service_ranges);
    let ranges = ranges.chain(index.nodes.values().flat_map(|node| &node.pod_ranges));
    let overlaps = |net: &IpNet| {
        networks
            .iter()
            .any(|own| own.contains(net) || net.contains(own))
    };
    let nodes = index.nodes.values().copied();
    let mut addresses = nodes.flat_map(|node| index.addresses(node));
    !ranges
        .map(postern_intent::Prefix::net)
        .any(|net| overlaps(&net))
        && !addresses.any(|address| networks.iter().any(|own| own.contains(&address)))
}

fn mentioned(index: &Index<'_>) -> Mentioned {
    let mut found = Mentioned::default();
    let documents = index.published.documents.values();
    for one in documents.flat_map(|document| &document.allocations) {
        found.port.insert(one.exit.clone(), one.port);
        found.network.insert(one.exit.clone(), one.network);
        found.stem.insert(one.exit.clone(), one.stem.clone());
    }
    found
}
