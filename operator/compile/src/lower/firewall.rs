//! Scopes: the rules in force for each policy with a pod on the node.

use postern_intent::body::{Access, EgressPath, Scope, Terms};

use super::node::ScopePlan;
use super::{LoweringContext, NodePlan, digest};
use crate::resolve::{by_setting, denied_upstreams};

/// The scopes of a node, by id.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = plan
        .scopes
        .values()
        .map(|scope| lower_scope(context, scope))
        .collect();
    scopes.sort_by(|a, b| a.id.cmp(&b.id));
    scopes
}

fn lower_scope(context: &LoweringContext<'_>, scope: &ScopePlan<'_>) -> Scope {
    let mut terms = scope.plan.terms.clone();
    terms.lan = both(terms.lan, exit_lan(context, scope));
    terms.admin = context.admin.of(&scope.plan.policy.namespace).to_vec();
    without_denied_upstreams(context, &mut terms);
    Scope {
        id: scope.id.clone(),
        digest: digest::none(),
        policy: scope.plan.policy.clone(),
        exit: scope.plan.way.exit().cloned(),
        way: scope.way,
        failure: scope.plan.failure,
        terms,
    }
}

/// The forwarder of the node asks the resolvers of a policy for its pods: what an administrator denies the pods, it asks for none of
/// them. Without any left, the resolvers of the setting are asked, as where `ceiling.upstreams` withholds them.
fn without_denied_upstreams(context: &LoweringContext<'_>, terms: &mut Terms) {
    let settings = &context.index.snapshot.settings;
    let denied = denied_upstreams(&settings.dns_upstreams, &terms.admin, terms);
    terms.dns.upstreams.retain(|one| !denied.contains(one));
    by_setting(terms, settings);
}

fn exit_lan(context: &LoweringContext<'_>, scope: &ScopePlan<'_>) -> Access {
    match scope.way {
        EgressPath::Tunnel | EgressPath::LocalExit => {
            let exit = scope.plan.way.exit();
            let active = exit.and_then(|exit| context.exits.active(exit));
            active.map_or(Access::Deny, |active| active.offer.lan)
        }
        EgressPath::NodeUplink | EgressPath::Blocked { .. } => Access::Allow,
    }
}

/// The LAN of an exit is reached only if policy and exit both allow it.
const fn both(policy: Access, exit: Access) -> Access {
    match (policy, exit) {
        (Access::Allow, Access::Allow) => Access::Allow,
        _ => Access::Deny,
    }
}
