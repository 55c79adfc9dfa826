//! NodeReports: an agent writes the status of the report of its own node, and nothing else of any.

use serde_json::{Value, json};

use crate::caller::{Caller, assert_refused};
use crate::cluster::{Cluster, cluster};

const POLICY: &str = "postern-node-reports";
const REPORTS: &str = "/apis/postern.dev/v1alpha1/nodereports";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// Makes a node, and the report that the operator would make for it.
fn join(cluster: &Cluster, name: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let stored = cluster.create("/api/v1/nodes", &node).unwrap();
    let uid = stored["metadata"]["uid"].as_str().unwrap();
    cluster.create(REPORTS, &report(name, uid)).unwrap();
}

/// Takes both away.
fn leave(cluster: &Cluster, name: &str) {
    cluster.delete(&format!("{REPORTS}/{name}")).unwrap();
    cluster.delete(&format!("/api/v1/nodes/{name}")).unwrap();
}

fn report(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": name}, "spec": {"nodeUID": uid},
    })
}

fn stored(cluster: &Cluster, name: &str) -> Value {
    cluster.get(&format!("{REPORTS}/{name}")).unwrap()
}

/// Posts the status as an agent does.
fn post_status(agent: &Caller<'_>, name: &str) -> Result<String, String> {
    let status = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": name}, "status": {"agentVersion": "0.1.0"},
    });
    let way = [
        "apply",
        "--server-side",
        "--subresource=status",
        "--validate=false",
    ];
    let who = [
        "--field-manager=postern-agent",
        "--force-conflicts",
        "-f",
        "-",
    ];
    agent.kubectl(&[way, who].concat(), &status)
}

/// Somebody gives the agents every right on reports; the policy is all that is left then.
fn widened(cluster: &Cluster, case: impl FnOnce()) {
    let name = "test-widened";
    let all = [
        "get",
        "list",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{
            "apiGroups": ["postern.dev"], "resources": ["nodereports", "nodereports/status"], "verbs": all,
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "postern-agent", "namespace": "postern-system"}],
    });
    cluster.create(ROLES, &role).unwrap();
    cluster.create(BINDINGS, &binding).unwrap();
    let attributes = json!({"group": "postern.dev", "resource": "nodereports", "verb": "delete"});
    cluster.eventually("the rights are widened", || {
        cluster.may("postern-agent", &attributes)
    });
    case();
    cluster.delete(&format!("{BINDINGS}/{name}")).unwrap();
    cluster.delete(&format!("{ROLES}/{name}")).unwrap();
    cluster.eventually("the rights are as before", || {
        !cluster.may("postern-agent", &attributes)
    });
}

#[test]
fn an_agent_posts_the_report_of_its_own_node_and_of_no_other() {
    let cluster = cluster();
    let _turn = cluster.turn();
    join(&cluster, "alpha");
    join(&cluster, "beta");
    let agent = Caller::agent_of(&cluster, "alpha");

    post_status(&agent, "alpha").unwrap();
    assert_eq!(stored(&cluster, "alpha")["status"]["agentVersion"], "0.1.0");
    assert_refused(
        &post_status(&agent, "beta"),
        "this token is of node alpha, which may write NodeReport alpha only, not beta",
    );
    assert_eq!(stored(&cluster, "beta")["status"], Value::Null);

    cluster.without_binding(POLICY, || {
        cluster.eventually("without the binding the other report is open", || {
            post_status(&agent, "beta").is_ok()
        });
    });
    leave(&cluster, "alpha");
    leave(&cluster, "beta");
}

#[test]
fn by_its_rights_alone_an_agent_makes_changes_and_deletes_no_report() {
    let cluster = cluster();
    let _turn = cluster.turn();
    join(&cluster, "alpha");
    let agent = Caller::agent_of(&cluster, "alpha");
    let own = stored(&cluster, "alpha");
    let path = format!("{REPORTS}/alpha");
    assert_refused(
        &agent.post(REPORTS, &report("omega", "1")),
        "cannot create resource",
    );
    assert_refused(&agent.put(&path, &own), "cannot update resource");
    assert_refused(
        &agent.put(&format!("{path}/status"), &own),
        "cannot update resource",
    );
    assert_refused(&agent.delete(&path), "cannot delete resource");
    assert_refused(&agent.delete(REPORTS), "cannot deletecollection resource");
    leave(&cluster, "alpha");
}

#[test]
fn a_role_that_somebody_widens_opens_nothing() {
    let cluster = cluster();
    let _turn = cluster.turn();
    join(&cluster, "alpha");
    join(&cluster, "beta");
    let agent = Caller::agent_of(&cluster, "alpha");
    let unbound = Caller::unbound(&cluster, "postern-agent");
    let (own, other) = (format!("{REPORTS}/alpha"), format!("{REPORTS}/beta"));
    widened(&cluster, || {
        let made = "the operator makes and deletes NodeReports";
        assert_refused(&agent.delete(&own), made);
        assert_refused(&agent.delete(&other), "this token is of node alpha");
        assert_refused(
            &agent.delete(REPORTS),
            "admission policy 'postern-node-reports'",
        );
        let another = report("omega", "1");
        assert_refused(
            &agent.post(REPORTS, &another),
            "this token is of node alpha",
        );

        let mut changed = stored(&cluster, "alpha");
        changed["metadata"]["labels"] = json!({"team": "a"});
        assert_refused(
            &agent.put(&own, &changed),
            "spec and metadata of a NodeReport are the operator's",
        );
        let other_status = format!("{other}/status");
        let beta = stored(&cluster, "beta");
        assert_refused(
            &agent.put(&other_status, &beta),
            "this token is of node alpha",
        );
        agent
            .put(&format!("{own}/status"), &stored(&cluster, "alpha"))
            .unwrap();

        assert_refused(&post_status(&unbound, "alpha"), "is bound to no node");
        assert_refused(&unbound.delete(&own), "is bound to no node");
    });
    // What would be its own report again, made by itself.
    let uid = stored(&cluster, "alpha")["spec"]["nodeUID"].clone();
    cluster.delete(&own).unwrap();
    widened(&cluster, || {
        let again = report("alpha", uid.as_str().unwrap());
        let made = "the operator makes and deletes NodeReports";
        assert_refused(&agent.post(REPORTS, &again), made);
        cluster.without_binding(POLICY, || {
            cluster.eventually("without the binding an agent makes a report", || {
                agent.post(REPORTS, &again).is_ok()
            });
        });
    });
    leave(&cluster, "alpha");
    leave(&cluster, "beta");
}

#[test]
fn a_token_of_an_older_node_of_the_same_name_writes_nothing() {
    let cluster = cluster();
    let _turn = cluster.turn();
    join(&cluster, "gamma");
    let older = Caller::agent_of(&cluster, "gamma");
    post_status(&older, "gamma").unwrap();
    leave(&cluster, "gamma");
    join(&cluster, "gamma");

    assert_refused(
        &post_status(&older, "gamma"),
        "the node was deleted and made again under its name",
    );
    let newer = Caller::agent_of(&cluster, "gamma");
    post_status(&newer, "gamma").unwrap();
    leave(&cluster, "gamma");
}
