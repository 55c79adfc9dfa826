//! A small cluster for tests: objects change step by step, and each compile sees what the one before published.

pub(crate) mod shorthand;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_compile::gate::{Approval, PendingApproval};
use postern_compile::publish::CredentialStore;
use postern_compile::snapshot::{
    CompilerMemory, CompilerSettings, Definitions, Freshness, Guard, PathFault, Possession,
    ReportedExit, ReportedKey, ReportedScope, SnapshotNamespace, SnapshotNode, SnapshotPod,
    SnapshotReport, SnapshotService,
};
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome, Snapshot, compile, intake};
use postern_crds::conditions::{Finding, Reason};
use postern_crds::node_report::AddressFamily;
use postern_crds::{ClusterEgressPolicy, EgressPolicy, ExitNode};
use postern_intent::body::{Class, EgressPath, FORMAT_VERSION};
use postern_intent::credential::SecretBytes;
use postern_intent::{
    ClusterDocument, ExitName, NodeDocument, NodeName, SectionDigest, Serial, Uid, WgKey,
};

/// What is in the cluster, and what was published and remembered.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) settings: CompilerSettings,
    pub(crate) exits: BTreeMap<String, ExitNode>,
    pub(crate) policies: BTreeMap<String, EgressPolicy>,
    pub(crate) nodes: BTreeMap<String, SnapshotNode>,
    pub(crate) cluster_policies: BTreeMap<String, ClusterEgressPolicy>,
    pub(crate) isolations: Vec<postern_compile::snapshot::SnapshotIsolation>,
    /// What nodes report of their uplinks.
    pub(crate) isolated: BTreeMap<String, postern_compile::snapshot::ReportedIsolation>,
    pub(crate) pods: BTreeMap<String, SnapshotPod>,
    pub(crate) namespaces: BTreeMap<String, SnapshotNamespace>,
    pub(crate) keys: BTreeMap<String, WgKey>,
    /// Nodes whose reports do not prove their keys.
    pub(crate) unproved: BTreeMap<String, Possession>,
    pub(crate) ledgers: BTreeMap<String, Serial>,
    pub(crate) previous: BTreeMap<NodeName, NodeDocument>,
    pub(crate) previous_cluster: Option<ClusterDocument>,
    pub(crate) cluster_is_own: bool,
    /// The newest cluster document that each agent has joined with its own.
    pub(crate) cluster_ledgers: BTreeMap<String, Serial>,
    pub(crate) memory: CompilerMemory,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) services: Vec<SnapshotService>,
    /// Credentials of external exits, by Secret.
    pub(crate) credentials: CredentialStore,
    /// Keys for credentials that nodes report, where they are not their first ones; none: they report none.
    pub(crate) credentials_keys: BTreeMap<String, Option<WgKey>>,
    pub(crate) definitions: Definitions,
    pub(crate) admin_definition: Definitions,
    /// Nodes whose agents are away, and when each last read its kernel back.
    pub(crate) away: BTreeMap<String, Timestamp>,
    /// Nodes whose guard is not in place.
    pub(crate) unsealed: BTreeSet<String>,
    /// Nodes whose published intent cannot be read.
    pub(crate) unreadable: BTreeSet<NodeName>,
    /// Nodes that have not spoken yet.
    pub(crate) awaited: BTreeSet<NodeName>,
    /// What nodes say of the scopes of policies, by the policy's UID.
    pub(crate) scopes: BTreeMap<String, BTreeMap<Uid, ReportedScope>>,
    /// What each agent has applied.
    pub(crate) applied: BTreeMap<String, NodeDocument>,
    /// Where the ways of families end, as nodes probe them.
    pub(crate) faults: BTreeMap<String, BTreeMap<AddressFamily, PathFault>>,
    /// MTUs that nodes read back, where they are not what their documents ask for.
    pub(crate) mtus: BTreeMap<String, u32>,
    /// Nodes that bind no sources, and why.
    pub(crate) unbound: BTreeMap<String, Reason>,
    /// What nodes say of themselves.
    pub(crate) conditions: BTreeMap<String, Vec<Finding>>,
    /// What the agents of nodes read, where that is not this version's format.
    pub(crate) formats: BTreeMap<String, BTreeSet<u32>>,
    made: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let settings = CompilerSettings {
            service_ranges: vec!["10.96.0.0/16".parse().expect("a prefix")],
            ..CompilerSettings::default()
        };
        Self {
            now: "2026-11-23T04:00:00Z".parse().expect("a time"),
            settings,
            exits: BTreeMap::new(),
            policies: BTreeMap::new(),
            nodes: BTreeMap::new(),
            cluster_policies: BTreeMap::new(),
            isolations: Vec::new(),
            isolated: BTreeMap::new(),
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            keys: BTreeMap::new(),
            unproved: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            previous: BTreeMap::new(),
            previous_cluster: None,
            cluster_is_own: false,
            cluster_ledgers: BTreeMap::new(),
            memory: CompilerMemory::default(),
            approvals: Vec::new(),
            services: Vec::new(),
            credentials: CredentialStore::default(),
            credentials_keys: BTreeMap::new(),
            definitions: Definitions::Serving,
            admin_definition: Definitions::Serving,
            away: BTreeMap::new(),
            unsealed: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            awaited: BTreeSet::new(),
            scopes: BTreeMap::new(),
            applied: BTreeMap::new(),
            faults: BTreeMap::new(),
            mtus: BTreeMap::new(),
            unbound: BTreeMap::new(),
            conditions: BTreeMap::new(),
            formats: BTreeMap::new(),
            made: 0,
        }
    }

    /// A key of its own for every node.
    pub(crate) fn key(name: &str) -> WgKey {
        let mut bytes = [7; 32];
        for (place, byte) in bytes.iter_mut().zip(name.bytes().rev()) {
            *place = byte;
        }
        WgKey::from_bytes(bytes).expect("a usable key")
    }

    pub(crate) fn apply_exit(&mut self, mut exit: ExitNode) {
        let name = exit.metadata.name.clone().expect("a name");
        let old = self.exits.get(&name);
        let changed = old.is_none_or(|old| old.spec != exit.spec);
        let generation =
            old.and_then(|old| old.metadata.generation).unwrap_or(0) + i64::from(changed);
        exit.metadata.generation = Some(generation);
        self.exits.insert(name, exit);
    }

    pub(crate) fn apply_cluster_policy(&mut self, mut policy: ClusterEgressPolicy) {
        let name = policy.metadata.name.clone().expect("a name");
        let old = self.cluster_policies.get(&name);
        let changed = old.is_none_or(|old| old.spec != policy.spec);
        let generation =
            old.and_then(|old| old.metadata.generation).unwrap_or(0) + i64::from(changed);
        policy.metadata.generation = Some(generation);
        self.cluster_policies.insert(name, policy);
    }

    pub(crate) fn apply_policy(&mut self, mut policy: EgressPolicy) {
        let metadata = &policy.metadata;
        let key = format!(
            "{}/{}",
            metadata.namespace.as_deref().expect("a namespace"),
            metadata.name.as_deref().expect("a name")
        );
        let old = self.policies.get(&key);
        let changed = old.is_none_or(|old| old.spec != policy.spec);
        let generation =
            old.and_then(|old| old.metadata.generation).unwrap_or(0) + i64::from(changed);
        let uid = old
            .and_then(|old| old.metadata.uid.clone())
            .unwrap_or_else(|| {
                self.made += 1;
                format!("policy-{}", self.made)
            });
        policy.metadata.generation = Some(generation);
        policy.metadata.uid = Some(uid);
        self.policies.insert(key, policy);
    }

    pub(crate) fn add_node(&mut self, node: SnapshotNode) {
        let name = node.name.to_string();
        self.keys
            .entry(name.clone())
            .or_insert_with(|| Self::key(&name));
        self.nodes.insert(name, node);
    }

    /// A pod with an address of its own.
    pub(crate) fn add_pod(&mut self, namespace: &str, name: &str, node: &str, number: usize) {
        let pod = SnapshotPod {
            namespace: namespace.parse().expect("a namespace"),
            name: name.parse().expect("a name"),
            uid: format!("uid-{name}").parse().expect("a UID"),
            node: node.parse().expect("a node"),
            labels: BTreeMap::new(),
            attachment: Default::default(),
            addresses: [format!("10.244.99.{number}").parse().expect("an address")].into(),
            lifecycle: Default::default(),
        };
        self.namespaces
            .entry(namespace.to_owned())
            .or_insert_with(|| SnapshotNamespace {
                name: namespace.parse().expect("a namespace"),
                labels: BTreeMap::new(),
                lifecycle: Default::default(),
            });
        self.pods.insert(format!("{namespace}/{name}"), pod);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let reports = self.nodes.values().map(|node| {
            let name = node.name.to_string();
            SnapshotReport {
                node: node.name.clone(),
                uid: node.uid.clone(),
                key: self.keys.get(&name).map(|key| ReportedKey {
                    key: *key,
                    possession: self
                        .unproved
                        .get(&name)
                        .copied()
                        .unwrap_or(Possession::Proved),
                }),
                credentials_key: self
                    .credentials_keys
                    .get(&name)
                    .copied()
                    .unwrap_or_else(|| Some(Self::key(&format!("credentials-{name}")))),
                ledger_serial: self.ledgers.get(&name).copied(),
                ledger_cluster_serial: self.cluster_ledgers.get(&name).copied(),
                applied_serial: self.ledgers.get(&name).copied(),
                applied_cluster_serial: self.cluster_ledgers.get(&name).copied(),
                freshness: Freshness::of(
                    Some(self.away.get(&name).copied().unwrap_or(self.now)),
                    self.now,
                ),
                guard: if self.unsealed.contains(&name) {
                    Guard::NotSealed
                } else {
                    Guard::Sealed
                },
                scopes: self.reported_scopes(&name),
                exits: self.reported_exits(&name),
                served: self.reported_served(&name),
                isolation: self.isolated.get(&name).cloned(),
                formats: self
                    .formats
                    .get(&name)
                    .map_or_else(|| [FORMAT_VERSION].into(), |formats| formats.clone()),
                conditions: self.conditions.get(&name).cloned().unwrap_or_default(),
                unbound: self.unbound.get(&name).copied(),
            }
        });
        Snapshot {
            now: self.now,
            settings: self.settings.clone(),
            exits: self
                .exits
                .values()
                .map(|exit| intake::exit(exit).expect("an exit"))
                .collect(),
            policies: self
                .policies
                .values()
                .map(|policy| intake::policy(policy, &self.settings).expect("a policy"))
                .collect(),
            cluster_policies: self
                .cluster_policies
                .values()
                .map(|policy| intake::cluster_policy(policy).expect("a policy"))
                .collect(),
            isolations: self.isolations.clone(),
            nodes: self.nodes.values().cloned().collect(),
            pods: self.pods.values().cloned().collect(),
            namespaces: self.namespaces.values().cloned().collect(),
            services: self.services.clone(),
            credentials: self.credentials.facts(),
            reports: reports.collect(),
            previous: self.previous.clone(),
            previous_cluster: self.previous_cluster.clone(),
            cluster_is_own: self.cluster_is_own,
            unreadable: self.unreadable.clone(),
            awaited: self.awaited.clone(),
            memory: self.memory.clone(),
            approvals: self.approvals.clone(),
            definitions: self.definitions,
            admin_definition: self.admin_definition,
        }
    }

    /// What a node says of the scopes that it carries, where the test says nothing else.
    fn reported_scopes(&self, node: &str) -> BTreeMap<Uid, ReportedScope> {
        let mut scopes = BTreeMap::new();
        if let Some(body) = self.applied.get(node) {
            for scope in &body.firewall {
                let class = Class::Policy {
                    scope: scope.id.clone(),
                };
                let pods = body.pods.iter().filter(|pod| pod.class == class).count();
                let pods = u32::try_from(pods).expect("few pods");
                let (enforced, blocked_pods) = match scope.way {
                    EgressPath::Blocked { .. } => (0, pods),
                    EgressPath::Tunnel | EgressPath::LocalExit | EgressPath::NodeUplink => {
                        (pods, 0)
                    }
                };
                let said = ReportedScope {
                    digest: Some(scope.digest.clone()),
                    enforced,
                    blocked_pods,
                    ..ReportedScope::default()
                };
                scopes.insert(scope.policy.uid.clone(), said);
            }
        }
        for (uid, change) in self.scopes.get(node).into_iter().flatten() {
            let said = scopes.entry(uid.clone()).or_default();
            said.blocked = change.blocked;
            said.unenforceable = change.unenforceable;
            said.resolvers = change.resolvers;
            said.silent_resolvers.clone_from(&change.silent_resolvers);
            said.failed_open = change.failed_open;
        }
        scopes
    }

    fn reported_exits(&self, node: &str) -> BTreeMap<ExitName, ReportedExit> {
        let body = self.applied.get(node);
        let routes = body.into_iter().flat_map(|body| &body.routes);
        let mut reported = self.reported(
            node,
            routes.clone().map(|route| (&route.exit, &route.digest)),
        );
        for route in routes {
            let first = route.gateways.first().map(|gateway| gateway.node.clone());
            if let Some(said) = reported.get_mut(&route.exit) {
                said.gateway = first;
            }
        }
        reported
    }

    fn reported_served(&self, node: &str) -> BTreeMap<ExitName, ReportedExit> {
        let body = self.applied.get(node);
        let served = body.into_iter().flat_map(|body| &body.nat);
        self.reported(node, served.map(|exit| (&exit.exit, &exit.digest)))
    }

    fn reported<'a>(
        &self,
        node: &str,
        exits: impl Iterator<Item = (&'a ExitName, &'a SectionDigest)>,
    ) -> BTreeMap<ExitName, ReportedExit> {
        let faults = self.faults.get(node).cloned().unwrap_or_default();
        let tunnels = self.applied.get(node).map(|body| &body.tunnels);
        let asked = |exit: &ExitName| {
            let mut tunnels = tunnels.into_iter().flatten();
            let tunnel = tunnels.find(|tunnel| &tunnel.exit == exit);
            tunnel.map(|tunnel| u32::from(tunnel.mtu))
        };
        exits
            .map(|(exit, digest)| {
                let said = ReportedExit {
                    gateway: None,
                    digest: Some(digest.clone()),
                    mtu: self.mtus.get(node).copied().or_else(|| asked(exit)),
                    server: None,
                    judged: [AddressFamily::IPv4, AddressFamily::IPv6].into(),
                    faults: faults.clone(),
                };
                (exit.clone(), said)
            })
            .collect()
    }

    /// Compiles, publishes, and lets every agent that is there apply what is published.
    pub(crate) fn compile(&mut self) -> Compilation {
        self.compile_for(|_| true)
    }

    /// The same while only these nodes' intents can be written.
    pub(crate) fn compile_for(&mut self, is_written: impl Fn(&NodeName) -> bool) -> Compilation {
        let compilation = compile(&self.snapshot());
        if let ClusterOutcome::Publish(document) = &compilation.cluster {
            self.previous_cluster = Some((**document).clone());
        }
        for (node, outcome) in compilation
            .nodes
            .iter()
            .filter(|(node, _)| is_written(node))
        {
            if let NodeOutcome::Publish(body) = outcome {
                let mut body = body.clone();
                let entropy = || Some(SecretBytes::new([9; 32]));
                self.credentials
                    .seal(&mut body, entropy)
                    .expect("a credential");
                body.check().expect("a body that its node accepts");
                self.previous.insert(node.clone(), (*body).clone());
                if !self.away.contains_key(node.as_str()) {
                    self.ledgers.insert(node.to_string(), body.serial);
                    self.applied.insert(node.to_string(), (*body).clone());
                }
            }
        }
        self.join_documents();
        self.memory = compilation.memory.clone();
        compilation
    }

    /// Every agent that is there joins its document with the cluster document, where it may.
    fn join_documents(&mut self) {
        let Some(cluster) = &self.previous_cluster else {
            return;
        };
        for (node, body) in &self.applied {
            let may =
                cluster.follows <= body.cluster_serial && body.cluster_serial <= cluster.serial;
            if may && !self.away.contains_key(node) {
                self.cluster_ledgers.insert(node.clone(), cluster.serial);
            }
        }
    }

    /// The facts that all nodes share.
    pub(crate) fn cluster(&self) -> &ClusterDocument {
        self.previous_cluster.as_ref().expect("a cluster document")
    }

    /// A person approves what waits.
    pub(crate) fn approve<'a>(&mut self, held: impl Iterator<Item = &'a PendingApproval>) {
        self.approvals.extend(held.map(|held| Approval {
            subject: held.subject.clone(),
            cause: held.cause,
            digest: held.digest.clone(),
        }));
    }

    /// Pods of a namespace that are published as released.
    pub(crate) fn released(&self, namespace: &str) -> usize {
        let pods = self.previous.values().flat_map(|body| &body.pods);
        pods.filter(|pod| pod.namespace.as_str() == namespace && pod.class == Class::Released)
            .count()
    }

    /// These agents are away from now on, or still, and no others: one that is back takes up what came meanwhile.
    pub(crate) fn leave(&mut self, nodes: &[String]) {
        let back: Vec<String> = self.away.keys().cloned().collect();
        for node in back.into_iter().filter(|node| !nodes.contains(node)) {
            self.away.remove(&node);
            if let Some(body) = self
                .previous
                .get(&node.parse::<NodeName>().expect("a name"))
            {
                self.applied.insert(node.clone(), body.clone());
                self.ledgers.insert(node, body.serial);
            }
        }
        self.join_documents();
        for node in nodes {
            self.away.entry(node.clone()).or_insert(self.now);
        }
    }

    pub(crate) fn wait(&mut self, duration: SignedDuration) {
        self.now += duration;
    }
}
