//! What the node serves as a gateway.

use postern_intent::body::ServedExit;

use super::{LoweringContext, digest};
use crate::snapshot::SnapshotNode;

/// The exits of which the node is a gateway, by name.
pub(crate) fn lower(context: &LoweringContext<'_>, node: &SnapshotNode) -> Vec<ServedExit> {
    context
        .exits
        .all_active()
        .filter_map(|(exit, active)| {
            let numbers = context.numbers.get(exit)?;
            Some(ServedExit {
                exit: exit.clone(),
                interface: numbers.served.clone(),
                rank: active.rank(&node.name)?,
                uplink: match &active.offer.session {
                    Some(_) => Some(numbers.external.clone()),
                    None => active.offer.uplink.cloned(),
                },
                egress: active.offer.egress.to_vec(),
                egress_term: active.offer.term,
                // As they are written: the agent refuses the cluster's ranges by a set of its own. Taking them out here would
                // leave some 200 prefixes, which absorb a route that somebody names inside one of them.
                routes: active.offer.routes.to_vec(),
                lan: active.offer.lan,
                digest: digest::none(),
            })
        })
        .collect()
}
