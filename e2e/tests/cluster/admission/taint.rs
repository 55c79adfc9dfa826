//! The operator's one right on nodes: to take the startup taint away.

use serde_json::{Value, json};

use crate::admission::caller::{Caller, assert_refused};
use crate::admission::cluster::{Cluster, cluster};

const NODE: &str = "/api/v1/nodes/joining";

fn taints(cluster: &Cluster) -> Vec<String> {
    let node = cluster.get(NODE).unwrap();
    let list = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let keys = list
        .iter()
        .map(|taint| taint["key"].as_str().unwrap().to_owned());
    keys.collect()
}

#[test]
fn the_operator_takes_the_startup_taint_from_a_node_and_does_nothing_else_to_it() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let sealed = json!({"key": "postern.dev/not-sealed", "effect": "NoExecute"});
    let other = json!({"key": "example.com/broken", "effect": "NoSchedule"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "joining", "labels": {"team": "a"}},
        "spec": {"taints": [sealed, other]},
    });
    cluster.create("/api/v1/nodes", &node).unwrap();
    let operator = Caller::unbound(&cluster, "postern-operator");
    let patch_with = |more: &[&str], patch: Value| {
        let text = patch.to_string();
        let arguments = ["patch", "node", "joining", "--type=merge", "--patch", &text];
        operator.kubectl(&[&arguments, more].concat(), &Value::Null)
    };
    let patch = |patch: Value| patch_with(&[], patch);
    let refused = [
        (
            json!({"spec": {"taints": [sealed]}}),
            "it may add no taint and take no other one",
        ),
        (
            json!({"spec": {"taints": null}}),
            "it may add no taint and take no other one",
        ),
        (
            json!({"spec": {"taints": [other, {"key": "example.com/new", "effect": "NoExecute"}]}}),
            "it may add no taint and take no other one",
        ),
        (
            json!({"spec": {"taints": [other], "unschedulable": true}}),
            "not its business",
        ),
        (
            json!({"spec": {"taints": [other]}, "metadata": {"labels": {"team": "b"}}}),
            "not its business",
        ),
        (
            json!({"spec": {"taints": [other]}, "metadata": {"annotations": {"a": "b"}}}),
            "not its business",
        ),
    ];
    for (change, says) in &refused {
        assert_refused(&patch(change.clone()), says);
    }
    assert_eq!(taints(&cluster).len(), 2);
    patch(json!({"spec": {"taints": [other]}})).unwrap();
    assert_eq!(taints(&cluster), ["example.com/broken"]);

    let unbound = cluster.without_binding("postern-startup-taint");
    cluster.eventually("without the binding another taint goes too", || {
        patch(json!({"spec": {"taints": null}})).is_ok()
    });
    // A patch that changes nothing is not checked, so this one must never be stored.
    let other_label = json!({"metadata": {"labels": {"team": "c"}}});
    unbound.back(|| patch_with(&["--dry-run=server"], other_label.clone()));
    assert!(taints(&cluster).is_empty());
    cluster.delete(NODE).unwrap();
}
