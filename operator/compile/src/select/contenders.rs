//! The policies of every namespace, in the order of their rank.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{Namespace, Uid};

use super::contender::{Contender, FormerSelection};
use crate::index::Index;
use crate::snapshot::{RememberedPolicy, RememberedUplink, SnapshotPolicy};

/// The contenders of every namespace, the first that selects wins.
pub(crate) struct Contenders<'a> {
    by_namespace: BTreeMap<Namespace, Vec<Contender<'a>>>,
    /// The policies of the tier `Baseline`: for pods that would be released otherwise.
    baselines: BTreeMap<Namespace, Contender<'a>>,
}

impl<'a> Contenders<'a> {
    /// Gathers policies that exist and policies that are remembered.
    pub(crate) fn new(index: &Index<'a>) -> Self {
        let mut memory = index.snapshot.memory.policies.clone();
        recall_from_bodies(index, &mut memory);
        let mut by_namespace: BTreeMap<Namespace, Vec<Contender<'a>>> = BTreeMap::new();
        let mut remembered = |policy: &SnapshotPolicy| {
            let known = memory.get_mut(&policy.key.namespace);
            known.and_then(|known| known.remove(&policy.uid))
        };
        let baselines = index.baselines.iter().map(|policy| {
            let contender = Contender::existing(index, policy, remembered(policy));
            (policy.key.namespace.clone(), contender)
        });
        let baselines = baselines.collect();
        for policy in index.policies.values().flat_map(BTreeMap::values) {
            let remembered = remembered(policy);
            let list = by_namespace
                .entry(policy.key.namespace.clone())
                .or_default();
            list.push(Contender::existing(index, policy, remembered));
        }
        for (namespace, gone) in memory {
            let list = by_namespace.entry(namespace.clone()).or_default();
            list.extend(
                gone.into_iter()
                    .map(|(uid, known)| Contender::departed(namespace.clone(), uid, known)),
            );
        }
        for list in by_namespace.values_mut() {
            list.sort_by(|a, b| {
                b.rank
                    .cmp(&a.rank)
                    .then_with(|| a.key.name.cmp(&b.key.name))
                    .then_with(|| a.uid.cmp(&b.uid))
            });
        }
        Self {
            by_namespace,
            baselines,
        }
    }

    /// The policy of the tier `Baseline` for a namespace.
    pub(crate) fn baseline(&self, namespace: &Namespace) -> Option<&Contender<'a>> {
        self.baselines.get(namespace)
    }

    /// The contenders of a namespace in the order of their rank.
    pub(crate) fn of(&self, namespace: &Namespace) -> &[Contender<'a>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Did the policy go while another one has its name? Two scopes cannot have one id, so the pods that only the
    /// one that went selects are blocked.
    pub(crate) fn is_shadowed(&self, namespace: &Namespace, uid: &Uid) -> bool {
        let list = self.of(namespace);
        list.iter()
            .filter(|one| one.uid == *uid && one.policy.is_none())
            .any(|gone| {
                list.iter().any(|other| {
                    other.key == gone.key
                        && other.uid != gone.uid
                        && (other.policy.is_some() || other.uid < gone.uid)
                })
            })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contender<'a>> {
        let lists = self.by_namespace.values().flatten();
        lists.chain(self.baselines.values())
    }

    /// All contenders, to decide whether what they selected last still counts.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Contender<'a>> {
        let lists = self.by_namespace.values_mut().flatten();
        lists.chain(self.baselines.values_mut())
    }

    /// Drops policies that went and whose release nothing holds. Those that are held come last: they are there for
    /// the pods that would be released, and for no others.
    pub(crate) fn let_go(&mut self) {
        for list in self.by_namespace.values_mut() {
            list.retain(|one| one.policy.is_some() || one.former != FormerSelection::Forgotten);
            list.sort_by_key(|one| one.policy.is_none() && one.former == FormerSelection::Held);
        }
        self.by_namespace.retain(|_, list| !list.is_empty());
    }

    /// Namespaces with a policy in them.
    pub(crate) fn namespaces(&self) -> BTreeSet<Namespace> {
        let lists = self.by_namespace.keys();
        lists.chain(self.baselines.keys()).cloned().collect()
    }
}

/// A policy that only a published document speaks of is remembered without its selector: the memory was lost.
fn recall_from_bodies(
    index: &Index<'_>,
    memory: &mut BTreeMap<Namespace, BTreeMap<Uid, RememberedPolicy>>,
) {
    for policy in index.published.policies() {
        let known = memory.entry(policy.namespace.clone()).or_default();
        known
            .entry(policy.uid.clone())
            .or_insert_with(|| RememberedPolicy {
                name: policy.name.clone(),
                generation: policy.generation,
                priority: 0,
                selector: None,
                accepted: None,
                claimed: None,
                exits: Vec::new(),
                uplink: RememberedUplink::Unused,
            });
    }
}
