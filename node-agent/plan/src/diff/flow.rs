//! Whose conntrack entries must go: an entry keeps the NAT and the direction that it was made with, whatever the rules
//! say now.

use postern_intent::body::{Scope, TermsEnforcement, TermsEstablishedFlows};
use postern_intent::{Body, ScopeId};

use crate::desired::{AddressClass, Classified, Desired, is_record, names};
use crate::flow::{CutExtent, Cuts};
use crate::ruleset::{FirewallRule, MatchField, Target};

/// Addresses whose class changed, those of scopes whose way out changed, those of scopes whose rules changed, where the scope
/// cuts established flows, and those of the users of a served exit that leaves with another source now.
///
/// Whom nobody selected loses nothing: a released pod that comes or goes owes no cut, because its flows kept nothing that
/// its successor at the address could misuse.
#[must_use]
pub fn cuts(before: &Desired, after: &Desired, body: Option<&Body>) -> Cuts {
    let mut cuts = Cuts::new();
    for address in before.classes.keys().chain(after.classes.keys()) {
        let (old, new) = (before.classes.get(address), after.classes.get(address));
        if let Some(extent) = extent(old, new) {
            cuts.insert(*address, extent);
        }
    }
    let changed = |chain: String| rules_of(before, &chain) != rules_of(after, &chain);
    // A policy that only observes cuts nothing: whatever its rules say, their flows leave by the same way.
    let keeps = |scope: &ScopeId| {
        body.and_then(|body| body.firewall.iter().find(|s| &s.id == scope))
            .is_some_and(|Scope { terms, .. }| {
                terms.established_flows == TermsEstablishedFlows::Keep
                    || terms.enforcement == TermsEnforcement::Observe
            })
    };
    for (address, classified) in &after.classes {
        if let AddressClass::Scope(scope) = &classified.class
            && (changed(names::way_chain(scope))
                || !keeps(scope)
                    && (changed(names::scope_chain(scope)) || changed(names::admin_chain(scope))))
        {
            cuts.entry(*address).or_insert(CutExtent::Outgoing);
        }
    }
    // An entry with the former source would be dropped for as long as its client goes on sending.
    for (exit, source) in &after.sources {
        let former = before.sources.get(exit);
        if former.is_some_and(|former| !source.leaves_as(former)) {
            for address in &source.users {
                cuts.entry(*address).or_insert(CutExtent::Outgoing);
            }
        }
    }
    cuts
}

/// The rules of a chain, without those that only remember what is let out or record it, and without limits: another number changes how much
/// goes out and not where.
fn rules_of<'a>(desired: &'a Desired, chain: &str) -> Option<Vec<&'a FirewallRule>> {
    let rules = desired.ruleset.inet.chains.get(chain)?.rules.iter();
    let is_other = |rule: &FirewallRule| {
        let mut fields = rule.matches.iter().flat_map(|one| &one.fields);
        matches!(rule.target, Target::KeepFlow(..))
            || is_record(rule)
            || fields.any(|field| matches!(field, MatchField::Over(_) | MatchField::Forgotten(_)))
    };
    let judging = rules.filter(|rule| !is_other(rule));
    Some(judging.collect())
}

fn extent(old: Option<&Classified>, new: Option<&Classified>) -> Option<CutExtent> {
    let guarded = |class: Option<&Classified>| {
        class.is_some_and(|classified| classified.class != AddressClass::Released)
    };
    match (old, new) {
        (Some(old), Some(new)) if old.uid == new.uid => {
            (old.class != new.class).then_some(CutExtent::Outgoing)
        }
        _ => (guarded(old) || guarded(new)).then_some(CutExtent::BothWays),
    }
}
