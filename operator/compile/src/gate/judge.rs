//! The judgement: what may go now, what waits, and what therefore goes on selecting.

use std::collections::BTreeSet;

use postern_intent::{Namespace, NodeName, Uid};
use sha2::{Digest as _, Sha256};

use super::ground::{Releases, releases};
use super::restored::restored;
use super::words::{Ground, Held, Subject};
use crate::index::Index;
use crate::select::{Contenders, Former};
use crate::snapshot::{HeldRecord, Lifecycle, ReleaseRecord};

/// What the gate decided.
#[derive(Default)]
pub(crate) struct Gate {
    /// Pods that may be released although they were enforced.
    pub(crate) released: BTreeSet<Uid>,
    /// Namespaces that deny.
    pub(crate) deny: BTreeSet<Namespace>,
    /// What waits.
    pub(crate) held: Vec<Held>,
    /// What was held before and concerns nodes only that wait themselves.
    resting: Vec<HeldRecord>,
    /// Nodes that are ahead of what is published and that nobody has approved.
    pub(crate) restored: BTreeSet<NodeName>,
    /// What was released lately, this compile's releases too.
    pub(crate) releases: Vec<ReleaseRecord>,
    /// Digests of approvals that were used, now or before.
    pub(crate) used: BTreeSet<String>,
}

impl Gate {
    /// Decides what may go, and marks in `contenders` what is kept.
    pub(crate) fn judge(index: &Index<'_>, contenders: &mut Contenders<'_>) -> Self {
        keep_in_ending_namespaces(index, contenders);
        let lifted = lifted_denials(index);
        let mut gate = Self {
            used: still_listed(index),
            releases: recent(index),
            ..Self::default()
        };
        // Nodes first: what nothing is published for uses up neither an approval nor the window.
        let waiting = restored(index, &mut gate);
        let is_waiting = |node: &NodeName| waiting.contains_key(node);
        let candidates = releases(index, contenders, &lifted, |node| !is_waiting(node));
        let resting = resting(&candidates, || {
            releases(index, contenders, &lifted, is_waiting)
        });
        let (approved, open): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|(ground, _)| gate.consent(index, ground));
        let (always, counted): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(ground, _)| ground.cause.always_held() || waits(index, ground));
        let wanted: usize = counted.iter().map(|(_, pods)| pods.len()).sum();
        let lately: usize = gate.releases.iter().map(|record| record.pods).sum();
        let fits = lately + wanted <= limit(index);
        let (free, stopped) = if fits {
            (counted, Vec::new())
        } else {
            (Vec::new(), counted)
        };
        if wanted > 0 && fits {
            gate.releases.push(ReleaseRecord {
                at: index.snapshot.now,
                pods: wanted,
            });
        }
        gate.released
            .extend(approved.into_iter().chain(free).flat_map(|(_, pods)| pods));
        let stopped: Releases = always.into_iter().chain(stopped).collect();
        let kept: BTreeSet<&Ground> = stopped.keys().chain(&resting).collect();
        keep(contenders, &kept);
        gate.deny = denials(index, &lifted, &kept);
        let stopped = stopped
            .iter()
            .map(|(ground, pods)| held(index, ground, pods.len()));
        gate.held = stopped.chain(waiting.values().cloned()).collect();
        // With its time: an approval that was given for it stays good.
        gate.resting = records(index, &resting);
        gate.restored = waiting.into_keys().collect();
        contenders.let_go();
        gate
    }

    /// Did a person consent to it? The approval is used up.
    pub(super) fn consent(&mut self, index: &Index<'_>, ground: &Ground) -> bool {
        let digest = held(index, ground, 0).digest;
        let consented = !self.used.contains(&digest)
            && index.snapshot.approvals.iter().any(|approval| {
                approval.subject == ground.subject
                    && approval.cause == ground.cause
                    && approval.digest == digest
            });
        if consented {
            self.used.insert(digest);
        }
        consented
    }

    /// What waits, as it is remembered.
    pub(crate) fn remember(&self) -> Vec<HeldRecord> {
        let held = self.held.iter().map(|held| HeldRecord {
            subject: held.subject.clone(),
            cause: held.cause,
            since: held.since,
        });
        held.chain(self.resting.iter().cloned()).collect()
    }
}

/// How something waits: with the time of its first appearance in the digest, so that an approval fits one time only.
pub(super) fn held(index: &Index<'_>, ground: &Ground, pods: usize) -> Held {
    let known = &index.snapshot.memory.held;
    let since = known
        .iter()
        .find(|record| record.subject == ground.subject && record.cause == ground.cause)
        .map_or(index.snapshot.now, |record| record.since);
    let text = format!(
        "{}\n{}\n{}\n{since}",
        ground.subject, ground.cause, ground.identity
    );
    let digest = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Held {
        subject: ground.subject.clone(),
        cause: ground.cause,
        digest,
        since,
        pods,
    }
}

/// What once waited goes on waiting, also under another cause: time alone approves nothing, and neither does deleting
/// what took the place of the policy that went.
fn waits(index: &Index<'_>, ground: &Ground) -> bool {
    let mut records = index.snapshot.memory.held.iter();
    records.any(|record| {
        record.subject == ground.subject
            && (record.cause == ground.cause || matches!(ground.subject, Subject::Policy(_)))
    })
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

/// A used approval is remembered for as long as somebody still lists it.
fn still_listed(index: &Index<'_>) -> BTreeSet<String> {
    let listed: BTreeSet<&String> = index
        .snapshot
        .approvals
        .iter()
        .map(|approval| &approval.digest)
        .collect();
    index
        .snapshot
        .memory
        .used_approvals
        .iter()
        .filter(|digest| listed.contains(digest))
        .cloned()
        .collect()
}

fn keep_in_ending_namespaces(index: &Index<'_>, contenders: &mut Contenders<'_>) {
    for one in contenders.iter_mut() {
        let populated = index.pods.contains_key(&one.key.namespace);
        if populated && index.is_ending(&one.key.namespace) {
            one.former = Former::Kept;
        }
    }
}

/// Grounds that concern waiting nodes only. They are judged when those nodes are; until then they are kept, so that
/// nothing is forgotten that the judgement needs.
fn resting(judged: &Releases, of_waiting: impl FnOnce() -> Releases) -> BTreeSet<Ground> {
    let grounds = of_waiting().into_keys();
    grounds
        .filter(|ground| !judged.contains_key(ground))
        .collect()
}

fn records(index: &Index<'_>, resting: &BTreeSet<Ground>) -> Vec<HeldRecord> {
    let known = index.snapshot.memory.held.iter();
    let of = |record: &&HeldRecord| {
        let mut grounds = resting.iter();
        grounds.any(|ground| ground.subject == record.subject && ground.cause == record.cause)
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
    kept: &BTreeSet<&Ground>,
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
        Subject::Namespace(name) => Some(name),
        Subject::Policy(_) | Subject::Node(_) => None,
    });
    asked.chain(going).chain(kept).cloned().collect()
}

/// What is stopped goes on selecting what it selected.
fn keep(contenders: &mut Contenders<'_>, kept: &BTreeSet<&Ground>) {
    let held: BTreeSet<String> = kept
        .iter()
        .filter(|ground| matches!(ground.subject, Subject::Policy(_)))
        .map(|ground| ground.identity.clone())
        .collect();
    for one in contenders.iter_mut() {
        if held.contains(&format!("{} {}", one.uid, one.generation)) {
            one.former = Former::Held;
        }
    }
}
