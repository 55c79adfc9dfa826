//! Verdicts on every object of a snapshot.

use std::collections::BTreeMap;

use postern_intent::NodeName;

use super::cluster_policy::TierReadings;
use super::{Verdict, cluster_policy, exit, isolation, node, policy, policy_reading};
use crate::gate::ReleaseGate;
use crate::lower::LoweringContext;
use crate::settled::SettledNode;
use crate::shared::SettledCluster;

/// Verdicts on every exit, policy, policy of administrators, isolation and node, in this order and by name.
pub(crate) fn verdicts(
    context: &LoweringContext<'_>,
    gate: &ReleaseGate,
    settled: &BTreeMap<&NodeName, SettledNode>,
    cluster: &SettledCluster,
) -> Vec<Verdict> {
    let exits = context
        .index
        .exits
        .values()
        .map(|exit| exit::verdict(context, settled, exit));
    let policies = context.index.policies.values().flat_map(BTreeMap::values);
    let mut seen = policy_reading::look(context, settled);
    let tiers: Vec<Verdict> = {
        let readings = TierReadings::new(context, settled, &seen);
        let mut tiers: Vec<_> = context.index.snapshot.cluster_policies.iter().collect();
        tiers.sort_by_key(|one| &one.name);
        let tiers = tiers.into_iter();
        let tiers = tiers.map(|one| cluster_policy::verdict(context, &readings, one));
        tiers.collect()
    };
    let policies = policies.map(|policy| {
        let seen = seen.remove(&policy.uid).unwrap_or_default();
        policy::verdict(context, gate, settled, seen, policy)
    });
    let nodes = settled
        .iter()
        .map(|(node, of_node)| node::verdict(context, settled, cluster, (node, of_node)));
    let mut isolations: Vec<_> = context.index.snapshot.isolations.iter().collect();
    isolations.sort_by_key(|one| &one.name);
    let isolations = isolations
        .into_iter()
        .map(|one| isolation::verdict(context, settled, one));
    exits
        .chain(policies)
        .chain(tiers)
        .chain(isolations)
        .chain(nodes)
        .collect()
}
