//! The size of an envelope. What would break the budget goes without: a scope is blocked, or, in the cluster document, the
//! addresses of Services are left out. What came or changed since the published body goes first, and of that the largest: a tenant's new policy takes
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
pub(crate) struct Shed {
    /// Scopes that are blocked for it.
    pub(crate) scopes: BTreeSet<ScopeId>,
    /// Whether the body is too large all the same.
    pub(crate) rest: Rest,
}

/// What is left once everything that can go is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rest {
    /// It fits.
    #[default]
    Fits,
    /// It does not.
    TooLarge,
}

/// Takes out parts until the body fits. O(scopes² · log scopes) where nothing fits, O(scopes) where all of it does.
pub(crate) fn fit(
    body: &mut NodeDocument,
    published: Option<&NodeDocument>,
    budget: usize,
) -> Shed {
    let known: BTreeMap<ScopeId, Scope> = published
        .iter()
        .flat_map(|body| &body.firewall)
        .map(|scope| (scope.id.clone(), scope.clone()))
        .collect();
    let is_new = |scope: &Scope| known.get(&scope.id) != Some(scope);
    let mut shed = Shed::default();
    while !fits(body, budget) {
        let scopes = body
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
                shed.rest = Rest::TooLarge;
                break;
            }
        }
    }
    if !shed.scopes.is_empty() {
        drop_unused(body);
        digest::stamp(body);
    }
    shed
}

/// What did not fit into the cluster document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShedServices {
    /// How many addresses of Services were left out: who comes in by one of them gets no answer.
    pub(crate) addresses: usize,
    /// Whether the document is too large all the same.
    pub(crate) rest: Rest,
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
        shed.rest = Rest::TooLarge;
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

fn empty(scope: &mut Scope) {
    scope.way = EgressPath::Blocked {
        reason: BlockedReason::TooLarge,
    };
    scope.terms.rules.clear();
    scope.terms.special_use_exceptions.clear();
    scope.terms.default_action = Access::Deny;
}

/// A tunnel that no scope uses any more goes with its route.
fn drop_unused(body: &mut NodeDocument) {
    let used: BTreeSet<_> = body
        .firewall
        .iter()
        .filter_map(|scope| scope.tunnel_exit().cloned())
        .collect();
    body.routes.retain(|route| used.contains(&route.exit));
    let carried: BTreeSet<_> = body
        .routes
        .iter()
        .map(|route| route.interface.clone())
        .collect();
    body.tunnels
        .retain(|tunnel| tunnel.role == TunnelRole::Served || carried.contains(&tunnel.interface));
    let mentioned: BTreeSet<_> = body.tunnels.iter().map(|tunnel| &tunnel.exit).collect();
    body.allocations.retain(|one| mentioned.contains(&one.exit));
}
