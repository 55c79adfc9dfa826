//! Whose conntrack entries must go: an entry keeps the NAT and the direction that it was made with, whatever the rules
//! say now.

use std::collections::BTreeSet;

use postern_intent::body::EstablishedFlows;
use postern_intent::{Address, Body};

use crate::desired::{Desired, Standing, names};

/// Addresses whose class changed, came or went, and those of scopes whose chains changed, where the scope cuts
/// established flows.
#[must_use]
pub fn cuts(before: &Desired, after: &Desired, body: Option<&Body>) -> BTreeSet<Address> {
    let mut cut = BTreeSet::new();
    for address in before.classes.keys().chain(after.classes.keys()) {
        let (old, new) = (before.classes.get(address), after.classes.get(address));
        if old.map(|c| (&c.uid, &c.standing)) != new.map(|c| (&c.uid, &c.standing)) {
            cut.insert(*address);
        }
    }
    let changed = |chain: &String| {
        before.ruleset.inet.chains.get(chain) != after.ruleset.inet.chains.get(chain)
    };
    let keeps = |scope: &postern_intent::ScopeId| {
        body.and_then(|body| body.firewall.iter().find(|s| &s.id == scope))
            .is_some_and(|scope| scope.terms.established_flows == EstablishedFlows::Keep)
    };
    for (address, classified) in &after.classes {
        if let Standing::Scope(scope) = &classified.standing
            && !keeps(scope)
            && (changed(&names::scope_chain(scope)) || changed(&names::way_chain(scope)))
        {
            cut.insert(*address);
        }
    }
    cut
}
