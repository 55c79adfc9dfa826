//! NodeIntents: generated, so only the operator writes one, and every account with the right to delete one can.

use serde_json::{Value, json};

use crate::admission::caller::{Caller, assert_refused};
use crate::admission::cluster::cluster;

const INTENTS: &str = "/apis/postern.dev/v1alpha1/nodeintents";
const SAYS: &str = "a NodeIntent is generated and signed by the operator";

fn intent(name: &str) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
        "metadata": {"name": name}, "spec": {"nodeUID": "1", "serial": 7},
    })
}

#[test]
fn nobody_but_the_operator_writes_an_intent() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let operator = Caller::unbound(&cluster, "postern-operator");
    let path = format!("{INTENTS}/written");

    assert_refused(&cluster.create(INTENTS, &intent("written")), SAYS);
    operator.post(INTENTS, &intent("written")).unwrap();
    let mut changed = cluster.get(&path).unwrap();
    changed["spec"]["serial"] = json!(8);
    assert_refused(&cluster.apply(&path, &json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent", "metadata": {"name": "written"},
        "spec": {"nodeUID": "1", "serial": 8},
    })), SAYS);
    assert_refused(&cluster.apply(&path, &json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
        "metadata": {"name": "written", "labels": {"team": "a"}}, "spec": {"nodeUID": "1", "serial": 7},
    })), SAYS);
    operator.put(&path, &changed).unwrap();
    assert_eq!(cluster.get(&path).unwrap()["spec"]["serial"], 8);

    let unbound = cluster.without_binding("postern-node-intents");
    cluster.eventually("without the binding anybody writes", || {
        cluster.create(INTENTS, &intent("foreign")).is_ok()
    });
    unbound.back(|| cluster.tried(INTENTS, &intent("another")));
    cluster.delete(&format!("{INTENTS}/foreign")).unwrap();
    cluster.delete(&path).unwrap();
    assert_eq!(cluster.get(&path), None);
}

#[test]
fn a_deletion_can_be_finished_and_is_no_way_to_change_the_spec() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let operator = Caller::unbound(&cluster, "postern-operator");
    let path = format!("{INTENTS}/held");
    let mut held = intent("held");
    held["metadata"]["finalizers"] = json!(["postern.test/hold"]);
    operator.post(INTENTS, &held).unwrap();
    cluster.delete(&path).unwrap();
    let waiting = cluster.get(&path).unwrap();
    assert_ne!(waiting["metadata"]["deletionTimestamp"], Value::Null);

    let patch = |changes: &str| {
        let arguments = [
            "patch",
            "nodeintent",
            "held",
            "--type=merge",
            "--patch",
            changes,
        ];
        let lab = cluster.lab();
        lab.kubectl_ok(&arguments)
            .map_err(|error| format!("{error:?}"))
    };
    assert_refused(
        &patch(r#"{"metadata": {"finalizers": []}, "spec": {"serial": 9}}"#),
        SAYS,
    );
    patch(r#"{"metadata": {"finalizers": []}}"#).unwrap();
    cluster.eventually("the deletion is finished", || cluster.get(&path).is_none());
}
