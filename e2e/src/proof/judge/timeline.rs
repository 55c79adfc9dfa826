//! What was in force on each node, and when: from published intents and the reports that named them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use postern_intent::body::{Class, Scope, TunnelRole, Way};
use postern_intent::{Body, KeySet};

use crate::lab::PodRecord;
use crate::lab::topology::Node;
use crate::proof::monitor::{Applied, Published};

/// Where a pod's packets may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Anywhere: it is not Postern's.
    Anything,
    /// By these nodes with these sources; none means nothing may leave.
    Only(BTreeSet<(String, IpAddr)>),
}

/// One intent in force on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// When the intent was published.
    pub published: Timestamp,
    /// When the node's report first showed that it is verified.
    pub verified: Timestamp,
    /// Whether the node was guarded at all, or released as a whole.
    pub node: Guard,
    /// The namespaces that it guards.
    pub guarded: BTreeSet<String>,
    /// Where the listed pods may leave, by UID. A pod of a guarded namespace that is not listed is held.
    pub pods: BTreeMap<String, Allowed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It is guarded.
    Held,
    /// It is not guarded, or no document has named it yet.
    Free,
}

/// The epochs of each node in the order of their verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// By node name.
    pub nodes: BTreeMap<String, Vec<Epoch>>,
}

/// How a packet of a moment is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It left by an exit that the intent in force names.
    Exit,
    /// It left somehow, as it may.
    Free,
    /// The pod's namespace was not guarded yet, and would be later.
    Before,
    /// It should not have left there.
    Leak,
}

impl Epoch {
    fn guards(&self, pod: &PodRecord) -> bool {
        self.guarded.contains(&pod.namespace)
    }

    /// Whether the pod is guarded from this epoch on. Only a signed word about the pod ends a guard: that it is not
    /// listed, in a namespace that is not guarded, is none, and neither is the release of its node, which ends with the
    /// next intent.
    fn guard_after(&self, pod: &PodRecord, before: Guard) -> Guard {
        match self.pods.get(&pod.uid) {
            _ if self.node == Guard::Free => before,
            Some(Allowed::Anything) => Guard::Free,
            Some(Allowed::Only(_)) => Guard::Held,
            None if self.guards(pod) => Guard::Held,
            None => before,
        }
    }

    /// How this epoch judges a packet of the pod, which was guarded before or not.
    fn says(&self, pod: &PodRecord, way: &(String, IpAddr), before: Guard) -> Judgement {
        if self.node == Guard::Free {
            return Judgement::Free;
        }
        match (self.guard_after(pod, before), self.pods.get(&pod.uid)) {
            (Guard::Free, _) => Judgement::Free,
            (Guard::Held, Some(Allowed::Only(ways))) if ways.contains(way) => Judgement::Exit,
            (Guard::Held, _) => Judgement::Leak,
        }
    }
}

impl Timeline {
    /// Judges one packet of a pod that left a node with a source at a time.
    ///
    /// Until the report of a new intent, both the old and the new one are right, since one cannot see from outside
    /// which of them the kernel had. An intent that no report ever names (for example a forged one) is never right.
    pub(crate) fn judge(
        &self,
        pod: &PodRecord,
        time: Timestamp,
        node: &str,
        source: IpAddr,
    ) -> Judgement {
        let epochs = self
            .nodes
            .get(&pod.node)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let now = epochs.partition_point(|epoch| epoch.verified <= time);
        let (past, future) = epochs.split_at(now);
        let way = (node.to_owned(), source);
        let after = |guard, epoch: &Epoch| epoch.guard_after(pod, guard);
        let (current, earlier) = match past.split_last() {
            Some((current, earlier)) => (Some(current), earlier),
            None => (None, past),
        };
        let before = earlier.iter().fold(Guard::Free, after);
        let guard = past.iter().fold(Guard::Free, after);
        let coming = future.iter().filter(|epoch| epoch.published <= time);
        let says: Vec<Judgement> = coming.map(|next| next.says(pod, &way, guard)).collect();
        let coming = [Judgement::Exit, Judgement::Free, Judgement::Leak]
            .into_iter()
            .find(|judgement| says.contains(judgement));
        match current {
            Some(current) if current.guards(pod) || guard == Guard::Held => {
                match (current.says(pod, &way, before), coming) {
                    (Judgement::Exit, _) | (_, Some(Judgement::Exit)) => Judgement::Exit,
                    (Judgement::Free, _) | (_, Some(Judgement::Free)) => Judgement::Free,
                    _ => Judgement::Leak,
                }
            }
            // Not guarded yet: what already left as it should later, or always could, is no news.
            _ if coming == Some(Judgement::Exit) => Judgement::Exit,
            _ => match future
                .iter()
                .find(|epoch| epoch.guards(pod))
                .map(|first| first.says(pod, &way, guard))
            {
                Some(Judgement::Leak) => Judgement::Before,
                _ => Judgement::Free,
            },
        }
    }

    /// Puts together what was published and what was reported.
    #[must_use]
    pub fn of(nodes: &[Node], keys: &KeySet, published: &[Published], applied: &[Applied]) -> Self {
        let mut bodies = applied_bodies(published, applied);
        bodies.extend(passed_over(nodes, keys, published, &bodies));
        let exits = Exits::of(nodes, &bodies);
        let mut timeline = Self::default();
        for (report, at, body) in &bodies {
            let pods = body
                .pods
                .iter()
                .map(|pod| (pod.uid.to_string(), exits.allowed(body, &pod.class)));
            let guarded = body.guarded_namespaces.iter().map(ToString::to_string);
            let epoch = Epoch {
                published: *at,
                verified: report.verified_at,
                node: if report.released {
                    Guard::Free
                } else {
                    Guard::Held
                },
                guarded: if report.released {
                    BTreeSet::new()
                } else {
                    guarded.collect()
                },
                pods: pods.collect(),
            };
            timeline
                .nodes
                .entry(report.node.clone())
                .or_default()
                .push(epoch);
        }
        for epochs in timeline.nodes.values_mut() {
            epochs.sort_by_key(|epoch| (epoch.verified, epoch.published));
        }
        timeline
    }
}

/// Each report with the body that it names and the time when that was published.
fn applied_bodies(published: &[Published], applied: &[Applied]) -> Vec<(Applied, Timestamp, Body)> {
    let found = applied.iter().filter_map(|report| {
        let same =
            |intent: &&Published| intent.node == report.node && intent.digest == report.digest;
        let intent = published.iter().find(same)?;
        Some((report.clone(), intent.at, intent.body()?))
    });
    found.collect()
}

/// Good intents that no report names, because the next one came within the second that reports are apart: they may have
/// been in force until that next one was verified. A document that an agent must refuse is none of them.
fn passed_over(
    nodes: &[Node],
    keys: &KeySet,
    published: &[Published],
    named: &[(Applied, Timestamp, Body)],
) -> Vec<(Applied, Timestamp, Body)> {
    let unnamed = published.iter().filter(|intent| {
        named
            .iter()
            .all(|(report, ..)| report.digest != intent.digest)
    });
    let found = unnamed.filter_map(|intent| {
        let node = nodes.iter().find(|node| node.name == intent.node)?;
        let body = intent.verified(node, keys)?;
        let own = named
            .iter()
            .filter(|(report, ..)| report.node == intent.node);
        let next = own
            .filter(|(_, at, later)| *at >= intent.at && later.serial > body.serial)
            .min_by_key(|(report, ..)| report.verified_at)?;
        let report = Applied {
            digest: intent.digest.clone(),
            released: false,
            ..next.0.clone()
        };
        Some((report, intent.at, body))
    });
    found.collect()
}

/// The source addresses of each exit at each gateway.
struct Exits<'a> {
    nodes: &'a [Node],
    egress: BTreeMap<(String, String), BTreeSet<IpAddr>>,
}

impl<'a> Exits<'a> {
    fn of(nodes: &'a [Node], bodies: &[(Applied, Timestamp, Body)]) -> Self {
        let mut egress: BTreeMap<(String, String), BTreeSet<IpAddr>> = BTreeMap::new();
        for (report, _, body) in bodies {
            for served in &body.nat {
                let addresses = egress
                    .entry((report.node.clone(), served.exit.to_string()))
                    .or_default();
                addresses.extend(served.egress.iter().copied());
                if served.egress.is_empty() {
                    addresses.extend(own(nodes, &report.node));
                }
            }
        }
        Self { nodes, egress }
    }

    fn allowed(&self, body: &Body, class: &Class) -> Allowed {
        match class {
            Class::Released => Allowed::Anything,
            Class::Blocked { .. } => Allowed::Only(BTreeSet::new()),
            Class::Policy { scope } => {
                let scope = body.firewall.iter().find(|other| other.id == *scope);
                Allowed::Only(
                    scope
                        .map(|scope| self.ways(body, scope))
                        .unwrap_or_default(),
                )
            }
        }
    }

    fn ways(&self, body: &Body, scope: &Scope) -> BTreeSet<(String, IpAddr)> {
        match &scope.way {
            Way::Blocked { .. } => BTreeSet::new(),
            Way::NodeUplink => self.by(
                body.node.name.as_str(),
                own(self.nodes, body.node.name.as_str()),
            ),
            Way::LocalExit | Way::Tunnel => {
                let Some(exit) = &scope.exit else {
                    return BTreeSet::new();
                };
                if scope.way == Way::LocalExit {
                    return self.exit(body.node.name.as_str(), exit.as_str());
                }
                let used = body
                    .tunnels
                    .iter()
                    .filter(|tunnel| tunnel.exit == *exit && tunnel.role == TunnelRole::Used);
                let gateways = used.flat_map(|tunnel| &tunnel.peers);
                gateways
                    .filter_map(|peer| peer.at.node())
                    .flat_map(|node| self.exit(node.as_str(), exit.as_str()))
                    .collect()
            }
        }
    }

    fn exit(&self, gateway: &str, exit: &str) -> BTreeSet<(String, IpAddr)> {
        let known = self.egress.get(&(gateway.to_owned(), exit.to_owned()));
        self.by(
            gateway,
            known.cloned().unwrap_or_else(|| own(self.nodes, gateway)),
        )
    }

    fn by(&self, node: &str, addresses: BTreeSet<IpAddr>) -> BTreeSet<(String, IpAddr)> {
        addresses
            .into_iter()
            .map(|address| (node.to_owned(), address))
            .collect()
    }
}

fn own(nodes: &[Node], name: &str) -> BTreeSet<IpAddr> {
    nodes
        .iter()
        .filter(|node| node.name == name)
        .flat_map(Node::addresses)
        .collect()
}

#[cfg(test)]
mod tests;
