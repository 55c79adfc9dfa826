//! The acts of each step of an uninstallation, and the states that it waits for.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use posternctl::cluster::UnreadableObject;
use posternctl::uninstall::{
    ObjectMark, RemovalAct, UninstallReading, UninstallStep, acts, left, node_pod, plugin_patch,
    unreleased,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use UninstallStep::{
    Definitions, Hosts, Nodes, Objects, Operator, Plugin, Policies, Scopes, Workloads,
};

fn now() -> Timestamp {
    "2026-11-23T04:00:00Z".parse().expect("a time")
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn mark(name: &str) -> ObjectMark {
    ObjectMark {
        name: name.to_owned(),
        ..ObjectMark::default()
    }
}

fn report(node: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": node}, "spec": {"nodeUID": "u"}, "status": status,
    })
}

/// The agents' DaemonSet as it is installed.
fn agents() -> DaemonSet {
    let text = include_str!("../../../../deploy/base/agent/daemonset.yaml");
    // An API server reads octal numbers as YAML 1.1 has them.
    let text = text.replace("defaultMode: 0400", "defaultMode: 256");
    let mut set: DaemonSet = serde_saphyr::from_str(&text).expect("a DaemonSet");
    set.metadata.generation = Some(1);
    set
}

fn lease(holder: &str, renewed: &str) -> Value {
    json!({
        "metadata": {"name": "postern-operator"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
    })
}

/// A cluster in which Postern guards: one policy, one labelled namespace, an operator that leads, one node.
fn guarding() -> UninstallReading {
    let scope = json!({"id": "s", "posture": "TunnelOnly", "state": "Enforcing"});
    let status = json!({"scopes": [scope], "guardedNamespaces": ["shop"]});
    UninstallReading {
        policies: vec![ObjectMark {
            namespace: Some("shop".to_owned()),
            ..mark("crawler")
        }],
        labelled: vec!["shop".to_owned()],
        reports: vec![Ok(object(report("n1", &status)))],
        operator: Some(object(json!({
            "metadata": {"name": "postern-operator"},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
        }))),
        lease: Some(object(lease("op_1", "2026-11-23T03:59:55.000000Z"))),
        agents: Some(agents()),
        exits: vec![mark("eu")],
        intents: vec![mark("n1")],
        definitions: vec![mark("exitnodes.postern.dev")],
        ..UninstallReading::default()
    }
}

fn done(step: UninstallStep, reading: &UninstallReading) -> Vec<String> {
    let acts = acts(step, reading, "uninstall").into_iter();
    acts.map(|act| act.to_string()).collect()
}

fn waits(step: UninstallStep, reading: &UninstallReading) -> String {
    left(step, reading, now()).join("\n")
}

fn assert_waits(step: UninstallStep, reading: &UninstallReading, words: &[&str]) {
    let found = waits(step, reading);
    for words in words {
        assert!(found.contains(words), "{step:?}: {found:?} lacks {words:?}");
    }
}

#[test]
fn where_nothing_of_postern_is_no_step_waits_or_does_anything() {
    let nothing = UninstallReading::default();
    for step in UninstallStep::ALL {
        assert_eq!(waits(step, &nothing), "", "{step:?}");
        assert_eq!(done(step, &nothing), [""; 0], "{step:?}");
    }
}

#[test]
fn policies_and_labels_go_first_and_what_is_going_is_not_deleted_again() {
    let mut reading = guarding();
    let wanted = [
        "delete EgressPolicy shop/crawler",
        "take the label from namespace shop",
    ];
    assert_eq!(done(Policies, &reading), wanted);
    reading.policies[0].is_going = true;
    reading.labelled.clear();
    assert_eq!(done(Policies, &reading), [""; 0]);
    assert_waits(Policies, &reading, &["shop/crawler is being deleted"]);
}

#[test]
fn scopes_wait_for_the_reports_of_every_node_and_say_what_to_approve() {
    let mut reading = guarding();
    assert_waits(
        Scopes,
        &reading,
        &["node n1 reports 1 scopes and 1 guarded namespaces"],
    );
    reading.held = object(json!([{
        "subject": {"policy": "shop/crawler"}, "cause": "PolicyDeleted", "digest": "0123",
        "since": "2026-11-23T03:58:00Z", "pods": 40,
    }]));
    assert_waits(
        Scopes,
        &reading,
        &["posternctl approve policy shop/crawler", "40 pods"],
    );
    reading.held.clear();
    reading.reports = vec![Ok(object(report("n1", &json!({"appliedSerial": 9}))))];
    assert_eq!(waits(Scopes, &reading), "");
}

#[test]
fn where_nobody_leads_the_wait_for_signed_releases_says_so() {
    let mut reading = guarding();
    for lease in [
        None,
        Some(object(lease("", "2026-11-23T03:59:55.000000Z"))),
        // Longer ago than the Lease lasts and clocks may differ.
        Some(object(lease("op_1", "2026-11-23T03:58:40.000000Z"))),
    ] {
        reading.lease = lease;
        assert_waits(Scopes, &reading, &["no operator leads"]);
    }
}

#[test]
fn the_operator_is_stopped_and_its_pods_and_its_lease_are_waited_for() {
    let mut reading = guarding();
    assert_eq!(
        done(Operator, &reading),
        ["scale Deployment postern-operator to 0"]
    );
    let operator = reading.operator.as_mut().expect("a Deployment");
    operator.spec.replicas = Some(0);
    reading.pods = vec![object(json!({
        "metadata": {"name": "postern-operator-x", "labels": {"app.kubernetes.io/component": "operator"}},
        "status": {"phase": "Running"},
    }))];
    assert_eq!(done(Operator, &reading), [""; 0]);
    assert_waits(
        Operator,
        &reading,
        &["Pod postern-operator-x is Running", "op_1 holds the Lease"],
    );
    reading.pods.clear();
    reading.lease = Some(object(lease("", "2026-11-23T03:59:55.000000Z")));
    assert_eq!(waits(Operator, &reading), "");
}

#[test]
fn the_plugin_goes_by_a_container_that_runs_before_each_agent_and_never_twice() {
    let reading = guarding();
    assert_eq!(done(Plugin, &reading).len(), 1);
    assert_waits(Plugin, &reading, &["keep the plugin installed"]);
    let patch = plugin_patch(&agents()).expect("a patch");
    let spec = &patch["spec"]["template"]["spec"];
    let removal = &spec["initContainers"][0];
    assert_eq!(removal["command"], json!(["postern-cni"]));
    let arguments = json!(["remove", "--configuration-folder=/host/etc/cni/net.d"]);
    assert_eq!(removal["args"], arguments);
    let mounts = removal["volumeMounts"].as_array().expect("mounts");
    assert!(
        mounts
            .iter()
            .any(|one| one["mountPath"] == "/host/etc/cni/net.d")
    );
    assert_eq!(
        spec["containers"],
        json!([{"name": "plugin", "$patch": "delete"}])
    );
}

#[test]
fn the_plugin_counts_as_gone_when_every_pod_of_the_changed_daemon_set_is_ready() {
    let mut reading = guarding();
    let agents = reading.agents.as_mut().expect("a DaemonSet");
    let spec = agents.spec.template.spec.as_mut().expect("a spec");
    spec.containers.retain(|one| one.name != "plugin");
    agents.metadata.generation = Some(2);
    for (seen, updated, available, is_done) in [
        (1, 2, 2, false),
        (2, 1, 2, false),
        (2, 2, 1, false),
        (2, 2, 2, true),
    ] {
        let agents = reading.agents.as_mut().expect("a DaemonSet");
        agents.status = Some(object(json!({
            "currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0,
            "numberReady": available, "observedGeneration": seen,
            "updatedNumberScheduled": updated, "numberAvailable": available,
        })));
        assert_eq!(
            waits(Plugin, &reading).is_empty(),
            is_done,
            "{seen} {updated} {available}"
        );
        assert_eq!(done(Plugin, &reading), [""; 0]);
    }
}

#[test]
fn an_agent_that_has_released_its_node_is_not_waited_for_to_be_ready_again() {
    let mut reading = guarding();
    let agents = reading.agents.as_mut().expect("a DaemonSet");
    let spec = agents.spec.template.spec.as_mut().expect("a spec");
    spec.containers.retain(|one| one.name != "plugin");
    agents.status = Some(object(json!({
        "currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0,
        "numberReady": 1, "observedGeneration": 1, "updatedNumberScheduled": 2, "numberAvailable": 1,
    })));
    assert_waits(Plugin, &reading, &["1 are available"]);
    reading.reports = vec![Ok(object(report("n1", &json!({"released": true}))))];
    assert_eq!(waits(Plugin, &reading), "");
}

#[test]
fn each_node_that_is_not_released_gets_one_pod() {
    let mut reading = guarding();
    reading
        .reports
        .push(Ok(object(report("n2", &json!({"released": true})))));
    let wanted = ["create a Pod that releases node n1"];
    assert_eq!(done(Nodes, &reading), wanted);
    reading.pods = vec![object(json!({
        "metadata": {"name": "u", "labels": {"app.kubernetes.io/component": "uninstall"}},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Pending", "initContainerStatuses": [{
            "name": "release", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "ImagePullBackOff"}},
        }]},
    }))];
    assert_eq!(done(Nodes, &reading), [""; 0]);
    assert_waits(Nodes, &reading, &["its Pod is Pending (ImagePullBackOff)"]);
}

#[test]
fn without_a_daemon_set_a_person_is_told_what_to_run_on_the_node() {
    let mut reading = guarding();
    reading.agents = None;
    assert_eq!(done(Nodes, &reading), [""; 0]);
    let words = [
        "node n1 does not report Released",
        "postern-agent release --reason",
    ];
    assert_waits(Nodes, &reading, &words);
}

#[test]
fn a_report_that_is_missing_its_status_or_cannot_be_read_counts_as_guarded() {
    let mut reading = guarding();
    reading.reports = vec![
        Ok(object(report("n1", &Value::Null))),
        Err(UnreadableObject {
            namespace: None,
            name: "n2".to_owned(),
            why: "no such state".to_owned(),
        }),
    ];
    assert_eq!(unreleased(&reading).len(), 2);
}

#[test]
fn the_pod_of_a_node_has_the_agents_image_and_folders_and_no_credentials() {
    let pod = node_pod(&agents(), "n1", "moving away").expect("a Pod");
    let pod = serde_json::to_value(pod).expect("JSON");
    let spec = &pod["spec"];
    assert_eq!(spec["nodeName"], "n1");
    assert_eq!(spec["hostNetwork"], true);
    assert_eq!(spec["restartPolicy"], "OnFailure");
    let release = &spec["initContainers"][0];
    assert_eq!(release["command"], json!(["postern-agent"]));
    let arguments = json!(["release", "--reason=moving away", "--run-dir=/run/postern"]);
    assert_eq!(release["args"], arguments);
    let cleanup = &spec["containers"][0];
    let arguments = json!([
        "cleanup",
        "--state-dir=/var/lib/postern",
        "--run-dir=/run/postern"
    ]);
    assert_eq!(cleanup["args"], arguments);
    for container in [release, cleanup] {
        assert_eq!(container["image"], "postern-agent:0.1.0");
        assert_eq!(
            container["securityContext"]["capabilities"]["drop"],
            json!(["ALL"])
        );
        assert!(container["livenessProbe"].is_null(), "{container}");
    }
    let text = spec.to_string();
    for absent in ["postern-trust", "serviceAccountToken", "/opt/cni/bin"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn a_step_that_removes_what_guards_needs_every_node_released_and_none_before_it_does() {
    let needs = |step: &UninstallStep| step.needs_released_nodes();
    let all = UninstallStep::ALL;
    let first = all.iter().position(needs).expect("a step");
    assert_eq!(all[first], Workloads);
    assert_eq!(all[first - 1], Nodes);
    assert!(all[first..].iter().all(needs), "{all:?}");
}

#[test]
fn hosts_wait_for_the_pods_that_clean_up_and_delete_those_that_succeeded() {
    let pod = |name: &str, phase: &str| {
        object(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "uninstall"}},
            "status": {"phase": phase},
        }))
    };
    let reading = UninstallReading {
        pods: vec![pod("one", "Succeeded"), pod("two", "Running")],
        ..UninstallReading::default()
    };
    assert_eq!(done(Hosts, &reading), ["delete Pod one"]);
    assert_waits(Hosts, &reading, &["Pod two is Running"]);
}

#[test]
fn objects_go_before_their_definitions() {
    let reading = guarding();
    let wanted = [
        "delete ExitNode eu",
        "delete NodeIntent n1",
        "delete NodeReport n1",
    ];
    assert_eq!(done(Objects, &reading), wanted);
    let wanted = ["delete CustomResourceDefinition exitnodes.postern.dev"];
    assert_eq!(done(Definitions, &reading), wanted);
    assert!(Objects < Definitions);
}

#[test]
fn the_daemon_sets_are_deleted_once() {
    let mut reading = guarding();
    assert_eq!(
        done(Workloads, &reading),
        ["delete DaemonSet postern-system/postern-agent"]
    );
    let agents = reading.agents.as_mut().expect("a DaemonSet");
    agents.metadata.deletion_timestamp = Some(object(json!("2026-11-23T03:59:00Z")));
    let acts = acts(Workloads, &reading, "uninstall");
    assert_eq!(acts, Vec::<RemovalAct>::new());
    assert_waits(Workloads, &reading, &["DaemonSet postern-agent is there"]);
}
