//! What the node serves as an active gateway.

use postern_intent::body::ServedExit;

use super::{Context, Shared, ranges};
use crate::snapshot::Node;

/// The exits whose active gateway the node is, by name.
pub(crate) fn lower(context: &Context<'_>, node: &Node, shared: &Shared) -> Vec<ServedExit> {
    context
        .exits
        .all_active()
        .filter(|(_, active)| *active.gateway == node.name)
        .filter_map(|(exit, active)| {
            Some(ServedExit {
                exit: exit.clone(),
                interface: context.numbers.get(exit)?.served.clone(),
                uplink: active.offer.uplink.cloned(),
                egress: active.offer.egress.to_vec(),
                routes: ranges::without(active.offer.routes, &shared.never_offered),
                lan: active.offer.lan,
            })
        })
        .collect()
}
