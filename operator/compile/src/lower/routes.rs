//! Routes: the mark, table and device of each exit that the node uses.

use postern_intent::ExitName;
use postern_intent::body::{ExitGateway, ExitRoute};

use super::{LoweringContext, NodePlan, digest};
use crate::allocate::{GATEWAY_HOST, table};
use crate::resolve::ActiveExit;

/// The routes of a node, by exit.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> Vec<ExitRoute> {
    plan.used_exits()
        .into_iter()
        .filter_map(|exit| {
            let mark = plan.marks.get(exit)?;
            let interface = context.numbers.get(exit)?.used.clone();
            Some(ExitRoute {
                exit: exit.clone(),
                mark,
                table: table(mark)?,
                interface,
                digest: digest::none(),
                gateways: gateways(context, exit),
            })
        })
        .collect()
}

/// The active gateway: standbys have no addresses of their own in the tunnel yet.
fn gateways(context: &LoweringContext<'_>, exit: &ExitName) -> Vec<ExitGateway> {
    let gateway = |active: &ActiveExit<'_>| {
        let network = context.numbers.get(exit)?.network;
        Some(ExitGateway {
            node: active.gateway.clone(),
            addresses: context.networks.hosts(network, GATEWAY_HOST),
        })
    };
    context
        .exits
        .active(exit)
        .and_then(gateway)
        .into_iter()
        .collect()
}
