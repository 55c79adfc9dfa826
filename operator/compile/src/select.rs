//! Which policy a pod is under. Priority, then name; acceptance plays no part.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{ExitName, Namespace, Uid};

use crate::index::{Before, Index};
use crate::snapshot::{Labels, Policy, PolicyKey, RememberedPolicy, Selector};

/// A policy that may select pods: one that exists, or one that went and is remembered.
pub(crate) struct Contender<'a> {
    /// Where it is or was.
    pub(crate) key: PolicyKey,
    /// Its UID.
    pub(crate) uid: Uid,
    /// `metadata.generation`.
    pub(crate) generation: i64,
    /// Its priority.
    pub(crate) priority: i32,
    /// The policy, if it exists.
    pub(crate) policy: Option<&'a Policy>,
    /// How it selected last.
    pub(crate) remembered: Option<Selector>,
    /// Its exits when it was last accepted.
    pub(crate) exits: Vec<ExitName>,
    /// Whether what it selected last still counts.
    pub(crate) former: Former,
}

/// Does what a policy selected last still count?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Former {
    /// No: what it no longer selects goes.
    Forgotten,
    /// Yes: it is refused, or its namespace is going.
    Kept,
    /// Yes, but only for pods that nothing else selects: their release waits for an approval.
    Held,
}

impl Contender<'_> {
    /// Does it select the pod?
    pub(crate) fn selects(&self, labels: &Labels, before: Before<'_>) -> bool {
        let under = matches!(before, Before::Policy(scope) if scope.policy.uid == self.uid);
        if self
            .policy
            .is_some_and(|policy| policy.selector.matches(labels))
        {
            return true;
        }
        let formerly = self
            .remembered
            .as_ref()
            .map(|selector| selector.matches(labels));
        match self.former {
            Former::Kept | Former::Held => under || formerly == Some(true),
            // The policy asks as it asked before, so the pod's own labels are what changed: they never loosen. With
            // nothing remembered nobody can tell, and the pod stays too.
            Former::Forgotten => self.policy.is_some() && under && formerly != Some(true),
        }
    }

    /// Does it have the pod only because the pod changed its own labels?
    pub(crate) fn stays(&self, labels: &Labels, before: Before<'_>) -> bool {
        let by_label = self
            .policy
            .is_some_and(|policy| policy.selector.matches(labels));
        self.former == Former::Forgotten && !by_label && self.selects(labels, before)
    }

    /// Does it ask for something else than it asked for last?
    pub(crate) fn is_changed(&self) -> bool {
        match (self.policy, &self.remembered) {
            (Some(policy), Some(remembered)) => policy.selector != *remembered,
            _ => true,
        }
    }

    /// Does it no longer select what it selected before?
    pub(crate) fn narrowed(&self) -> bool {
        match (self.policy, &self.remembered) {
            (Some(policy), Some(remembered)) => policy.selector != *remembered,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

/// The contenders of every namespace, the first that selects wins.
pub(crate) struct Contenders<'a> {
    by_namespace: BTreeMap<Namespace, Vec<Contender<'a>>>,
}

impl<'a> Contenders<'a> {
    /// Gathers policies that exist and policies that are remembered.
    pub(crate) fn new(index: &Index<'a>) -> Self {
        let mut memory = index.snapshot.memory.policies.clone();
        recall_from_bodies(index, &mut memory);
        let mut by_namespace: BTreeMap<Namespace, Vec<Contender<'a>>> = BTreeMap::new();
        for policy in index.policies.values().flat_map(BTreeMap::values) {
            let remembered = memory
                .get_mut(&policy.key.namespace)
                .and_then(|known| known.remove(&policy.uid));
            let list = by_namespace
                .entry(policy.key.namespace.clone())
                .or_default();
            list.push(existing(policy, remembered));
        }
        for (namespace, gone) in memory {
            let list = by_namespace.entry(namespace.clone()).or_default();
            list.extend(
                gone.into_iter()
                    .map(|(uid, remembered)| departed(namespace.clone(), uid, remembered)),
            );
        }
        for list in by_namespace.values_mut() {
            list.sort_by(|a, b| {
                b.priority
                    .cmp(&a.priority)
                    .then_with(|| a.key.name.cmp(&b.key.name))
                    .then_with(|| a.uid.cmp(&b.uid))
            });
        }
        Self { by_namespace }
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

    /// All contenders.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contender<'a>> {
        self.by_namespace.values().flatten()
    }

    /// All contenders, to decide whether what they selected last still counts.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Contender<'a>> {
        self.by_namespace.values_mut().flatten()
    }

    /// Drops policies that went and whose release nothing holds. Those that are held come last: they are there for
    /// the pods that would be released, and for no others.
    pub(crate) fn let_go(&mut self) {
        for list in self.by_namespace.values_mut() {
            list.retain(|one| one.policy.is_some() || one.former != Former::Forgotten);
            list.sort_by_key(|one| one.policy.is_none() && one.former == Former::Held);
        }
        self.by_namespace.retain(|_, list| !list.is_empty());
    }

    /// Namespaces with a policy in them.
    pub(crate) fn namespaces(&self) -> BTreeSet<Namespace> {
        self.by_namespace.keys().cloned().collect()
    }
}

fn existing<'a>(policy: &'a Policy, remembered: Option<RememberedPolicy>) -> Contender<'a> {
    let (selector, exits) =
        remembered.map_or((None, Vec::new()), |known| (known.selector, known.exits));
    Contender {
        key: policy.key.clone(),
        uid: policy.uid.clone(),
        generation: policy.generation,
        priority: policy.priority,
        policy: Some(policy),
        remembered: selector,
        exits,
        // A refused update leaves what was selected under the last good rules.
        former: if policy.terms.is_err() {
            Former::Kept
        } else {
            Former::Forgotten
        },
    }
}

fn departed<'a>(namespace: Namespace, uid: Uid, remembered: RememberedPolicy) -> Contender<'a> {
    Contender {
        key: PolicyKey {
            namespace,
            name: remembered.name,
        },
        uid,
        generation: remembered.generation,
        priority: remembered.priority,
        policy: None,
        remembered: remembered.selector,
        exits: remembered.exits,
        former: Former::Forgotten,
    }
}

/// A policy that only a published body speaks of is remembered without its selector: the memory was lost.
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
                exits: Vec::new(),
            });
    }
}
