//! Scopes: the rules in force for each policy with a pod on the node.

use postern_intent::body::{Access, FailureMode, Scope, Way};

use super::node::ScopePlan;
use super::{Context, NodePlan};

/// The scopes of a node, by id.
pub(crate) fn lower(context: &Context<'_>, plan: &NodePlan<'_>) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = plan
        .scopes
        .values()
        .map(|scope| lower_scope(context, scope))
        .collect();
    scopes.sort_by(|a, b| a.id.cmp(&b.id));
    scopes
}

fn lower_scope(context: &Context<'_>, scope: &ScopePlan<'_>) -> Scope {
    let rules = scope.plan.rules;
    Scope {
        id: scope.id.clone(),
        policy: scope.plan.policy.clone(),
        way: scope.way.clone(),
        failure: FailureMode::Closed,
        rules: rules.rules.to_vec(),
        default_action: rules.default_action,
        replies: rules.replies,
        lan: both(rules.lan, exit_lan(context, &scope.way)),
        special_use_exceptions: rules.special_use_exceptions.to_vec(),
        established_flows: rules.established_flows,
    }
}

fn exit_lan(context: &Context<'_>, way: &Way) -> Access {
    match way {
        Way::Tunnel { exit } | Way::LocalExit { exit } => context
            .exits
            .active(exit)
            .map_or(Access::Deny, |active| active.offer.lan),
        Way::NodeUplink | Way::Blocked { .. } => Access::Allow,
    }
}

/// The LAN of an exit is reached only if policy and exit both allow it.
const fn both(policy: Access, exit: Access) -> Access {
    match (policy, exit) {
        (Access::Allow, Access::Allow) => Access::Allow,
        _ => Access::Deny,
    }
}
