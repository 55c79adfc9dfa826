//! The size of an envelope. What would break the budget is left out: a scope is blocked, or, in the cluster document, the
//! addresses of Services are left out. What came or changed since the published document is left out first, and of that the largest: a tenant's new policy takes
//! nothing from the policies of others that fitted before it came.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{Access, BlockedReason, EgressPath, Scope, TunnelRole};
use postern_intent::envelope::pack;
use postern_intent::{ClusterDocument, NodeDocument, ScopeId};
use serde::Serialize;

use crate::lower::digest;

/// Bytes of an envelope around its payload: media type, key id and signature, twice during a rotation.
const AROUND: usize = 1024;

/// What did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OmittedParts {
    /// Scopes that are blocked for it.
    pub(crate) scopes: BTreeSet<ScopeId>,
    /// Whether the document is too large all the same.
    pub(crate) rest: BudgetResult,
}

/// What is left once everything that can go is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum BudgetResult {
    #[default]
    Fits,
    TooLarge,
}

/// Takes out parts until the document fits. O(scopes² · log scopes) where nothing fits, O(scopes) where all of it does.
pub(crate) fn fit(
    document: &mut NodeDocument,
    published: Option<&NodeDocument>,
    budget: usize,
) -> OmittedParts {
    let known: BTreeMap<ScopeId, Scope> = published
        .iter()
        .flat_map(|document| &document.firewall)
        .map(|scope| (scope.id.clone(), scope.clone()))
        .collect();
    let is_new = |scope: &Scope| known.get(&scope.id) != Some(scope);
    let mut shed = OmittedParts::default();
    while !fits(document, budget) {
        let scopes = document
            .firewall
            .iter_mut()
            .filter(|scope| !shed.scopes.contains(&scope.id));
        let largest = scopes.max_by_key(|scope| {
            let id = std::cmp::Reverse(scope.id.clone());
            (is_new(scope), weight(&scope.terms.rules), id)
        });
        match largest {
            Some(scope) => {
                shed.scopes.insert(scope.id.clone());
                empty(scope);
            }
            None => {
                shed.rest = BudgetResult::TooLarge;
                break;
            }
        }
    }
    if !shed.scopes.is_empty() {
        drop_unused(document);
        digest::stamp(document);
    }
    shed
}

/// What did not fit into the cluster document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShedServices {
    /// How many addresses of Services were left out: who comes in by one of them gets no answer.
    pub(crate) addresses: usize,
    /// Whether the document is too large all the same.
    pub(crate) rest: BudgetResult,
}

/// Takes the addresses of Services out of a cluster document that does not fit.
pub(crate) fn fit_cluster(document: &mut ClusterDocument, budget: usize) -> ShedServices {
    let mut shed = ShedServices::default();
    if fits(document, budget) {
        return shed;
    }
    shed.addresses = document.cluster.service_addresses.len();
    document.cluster.service_addresses.clear();
    if !fits(document, budget) {
        shed.rest = BudgetResult::TooLarge;
    }
    shed
}

fn fits(document: &impl Serialize, budget: usize) -> bool {
    let Ok(json) = serde_json::to_vec(document) else {
        return false;
    };
    let encoded = |bytes: usize| bytes.div_ceil(3) * 4 + AROUND;
    // Gzip adds at most a few bytes, so what fits unpacked need not be packed to know.
    encoded(json.len() + json.len() / 1000 + 64) <= budget
        || pack(&json).is_ok_and(|packed| encoded(packed.len()) <= budget)
}

fn weight(part: &impl Serialize) -> usize {
    serde_json::to_vec(part).map_or(usize::MAX, |json| json.len())
}

/// Was the scope emptied, because its node's document was too large?
pub(crate) fn is_emptied(scope: &Scope) -> bool {
    let reason = BlockedReason::TooLarge;
    scope.way == EgressPath::Blocked { reason }
}

fn empty(scope: &mut Scope) {
    scope.way = EgressPath::Blocked {
        reason: BlockedReason::TooLarge,
    };
    scope.terms.admin.clear();
    scope.terms.rules.clear();
    scope.terms.special_use_exceptions.clear();
    scope.terms.default_action = Access::Deny;
}

/// A tunnel that no scope uses any more is removed with its route.
fn drop_unused(document: &mut NodeDocument) {
    let used: BTreeSet<_> = document
        .firewall
        .iter()
        .filter_map(|scope| scope.tunnel_exit().cloned())
        .collect();
    document.routes.retain(|route| used.contains(&route.exit));
    let carried: BTreeSet<_> = document
        .routes
        .iter()
        .map(|route| route.interface.clone())
        .collect();
    document
        .tunnels
        .retain(|tunnel| tunnel.role != TunnelRole::Used || carried.contains(&tunnel.interface));
    let mentioned: BTreeSet<_> = document.tunnels.iter().map(|tunnel| &tunnel.exit).collect();
    document
        .allocations
        .retain(|one| mentioned.contains(&one.exit));
}
