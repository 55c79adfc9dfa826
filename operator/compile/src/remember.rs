//! What the next compile has to know.

use std::collections::BTreeMap;

use postern_intent::{ExitName, Namespace, NodeName, Uid};

use crate::gate::ReleaseGate;
use crate::index::Index;
use crate::pins::PinnedKeys;
use crate::resolve::published_holders;
use crate::select::Contenders;
use crate::settled::SettledNode;
use crate::snapshot::{CompilerMemory, RememberedPolicy, SessionHolder};

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
    CompilerMemory {
        policies,
        deny: gate
            .deny
            .union(&gate.lifting)
            .filter(exists)
            .cloned()
            .collect(),
        pins: keys.remember(),
        holders: holders(index, settled),
        releases: gate.releases.clone(),
        held: gate.remember(),
    }
}

/// Which node has the session of each external exit: by the documents that are in force once this compile is published, else by
/// what is published now, else as it was remembered. An exit that is gone is remembered until its node's last document with it
/// has run out: it may come back under its name on another node.
fn holders(
    index: &Index<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
) -> BTreeMap<ExitName, SessionHolder> {
    let known = index.snapshot.memory.holders.iter();
    let known = known.filter(|(_, holder)| index.snapshot.now < holder.until);
    let mut holders: BTreeMap<ExitName, SessionHolder> = known
        .map(|(exit, holder)| (exit.clone(), holder.clone()))
        .collect();
    let published = published_holders(index.published.documents.values());
    let next = published_holders(settled.values().map(|settled| &settled.document));
    for (exit, holder) in published.chain(next) {
        holders.insert(exit.clone(), holder);
    }
    holders
}
