//! The label that closes a namespace: one value, and nothing else; it can be removed.

use serde_json::{Value, json};

use crate::admission::caller::assert_refused;
use crate::admission::cluster::{Cluster, cluster};

const SAYS: &str = "the label postern.dev/egress-default has the one value deny, and not Deny";

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn labelled(cluster: &Cluster, labels: &Value) -> Result<Value, String> {
    cluster.apply("/api/v1/namespaces/cellar", &namespace("cellar", labels))
}

#[test]
fn the_label_of_a_namespace_has_one_value_and_can_be_removed() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let right = json!({"postern.dev/egress-default": "deny"});
    let wrong = json!({"postern.dev/egress-default": "Deny"});
    let wrong_and_another = json!({"postern.dev/egress-default": "Deny", "team": "a"});
    let none = json!({});

    assert_refused(&labelled(&cluster, &wrong), SAYS);
    labelled(&cluster, &right).unwrap();
    assert_refused(&labelled(&cluster, &wrong), SAYS);
    labelled(&cluster, &none).unwrap();
    assert_refused(&labelled(&cluster, &wrong), SAYS);

    // A value from before the policy stays until somebody changes it.
    let unbound = cluster.without_binding("postern-namespace-label");
    cluster.eventually("without the binding the value is let in", || {
        labelled(&cluster, &wrong).is_ok()
    });
    unbound.back(|| cluster.tried("/api/v1/namespaces", &namespace("attic", &wrong)));
    labelled(&cluster, &wrong_and_another).unwrap();
    labelled(&cluster, &none).unwrap();
    cluster.delete("/api/v1/namespaces/cellar").unwrap();
}
