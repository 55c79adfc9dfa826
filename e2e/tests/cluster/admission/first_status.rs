//! The status of an object that no operator has looked at yet, as tools that wait for objects read it.

use serde_json::{Value, json};

use crate::admission::cluster::{Cluster, cluster};
use crate::admission::definitions::{self, USERS_KINDS};
use crate::samples;

/// What kstatus computes from the generations (`checkGeneration` in kustomize's `kstatus/status/util.go`): an object whose
/// status is about another generation is `InProgress`; one without `observedGeneration` is taken for what its conditions
/// say, and one without any for `Current`.
fn kstatus(object: &Value) -> &'static str {
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    match object["status"]["observedGeneration"].as_i64() {
        Some(observed) if observed != generation => "InProgress",
        _ => "Current",
    }
}

/// Writes the status of this generation, as the operator does.
fn look_at(cluster: &Cluster, path: &str, object: &Value) {
    let patch = json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": {"name": object["metadata"]["name"]},
        "status": {"observedGeneration": object["metadata"]["generation"]},
    });
    cluster.apply(&format!("{path}/status"), &patch).unwrap();
}

#[test]
fn an_object_that_no_operator_has_looked_at_is_in_progress_for_kstatus() {
    let cluster = cluster();
    let definitions = definitions::all();
    for kind in USERS_KINDS {
        // The same kinds in a group of their own, which no operator watches.
        let group = "unseen.test";
        let definition = definitions[kind].in_group(group);
        definition.register(&cluster);
        definition.await_served(&cluster, group);
        let mut object = samples::smallest(kind);
        object["apiVersion"] = json!(format!("{group}/v1alpha1"));
        object["metadata"]["name"] = json!("unseen");
        let collection = definition.collection(group);
        let path = format!("{collection}/unseen");
        cluster.create(&collection, &object).unwrap();

        let made = cluster.get(&path).unwrap();
        assert_eq!(made["status"], json!({"observedGeneration": -1}), "{kind}");
        assert_eq!(kstatus(&made), "InProgress", "{kind}");

        look_at(&cluster, &path, &made);
        let seen = cluster.get(&path).unwrap();
        assert_eq!(seen["status"], json!({"observedGeneration": 1}), "{kind}");
        assert_eq!(kstatus(&seen), "Current", "{kind}");

        // A change that no operator has looked at.
        match kind {
            "EgressPolicy" | "ClusterEgressPolicy" => object["spec"]["priority"] = json!(7),
            "ExitNode" => object["spec"]["mtu"] = json!(1400),
            _ => object["spec"]["preferred"] = json!(["eth1"]),
        }
        cluster.apply(&path, &object).unwrap();
        let changed = cluster.get(&path).unwrap();
        assert_eq!(changed["metadata"]["generation"], 2, "{kind}");
        assert_eq!(kstatus(&changed), "InProgress", "{kind}");
    }
}
