//! The memory of a namespace's policies is bounded: a policy past the bound is refused, and takes nothing from other
//! namespaces.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::conditions::Reason;
use postern_intent::{ExitName, Namespace, Uid};

use crate::snapshot::{ParsedSelector, RememberedPolicy, Snapshot, SnapshotPolicy, SpecRefusal};

/// Bytes of JSON for the policies of one namespace: some 1500 policies of ordinary size. One page of the memory holds three
/// namespaces that use all of it.
pub const NAMESPACE_BUDGET: usize = 256 * 1024;

/// Bytes of a policy's JSON beside its name, exits and selectors: UID, keys and numbers.
const AROUND: usize = 160;

/// Policies that go past their namespace's budget, with the refusal that they get. The ones that ask for nothing new come
/// first, then updates, then new ones, each by name, so that a policy that was accepted keeps its place.
/// O(policies · log policies).
pub(crate) fn over(snapshot: &Snapshot) -> BTreeMap<Uid, SpecRefusal> {
    let mut by_namespace: BTreeMap<&Namespace, Vec<&SnapshotPolicy>> = BTreeMap::new();
    for policy in &snapshot.policies {
        let list = by_namespace.entry(&policy.key.namespace).or_default();
        list.push(policy);
    }
    let mut refused = BTreeMap::new();
    for (namespace, mut policies) in by_namespace {
        let known = snapshot.memory.policies.get(namespace);
        let remembered = |uid: &Uid| known.and_then(|known| known.get(uid));
        let is_same = |policy: &SnapshotPolicy| {
            let known = remembered(&policy.uid);
            let has_route = |known: &RememberedPolicy| {
                let terms = policy.terms.as_ref();
                terms.map_or(true, |terms| Some(&terms.route) == known.route().as_ref())
            };
            known.is_some_and(|known| {
                known.selector.as_ref() == Some(&policy.selector) && has_route(known)
            })
        };
        policies.sort_by_key(|policy| {
            let is_new = remembered(&policy.uid).is_none();
            (!is_same(policy), is_new, &policy.key.name)
        });
        let living: BTreeSet<&Uid> = policies.iter().map(|policy| &policy.uid).collect();
        let departed = known.into_iter().flatten();
        let departed = departed.filter(|(uid, _)| !living.contains(uid));
        let mut used: usize = departed.map(|(_, known)| remembered_size(known)).sum();
        for policy in policies {
            let before = remembered(&policy.uid);
            // While an update waits, the selector before it is remembered beside the new one.
            let kept = before.map_or(0, remembered_size);
            let asked = if is_same(policy) {
                0
            } else {
                asked_size(policy)
            };
            if used + kept + asked > NAMESPACE_BUDGET && asked > 0 {
                refused.insert(policy.uid.clone(), refusal(asked));
                used += kept;
            } else {
                used += kept + asked;
            }
        }
    }
    refused
}

fn refusal(asked: usize) -> SpecRefusal {
    SpecRefusal {
        reason: Reason::TooLarge,
        message: format!(
            "name, exits and podSelector need {asked} bytes of the {NAMESPACE_BUDGET} that the policies of a namespace may \
             have together; select by fewer or shorter labels, or delete policies of the namespace"
        ),
    }
}

fn remembered_size(known: &RememberedPolicy) -> usize {
    let selectors = [&known.selector, &known.accepted, &known.claimed];
    let selectors = selectors.into_iter().flatten().map(selector_size);
    around(&known.name, &known.exits) + selectors.sum::<usize>()
}

fn asked_size(policy: &SnapshotPolicy) -> usize {
    let exits = policy.terms.as_ref().map(|terms| terms.route.exits());
    around(&policy.key.name, exits.unwrap_or_default()) + selector_size(&policy.selector)
}

/// Bytes of everything but the selectors.
fn around(name: &str, exits: &[ExitName]) -> usize {
    let exits = exits.iter().map(|exit| exit.as_str().len() + 3);
    AROUND + name.len() + exits.sum::<usize>()
}

/// Bytes of a selector's JSON, a little more than they are.
fn selector_size(selector: &ParsedSelector) -> usize {
    let written = selector.written();
    let labels = written.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| key.len() + value.len() + 8);
    let expressions = written.match_expressions.iter().flatten();
    let expressions = expressions.map(|expression| {
        let values = expression.values.iter().flatten();
        expression.key.len() + 48 + values.map(|value| value.len() + 3).sum::<usize>()
    });
    48 + labels.chain(expressions).sum::<usize>()
}
