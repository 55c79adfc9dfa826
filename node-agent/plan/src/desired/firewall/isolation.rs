//! On an isolated node nothing leaves but by its uplink, forwarded or the node's own, in both families. The chain is the last
//! one, so that no verdict of another chain of ours comes after it.

use crate::ruleset::{Atom, Element, FirewallRule, Hook, KeyType, MatchField, Set, Table, Target};

use super::context::{Chains, FirewallContext};
use super::names::ISOLATED;

/// The set of the interfaces that packets may leave by.
const UPLINKS: &str = "uplinks";

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    if context.inputs.facts.isolation.is_none() {
        return;
    }
    let drop = FirewallRule::to(Target::Drop).counted(ISOLATED);
    let rules = vec![drop.when(MatchField::Oif.outside(UPLINKS))];
    chains.filter("isolation", Hook::Postrouting, 120, rules);
}

/// Adds the set and the counter.
pub(super) fn complete(context: &FirewallContext<'_>, table: &mut Table) {
    let Some(guard) = &context.inputs.facts.isolation else {
        return;
    };
    let names = guard.passes.iter().cloned();
    let elements = names.map(|name| Element::key([Atom::Name(name)]));
    let set = Set::intervals(KeyType::IfName).with(elements);
    table.sets.insert(UPLINKS.to_owned(), set);
    table.counters.insert(ISOLATED);
}
