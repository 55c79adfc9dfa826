//! NodeReports: an agent writes the status of the report of its own node, and nothing else of any.

use serde_json::{Value, json};

use crate::admission::caller::{Caller, assert_refused};
use crate::admission::cluster::{Cluster, NAMESPACE, cluster};

const POLICY: &str = "postern-node-reports";
const REPORTS: &str = "/apis/postern.dev/v1alpha1/nodereports";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// A node, and the report that the operator would make for it. Both go with the value.
struct Joined<'a> {
    cluster: &'a Cluster,
    name: &'static str,
}

impl<'a> Joined<'a> {
    fn as_node(cluster: &'a Cluster, name: &'static str) -> Self {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        let stored = cluster.create("/api/v1/nodes", &node).unwrap();
        let uid = stored["metadata"]["uid"].as_str().unwrap();
        cluster.create(REPORTS, &report(name, uid)).unwrap();
        Self { cluster, name }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        for path in [REPORTS, "/api/v1/nodes"] {
            let gone = self.cluster.delete(&format!("{path}/{}", self.name));
            assert!(std::thread::panicking() || gone.is_ok(), "{gone:?}");
        }
    }
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

/// Gives the agents every right on reports, so that only the policy refuses. Dropping the value takes the right back.
struct Widened<'a>(&'a Cluster);

const WIDENED: &str = "test-widened";

impl<'a> Widened<'a> {
    fn for_agents(cluster: &'a Cluster) -> Self {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": WIDENED},
            "rules": [{
                "apiGroups": ["postern.dev"], "resources": ["nodereports", "nodereports/status"],
                "verbs": ["get", "list", "create", "update", "patch", "delete", "deletecollection"],
            }],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": WIDENED},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": WIDENED},
            "subjects": [{"kind": "ServiceAccount", "name": "postern-agent", "namespace": NAMESPACE}],
        });
        cluster.create(ROLES, &role).unwrap();
        let widened = Self(cluster);
        cluster.create(BINDINGS, &binding).unwrap();
        cluster.eventually("the rights are widened", || widened.may_delete());
        widened
    }

    fn may_delete(&self) -> bool {
        let attributes =
            json!({"group": "postern.dev", "resource": "nodereports", "verb": "delete"});
        self.0.may("postern-agent", &attributes)
    }
}

impl Drop for Widened<'_> {
    fn drop(&mut self) {
        for path in [BINDINGS, ROLES] {
            let gone = self.0.delete(&format!("{path}/{WIDENED}"));
            assert!(std::thread::panicking() || gone.is_ok(), "{gone:?}");
        }
        self.0
            .eventually("the rights are as before", || !self.may_delete());
    }
}

#[test]
fn an_agent_posts_the_report_of_its_own_node_and_of_no_other() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let _alpha = Joined::as_node(&cluster, "alpha");
    let _beta = Joined::as_node(&cluster, "beta");
    let agent = Caller::agent_of(&cluster, "alpha");

    post_status(&agent, "alpha").unwrap();
    assert_eq!(stored(&cluster, "alpha")["status"]["agentVersion"], "0.1.0");
    assert_refused(
        &post_status(&agent, "beta"),
        "this token is of node alpha, which may write NodeReport alpha only, not beta",
    );
    assert_eq!(stored(&cluster, "beta")["status"], Value::Null);

    let unbound = cluster.without_binding(POLICY);
    cluster.eventually("without the binding the other report is open", || {
        post_status(&agent, "beta").is_ok()
    });
    unbound.back(|| post_status(&agent, "beta"));
}

#[test]
fn by_its_rights_alone_an_agent_makes_changes_and_deletes_no_report() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let _alpha = Joined::as_node(&cluster, "alpha");
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
}

#[test]
fn a_role_that_somebody_widens_opens_nothing() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let _alpha = Joined::as_node(&cluster, "alpha");
    let _beta = Joined::as_node(&cluster, "beta");
    let agent = Caller::agent_of(&cluster, "alpha");
    let unbound = Caller::unbound(&cluster, "postern-agent");
    let (own, other) = (format!("{REPORTS}/alpha"), format!("{REPORTS}/beta"));
    let _widened = Widened::for_agents(&cluster);
    let made = "the operator makes and deletes NodeReports";
    let another_node = "this token is of node alpha";
    assert_refused(&agent.delete(&own), made);
    assert_refused(&agent.delete(&other), another_node);
    assert_refused(
        &agent.delete(REPORTS),
        "ValidatingAdmissionPolicy 'postern-node-reports'",
    );
    assert_refused(&agent.post(REPORTS, &report("omega", "1")), another_node);

    let mut changed = stored(&cluster, "alpha");
    changed["metadata"]["labels"] = json!({"team": "a"});
    assert_refused(
        &agent.put(&own, &changed),
        "spec and metadata of a NodeReport are the operator's",
    );
    let status = |path: &str| format!("{path}/status");
    let beta = stored(&cluster, "beta");
    assert_refused(&agent.put(&status(&other), &beta), another_node);
    agent
        .put(&status(&own), &stored(&cluster, "alpha"))
        .unwrap();

    assert_refused(&post_status(&unbound, "alpha"), "is bound to no node");
    assert_refused(&unbound.delete(&own), "is bound to no node");
}

#[test]
fn an_agent_with_every_right_does_not_make_its_own_report_again() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let _alpha = Joined::as_node(&cluster, "alpha");
    let agent = Caller::agent_of(&cluster, "alpha");
    let uid = stored(&cluster, "alpha")["spec"]["nodeUID"].clone();
    let again = report("alpha", uid.as_str().unwrap());
    cluster.delete(&format!("{REPORTS}/alpha")).unwrap();
    let _widened = Widened::for_agents(&cluster);

    assert_refused(
        &agent.post(REPORTS, &again),
        "the operator makes and deletes NodeReports",
    );
    let unbound = cluster.without_binding(POLICY);
    cluster.eventually("without the binding an agent makes a report", || {
        agent.post(REPORTS, &again).is_ok()
    });
    let elsewhere = format!("{REPORTS}?dryRun=All");
    unbound.back(|| agent.post(&elsewhere, &report("omega", "1")));
}

#[test]
fn a_token_of_an_older_node_of_the_same_name_writes_nothing() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let first = Joined::as_node(&cluster, "gamma");
    let older = Caller::agent_of(&cluster, "gamma");
    post_status(&older, "gamma").unwrap();
    drop(first);
    let _second = Joined::as_node(&cluster, "gamma");

    assert_refused(
        &post_status(&older, "gamma"),
        "the node was deleted and made again under its name",
    );
    let newer = Caller::agent_of(&cluster, "gamma");
    post_status(&newer, "gamma").unwrap();
}
