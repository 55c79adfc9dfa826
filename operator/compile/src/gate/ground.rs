//! Which pods a compile would let go, and on what ground.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{BASELINE, Namespace, NodeName, Uid};

use super::held::{ApprovalCause, ApprovalSubject, ReleaseGround};
use crate::index::{Index, PublishedClass};
use crate::select::{Contender, Contenders};
use crate::snapshot::{Definitions, SnapshotPod};

/// What would be released, by the ground for it.
pub(super) type Releases = BTreeMap<ReleaseGround, BTreeSet<Uid>>;

/// The pods that each ground would release, on the given nodes.
pub(super) fn releases(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    lifted: &BTreeSet<&Namespace>,
    on: impl Fn(&NodeName) -> bool,
) -> Releases {
    let mut found = Releases::new();
    let denying: BTreeSet<&Namespace> = denials_asked(index);
    for pod in index.enforceable_pods().filter(|pod| on(&pod.node)) {
        let before = index.published.before(&pod.uid);
        let list = contenders.of(&pod.namespace);
        // A pod that moves from another policy or a deny label to the tier counts as released.
        let baseline = contenders.baseline(&pod.namespace);
        let free = before.is_enforced()
            && !baseline.is_some_and(|one| one.has(before))
            && !denying.contains(&pod.namespace)
            && !list
                .iter()
                .any(|one| one.selects(&pod.labels, before) || one.claims(&pod.labels));
        if free {
            let ground = ground_of(index, contenders, lifted, pod, before);
            found.entry(ground).or_default().insert(pod.uid.clone());
        }
    }
    // A deleted definition takes every policy with it, whether or not a pod is there to feel it now.
    if index.snapshot.definitions == Definitions::Terminating {
        let gone = contenders.iter().filter(|one| one.policy.is_none());
        for one in gone.filter(|one| one.key.name != BASELINE) {
            found.entry(policy_ground(index, one)).or_default();
        }
    }
    found
}

fn denials_asked<'a>(index: &Index<'a>) -> BTreeSet<&'a Namespace> {
    let asked = index
        .namespaces
        .values()
        .filter(|namespace| namespace.denies())
        .map(|namespace| &namespace.name);
    let remembered = index
        .snapshot
        .memory
        .deny
        .iter()
        .filter(|name| index.is_ending(name));
    asked.chain(remembered).collect()
}

/// What would let the pod go: the policy that it was under, else one that selected it or may have, else the lifted
/// label, else the loss of what was remembered.
fn ground_of(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    lifted: &BTreeSet<&Namespace>,
    pod: &SnapshotPod,
    before: PublishedClass<'_>,
) -> ReleaseGround {
    let list = contenders.of(&pod.namespace);
    let is_under = |one: &&Contender<'_>| {
        one.narrowed()
            && matches!(before, PublishedClass::Policy(scope) if scope.policy.uid == one.uid)
    };
    let own = list.iter().find(is_under);
    let other = || list.iter().find(|one| one.had(&pod.labels));
    let lost = || list.iter().find(|one| one.is_lost());
    if let Some(policy) = own.or_else(other).or_else(lost) {
        return policy_ground(index, policy);
    }
    // A denial that is kept because it was forgotten is known again; what it waits for stays the same.
    let subject = ApprovalSubject::Namespace(pod.namespace.clone());
    let forgotten = waits_for(index, &subject, ApprovalCause::Forgotten);
    ReleaseGround {
        cause: if lifted.contains(&pod.namespace) && !forgotten {
            ApprovalCause::DenyLabelRemoved
        } else {
            ApprovalCause::Forgotten
        },
        subject,
        identity: String::new(),
    }
}

fn policy_ground(index: &Index<'_>, one: &Contender<'_>) -> ReleaseGround {
    let namesake = index
        .policies
        .get(&one.key.namespace)
        .is_some_and(|found| found.contains_key(one.key.name.as_str()));
    let subject = ApprovalSubject::Policy(one.key.to_string());
    // A definition that is applied again changes nothing about how the policy went: what a person approved meanwhile
    // still fits.
    let went_with_it = waits_for(index, &subject, ApprovalCause::DefinitionTerminating);
    let definitions = match one.key.name == BASELINE {
        true => index.snapshot.admin_definition,
        false => index.snapshot.definitions,
    };
    let cause = match (one.policy.is_some(), definitions, namesake) {
        (true, _, _) => ApprovalCause::SelectorChanged,
        (false, Definitions::Terminating, _) => ApprovalCause::DefinitionTerminating,
        (false, Definitions::Serving, _) if went_with_it => ApprovalCause::DefinitionTerminating,
        (false, Definitions::Serving, true) => ApprovalCause::PolicyReplaced,
        (false, Definitions::Serving, false) if one.is_lost() => ApprovalCause::Forgotten,
        (false, Definitions::Serving, false) => ApprovalCause::PolicyDeleted,
    };
    ReleaseGround {
        subject,
        cause,
        identity: policy_identity(one),
    }
}

/// Does the subject wait on this ground already?
fn waits_for(index: &Index<'_>, subject: &ApprovalSubject, cause: ApprovalCause) -> bool {
    let mut records = index.snapshot.memory.held.iter();
    records.any(|record| record.subject == *subject && record.cause == cause)
}

/// What distinguishes a policy's release from one of the same policy in another generation.
pub(super) fn policy_identity(one: &Contender<'_>) -> String {
    format!("{} {}", one.uid, one.generation)
}
