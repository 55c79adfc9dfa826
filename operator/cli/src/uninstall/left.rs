//! The objects and states that a step still waits for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use postern_crds::NodeReport;

use super::pods::{CLEANER, COMPONENT, plugin_patch};
use super::reading::{ObjectMark, UninstallReading};
use super::step::UninstallStep;
use crate::cluster::ReadResult;
use crate::full_name::full_name;
use crate::leader::leader;

/// One thing that a step waits for, in a sentence.
pub type Waiting = String;

/// The objects and states that a step still waits for; empty: the step is done.
#[must_use]
pub fn left(step: UninstallStep, reading: &UninstallReading, now: Timestamp) -> Vec<Waiting> {
    match step {
        UninstallStep::Policies => {
            let labels = reading.labelled.iter();
            let labels = labels.map(|namespace| format!("namespace {namespace} has the label"));
            there("EgressPolicy", &reading.policies)
                .chain(labels)
                .collect()
        }
        UninstallStep::Scopes => scopes(reading, now),
        UninstallStep::Operator => operator(reading, now),
        UninstallStep::Plugin => rollout(reading).into_iter().collect(),
        UninstallStep::Nodes => unreleased(reading),
        UninstallStep::Workloads => {
            let sets = [&reading.agents, &reading.tunnels].into_iter().flatten();
            let sets = sets.map(|set| {
                format!(
                    "DaemonSet {} is there",
                    set.metadata.name.as_deref().unwrap_or_default()
                )
            });
            sets.chain(pods_of(reading, &["agent", "tunnel"])).collect()
        }
        UninstallStep::Hosts => pods_of(reading, &[CLEANER]).collect(),
        UninstallStep::Objects => {
            let reports = reading.reports.iter();
            let reports = reports.map(|report| format!("NodeReport {} is there", node_of(report)));
            there("ExitNode", &reading.exits)
                .chain(there("ClusterEgressPolicy", &reading.cluster_policies))
                .chain(there("InterfaceIsolation", &reading.isolations))
                .chain(there("NodeIntent", &reading.intents))
                .chain(reports)
                .collect()
        }
        UninstallStep::Definitions => there("definition", &reading.definitions).collect(),
    }
}

fn there(kind: &str, objects: &[ObjectMark]) -> impl Iterator<Item = Waiting> {
    objects.iter().map(move |object| {
        let name = full_name(object.namespace.as_deref(), &object.name);
        match object.is_going {
            true => format!("{kind} {name} is being deleted"),
            false => format!("{kind} {name} is there"),
        }
    })
}

pub(super) fn node_of(report: &ReadResult<NodeReport>) -> &str {
    match report {
        Ok(report) => report.metadata.name.as_deref().unwrap_or_default(),
        Err(bad) => &bad.name,
    }
}

/// A report that cannot be parsed shows no release, so its node counts as guarded.
pub(super) fn is_released(report: &ReadResult<NodeReport>) -> bool {
    let status = report
        .as_ref()
        .ok()
        .and_then(|report| report.status.as_ref());
    status.is_some_and(|status| status.released)
}

fn scopes(reading: &UninstallReading, now: Timestamp) -> Vec<Waiting> {
    let held = reading.held.iter().map(|held| {
        let (subject, cause, pods) = (&held.subject, held.cause, held.pods);
        format!(
            "{subject} waits for an approval ({cause}, {pods} pods): posternctl approve {subject}"
        )
    });
    let guarding: Vec<Waiting> = reading.reports.iter().filter_map(guards).collect();
    let leads = holder(reading, now).is_some();
    let leaderless = (!leads && !guarding.is_empty()).then(|| {
        "no operator leads, so nobody signs the releases: kubectl get lease postern-operator, or release each node on its socket"
            .to_owned()
    });
    held.chain(leaderless).chain(guarding).collect()
}

/// What the node's applied documents still guard.
fn guards(report: &ReadResult<NodeReport>) -> Option<Waiting> {
    let node = node_of(report);
    let status = match report {
        Ok(report) => report.status.clone().unwrap_or_default(),
        Err(bad) => {
            return Some(format!(
                "node {node}: its report cannot be read: {}",
                bad.why
            ));
        }
    };
    let (scopes, namespaces) = (status.scopes.len(), status.guarded_namespaces.len());
    let is_done = status.released || (scopes == 0 && namespaces == 0);
    (!is_done).then(|| {
        let since = status.verified_at.map_or_else(
            || "it never said that its kernel agrees".to_owned(),
            |at| format!("last verified {}", at.0),
        );
        format!("node {node} reports {scopes} scopes and {namespaces} guarded namespaces; {since}")
    })
}

fn holder(reading: &UninstallReading, now: Timestamp) -> Option<String> {
    leader(reading.lease.as_ref(), now).ok()
}

fn operator(reading: &UninstallReading, now: Timestamp) -> Vec<Waiting> {
    let replicas = reading
        .operator
        .as_ref()
        .and_then(|found| found.spec.replicas);
    let wanted = replicas.filter(|replicas| *replicas > 0);
    let wanted = wanted.map(|count| format!("Deployment postern-operator wants {count} replicas"));
    let lead = holder(reading, now).map(|holder| {
        format!("{holder} holds the Lease postern-operator: stop it where it is no pod of the Deployment")
    });
    let pods = pods_of(reading, &["operator"]);
    wanted.into_iter().chain(pods).chain(lead).collect()
}

/// How far the changed DaemonSet is; none: all of its pods are new and ready. An agent that has released its node is never
/// ready again, as where an uninstallation is begun anew.
fn rollout(reading: &UninstallReading) -> Option<Waiting> {
    let set = reading.agents.as_ref()?;
    if plugin_patch(set).is_some() {
        return Some("the pods of DaemonSet postern-agent keep the plugin installed".to_owned());
    }
    let status = set.status.clone().unwrap_or_default();
    let is_seen = status.observed_generation >= set.metadata.generation;
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    let released = reading.reports.iter().filter(|report| is_released(report));
    let released = i32::try_from(released.count()).unwrap_or(i32::MAX);
    let is_ready = available.saturating_add(released) >= wanted;
    let is_done = is_seen && updated >= wanted && is_ready;
    (!is_done).then(|| {
        format!(
            "DaemonSet postern-agent: {updated} of {wanted} pods are new, {available} are available"
        )
    })
}

/// Nodes that are not released, and what keeps them.
#[must_use]
pub fn unreleased(reading: &UninstallReading) -> Vec<Waiting> {
    let open = reading.reports.iter().filter(|report| !is_released(report));
    open.map(|report| {
        let node = node_of(report);
        let pod = reading.pods.iter().find(|pod| {
            let spec = pod.spec.as_ref();
            is_cleaner(pod) && spec.and_then(|spec| spec.node_name.as_deref()) == Some(node)
        });
        let how = match pod {
            Some(pod) => format!("its Pod is {}", phase(pod)),
            None => "as root on it: postern-cni remove --configuration-folder=/etc/cni/net.d, then postern-agent release --reason uninstall"
                .to_owned(),
        };
        format!("node {node} does not report Released; {how}; if the machine will not come back: kubectl delete nodereport {node}")
    })
    .collect()
}

pub(super) fn phase(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.init_container_statuses.into_iter().flatten();
    let mut containers = containers.chain(status.container_statuses.into_iter().flatten());
    let waiting = containers.find_map(|one| one.state?.waiting?.reason);
    let phase = status
        .phase
        .unwrap_or_else(|| "not looked at yet".to_owned());
    match waiting {
        Some(reason) => format!("{phase} ({reason})"),
        None => phase,
    }
}

fn component(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get(COMPONENT).map(String::as_str)
}

pub(super) fn is_cleaner(pod: &Pod) -> bool {
    component(pod) == Some(CLEANER)
}

pub(super) fn succeeded(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

fn pods_of(reading: &UninstallReading, components: &[&str]) -> impl Iterator<Item = Waiting> {
    let ours = reading
        .pods
        .iter()
        .filter(move |pod| component(pod).is_some_and(|component| components.contains(&component)));
    ours.map(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        format!("Pod {name} is {}", phase(pod))
    })
}
