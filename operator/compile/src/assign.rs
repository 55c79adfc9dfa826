//! Every pod's class before the nodes' limits are looked at, and the counts of every policy.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::BlockedReason;
use postern_intent::{Address, NodeName, Uid};
use serde::Serialize;

use crate::first_names;
use crate::gate::ReleaseGate;
use crate::index::{Index, PublishedClass};
use crate::select::{Contender, Contenders};
use crate::snapshot::{Lifecycle, PodNetwork, SnapshotPod};

/// What was decided about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodDecision {
    /// Under the policy of this UID.
    Policy(Uid),
    /// Blocked, because only a refused update of the policy of this UID selects it.
    Refused(Uid),
    /// Blocked without a policy.
    Blocked(BlockedReason),
    Released,
}

/// A pod with its decision.
pub(crate) struct AssignedPod<'a> {
    pub(crate) pod: &'a SnapshotPod,
    pub(crate) decision: PodDecision,
    /// Its addresses, without those that another pod or a node has too.
    pub(crate) addresses: BTreeSet<Address>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Pods of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPodCounts {
    /// Pods that it selects and that no other policy of the namespace decides about.
    pub selected: u32,
    /// Pods that leave by the exit and by nothing else, as their nodes report.
    pub enforced: u32,
    /// Pods that leave by the exit and by nothing else, as their nodes report, of a policy that only observes.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed: u32,
    /// Pods that are blocked, as their nodes report.
    pub blocked: u32,
    /// Pods that it selects and another policy decides about.
    pub overridden: u32,
    /// Pods on the host network.
    pub unenforceable: u32,
    /// Pods that stay with the policy although their labels no longer say so.
    pub kept: u32,
}

/// All pods, by node.
pub(crate) struct Assignment<'a> {
    pub(crate) by_node: BTreeMap<&'a NodeName, Vec<AssignedPod<'a>>>,
    pub(crate) counts: BTreeMap<Uid, PolicyPodCounts>,
    /// Names of the policies that decide about pods which this one selects.
    overriders: PolicyNames,
    /// Names of the policies that select pods which this one decides about.
    overridden: PolicyNames,
}

/// Names of policies, by the UID of another one.
type PolicyNames = BTreeMap<Uid, BTreeSet<String>>;

impl<'a> Assignment<'a> {
    /// Decides about every pod.
    pub(crate) fn new(index: &Index<'a>, contenders: &Contenders<'_>, gate: &ReleaseGate) -> Self {
        let mut all = Self {
            by_node: BTreeMap::new(),
            counts: BTreeMap::new(),
            overriders: BTreeMap::new(),
            overridden: BTreeMap::new(),
        };
        for pod in index.pods.values().flatten().copied() {
            let before = index.published.before(&pod.uid);
            let list = contenders.of(&pod.namespace);
            let decision = match all.count(list, pod, before) {
                Some(winner) => under(contenders, pod, winner),
                None => all
                    .claim(list, pod)
                    .unwrap_or_else(|| all.without(contenders, gate, pod, before)),
            };
            if pod.attachment == PodNetwork::Own {
                let assigned = AssignedPod {
                    pod,
                    decision,
                    addresses: pod.addresses.clone(),
                };
                all.by_node.entry(&pod.node).or_default().push(assigned);
            }
        }
        let nodes = index.node_addresses();
        for pods in all.by_node.values_mut() {
            settle_addresses(pods, &nodes);
        }
        all
    }

    /// Names of the policies that decide about pods which this one selects; empty: there are none.
    pub(crate) fn overriders(&self, uid: &Uid) -> String {
        first_names(self.overriders.get(uid).into_iter().flatten())
    }

    /// Names of the policies that select pods which this one decides about; empty: there are none.
    pub(crate) fn overridden(&self, uid: &Uid) -> String {
        first_names(self.overridden.get(uid).into_iter().flatten())
    }

    fn note_losers(&mut self, winner: &Contender<'_>, losers: &[&Contender<'_>]) {
        for loser in losers {
            note(&mut self.overriders, loser, winner);
            note(&mut self.overridden, winner, loser);
        }
    }

    /// Finds the winner, and counts for it and for those that it overrides.
    fn count(
        &mut self,
        contenders: &[Contender<'_>],
        pod: &SnapshotPod,
        before: PublishedClass<'_>,
    ) -> Option<Uid> {
        let mut winner: Option<&Contender<'_>> = None;
        let mut losers = Vec::new();
        // A pod that left a policy by changing its own labels stays with it. Only a policy that somebody changed since
        // may take it, or one of higher rank: else a label would be a way to a laxer one, and quarantine by label would
        // quarantine nobody.
        let stays = contenders.iter().find(|one| one.stays(&pod.labels, before));
        let may_win = |one: &Contender<'_>| {
            one.is_changed()
                || stays.is_none_or(|stays| stays.uid == one.uid || one.rank > stays.rank)
        };
        for one in contenders
            .iter()
            .filter(|one| one.selects(&pod.labels, before))
        {
            if winner.is_some() || !may_win(one) {
                self.counts.entry(one.uid.clone()).or_default().overridden += 1;
                losers.push(one);
                continue;
            }
            let counts = self.count_selected(one, pod);
            counts.kept += u32::from(!one.asks_for(&pod.labels));
            winner = Some(one);
        }
        let winner = winner?;
        self.note_losers(winner, &losers);
        Some(winner.uid.clone())
    }

    /// Blocks a pod that no policy in force selects, but a refused update.
    fn claim(&mut self, contenders: &[Contender<'_>], pod: &SnapshotPod) -> Option<PodDecision> {
        let one = contenders.iter().find(|one| one.claims(&pod.labels))?;
        Some(self.refused(one, pod))
    }

    /// What becomes of a pod that no policy decides about.
    fn without(
        &mut self,
        contenders: &Contenders<'_>,
        gate: &ReleaseGate,
        pod: &SnapshotPod,
        before: PublishedClass<'_>,
    ) -> PodDecision {
        if gate.deny.contains(&pod.namespace) {
            return PodDecision::Blocked(BlockedReason::NamespaceDeny);
        }
        // It may be one of those that a policy selects of which nobody knows whom it selects; what was released is not.
        let list = contenders.of(&pod.namespace);
        let unknown = list.iter().find(|one| one.is_unknown());
        if let Some(one) = unknown.filter(|_| !matches!(before, PublishedClass::Released)) {
            return self.refused(one, pod);
        }
        let baseline = contenders.baseline(&pod.namespace);
        let is_its_own = baseline.is_some_and(|one| one.has(before));
        // An enforced pod is released through the gate only, for any reason why nothing selects it any more.
        if before.is_enforced() && !is_its_own && !gate.released.contains(&pod.uid) {
            return PodDecision::Blocked(BlockedReason::ReleaseHeld);
        }
        let Some(baseline) = baseline else {
            return PodDecision::Released;
        };
        self.count_selected(baseline, pod);
        PodDecision::Policy(baseline.uid.clone())
    }

    fn count_selected(&mut self, one: &Contender<'_>, pod: &SnapshotPod) -> &mut PolicyPodCounts {
        let counts = self.counts.entry(one.uid.clone()).or_default();
        match pod.attachment {
            PodNetwork::Host => counts.unenforceable += 1,
            PodNetwork::Own => counts.selected += 1,
        }
        counts
    }

    /// Counts a pod that a policy blocks without deciding about it, and returns the reason.
    fn refused(&mut self, one: &Contender<'_>, pod: &SnapshotPod) -> PodDecision {
        self.count_selected(one, pod);
        if one.policy.is_some() {
            PodDecision::Refused(one.uid.clone())
        } else {
            PodDecision::Blocked(BlockedReason::ReleaseHeld)
        }
    }
}

/// What becomes of a pod that a policy decides about.
fn under(contenders: &Contenders<'_>, pod: &SnapshotPod, winner: Uid) -> PodDecision {
    if contenders.is_shadowed(&pod.namespace, &winner) {
        PodDecision::Blocked(BlockedReason::ReleaseHeld)
    } else {
        PodDecision::Policy(winner)
    }
}

/// An address that two pods of a node have belongs to the one that is not being deleted, else to neither; an
/// address of a node is no pod's.
fn settle_addresses(pods: &mut [AssignedPod<'_>], nodes: &BTreeSet<Address>) {
    let mut owners: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (position, assigned) in pods.iter().enumerate() {
        for address in &assigned.addresses {
            owners.entry(*address).or_default().push(position);
        }
    }
    for (address, claims) in owners {
        let live: Vec<usize> = claims
            .iter()
            .copied()
            .filter(|position| {
                pods.get(*position)
                    .is_some_and(|one| one.pod.lifecycle == Lifecycle::Live)
            })
            .collect();
        let owner = match (claims.as_slice(), live.as_slice()) {
            _ if nodes.contains(&address) => None,
            ([only], _) | (_, [only]) => Some(*only),
            _ => None,
        };
        for position in claims
            .into_iter()
            .filter(|position| Some(*position) != owner)
        {
            if let Some(assigned) = pods.get_mut(position) {
                assigned.addresses.remove(&address);
            }
        }
    }
}

/// Asked for every pod and policy that loses: it clones nothing that is there already.
fn note(names: &mut PolicyNames, of: &Contender<'_>, other: &Contender<'_>) {
    let name = &other.key.name;
    match names.get_mut(&of.uid) {
        Some(names) if names.contains(name) => {}
        Some(names) => {
            names.insert(name.clone());
        }
        None => {
            names.insert(of.uid.clone(), BTreeSet::from([name.clone()]));
        }
    }
}
