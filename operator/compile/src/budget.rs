//! The size of an envelope. What would break the budget is blocked, largest scope first; the others stay as they are.

use std::collections::BTreeSet;

use postern_intent::body::{Access, BlockedReason, Scope, Way};
use postern_intent::envelope::pack;
use postern_intent::{Body, ScopeId};

/// Bytes of an envelope around its payload: media type, key id and signature, twice during a rotation.
const AROUND: usize = 1024;

/// Blocks the largest scopes until the body fits. Returns those that were blocked.
pub(crate) fn fit(body: &mut Body, budget: usize) -> BTreeSet<ScopeId> {
    let mut blocked = BTreeSet::new();
    while !fits(body, budget) {
        let largest = body
            .firewall
            .iter_mut()
            .filter(|scope| !blocked.contains(&scope.id))
            .max_by_key(|scope| (weight(scope), std::cmp::Reverse(scope.id.clone())));
        let Some(scope) = largest else { break };
        blocked.insert(scope.id.clone());
        empty(scope);
    }
    drop_unused(body);
    blocked
}

fn fits(body: &Body, budget: usize) -> bool {
    let Ok(json) = serde_json::to_vec(body) else {
        return false;
    };
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4 + AROUND;
    // Gzip adds at most a few bytes, so what fits unpacked need not be packed to know.
    encoded(json.len() + json.len() / 1000 + 64) <= budget
        || pack(&json).is_ok_and(|packed| encoded(packed.len()) <= budget)
}

fn weight(scope: &Scope) -> usize {
    serde_json::to_vec(&scope.rules).map_or(usize::MAX, |json| json.len())
}

fn empty(scope: &mut Scope) {
    scope.way = Way::Blocked {
        reason: BlockedReason::TooLarge,
    };
    scope.rules.clear();
    scope.special_use_exceptions.clear();
    scope.default_action = Access::Deny;
}

/// A tunnel that no scope uses any more goes with its route.
fn drop_unused(body: &mut Body) {
    let used: BTreeSet<_> = body
        .firewall
        .iter()
        .filter_map(|scope| match &scope.way {
            Way::Tunnel { exit } => Some(exit.clone()),
            _ => None,
        })
        .collect();
    body.routes.retain(|route| used.contains(&route.exit));
    let carried: BTreeSet<_> = body
        .routes
        .iter()
        .map(|route| route.interface.clone())
        .collect();
    body.tunnels
        .retain(|tunnel| tunnel.listen_port.is_some() || carried.contains(&tunnel.interface));
}
