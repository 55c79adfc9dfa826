//! What the exits of a node were given, for the next compile.

use std::collections::BTreeSet;

use postern_intent::ExitName;
use postern_intent::body::{ExitAllocation, Tunnel, TunnelRole};

use super::{LoweringContext, NodePlan};

/// The allocations of the exits that the tunnels of a node belong to, by exit.
pub(crate) fn lower(
    context: &LoweringContext<'_>,
    plan: &NodePlan<'_>,
    tunnels: &[Tunnel],
) -> Vec<ExitAllocation> {
    let exits: BTreeSet<&ExitName> = tunnels.iter().map(|tunnel| &tunnel.exit).collect();
    let is_served = |exit: &ExitName| {
        let mut served = tunnels.iter().filter(|one| one.role == TunnelRole::Served);
        served.any(|tunnel| &tunnel.exit == exit)
    };
    exits
        .into_iter()
        .filter_map(|exit| {
            let numbers = context.numbers.get(exit)?;
            let gateways = context.exits.active(exit)?.serving();
            let peers = context.peers.get(exit).filter(|_| is_served(exit));
            let nodes = peers.into_iter().flatten().chain([&plan.node.name]);
            let hosts =
                nodes.filter_map(|node| Some((node.clone(), context.hosts.get(exit, node)?)));
            Some(ExitAllocation {
                exit: exit.clone(),
                port: numbers.port,
                network: numbers.network,
                stem: numbers.stem.clone(),
                hosts: hosts.collect(),
                gateways: gateways
                    .filter_map(|node| Some((node.clone(), context.hosts.gateway(exit, node)?)))
                    .collect(),
            })
        })
        .collect()
}
