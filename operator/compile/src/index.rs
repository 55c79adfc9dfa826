//! The snapshot, sorted and looked up by key. Everything behind it sees one order, whatever order the lists had.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{Class, Scope};
use postern_intent::{
    Address, BASELINE, ExitName, Namespace, NodeDocument, NodeName, ScopeId, Uid, body,
};

use crate::baseline::is_baseline;
use crate::screen::ScreenedSnapshot;
use crate::snapshot::{
    self, Lifecycle, PodNetwork, Snapshot, SnapshotExit, SnapshotNode, SnapshotPolicy,
    SnapshotReport,
};

/// Lookups of a snapshot.
pub(crate) struct Index<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) exits: BTreeMap<&'a ExitName, &'a SnapshotExit>,
    /// Policies by namespace and name.
    pub(crate) policies: BTreeMap<&'a Namespace, BTreeMap<&'a str, &'a SnapshotPolicy>>,
    /// The policies of the tier `Baseline`, one for each namespace that has rules of it.
    pub(crate) baselines: &'a [SnapshotPolicy],
    pub(crate) nodes: BTreeMap<&'a NodeName, &'a SnapshotNode>,
    pub(crate) namespaces: BTreeMap<&'a Namespace, &'a snapshot::SnapshotNamespace>,
    /// Pods by namespace, each list sorted by name and UID.
    pub(crate) pods: BTreeMap<&'a Namespace, Vec<&'a snapshot::SnapshotPod>>,
    /// Reports of nodes that exist, of the node's UID.
    pub(crate) reports: BTreeMap<&'a NodeName, &'a SnapshotReport>,
    pub(crate) published: PublishedIndex<'a>,
}

/// Lookups of the published documents.
pub(crate) struct PublishedIndex<'a> {
    /// The documents of all nodes, of those too that are no more.
    pub(crate) documents: &'a BTreeMap<NodeName, NodeDocument>,
    /// Pods by UID, with the node whose document lists them.
    pods: BTreeMap<&'a Uid, (&'a NodeName, &'a body::Pod)>,
    /// Scopes by node and id.
    scopes: BTreeMap<&'a NodeName, BTreeMap<&'a ScopeId, &'a Scope>>,
    /// The newest scope of each policy that was in force, by the policy's UID.
    newest: BTreeMap<&'a Uid, &'a Scope>,
}

/// What was published about a pod.
#[derive(Clone, Copy)]
pub(crate) enum PublishedClass<'a> {
    /// Nothing: the pod is new.
    Unknown,
    Released,
    /// It was blocked without a policy.
    Blocked,
    /// It was under this policy.
    Policy(&'a Scope),
}

impl PublishedClass<'_> {
    /// Was it under a policy, or blocked?
    pub(crate) const fn is_enforced(self) -> bool {
        matches!(self, Self::Blocked | Self::Policy(_))
    }
}

impl<'a> Index<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, screened: &'a ScreenedSnapshot<'_>) -> Self {
        let mut pods: BTreeMap<&Namespace, Vec<&snapshot::SnapshotPod>> = BTreeMap::new();
        for pod in &snapshot.pods {
            pods.entry(&pod.namespace).or_default().push(pod);
        }
        for list in pods.values_mut() {
            list.sort_by_key(|pod| (&pod.name, &pod.uid));
            list.dedup_by_key(|pod| &pod.uid);
        }
        let mut policies: BTreeMap<&Namespace, BTreeMap<&str, &SnapshotPolicy>> = BTreeMap::new();
        for policy in screened.policies.iter().map(AsRef::as_ref) {
            policies
                .entry(&policy.key.namespace)
                .or_default()
                .insert(&policy.key.name, policy);
        }
        let nodes: BTreeMap<_, _> = snapshot
            .nodes
            .iter()
            .map(|node| (&node.name, node))
            .collect();
        let reports = snapshot
            .reports
            .iter()
            .filter(|report| {
                nodes
                    .get(&report.node)
                    .is_some_and(|node| node.uid == report.uid)
            })
            .map(|report| (&report.node, report))
            .collect();
        Self {
            snapshot,
            exits: screened
                .exits
                .iter()
                .map(AsRef::as_ref)
                .map(|exit: &SnapshotExit| (&exit.name, exit))
                .collect(),
            policies,
            baselines: &screened.baselines,
            nodes,
            namespaces: snapshot
                .namespaces
                .iter()
                .map(|namespace| (&namespace.name, namespace))
                .collect(),
            pods,
            reports,
            published: PublishedIndex::new(&snapshot.previous),
        }
    }

    /// Is the namespace going, or gone while pods of it are still there? Then nothing in it loosens.
    pub(crate) fn is_ending(&self, namespace: &Namespace) -> bool {
        self.namespaces
            .get(namespace)
            .is_none_or(|found| found.lifecycle == Lifecycle::Deleting)
    }

    /// Pods that have an address of their own, so that rules can tell them from their node.
    pub(crate) fn enforceable_pods(&self) -> impl Iterator<Item = &'a snapshot::SnapshotPod> {
        self.pods
            .values()
            .flatten()
            .copied()
            .filter(|pod| pod.attachment == PodNetwork::Own)
    }

    /// The addresses of a node that count, the ones that other nodes reach first. Node objects are the kubelets': what
    /// one claims outside of the node ranges, where there are any, would become inside for every pod of the cluster.
    pub(crate) fn addresses(
        &self,
        node: &'a SnapshotNode,
    ) -> impl Iterator<Item = Address> + Clone {
        let addresses = node.addresses.iter().copied();
        addresses.filter(|address| self.is_nodes(address))
    }

    /// The addresses that a node claims and that do not count.
    pub(crate) fn strangers(&self, node: &'a SnapshotNode) -> impl Iterator<Item = Address> {
        let addresses = node.addresses.iter().copied();
        addresses.filter(|address| !self.is_nodes(address))
    }

    fn is_nodes(&self, address: &Address) -> bool {
        self.snapshot.settings.is_node_address(address)
    }

    /// All addresses of all nodes that count.
    pub(crate) fn node_addresses(&self) -> BTreeSet<Address> {
        let nodes = self.nodes.values().copied();
        nodes.flat_map(|node| self.addresses(node)).collect()
    }
}

impl<'a> PublishedIndex<'a> {
    fn new(documents: &'a BTreeMap<NodeName, NodeDocument>) -> Self {
        let mut pods = BTreeMap::new();
        let mut scopes: BTreeMap<&NodeName, BTreeMap<&ScopeId, &Scope>> = BTreeMap::new();
        let mut newest: BTreeMap<&Uid, (u64, &Scope)> = BTreeMap::new();
        for (node, document) in documents {
            pods.extend(document.pods.iter().map(|pod| (&pod.uid, (node, pod))));
            scopes.insert(
                node,
                document
                    .firewall
                    .iter()
                    .map(|scope| (&scope.id, scope))
                    .collect(),
            );
            for scope in document.firewall.iter().filter(|scope| !never_good(scope)) {
                // The compiler's own policy has no generation that only grows.
                let age = match is_baseline(&scope.policy) {
                    true => document.serial.0,
                    false => scope.policy.generation.unsigned_abs(),
                };
                let found = newest.entry(&scope.policy.uid).or_insert((age, scope));
                if found.0 < age {
                    *found = (age, scope);
                }
            }
        }
        Self {
            documents,
            pods,
            scopes,
            newest: newest
                .into_iter()
                .map(|(uid, (_, scope))| (uid, scope))
                .collect(),
        }
    }

    /// What was published about a pod.
    pub(crate) fn before(&self, uid: &Uid) -> PublishedClass<'a> {
        let Some((node, pod)) = self.pods.get(uid) else {
            return PublishedClass::Unknown;
        };
        match &pod.class {
            Class::Released => PublishedClass::Released,
            Class::Blocked { .. } => PublishedClass::Blocked,
            Class::Policy { scope } => {
                let scope = self.scopes.get(node).and_then(|scopes| scopes.get(scope));
                scope.map_or(PublishedClass::Blocked, |scope| {
                    PublishedClass::Policy(scope)
                })
            }
        }
    }

    /// The newest scope of a policy that was in force.
    pub(crate) fn last_good(&self, policy: &Uid) -> Option<&'a Scope> {
        self.newest.get(policy).copied()
    }

    /// Every policy that a published scope speaks of.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &'a body::PolicyRef> {
        self.scopes
            .values()
            .flat_map(BTreeMap::values)
            .map(|scope| &scope.policy)
    }

    /// How many pods are under an EgressPolicy or blocked, of those that are still there. Those of the tier `Baseline` are not among
    /// them: a share of all pods would let a tenant's policy go as a whole.
    pub(crate) fn enforced(&self) -> usize {
        let is_enforced = |class: &Class| match class {
            Class::Released => false,
            Class::Blocked { .. } => true,
            Class::Policy { scope } => scope.policy().1 != BASELINE,
        };
        let pods = self.pods.values();
        pods.filter(|(_, pod)| is_enforced(&pod.class)).count()
    }
}

/// A scope that was blocked because its policy was refused has no rules of its own.
fn never_good(scope: &Scope) -> bool {
    use postern_intent::body::{BlockedReason, EgressPath};
    matches!(
        scope.way,
        EgressPath::Blocked {
            reason: BlockedReason::PolicyRefused
                | BlockedReason::NotImplemented
                | BlockedReason::TooLarge
        }
    )
}
