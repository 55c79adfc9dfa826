//! What the next compile has to know.

use std::collections::BTreeMap;

use postern_intent::{Namespace, NodeName, Uid};

use crate::gate::ReleaseGate;
use crate::index::Index;
use crate::pins::PinnedKeys;
use crate::resolve::remembered_holders;
use crate::select::Contenders;
use crate::settled::SettledNode;
use crate::snapshot::{CompilerMemory, RememberedPolicy};

pub(crate) fn remember(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    gate: &ReleaseGate,
    keys: &PinnedKeys,
    settled: &BTreeMap<&NodeName, SettledNode>,
) -> CompilerMemory {
    let mut policies: BTreeMap<Namespace, BTreeMap<Uid, RememberedPolicy>> = BTreeMap::new();
    for one in contenders.iter() {
        let known = index.snapshot.memory.policies.get(&one.key.namespace);
        let remembered = if one.is_over_budget() {
            // What is too large to be remembered leaves what is remembered as it was.
            known.and_then(|known| known.get(&one.uid)).cloned()
        } else {
            Some(one.remember())
        };
        if let Some(remembered) = remembered {
            policies
                .entry(one.key.namespace.clone())
                .or_default()
                .insert(one.uid.clone(), remembered);
        }
    }
    // What lets pods go counts as it was until that is published: a write that fails would leave pods that nobody can
    // say any more why they may go.
    for (namespace, known) in &index.snapshot.memory.policies {
        let parting = known.iter().filter(|(uid, _)| gate.parting.contains(*uid));
        let parting = parting.map(|(uid, known)| (uid.clone(), known.clone()));
        for (uid, known) in parting {
            policies
                .entry(namespace.clone())
                .or_default()
                .insert(uid, known);
        }
    }
    // A namespace that is gone takes its label with it.
    let exists =
        |name: &&Namespace| index.namespaces.contains_key(name) || index.pods.contains_key(name);
    let documents = settled.values().map(|settled| &settled.document);
    let (holders, leaving) = remembered_holders(index, documents);
    CompilerMemory {
        policies,
        deny: gate
            .deny
            .union(&gate.lifting)
            .filter(exists)
            .cloned()
            .collect(),
        pins: keys.remember(),
        holders,
        leaving,
        releases: gate.releases.clone(),
        held: gate.remember(),
    }
}
