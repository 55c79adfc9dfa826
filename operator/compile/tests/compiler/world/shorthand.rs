//! How scenarios write what is not ours: nodes, pods and namespaces in a line each.

use std::collections::BTreeMap;

use postern_compile::snapshot::{
    Labels, Lifecycle, NodeScheduling, PodNetwork, SnapshotNamespace, SnapshotNode, SnapshotPod,
};
use serde::Deserialize;
use serde_json::Value;

use super::World;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Story {
    /// What it is about.
    pub(crate) story: String,
    /// What happens, one compile each.
    pub(crate) steps: Vec<Step>,
}

/// What happens before one compile.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) says: String,
    /// How much time passes before; default one minute.
    pub(crate) after: Option<jiff::SignedDuration>,
    /// Files with manifests, relative to the repository.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// `ExitNode`s and `EgressPolicy`s, as users write them.
    #[serde(default)]
    pub(crate) apply: Vec<Value>,
    #[serde(default)]
    pub(crate) nodes: BTreeMap<String, NodeLine>,
    #[serde(default)]
    pub(crate) namespaces: BTreeMap<String, NamespaceLine>,
    #[serde(default)]
    pub(crate) pods: BTreeMap<String, PodLine>,
    /// `Kind namespace/name` or `Kind name`.
    #[serde(default)]
    pub(crate) delete: Vec<String>,
    /// Nodes that report no key.
    #[serde(default)]
    pub(crate) silent: Vec<String>,
    /// Nodes whose agents go before the time passes, or stay away.
    #[serde(default)]
    pub(crate) away: Vec<String>,
    /// Nodes whose guard is not in place.
    #[serde(default)]
    pub(crate) unsealed: Vec<String>,
    /// Nodes whose ledger has seen this serial.
    #[serde(default)]
    pub(crate) ledgers: BTreeMap<String, u64>,
    /// What a person approves of what was held in the step before, `*` for everything.
    pub(crate) approve: Option<String>,
    /// Loses everything that was published and remembered.
    #[serde(default)]
    pub(crate) lose: Option<Lost>,
}

#[derive(Clone, Copy, Deserialize)]
pub(crate) enum Lost {
    /// Published bodies and memory.
    Everything,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NodeLine {
    #[serde(default)]
    pub(crate) labels: Labels,
    #[serde(default)]
    pub(crate) cordoned: bool,
    pub(crate) addresses: Vec<postern_intent::Address>,
    pub(crate) pod_ranges: Vec<postern_intent::Prefix>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamespaceLine {
    #[serde(default)]
    pub(crate) labels: Labels,
    #[serde(default)]
    pub(crate) deleting: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PodLine {
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) labels: Labels,
    #[serde(default)]
    pub(crate) addresses: Vec<postern_intent::Address>,
    #[serde(default)]
    pub(crate) host_network: bool,
    /// Default: made from the name. Another one is another pod.
    pub(crate) uid: Option<String>,
}

impl Step {
    /// Changes the world as the step says.
    pub(crate) fn happen(self, world: &mut World, held: &[postern_compile::gate::PendingApproval]) {
        world.leave(&self.away);
        world.unsealed = self.unsealed.into_iter().collect();
        world.wait(self.after.unwrap_or(jiff::SignedDuration::from_mins(1)));
        for gone in &self.delete {
            delete(world, gone);
        }
        for file in &self.include {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(file);
            let text = std::fs::read_to_string(path).expect("an included file");
            for document in serde_saphyr::from_multiple::<Value>(&text).expect("YAML") {
                apply(world, document);
            }
        }
        for document in self.apply {
            apply(world, document);
        }
        for (name, line) in self.nodes {
            world.add_node(line.node(&name));
        }
        for (name, line) in self.namespaces {
            world.namespaces.insert(name.clone(), line.namespace(&name));
        }
        for (name, line) in self.pods {
            world.pods.insert(name.clone(), line.pod(&name));
        }
        for node in world.nodes.keys() {
            if self.silent.contains(node) {
                world.keys.remove(node);
            } else {
                world
                    .keys
                    .entry(node.clone())
                    .or_insert_with(|| World::key(node));
            }
        }
        if self.lose.is_some() {
            world.previous.clear();
            world.previous_cluster = None;
            world.memory = Default::default();
        }
        world.ledgers.extend(
            self.ledgers
                .into_iter()
                .map(|(node, serial)| (node, postern_intent::Serial(serial))),
        );
        if let Some(wanted) = &self.approve {
            let chosen = held
                .iter()
                .filter(|held| wanted == "*" || held.subject.to_string() == *wanted);
            world
                .approvals
                .extend(chosen.map(|held| postern_compile::gate::Approval {
                    subject: held.subject.clone(),
                    cause: held.cause,
                    digest: held.digest.clone(),
                }));
        }
    }
}

fn apply(world: &mut World, document: Value) {
    let kind = document
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    match kind.as_str() {
        "ExitNode" => world.apply_exit(serde_json::from_value(document).expect("an ExitNode")),
        "EgressPolicy" => {
            world.apply_policy(serde_json::from_value(document).expect("an EgressPolicy"))
        }
        "ClusterEgressPolicy" => world
            .apply_cluster_policy(serde_json::from_value(document).expect("a ClusterEgressPolicy")),
        "InterfaceIsolation" => {
            let object = serde_json::from_value(document).expect("an InterfaceIsolation");
            let isolation = postern_compile::intake::isolation(&object).expect("an isolation");
            world.isolations.retain(|one| one.name != isolation.name);
            world.isolations.push(isolation);
        }
        "Namespace" => {
            let object = serde_json::from_value(document).expect("a Namespace");
            let namespace = postern_compile::intake::namespace(&object).expect("a namespace");
            world
                .namespaces
                .insert(namespace.name.to_string(), namespace);
        }
        other => panic!("a scenario cannot apply the kind {other:?}"),
    }
}

fn delete(world: &mut World, gone: &str) {
    let (kind, name) = gone.split_once(' ').expect("kind and name");
    let found = match kind {
        "ExitNode" => world.exits.remove(name).is_some(),
        "EgressPolicy" => world.policies.remove(name).is_some(),
        "ClusterEgressPolicy" => world.cluster_policies.remove(name).is_some(),
        "InterfaceIsolation" => {
            let before = world.isolations.len();
            world.isolations.retain(|one| one.name != name);
            world.isolations.len() < before
        }
        "Pod" => world.pods.remove(name).is_some(),
        "Node" => world.nodes.remove(name).is_some(),
        "Namespace" => world.namespaces.remove(name).is_some(),
        other => panic!("a scenario cannot delete the kind {other:?}"),
    };
    assert!(found, "there is no {gone}");
}

impl NodeLine {
    fn node(self, name: &str) -> SnapshotNode {
        SnapshotNode {
            name: name.parse().expect("a name"),
            uid: format!("node-{name}").parse().expect("a UID"),
            labels: self.labels,
            scheduling: match self.cordoned {
                true => NodeScheduling::Cordoned,
                false => NodeScheduling::Schedulable,
            },
            addresses: self.addresses,
            pod_ranges: self.pod_ranges,
        }
    }
}

impl NamespaceLine {
    fn namespace(self, name: &str) -> SnapshotNamespace {
        SnapshotNamespace {
            name: name.parse().expect("a name"),
            labels: self.labels,
            lifecycle: if self.deleting {
                Lifecycle::Deleting
            } else {
                Lifecycle::Live
            },
        }
    }
}

impl PodLine {
    fn pod(self, key: &str) -> SnapshotPod {
        let (namespace, name) = key.split_once('/').expect("namespace/name");
        let uid = self
            .uid
            .unwrap_or_else(|| format!("pod-{namespace}-{name}"));
        SnapshotPod {
            namespace: namespace.parse().expect("a namespace"),
            name: name.parse().expect("a name"),
            uid: uid.parse().expect("a UID"),
            node: self.node.parse().expect("a node"),
            labels: self.labels,
            attachment: if self.host_network {
                PodNetwork::Host
            } else {
                PodNetwork::Own
            },
            addresses: self.addresses.into_iter().collect(),
            lifecycle: Lifecycle::Live,
        }
    }
}
