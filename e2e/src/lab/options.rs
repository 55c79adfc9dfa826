//! What `up` may be asked for.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Whether the chained CNI plugin is installed on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plugin {
    /// `postern-cni` is chained behind the cluster's own plugins.
    Chained,
    /// Only the cluster's own plugins: pods are known by the intent's addresses alone.
    Absent,
}

/// Where the cluster's objects are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cluster {
    /// In files; a publisher compiles and signs.
    #[default]
    Standalone,
    /// In a Kubernetes API server of the lab's own.
    ApiServer,
}

/// Whether operators make traces and agents export what policies decide, and a collector receives both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Collector {
    /// Nothing is exported.
    #[default]
    Absent,
    /// A collector runs beside the operators and writes each span and each decision down.
    There,
}

/// What makes pods out of Pod objects, in a lab with an API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kubelets {
    /// The lab itself, in the order of a kubelet: pods are namespaces and processes.
    #[default]
    Imitated,
    /// A kubelet and a containerd on every node, with a scheduler, every controller and CoreDNS. Pods are containers,
    /// and Postern is installed as users do it.
    Upstream,
}

/// Which programs run in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Programs {
    /// Publisher, agents and tunnel processes.
    Postern,
    /// None of them: a cluster that Postern has never seen.
    Bare,
}

/// What `up` may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpOptions {
    /// Where the cluster's objects are.
    #[serde(default)]
    pub cluster: Cluster,
    /// How many nodes, gateways included: 1 to 100.
    pub nodes: u8,
    /// How many of them carry the gateway label.
    pub gateways: u8,
    /// Whether the CNI plugin is there.
    pub plugin: Plugin,
    pub programs: Programs,
    /// How long an intent is valid.
    pub validity: SignedDuration,
    /// How long an unchanged intent is kept before it is signed again.
    pub refresh: SignedDuration,
    /// How long the publisher waits before it looks at a new report.
    pub report_delay: SignedDuration,
    /// How long the publisher waits before it writes an intent.
    pub intent_delay: SignedDuration,
    /// What makes pods.
    #[serde(default)]
    pub kubelets: Kubelets,
    /// Whether traces and decisions are collected.
    #[serde(default)]
    pub collector: Collector,
    /// Further arguments of every agent.
    #[serde(default)]
    pub agent_arguments: Vec<String>,
}

impl UpOptions {
    /// So many nodes, one of them a gateway, on an API server of the lab's own.
    #[must_use]
    pub fn on_api_server(nodes: u8, programs: Programs) -> Self {
        Self {
            cluster: Cluster::ApiServer,
            nodes,
            gateways: 1,
            programs,
            ..Self::default()
        }
    }
}

impl UpOptions {
    /// So many nodes, one of them a gateway, each with a kubelet of its own, and nothing of Postern.
    #[must_use]
    pub fn on_kubelets(nodes: u8) -> Self {
        Self {
            kubelets: Kubelets::Upstream,
            ..Self::on_api_server(nodes, Programs::Bare)
        }
    }
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            cluster: Cluster::Standalone,
            nodes: 3,
            gateways: 1,
            plugin: Plugin::Chained,
            programs: Programs::Postern,
            validity: SignedDuration::from_hours(24),
            refresh: SignedDuration::from_hours(1),
            report_delay: SignedDuration::ZERO,
            intent_delay: SignedDuration::ZERO,
            kubelets: Kubelets::Imitated,
            collector: Collector::Absent,
            agent_arguments: Vec::new(),
        }
    }
}
