//! Objects beside the intents: a report is made for each node, which its agent fills, and the objects of nodes that are
//! gone for good are deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt as _};
use postern_apiserver::{ApiVerb, Failure};
use postern_compile::snapshot::SnapshotNode;
use postern_crds::{NodeIntent, NodeReport, NodeReportSpec};
use postern_intent::NodeName;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::taint::{untaint, without_taint};
use super::tally::Tally;
use super::writer::{AT_ONCE, WriteAttempt, Writer};
use crate::metrics::WriteLabel;
use crate::pipeline::gathered::GatheredRun;
use crate::pipeline::object_key::ObjectKey;
use crate::watches::{WatchedObject, WatchedStores};

/// An object as it is there: UID, version, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownObject {
    pub uid: Option<String>,
    pub version: Option<String>,
    /// The node's UID in its spec.
    pub node_uid: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectCleanup {
    /// Reports to make, with the node's UID.
    pub make: Vec<(String, String)>,
    /// Reports of earlier nodes of the same name, or of nodes that are gone.
    pub drop_reports: Vec<(String, ShownObject)>,
    /// Intents of nodes that are gone and that have run out.
    pub drop_intents: Vec<(String, ShownObject)>,
    /// Joining nodes that are sealed, with the change that says so.
    pub untaint: Vec<(String, Value)>,
}

/// Finds out what is to be done. Pure.
#[must_use]
pub fn cleanup(
    nodes: &[SnapshotNode],
    reports: &BTreeMap<String, ShownObject>,
    intents: &BTreeMap<String, ShownObject>,
    retired: &BTreeSet<NodeName>,
) -> ObjectCleanup {
    let mut cleanup = ObjectCleanup::default();
    let mut there: BTreeSet<&str> = BTreeSet::new();
    for node in nodes {
        there.insert(node.name.as_str());
        let own = reports.get(node.name.as_str());
        match own {
            Some(report) if report.node_uid.as_deref() == Some(node.uid.as_str()) => continue,
            Some(report) => cleanup
                .drop_reports
                .push((node.name.to_string(), report.clone())),
            None => {}
        }
        cleanup
            .make
            .push((node.name.to_string(), node.uid.to_string()));
    }
    for name in retired {
        if let Some(intent) = intents.get(name.as_str()) {
            cleanup
                .drop_intents
                .push((name.to_string(), intent.clone()));
        }
    }
    for (name, report) in reports {
        // As long as the intent of a node that is gone is kept, its report is.
        let kept =
            intents.contains_key(name) && !retired.iter().any(|retired| retired.as_str() == name);
        if !there.contains(name.as_str()) && !kept {
            cleanup.drop_reports.push((name.clone(), report.clone()));
        }
    }
    cleanup
}

/// The cleanup of a run.
pub(super) fn cleanup_of(
    stores: &WatchedStores,
    round: &GatheredRun,
    retired: &BTreeSet<NodeName>,
) -> ObjectCleanup {
    let reports = stores.reports.state();
    let reports = reports.iter().map(|object| {
        let node_uid = object.good().map(|report| report.spec.node_uid.clone());
        there(&**object, node_uid)
    });
    let intents = stores.intents.state();
    let intents = intents.iter().map(|object| {
        let node_uid = object.good().map(|intent| intent.spec.node_uid.clone());
        there(&**object, node_uid)
    });
    let (reports, intents): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (reports.collect(), intents.collect());
    ObjectCleanup {
        untaint: taints_to_remove(stores, round),
        ..cleanup(&round.gathered.inputs.nodes, &reports, &intents, retired)
    }
}

/// Joining nodes whose report says that the guard is in place. A report that is older than this process may be what a
/// restored store remembers, and the node may have been made anew.
fn taints_to_remove(stores: &WatchedStores, round: &GatheredRun) -> Vec<(String, Value)> {
    let nodes = stores.nodes.state();
    let tainted = nodes.iter().filter_map(|object| object.good());
    tainted
        .filter_map(|node| {
            let name: NodeName = node.name_any().parse().ok()?;
            let own = round.gathered.inputs.reports.iter().any(|report| {
                report.node == name && Some(report.uid.as_str()) == node.metadata.uid.as_deref()
            });
            let sealed = own
                && round.gathered.inputs.sealed.contains(&name)
                && !round.gathered.awaited.contains(&name);
            let taints = node.spec.as_ref()?.taints.as_deref()?;
            sealed
                .then(|| without_taint(taints))
                .flatten()
                .map(|change| (name.to_string(), change))
        })
        .collect()
}

fn there<K: Resource>(
    object: &WatchedObject<K>,
    node_uid: Option<String>,
) -> (String, ShownObject) {
    let there = ShownObject {
        uid: object.uid(),
        version: object.resource_version(),
        node_uid,
    };
    (object.name_any(), there)
}

pub async fn clean_up(writer: &Writer, cleanup: ObjectCleanup) -> Tally {
    let mut tally = Tally::default();
    let intents: Api<NodeIntent> = Api::all(writer.client.clone());
    let reports: Api<NodeReport> = Api::all(writer.client.clone());
    for (name, there) in cleanup.drop_intents {
        let key = ObjectKey::cluster("NodeIntent", &name);
        tally.add(delete_exactly(writer, &intents, &key, &there).await);
    }
    for (name, there) in cleanup.drop_reports {
        let key = ObjectKey::cluster("NodeReport", &name);
        tally.add(delete_exactly(writer, &reports, &key, &there).await);
    }
    for (name, change) in cleanup.untaint {
        tally.add(untaint(writer, &name, change).await);
    }
    let mut makes = futures::stream::iter(cleanup.make)
        .map(|(name, uid)| make_report(writer, name, uid).boxed())
        .buffer_unordered(AT_ONCE);
    while let Some(one) = makes.next().await {
        tally.add(one);
    }
    tally
}

/// Deletes an object in exactly the life that was seen; one that is gone already is deleted.
async fn delete_exactly<K>(
    writer: &Writer,
    api: &Api<K>,
    key: &ObjectKey,
    there: &ShownObject,
) -> Tally
where
    K: Clone + DeserializeOwned + fmt::Debug,
{
    let exactly = DeleteParams::default().preconditions(Preconditions {
        uid: there.uid.clone(),
        resource_version: None,
    });
    let request = api.delete(&key.name, &exactly);
    match writer.attempt(key, ApiVerb::Delete, request).await {
        WriteAttempt::Failed(error) if error.failure() == Failure::Missing => Tally {
            written: 1,
            ..Tally::default()
        },
        attempt => attempt.tally(),
    }
}

async fn make_report(writer: &Writer, name: String, node_uid: String) -> Tally {
    let report = NodeReport {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: NodeReportSpec { node_uid },
        status: None,
    };
    let api: Api<NodeReport> = Api::all(writer.client.clone());
    let params = Writer::params();
    let request = api.create(&params, &report);
    let key = ObjectKey::cluster("NodeReport", &name);
    match writer.attempt(&key, ApiVerb::Create, request).await {
        // The watch has not shown it yet.
        WriteAttempt::Failed(error) if error.failure() == Failure::Exists => Tally::default(),
        attempt => {
            if matches!(attempt, WriteAttempt::Written(_)) {
                writer.metrics.wrote(WriteLabel::Report);
            }
            attempt.tally()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postern_compile::snapshot::SnapshotNode;

    use super::{ShownObject, cleanup};

    fn node(name: &str, uid: &str) -> SnapshotNode {
        SnapshotNode {
            name: name.parse().expect("a name"),
            uid: uid.parse().expect("a UID"),
            labels: BTreeMap::new(),
            scheduling: Default::default(),
            addresses: Vec::new(),
            pod_ranges: Vec::new(),
        }
    }

    fn there(list: &[(&str, &str)]) -> BTreeMap<String, ShownObject> {
        let one = |(name, uid): &(&str, &str)| {
            let there = ShownObject {
                uid: Some(format!("object-{name}")),
                version: None,
                node_uid: Some((*uid).to_owned()),
            };
            ((*name).to_owned(), there)
        };
        list.iter().map(one).collect()
    }

    fn names(list: &[(String, ShownObject)]) -> Vec<&str> {
        list.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn each_node_has_a_report_of_its_own_uid() {
        let nodes = [node("a", "a1"), node("b", "b2"), node("c", "c1")];
        let reports = there(&[("a", "a1"), ("b", "b1")]);
        let found = cleanup(&nodes, &reports, &there(&[]), &[].into());
        let made: Vec<&str> = found.make.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(made, ["b", "c"]);
        assert_eq!(names(&found.drop_reports), ["b"]);
    }

    #[test]
    fn what_belonged_to_a_node_stays_until_its_intent_has_run_out() {
        let (reports, intents) = (there(&[("gone", "g1")]), there(&[("gone", "g1")]));
        let kept = cleanup(&[], &reports, &intents, &[].into());
        assert_eq!(kept, super::ObjectCleanup::default());
        let retired = ["gone".parse().expect("a name")].into();
        let found = cleanup(&[], &reports, &intents, &retired);
        assert_eq!(names(&found.drop_intents), ["gone"]);
        assert_eq!(names(&found.drop_reports), ["gone"]);
    }
}
