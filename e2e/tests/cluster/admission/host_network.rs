//! Pods on the host's network: refused where the namespace promises that nothing leaves.

use serde_json::{Value, json};

use crate::admission::caller::assert_refused;
use crate::admission::cluster::{Cluster, cluster};
use crate::plane::await_account;

const SAYS: &str =
    "has the label postern.dev/egress-default, and a pod on the host network cannot be held";

fn pod(spec: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"},
        "spec": {"containers": [{"name": "it", "image": "busybox"}]},
    });
    let fields = pod["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().cloned().unwrap_or_default());
    pod
}

fn namespace(cluster: &Cluster, name: &str, labels: &Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    });
    cluster
        .apply(&format!("/api/v1/namespaces/{name}"), &object)
        .unwrap();
    await_account(cluster.lab(), name).unwrap();
}

#[test]
fn a_pod_on_the_host_network_is_refused_in_a_deny_namespace_and_nowhere_else() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let deny = json!({"postern.dev/egress-default": "deny"});
    namespace(&cluster, "vault", &deny);
    namespace(&cluster, "garden", &json!({}));
    let (vault, garden) = (
        "/api/v1/namespaces/vault/pods",
        "/api/v1/namespaces/garden/pods",
    );
    let on_host = pod(&json!({"hostNetwork": true}));

    assert_refused(
        &cluster.tried(vault, &on_host),
        &format!("namespace vault {SAYS}"),
    );
    cluster.tried(vault, &pod(&json!({}))).unwrap();
    cluster
        .tried(vault, &pod(&json!({"hostNetwork": false})))
        .unwrap();
    cluster.tried(garden, &on_host).unwrap();

    namespace(&cluster, "garden", &deny);
    cluster.eventually("the new label is seen", || {
        cluster.tried(garden, &on_host).is_err()
    });
    let unbound = cluster.without_binding("postern-host-network");
    cluster.eventually("without the binding it is let in", || {
        cluster.tried(vault, &on_host).is_ok()
    });
    unbound.back(|| cluster.tried(vault, &on_host));
    for name in ["vault", "garden"] {
        cluster
            .delete(&format!("/api/v1/namespaces/{name}"))
            .unwrap();
    }
}
