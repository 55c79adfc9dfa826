//! The judgement: which releases are let through, which wait, and which policies therefore keep selecting.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{Namespace, NodeName, Uid};

use super::approval::{held, is_about, is_approved};
use super::ground::{Releases, policy_identity, releases};
use super::held::{ApprovalCause, ApprovalSubject, HeldUntil, PendingApproval, ReleaseGround};
use super::restored::restored;
use crate::index::Index;
use crate::select::{Contenders, FormerSelection};
use crate::snapshot::{HeldRecord, Lifecycle, ReleaseRecord};

/// What the gate decided.
#[derive(Default)]
pub(crate) struct ReleaseGate {
    /// Pods that may be released although they were enforced.
    pub(crate) released: BTreeSet<Uid>,
    pub(crate) deny: BTreeSet<Namespace>,
    pub(crate) held: Vec<PendingApproval>,
    /// What was held before and is not to be forgotten yet: it concerns nodes only that wait themselves, or a person
    /// consented to it and it is not published yet.
    records: Vec<HeldRecord>,
    /// Policies some of whose pods go with this compile. Their records stay until the documents that say so are published.
    pub(crate) parting: BTreeSet<Uid>,
    /// Namespaces that denied some of the pods that go with this compile, in the same way.
    pub(crate) lifting: BTreeSet<Namespace>,
    /// Nodes that are ahead of what is published and that nobody has approved.
    pub(crate) restored: BTreeSet<NodeName>,
    /// What was released lately, this compile's releases too.
    pub(crate) releases: Vec<ReleaseRecord>,
}

impl ReleaseGate {
    /// Decides what may go, and marks in `contenders` what is kept.
    pub(crate) fn judge(index: &Index<'_>, contenders: &mut Contenders<'_>) -> Self {
        keep_in_ending_namespaces(index, contenders);
        let lifted = lifted_denials(index);
        let mut gate = Self {
            releases: recent(index),
            ..Self::default()
        };
        // Nodes first: what nothing is published for uses up nothing of the window.
        let (waiting, consented) = restored(index);
        let is_waiting = |node: &NodeName| waiting.contains_key(node);
        let candidates = releases(index, contenders, &lifted, |node| !is_waiting(node));
        let resting = resting(&candidates, || {
            releases(index, contenders, &lifted, is_waiting)
        });
        let (approved, open): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|(ground, _)| is_approved(index, ground));
        let (always, counted): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(ground, _)| ground.cause.always_held() || waits(index, ground));
        let ReleaseGroups {
            free,
            later,
            too_large,
        } = gate.within_the_window(index, counted);
        // With its time: the approval stays good until what it lets go is published.
        let consented = consented.into_iter();
        let consented: BTreeSet<ReleaseGround> = consented.chain(grounds(&approved)).collect();
        gate.part(contenders, approved.into_iter().chain(free));
        let until = |until: HeldUntil| move |(ground, pods)| (ground, (pods, until));
        let stopped = always.into_iter().chain(too_large);
        let stopped = stopped.map(until(HeldUntil::Approved));
        let later = later.into_iter().map(until(HeldUntil::Window));
        let stopped: BTreeMap<ReleaseGround, (BTreeSet<Uid>, HeldUntil)> =
            stopped.chain(later).collect();
        let kept: BTreeSet<&ReleaseGround> = stopped.keys().chain(&resting).collect();
        keep(contenders, &kept);
        gate.deny = denials(index, &lifted, &kept);
        let stopped = stopped
            .iter()
            .map(|(ground, (pods, until))| PendingApproval {
                until: *until,
                ..held(index, ground, pods.len())
            });
        gate.held = stopped.chain(waiting.values().cloned()).collect();
        gate.records = records(index, &resting.union(&consented).collect());
        gate.restored = waiting.into_keys().collect();
        contenders.let_go();
        gate
    }

    /// What may go without anybody's consent. A ground goes with all that is new of it or not at all. The limit is each
    /// namespace's own, so that what one tenant lets go keeps no other waiting, under a cap for the cluster; what fits goes
    /// in the order in which it began to wait. A pod counts once in a window: what is let go again, because what said so
    /// was not published, goes on going although the limit shrinks with what others of it were published.
    fn within_the_window(&mut self, index: &Index<'_>, counted: ReleaseList) -> ReleaseGroups {
        let limit = limit(index);
        let mut window = Window::of(&self.releases);
        let mut judged = ReleaseGroups::default();
        let since = |ground: &ReleaseGround| {
            let mut records = index.snapshot.memory.held.iter();
            let known = records.find(|record| is_about(record, ground));
            known.map_or(index.snapshot.now, |record| record.since)
        };
        let mut counted = counted;
        counted.sort_by_cached_key(|(ground, _)| since(ground));
        for (ground, pods) in counted {
            let new: BTreeSet<Uid> = pods.difference(&window.pods).cloned().collect();
            let namespace = ground.subject.namespace();
            let of_namespace = window.count(namespace.as_ref());
            if new.is_empty() {
                judged.free.push((ground, pods));
            } else if new.len() > limit {
                judged.too_large.push((ground, pods));
            } else if of_namespace + new.len() > limit
                || window.pods.len() + new.len() > limit * NAMESPACES_AT_ONCE
            {
                judged.later.push((ground, pods));
            } else {
                window.add(namespace.as_ref(), &new);
                self.releases.push(ReleaseRecord {
                    at: index.snapshot.now,
                    namespace,
                    pods: new,
                });
                judged.free.push((ground, pods));
            }
        }
        judged
    }

    fn part(
        &mut self,
        contenders: &Contenders<'_>,
        going: impl Iterator<Item = (ReleaseGround, BTreeSet<Uid>)>,
    ) {
        let mut policies = BTreeSet::new();
        for (ground, pods) in going.filter(|(_, pods)| !pods.is_empty()) {
            self.released.extend(pods);
            match (ground.subject, ground.cause) {
                (ApprovalSubject::Policy(_), _) => {
                    policies.insert(ground.identity);
                }
                (ApprovalSubject::Namespace(name), ApprovalCause::DenyLabelRemoved) => {
                    self.lifting.insert(name);
                }
                // What was forgotten stays forgotten.
                (ApprovalSubject::Namespace(_) | ApprovalSubject::Node(_), _) => {}
            }
        }
        self.parting = named(contenders, &policies).collect();
    }

    /// What waits, as it is remembered.
    pub(crate) fn remember(&self) -> Vec<HeldRecord> {
        let held = self.held.iter().map(|held| HeldRecord {
            subject: held.subject.clone(),
            cause: held.cause,
            since: held.since,
            until: held.until,
        });
        held.chain(self.records.iter().cloned()).collect()
    }
}

type ReleaseList = Vec<(ReleaseGround, BTreeSet<Uid>)>;

/// How many namespaces may use up their limit in one window, which is the cap for the cluster.
const NAMESPACES_AT_ONCE: usize = 2;

/// What becomes of releases that are counted.
#[derive(Default)]
struct ReleaseGroups {
    free: ReleaseList,
    /// They fit by themselves, and wait until others have left the window.
    later: ReleaseList,
    /// They are more than the limit by themselves.
    too_large: ReleaseList,
}

/// Pods that were let go lately.
struct Window {
    pods: BTreeSet<Uid>,
    /// Of each namespace; none: of nobody knows which, which counts for each.
    counts: BTreeMap<Option<Namespace>, usize>,
}

impl Window {
    fn of(records: &[ReleaseRecord]) -> Self {
        let mut window = Self {
            pods: BTreeSet::new(),
            counts: BTreeMap::new(),
        };
        for record in records {
            window.add(record.namespace.as_ref(), &record.pods);
        }
        window
    }

    fn add(&mut self, namespace: Option<&Namespace>, pods: &BTreeSet<Uid>) {
        let count = self.counts.entry(namespace.cloned()).or_default();
        *count += pods.len();
        self.pods.extend(pods.iter().cloned());
    }

    fn count(&self, namespace: Option<&Namespace>) -> usize {
        let of = |name: Option<&Namespace>| self.counts.get(&name.cloned()).copied();
        let unknown = of(None).unwrap_or_default();
        unknown + namespace.map_or(0, |name| of(Some(name)).unwrap_or_default())
    }
}

fn grounds(listed: &ReleaseList) -> impl Iterator<Item = ReleaseGround> {
    listed.iter().map(|(ground, _)| ground.clone())
}

/// What once waited for a person still waits, also under another cause: time alone approves nothing, and neither does
/// deleting what took the place of the policy that went. What waits for its turn in the window is judged again.
fn waits(index: &Index<'_>, ground: &ReleaseGround) -> bool {
    let mut records = index.snapshot.memory.held.iter();
    records.any(|record| record.subject == ground.subject && record.until == HeldUntil::Approved)
}

fn limit(index: &Index<'_>) -> usize {
    let gate = &index.snapshot.settings.gate;
    gate.pods
        .max(index.published.enforced() * gate.percent / 100)
}

fn recent(index: &Index<'_>) -> Vec<ReleaseRecord> {
    let (now, window) = (index.snapshot.now, index.snapshot.settings.gate.window);
    let records = index.snapshot.memory.releases.iter();
    records
        .filter(|record| now.duration_since(record.at) < window)
        .cloned()
        .collect()
}

fn keep_in_ending_namespaces(index: &Index<'_>, contenders: &mut Contenders<'_>) {
    for one in contenders.iter_mut() {
        let populated = index.pods.contains_key(&one.key.namespace);
        if populated && index.is_ending(&one.key.namespace) {
            one.former = FormerSelection::Kept;
        }
    }
}

/// Grounds that concern waiting nodes only. They are judged when those nodes are; until then they are kept, so that
/// nothing is forgotten that the judgement needs.
fn resting(judged: &Releases, of_waiting: impl FnOnce() -> Releases) -> BTreeSet<ReleaseGround> {
    let grounds = of_waiting().into_keys();
    grounds
        .filter(|ground| !judged.contains_key(ground))
        .collect()
}

fn records(index: &Index<'_>, kept: &BTreeSet<&ReleaseGround>) -> Vec<HeldRecord> {
    let known = index.snapshot.memory.held.iter();
    let of = |record: &&HeldRecord| {
        let mut grounds = kept.iter();
        grounds.any(|ground| is_about(record, ground))
    };
    known.filter(of).cloned().collect()
}

/// Namespaces that denied and no longer ask for it.
fn lifted_denials<'a>(index: &Index<'a>) -> BTreeSet<&'a Namespace> {
    let denied = index.snapshot.memory.deny.iter();
    denied
        .filter(|name| {
            index
                .namespaces
                .get(name)
                .is_some_and(|found| !found.denies() && found.lifecycle == Lifecycle::Live)
        })
        .collect()
}

/// Namespaces that deny: those that ask for it, those that are going, and those whose release is stopped.
fn denials(
    index: &Index<'_>,
    lifted: &BTreeSet<&Namespace>,
    kept: &BTreeSet<&ReleaseGround>,
) -> BTreeSet<Namespace> {
    let asked = index
        .namespaces
        .values()
        .filter(|namespace| namespace.denies())
        .map(|namespace| &namespace.name);
    let going = index.snapshot.memory.deny.iter().filter(|name| {
        let populated = index.namespaces.contains_key(name) || index.pods.contains_key(name);
        populated && !lifted.contains(name)
    });
    let kept = kept.iter().filter_map(|ground| match &ground.subject {
        ApprovalSubject::Namespace(name) => Some(name),
        ApprovalSubject::Policy(_) | ApprovalSubject::Node(_) => None,
    });
    asked.chain(going).chain(kept).cloned().collect()
}

/// A policy whose release waits still selects what it selected.
fn keep(contenders: &mut Contenders<'_>, kept: &BTreeSet<&ReleaseGround>) {
    let held = kept
        .iter()
        .filter(|ground| matches!(ground.subject, ApprovalSubject::Policy(_)));
    let held: BTreeSet<String> = held.map(|ground| ground.identity.clone()).collect();
    let held: BTreeSet<Uid> = named(contenders, &held).collect();
    for one in contenders.iter_mut().filter(|one| held.contains(&one.uid)) {
        one.former = FormerSelection::Held;
    }
}

/// The policies of these identities.
fn named<'a>(
    contenders: &'a Contenders<'_>,
    identities: &'a BTreeSet<String>,
) -> impl Iterator<Item = Uid> + 'a {
    let these = contenders
        .iter()
        .filter(|one| identities.contains(&policy_identity(one)));
    these.map(|one| one.uid.clone())
}
