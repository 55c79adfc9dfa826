//! Routes: the mark, table and device of each exit that the node uses.

use postern_intent::ExitName;
use postern_intent::body::{ExitGateway, ExitRoute};

use super::{LoweringContext, NodePlan, digest};
use crate::allocate::table;
use crate::resolve::ActiveExit;
use crate::snapshot::SnapshotNode;

/// The routes of a node, by exit.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> Vec<ExitRoute> {
    plan.used_exits()
        .into_iter()
        .filter_map(|exit| {
            let active = context.exits.active(exit)?;
            let mark = plan.marks.get(exit)?;
            let interface = context.numbers.get(exit)?.used.clone();
            Some(ExitRoute {
                exit: exit.clone(),
                mark,
                table: table(mark)?,
                interface,
                digest: digest::none(),
                gateways: gateways(context, plan.node, exit, active),
                selection: active.offer.selection.cloned(),
                probe: active.offer.probe.clone(),
                failback: active.offer.failback,
            })
        })
        .collect()
}

/// The gateways that the node can use, itself among them: pods of a gateway leave by its own uplink where it is its turn.
fn gateways(
    context: &LoweringContext<'_>,
    node: &SnapshotNode,
    exit: &ExitName,
    active: &ActiveExit<'_>,
) -> Vec<ExitGateway> {
    let usable = active
        .serving()
        .filter(|gateway| **gateway == node.name || context.keys.get(gateway).is_some());
    usable
        .filter_map(|gateway| {
            let network = context.numbers.get(exit)?.network;
            let host = context.hosts.gateway(exit, gateway)?;
            Some(ExitGateway {
                node: gateway.clone(),
                addresses: context.networks.hosts(network, host),
            })
        })
        .collect()
}
