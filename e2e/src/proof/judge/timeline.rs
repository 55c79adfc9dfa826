//! What was in force on each node, and when: from published intents and the reports that named them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use postern_intent::Body;
use postern_intent::body::{Class, EgressPath, Scope};
use postern_intent::newtypes::ExitName;

use crate::lab::PodRecord;
use crate::lab::topology::Node;
use crate::proof::judge::bodies::{Bodies, History, InForce};
use crate::proof::judge::inside::TCP;
use crate::proof::monitor::Key;

/// A way out of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// By this node, with its own address.
    Uplink(String),
    /// By this gateway, with the address of the exit that it serves.
    Gateway {
        /// The gateway's node.
        node: String,
        exit: String,
    },
}

/// Where a pod's packets may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Anywhere: it is not Postern's.
    Anything,
    /// By these; none means nothing may leave.
    Only(BTreeSet<Exit>),
}

/// One intent in force on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// When the intent was published.
    pub published: Timestamp,
    /// From when on the node's reports show that it is in force and nothing else.
    pub verified: Timestamp,
    /// The end of its validity.
    pub expires: Timestamp,
    /// Whether the node was guarded at all, or released as a whole.
    pub node: Guard,
    /// The namespaces that it guards.
    pub guarded: BTreeSet<String>,
    /// Where the listed pods may leave, by UID. A pod of a guarded namespace that is not listed is held.
    pub pods: BTreeMap<String, Allowed>,
    /// The source addresses of the exits that the node serves; none: it masquerades.
    pub serves: BTreeMap<String, BTreeSet<IpAddr>>,
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
    /// The addresses of each node.
    pub own: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Reports that name what their node had to refuse.
    pub unfounded: Vec<String>,
    /// What clients connect to through their gateways, to know whether these still lead anywhere.
    pub probed: BTreeMap<SocketAddr, Timestamp>,
}

/// A packet as it is judged.
struct Packet<'a> {
    pod: &'a PodRecord,
    time: Timestamp,
    node: &'a str,
    source: IpAddr,
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
    /// It left by a node's own address, which is also the one of the exit that the node serves: the two cannot be told
    /// apart.
    Indistinct,
    /// It should not have left there.
    Leak,
}

/// How much longer than its validity an intent may be in force: the kernel counts whole milliseconds from another clock.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

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

    /// How this epoch judges a packet of its pod, which was guarded before or not.
    fn says(&self, timeline: &Timeline, packet: &Packet<'_>, before: Guard) -> Judgement {
        if self.node == Guard::Free {
            return Judgement::Free;
        }
        let allowed = self.pods.get(&packet.pod.uid);
        match (self.guard_after(packet.pod, before), allowed) {
            (Guard::Free, _) => Judgement::Free,
            (Guard::Held, Some(Allowed::Only(exits))) if packet.time <= self.expires + SLACK => {
                let found = exits.iter().find(|exit| timeline.is_by(exit, packet));
                found.map_or(Judgement::Leak, |exit| timeline.by(exit, packet))
            }
            (Guard::Held, _) => Judgement::Leak,
        }
    }
}

impl Timeline {
    /// The epochs of a node of which one was in force at a time: the last one that was verified, and those after it
    /// that were published.
    fn at(&self, node: &str, time: Timestamp) -> impl Iterator<Item = &Epoch> {
        let epochs = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let now = epochs.partition_point(|epoch| epoch.verified <= time);
        let coming = epochs[now..]
            .iter()
            .filter(move |epoch| epoch.published <= time);
        epochs[..now].last().into_iter().chain(coming)
    }

    /// Whether the packet left there.
    fn is_by(&self, exit: &Exit, packet: &Packet<'_>) -> bool {
        let own = |node: &str| {
            let own = self.own.get(node);
            own.is_some_and(|own| own.contains(&packet.source))
        };
        match exit {
            Exit::Uplink(node) => node == packet.node && own(node),
            Exit::Gateway { node, exit } => {
                let mut served = self.at(node, packet.time).peekable();
                let unknown = served.peek().is_none();
                let has = |epoch: &Epoch| match epoch.serves.get(exit) {
                    Some(egress) if !egress.is_empty() => egress.contains(&packet.source),
                    Some(_) => own(node),
                    None => false,
                };
                node == packet.node && (served.any(has) || (unknown && own(node)))
            }
        }
    }

    /// What it means that a packet left there: on its own gateway a pod that went past the guard has the exit's address
    /// too, where that is the node's.
    fn by(&self, exit: &Exit, packet: &Packet<'_>) -> Judgement {
        let own = self.own.get(packet.node);
        match exit {
            Exit::Gateway { node, .. }
                if *node == packet.pod.node
                    && own.is_some_and(|own| own.contains(&packet.source)) =>
            {
                Judgement::Indistinct
            }
            _ => Judgement::Exit,
        }
    }

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
        let packet = Packet {
            pod,
            time,
            node,
            source,
        };
        let says = |epoch: &Epoch, before| epoch.says(self, &packet, before);
        let after = |guard, epoch: &Epoch| epoch.guard_after(pod, guard);
        let (current, earlier) = match past.split_last() {
            Some((current, earlier)) => (Some(current), earlier),
            None => (None, past),
        };
        let before = earlier.iter().fold(Guard::Free, after);
        let guard = past.iter().fold(Guard::Free, after);
        let coming = future.iter().filter(|epoch| epoch.published <= time);
        let coming: Vec<Judgement> = coming.map(|next| says(next, guard)).collect();
        let coming = FROM_RIGHT
            .into_iter()
            .find(|judgement| coming.contains(judgement));
        match current {
            Some(current) if current.guards(pod) || guard == Guard::Held => {
                let now = says(current, before);
                let says = [Some(now), coming];
                let found = FROM_RIGHT
                    .into_iter()
                    .find(|judgement| says.contains(&Some(*judgement)));
                found.unwrap_or(Judgement::Leak)
            }
            // Not guarded yet: what already left as it should later, or always could, is no news.
            _ if coming == Some(Judgement::Exit) => Judgement::Exit,
            _ if coming == Some(Judgement::Indistinct) => Judgement::Before,
            _ => match future
                .iter()
                .find(|epoch| epoch.guards(pod))
                .map(|first| says(first, guard))
            {
                Some(Judgement::Leak) => Judgement::Before,
                _ => Judgement::Free,
            },
        }
    }

    /// Puts together what was published and what was reported.
    #[must_use]
    pub fn of(nodes: &[Node], history: &History<'_>) -> Self {
        let bodies = Bodies::of(nodes, history);
        let own = |node: &Node| (node.name.clone(), node.addresses().into());
        let mut timeline = Self {
            nodes: BTreeMap::new(),
            own: nodes.iter().map(own).collect(),
            unfounded: bodies.unfounded,
            probed: BTreeMap::new(),
        };
        let mut in_force = bodies.in_force;
        // What a report passed over ends when the next one was verified, and may have been published at the same time by the
        // file system's clock: the documents' own serials say which was the later one.
        in_force.sort_by_key(|intent| {
            let serials = (intent.body.serial, intent.body.cluster_serial);
            (intent.verified, serials, intent.published)
        });
        for intent in in_force {
            let epochs = timeline.nodes.entry(intent.node.clone()).or_default();
            epochs.push(epoch(&intent));
            let targets = intent
                .body
                .routes
                .iter()
                .flat_map(|route| &route.probe.targets);
            for target in targets {
                let first = timeline.probed.entry(*target).or_insert(intent.published);
                *first = intent.published.min(*first);
            }
        }
        timeline
    }

    /// Is it a connection that a client makes through this gateway, to a target of an exit's probe?
    pub(super) fn is_probe(&self, key: &Key, time: Timestamp) -> bool {
        let target = SocketAddr::new(key.destination, key.port);
        let own = self.own.get(&key.node);
        let own = own.is_some_and(|own| own.contains(&key.source));
        key.protocol == TCP
            && (own && self.served(&key.node, time).next().is_some()
                || self.has_served_with(&key.node, key.source, time))
            && self.probed.get(&target).is_some_and(|first| *first <= time)
    }

    /// Does it follow from an answer to an egress IP that the node had, which still came to it? A kernel that forwards sends it
    /// on to the node that has the address now, or tells the sender that nobody has it. No pod has sent it: the packets of
    /// pods go to addresses that are theirs alone.
    pub(super) fn is_stray_answer(&self, key: &Key, time: Timestamp) -> bool {
        let own = self.own.get(&key.node);
        let own = own.is_some_and(|own| own.contains(&key.source));
        let had_egress = self
            .served(&key.node, time)
            .any(|egress| !egress.is_empty());
        let is_icmp = [1, 58].contains(&key.protocol);
        self.has_served_with(&key.node, key.destination, time) || own && had_egress && is_icmp
    }

    /// The source addresses of the exits that the node serves or served until then.
    fn served(&self, node: &str, time: Timestamp) -> impl Iterator<Item = &BTreeSet<IpAddr>> {
        let epochs = self.nodes.get(node).into_iter().flatten();
        let epochs = epochs.filter(move |epoch| epoch.published <= time);
        epochs.flat_map(|epoch| epoch.serves.values())
    }

    fn has_served_with(&self, node: &str, address: IpAddr, time: Timestamp) -> bool {
        self.served(node, time)
            .any(|egress| egress.contains(&address))
    }
}

fn epoch(intent: &InForce) -> Epoch {
    let body = &intent.body;
    let pods = body
        .pods
        .iter()
        .map(|pod| (pod.uid.to_string(), allowed(body, &pod.class)));
    let guarded = body.guarded_namespaces.iter().map(ToString::to_string);
    let serves = body.nat.iter().map(|served| {
        (
            served.exit.to_string(),
            served.egress.iter().copied().collect(),
        )
    });
    Epoch {
        published: intent.published,
        verified: intent.verified,
        expires: body.not_after,
        node: match intent.released {
            true => Guard::Free,
            false => Guard::Held,
        },
        guarded: match intent.released {
            true => BTreeSet::new(),
            false => guarded.collect(),
        },
        pods: pods.collect(),
        serves: serves.collect(),
    }
}

fn allowed(body: &Body, class: &Class) -> Allowed {
    match class {
        Class::Released => Allowed::Anything,
        Class::Blocked { .. } => Allowed::Only(BTreeSet::new()),
        Class::Policy { scope } => {
            let scope = body.firewall.iter().find(|other| other.id == *scope);
            Allowed::Only(scope.map(|scope| exits(body, scope)).unwrap_or_default())
        }
    }
}

fn exits(body: &Body, scope: &Scope) -> BTreeSet<Exit> {
    let own = || body.node.name.to_string();
    let gateway = |node: String, exit: &ExitName| Exit::Gateway {
        node,
        exit: exit.to_string(),
    };
    match (&scope.way, &scope.exit) {
        (EgressPath::NodeUplink, _) => [Exit::Uplink(own())].into(),
        (EgressPath::LocalExit, Some(exit)) => [gateway(own(), exit)].into(),
        (EgressPath::Tunnel, Some(exit)) => {
            // The node chooses among its gateways by itself, and may be one of them.
            let routes = body.routes.iter().filter(|route| route.exit == *exit);
            let gateways = routes.flat_map(|route| &route.gateways);
            gateways
                .map(|one| gateway(one.node.to_string(), exit))
                .collect()
        }
        (EgressPath::Blocked { .. }, _) | (EgressPath::LocalExit | EgressPath::Tunnel, None) => {
            BTreeSet::new()
        }
    }
}

/// Of several judgements of one packet the first of these counts.
const FROM_RIGHT: [Judgement; 4] = [
    Judgement::Exit,
    Judgement::Free,
    Judgement::Indistinct,
    Judgement::Leak,
];

#[cfg(test)]
mod tests;
