//! The acts of a step.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::left::{is_cleaner, is_released, node_of, succeeded};
use super::pods::{node_pod, plugin_patch};
use super::reading::{ObjectMark, UninstallReading};
use super::step::UninstallStep;
use crate::full_name::full_name;

/// Kinds whose objects are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedKind {
    EgressPolicy,
    ExitNode,
    ClusterEgressPolicy,
    InterfaceIsolation,
    NodeIntent,
    NodeReport,
    CustomResourceDefinition,
    DaemonSet,
    Pod,
}

/// One change of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum RemovalAct {
    Delete {
        kind: RemovedKind,
        object: ObjectMark,
    },
    /// Take the label from a namespace.
    Unlabel { namespace: String },
    /// No replica of the operator.
    StopOperator,
    /// Change the agents' DaemonSet so that each pod takes the plugin out before its agent starts.
    TakePluginOut { patch: Value },
    /// A pod that releases a node and cleans it up when its agent is gone.
    CreatePod { node: String, pod: Box<Pod> },
}

impl fmt::Display for RemovalAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { kind, object } => {
                let name = full_name(object.namespace.as_deref(), &object.name);
                write!(f, "delete {kind:?} {name}")
            }
            Self::Unlabel { namespace } => {
                write!(f, "take the label from namespace {namespace}")
            }
            Self::StopOperator => f.write_str("scale Deployment postern-operator to 0"),
            Self::TakePluginOut { .. } => f.write_str(
                "change DaemonSet postern-agent: its pods take the plugin out before they start",
            ),
            Self::CreatePod { node, .. } => write!(f, "create a Pod that releases node {node}"),
        }
    }
}

/// The acts that a step needs now. An act that is under way is not repeated.
#[must_use]
pub fn acts(step: UninstallStep, reading: &UninstallReading, reason: &str) -> Vec<RemovalAct> {
    match step {
        UninstallStep::Policies => {
            let labels = reading
                .labelled
                .iter()
                .map(|namespace| RemovalAct::Unlabel {
                    namespace: namespace.clone(),
                });
            delete(RemovedKind::EgressPolicy, &reading.policies)
                .chain(labels)
                .collect()
        }
        UninstallStep::Scopes => Vec::new(),
        UninstallStep::Operator => {
            let operator = reading.operator.as_ref();
            let replicas = operator.map_or(0, |operator| operator.spec.replicas.unwrap_or(1));
            (replicas > 0)
                .then_some(RemovalAct::StopOperator)
                .into_iter()
                .collect()
        }
        UninstallStep::Plugin => {
            let patch = reading.agents.as_ref().and_then(plugin_patch);
            patch
                .map(|patch| RemovalAct::TakePluginOut { patch })
                .into_iter()
                .collect()
        }
        UninstallStep::Nodes => release(reading, reason),
        UninstallStep::Workloads => {
            let sets = [&reading.agents, &reading.tunnels].into_iter().flatten();
            let marks: Vec<ObjectMark> = sets
                .map(|set| ObjectMark {
                    namespace: set.metadata.namespace.clone(),
                    name: set.metadata.name.clone().unwrap_or_default(),
                    is_going: set.metadata.deletion_timestamp.is_some(),
                })
                .collect();
            delete(RemovedKind::DaemonSet, &marks).collect()
        }
        UninstallStep::Hosts => {
            let done = reading
                .pods
                .iter()
                .filter(|pod| is_cleaner(pod) && succeeded(pod));
            let marks: Vec<ObjectMark> = done.map(mark).collect();
            delete(RemovedKind::Pod, &marks).collect()
        }
        UninstallStep::Objects => objects(reading),
        UninstallStep::Definitions => {
            delete(RemovedKind::CustomResourceDefinition, &reading.definitions).collect()
        }
    }
}

fn mark(pod: &Pod) -> ObjectMark {
    ObjectMark {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        is_going: pod.metadata.deletion_timestamp.is_some(),
    }
}

fn delete(kind: RemovedKind, objects: &[ObjectMark]) -> impl Iterator<Item = RemovalAct> {
    let staying = objects.iter().filter(|object| !object.is_going);
    staying.map(move |object| RemovalAct::Delete {
        kind,
        object: object.clone(),
    })
}

fn objects(reading: &UninstallReading) -> Vec<RemovalAct> {
    let reports: Vec<ObjectMark> = reading
        .reports
        .iter()
        .map(|report| ObjectMark {
            name: node_of(report).to_owned(),
            ..ObjectMark::default()
        })
        .collect();
    delete(RemovedKind::ExitNode, &reading.exits)
        .chain(delete(
            RemovedKind::ClusterEgressPolicy,
            &reading.cluster_policies,
        ))
        .chain(delete(RemovedKind::InterfaceIsolation, &reading.isolations))
        .chain(delete(RemovedKind::NodeIntent, &reading.intents))
        .chain(delete(RemovedKind::NodeReport, &reports))
        .collect()
}

/// A pod for each node that is not released and has none. Without the DaemonSet the image is unknown, and a person has to release the node.
fn release(reading: &UninstallReading, reason: &str) -> Vec<RemovalAct> {
    let Some(agents) = &reading.agents else {
        return Vec::new();
    };
    let has_pod = |node: &str| {
        reading.pods.iter().any(|pod| {
            let spec = pod.spec.as_ref();
            is_cleaner(pod) && spec.and_then(|spec| spec.node_name.as_deref()) == Some(node)
        })
    };
    let open = reading.reports.iter().filter(|report| !is_released(report));
    let nodes = open.map(node_of).filter(|node| !has_pod(node));
    nodes
        .filter_map(|node| {
            let pod = Box::new(node_pod(agents, node, reason)?);
            Some(RemovalAct::CreatePod {
                node: node.to_owned(),
                pod,
            })
        })
        .collect()
}
