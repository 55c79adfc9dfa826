//! What the next compile has to know.

use std::collections::BTreeMap;

use postern_intent::{Namespace, Uid};

use crate::gate::Gate;
use crate::index::Index;
use crate::pins::Keys;
use crate::select::{Contender, Contenders, Former};
use crate::snapshot::{Memory, RememberedPolicy};

/// Gathers it.
pub(crate) fn remember(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    gate: &Gate,
    keys: &Keys,
) -> Memory {
    let mut policies: BTreeMap<Namespace, BTreeMap<Uid, RememberedPolicy>> = BTreeMap::new();
    for one in contenders.iter() {
        policies
            .entry(one.key.namespace.clone())
            .or_default()
            .insert(one.uid.clone(), policy(one));
    }
    // A namespace that is gone takes its label with it.
    let exists =
        |name: &&Namespace| index.namespaces.contains_key(name) || index.pods.contains_key(name);
    Memory {
        policies,
        deny: gate.deny.iter().filter(exists).cloned().collect(),
        pins: keys.remember(),
        releases: gate.releases.clone(),
        held: gate.remember(),
        used_approvals: gate.used.clone(),
    }
}

/// What is kept goes on counting as it was; what is accepted counts as it is.
fn policy(one: &Contender<'_>) -> RememberedPolicy {
    let accepted = one
        .policy
        .and_then(|policy| policy.terms.as_ref().ok().map(|terms| (policy, terms)));
    let selector = match (one.policy, one.former) {
        (Some(policy), Former::Forgotten) => Some(policy.selector.clone()),
        (Some(policy), Former::Kept | Former::Held) => one
            .remembered
            .clone()
            .or_else(|| Some(policy.selector.clone())),
        (None, _) => one.remembered.clone(),
    };
    RememberedPolicy {
        name: one.key.name.clone(),
        generation: one.generation,
        priority: one.priority,
        selector,
        exits: accepted.map_or_else(|| one.exits.clone(), |(_, terms)| terms.exits.clone()),
    }
}
