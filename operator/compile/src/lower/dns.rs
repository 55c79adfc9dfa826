//! What becomes of the names that a scope's pods ask for.

use postern_intent::body::ScopeDns;

use super::NodePlan;

/// One entry for each scope of the node, by scope.
pub(crate) fn lower(plan: &NodePlan<'_>) -> Vec<ScopeDns> {
    let mut entries: Vec<ScopeDns> = plan
        .scopes
        .values()
        .map(|scope| ScopeDns {
            scope: scope.id.clone(),
            mode: scope.plan.rules.dns_mode,
            upstreams: scope.plan.rules.dns_upstreams.to_vec(),
        })
        .collect();
    entries.sort_by(|a, b| a.scope.cmp(&b.scope));
    entries
}
