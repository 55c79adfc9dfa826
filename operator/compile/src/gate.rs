//! The release gate: what would let pods go is told apart from what merely changes them, and too much at once waits
//! for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use postern_intent::{Namespace, NodeName, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::index::{Before, Index};
use crate::select::{Contenders, Former};
use crate::snapshot::{Definitions, HeldRecord, Lifecycle, Pod, ReleaseRecord};

/// What a release is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A policy: `namespace/name`.
    Policy(String),
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(NodeName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// Why something would loosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// A policy was deleted.
    PolicyDeleted,
    /// A policy of this name is there, but under another UID.
    PolicyReplaced,
    /// The policies' definition is being deleted, and the policy went with it.
    DefinitionTerminating,
    /// A policy no longer selects what it selected.
    SelectorChanged,
    /// A namespace lost its `deny` label.
    DenyLabelRemoved,
    /// A node has seen newer documents than the published ones.
    Restored,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A person's consent to one release. It is used once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// What it is about.
    pub subject: Subject,
    /// Why it would loosen.
    pub cause: Cause,
    /// [`Held::digest`] of what it loosens.
    pub digest: String,
}

/// Something that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// What it is about.
    pub subject: Subject,
    /// Why it would loosen.
    pub cause: Cause,
    /// SHA-256 in hex of what would loosen and since when it waits.
    pub digest: String,
    /// Since when.
    pub since: Timestamp,
    /// How many pods it would release now.
    pub pods: usize,
}

/// What a release hangs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ground {
    pub(crate) subject: Subject,
    pub(crate) cause: Cause,
    /// The policy's UID, the node's UID and serial, or nothing.
    pub(crate) identity: String,
}

/// What the gate decided.
#[derive(Default)]
pub(crate) struct Gate {
    /// Pods that may be released although they were enforced.
    pub(crate) released: BTreeSet<Uid>,
    /// Namespaces that deny.
    pub(crate) deny: BTreeSet<Namespace>,
    /// What waits.
    pub(crate) held: Vec<Held>,
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
        let mut gate = Self { used: still_listed(index), releases: recent(index), ..Self::default() };
        let candidates = releases(index, contenders, &lifted);
        let (approved, open): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(ground, _)| gate.consent(index, ground));
        let (always, counted): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(ground, _)| ground.cause.always_held() || waits(index, ground));
        let wanted: usize = counted.iter().map(|(_, pods)| pods.len()).sum();
        let lately: usize = gate.releases.iter().map(|record| record.pods).sum();
        let fits = lately + wanted <= limit(index);
        let (free, stopped) = if fits { (counted, Vec::new()) } else { (Vec::new(), counted) };
        if wanted > 0 && fits {
            gate.releases.push(ReleaseRecord { at: index.snapshot.now, pods: wanted });
        }
        gate.released.extend(approved.into_iter().chain(free).flat_map(|(_, pods)| pods));
        let stopped: BTreeMap<Ground, BTreeSet<Uid>> = always.into_iter().chain(stopped).collect();
        keep(contenders, &stopped);
        gate.deny = denials(index, &lifted, &stopped);
        gate.held = stopped.iter().map(|(ground, pods)| held(index, ground, pods.len())).collect();
        contenders.let_go();
        gate
    }

    /// Did a person consent to it? The approval is used up.
    pub(crate) fn consent(&mut self, index: &Index<'_>, ground: &Ground) -> bool {
        let digest = held(index, ground, 0).digest;
        let consented = !self.used.contains(&digest)
            && index.snapshot.approvals.iter().any(|approval| {
                approval.subject == ground.subject && approval.cause == ground.cause && approval.digest == digest
            });
        if consented {
            self.used.insert(digest);
        }
        consented
    }

    /// What waits, as it is remembered.
    pub(crate) fn remember(&self) -> Vec<HeldRecord> {
        self.held
            .iter()
            .map(|held| HeldRecord { subject: held.subject.clone(), cause: held.cause, since: held.since })
            .collect()
    }
}

impl Cause {
    /// A policy that went with its definition, or came back as another object, may have gone by accident.
    const fn always_held(self) -> bool {
        matches!(self, Self::PolicyReplaced | Self::DefinitionTerminating | Self::Restored)
    }
}

/// How something waits: with the time of its first appearance in the digest, so that an approval fits one time only.
pub(crate) fn held(index: &Index<'_>, ground: &Ground, pods: usize) -> Held {
    let known = &index.snapshot.memory.held;
    let since = known
        .iter()
        .find(|record| record.subject == ground.subject && record.cause == ground.cause)
        .map_or(index.snapshot.now, |record| record.since);
    let text = format!("{}\n{}\n{}\n{since}", ground.subject, ground.cause, ground.identity);
    let digest = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Held { subject: ground.subject.clone(), cause: ground.cause, digest, since, pods }
}

/// What once waited goes on waiting: time alone approves nothing.
fn waits(index: &Index<'_>, ground: &Ground) -> bool {
    let mut records = index.snapshot.memory.held.iter();
    records.any(|record| record.subject == ground.subject && record.cause == ground.cause)
}

fn limit(index: &Index<'_>) -> usize {
    let gate = &index.snapshot.settings.gate;
    gate.pods.max(index.published.enforced() * gate.percent / 100)
}

fn recent(index: &Index<'_>) -> Vec<ReleaseRecord> {
    let (now, window) = (index.snapshot.now, index.snapshot.settings.gate.window);
    let records = index.snapshot.memory.releases.iter();
    records.filter(|record| now.duration_since(record.at) < window).cloned().collect()
}

/// A used approval is remembered for as long as somebody still lists it.
fn still_listed(index: &Index<'_>) -> BTreeSet<String> {
    let listed: BTreeSet<&String> = index.snapshot.approvals.iter().map(|approval| &approval.digest).collect();
    index.snapshot.memory.used_approvals.iter().filter(|digest| listed.contains(digest)).cloned().collect()
}

fn keep_in_ending_namespaces(index: &Index<'_>, contenders: &mut Contenders<'_>) {
    for one in contenders.iter_mut() {
        let populated = index.pods.contains_key(&one.key.namespace);
        if populated && index.is_ending(&one.key.namespace) {
            one.former = Former::Kept;
        }
    }
}

/// Namespaces that denied and no longer ask for it.
fn lifted_denials<'a>(index: &Index<'a>) -> BTreeSet<&'a Namespace> {
    let denied = index.snapshot.memory.deny.iter();
    denied
        .filter(|name| {
            index.namespaces.get(name).is_some_and(|found| !found.denies() && found.lifecycle == Lifecycle::Live)
        })
        .collect()
}

/// Namespaces that deny: those that ask for it, those that are going, and those whose release is stopped.
fn denials(
    index: &Index<'_>,
    lifted: &BTreeSet<&Namespace>,
    stopped: &BTreeMap<Ground, BTreeSet<Uid>>,
) -> BTreeSet<Namespace> {
    let asked = index.namespaces.values().filter(|namespace| namespace.denies()).map(|namespace| &namespace.name);
    let going = index.snapshot.memory.deny.iter().filter(|name| {
        let populated = index.namespaces.contains_key(name) || index.pods.contains_key(name);
        populated && !lifted.contains(name)
    });
    let kept = stopped.keys().filter_map(|ground| match &ground.subject {
        Subject::Namespace(name) => Some(name),
        Subject::Policy(_) | Subject::Node(_) => None,
    });
    asked.chain(going).chain(kept).cloned().collect()
}

/// The pods that each ground would release.
fn releases(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    lifted: &BTreeSet<&Namespace>,
) -> BTreeMap<Ground, BTreeSet<Uid>> {
    let mut found: BTreeMap<Ground, BTreeSet<Uid>> = BTreeMap::new();
    let denying: BTreeSet<&Namespace> = denials_asked(index);
    for pod in index.enforceable_pods() {
        let before = index.published.before(&pod.uid);
        let list = contenders.of(&pod.namespace);
        let free = before.is_enforced()
            && !denying.contains(&pod.namespace)
            && !list.iter().any(|one| one.selects(&pod.labels, before));
        if free && let Some(ground) = ground_of(index, contenders, lifted, pod, before) {
            found.entry(ground).or_default().insert(pod.uid.clone());
        }
    }
    // A definition that goes takes every policy with it, whether or not a pod is there to feel it now.
    if index.snapshot.definitions == Definitions::Terminating {
        for one in contenders.iter().filter(|one| one.policy.is_none()) {
            found.entry(policy_ground(index, one)).or_default();
        }
    }
    found
}

fn denials_asked<'a>(index: &Index<'a>) -> BTreeSet<&'a Namespace> {
    let asked = index.namespaces.values().filter(|namespace| namespace.denies()).map(|namespace| &namespace.name);
    let remembered = index.snapshot.memory.deny.iter().filter(|name| index.is_ending(name));
    asked.chain(remembered).collect()
}

/// What would let the pod go: the policy that it was under, else one that selected it, else the lifted label.
fn ground_of(
    index: &Index<'_>,
    contenders: &Contenders<'_>,
    lifted: &BTreeSet<&Namespace>,
    pod: &Pod,
    before: Before<'_>,
) -> Option<Ground> {
    let candidates = || contenders.of(&pod.namespace).iter().filter(|one| one.narrowed());
    let own = candidates().find(|one| matches!(before, Before::Policy(scope) if scope.policy.uid == one.uid));
    let other = || candidates().find(|one| one.remembered.as_ref().is_some_and(|selector| selector.matches(&pod.labels)));
    if let Some(policy) = own.or_else(other) {
        return Some(policy_ground(index, policy));
    }
    lifted.get(&pod.namespace).map(|name| Ground {
        subject: Subject::Namespace((*name).clone()),
        cause: Cause::DenyLabelRemoved,
        identity: String::new(),
    })
}

fn policy_ground(index: &Index<'_>, one: &crate::select::Contender<'_>) -> Ground {
    let namesake = index.policies.get(&one.key.namespace).is_some_and(|found| found.contains_key(one.key.name.as_str()));
    let cause = match (one.policy.is_some(), index.snapshot.definitions, namesake) {
        (true, _, _) => Cause::SelectorChanged,
        (false, Definitions::Terminating, _) => Cause::DefinitionTerminating,
        (false, Definitions::Serving, true) => Cause::PolicyReplaced,
        (false, Definitions::Serving, false) => Cause::PolicyDeleted,
    };
    Ground { subject: Subject::Policy(one.key.to_string()), cause, identity: format!("{} {}", one.uid, one.generation) }
}

/// What is stopped goes on selecting what it selected.
fn keep(contenders: &mut Contenders<'_>, stopped: &BTreeMap<Ground, BTreeSet<Uid>>) {
    let held: BTreeSet<String> = stopped
        .keys()
        .filter(|ground| matches!(ground.subject, Subject::Policy(_)))
        .map(|ground| ground.identity.clone())
        .collect();
    for one in contenders.iter_mut() {
        if held.contains(&format!("{} {}", one.uid, one.generation)) {
            one.former = Former::Held;
        }
    }
}
