//! What the publisher does when its own files are lost or damaged: nothing opens, and who is not concerned goes on.

use std::error::Error;
use std::fs;

use postern_intent::body::{BlockedReason, Class};
use postern_intent::verify::verify_published_cluster;
use posternctl::files::publish_once;

use crate::folder::Lab;

fn published() -> Lab {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    lab
}

const COPY: &str = "publisher/intents/worker/intent.dsse.json";
const SHOWN: &str = "intents/worker/intent.dsse.json";
const STATE: &str = "publisher/state.json";

fn read(lab: &Lab, name: &str) -> Vec<u8> {
    fs::read(lab.path(name)).expect("a file")
}

/// Why a run does nothing, with all causes.
fn failure(lab: &Lab) -> String {
    let error = publish_once(&lab.path(""), &lab.options, lab.now).expect_err("a failure");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn a_lost_or_damaged_copy_is_made_again_from_what_is_shown() {
    for content in [None, Some("{}"), Some("not JSON")] {
        let lab = published();
        let before = lab.bytes("worker");
        match content {
            None => fs::remove_file(lab.path(COPY)).expect("a copy"),
            Some(content) => lab.write(COPY, content),
        }
        let outcome = lab.publish();
        assert!(outcome.written.is_empty() && outcome.restored.is_empty());
        assert_eq!(read(&lab, COPY), before);
        assert_eq!(lab.bytes("worker"), before);
    }
}

#[test]
fn a_node_whose_envelope_is_damaged_everywhere_gets_nothing_and_the_others_go_on() {
    let mut lab = published();
    lab.write(COPY, "{}");
    lab.write(SHOWN, "{ half");
    fs::remove_file(lab.path("manifests/20-crawlers.yaml")).expect("a file");
    lab.now += jiff::SignedDuration::from_mins(1);
    let outcome = lab.publish();
    assert_eq!(outcome.restored, ["worker".parse().expect("a name")]);
    assert_eq!(outcome.written, ["gw".parse().expect("a name")]);
    assert_eq!(read(&lab, SHOWN), b"{ half");
    assert_eq!(read(&lab, COPY), b"{}");
    let told = fs::read_to_string(lab.path("verdicts.json")).expect("verdicts");
    for part in [COPY, SHOWN, "posternctl approve node worker"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_cluster_document_that_is_damaged_everywhere_holds_the_nodes_that_have_taken_it() {
    let lab = published();
    let taken: serde_json::Value =
        serde_json::from_slice(&read(&lab, "publisher/intents/cluster.dsse.json")).expect("JSON");
    let envelope = serde_json::from_value(taken).expect("an envelope");
    let keys = &lab.options.trusted;
    let document = verify_published_cluster(&envelope, keys).expect("a document");
    let report = fs::read_to_string(lab.path("reports/worker.json")).expect("a report");
    let mut report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    report["status"]["ledgerClusterSerial"] = document.get().serial.0.into();
    lab.write("reports/worker.json", &report.to_string());
    for path in [
        "publisher/intents/cluster.dsse.json",
        "intents/cluster.dsse.json",
    ] {
        lab.write(path, "{ half");
    }
    let outcome = lab.publish();
    assert_eq!(outcome.restored, ["worker".parse().expect("a name")]);
    let told = fs::read_to_string(lab.path("verdicts.json")).expect("verdicts");
    assert!(told.contains("posternctl approve node NODE"), "{told}");
    assert!(!told.contains("approve node cluster.postern.dev"), "{told}");
}

#[test]
fn an_envelope_of_another_node_or_another_key_does_not_count() {
    let mut lab = published();
    let other = lab.bytes("gw");
    fs::write(lab.path(COPY), &other).expect("a file");
    fs::write(lab.path(SHOWN), &other).expect("a file");
    assert_eq!(lab.publish().restored.len(), 1);
    let key = posternctl::keys::generate().expect("a key");
    lab.options.trusted =
        posternctl::keys::trust_in(std::slice::from_ref(&key)).expect("a key set");
    lab.options.signing_keys = vec![key];
    assert_eq!(lab.publish().restored.len(), 2);
}

#[test]
fn a_lost_state_publishes_nothing_and_says_what_to_do() {
    let mut lab = published();
    fs::remove_file(lab.path(STATE)).expect("a state");
    let before = lab.bytes("worker");
    lab.now += jiff::SignedDuration::from_hours(2);
    let why = failure(&lab);
    assert!(
        why.contains("state.json") && why.contains("backup") && why.contains("{}"),
        "{why}"
    );
    assert_eq!(lab.bytes("worker"), before);
}

#[test]
fn an_object_keeps_its_uid_over_a_lost_state() {
    let mut lab = published();
    lab.now += jiff::SignedDuration::from_secs(7);
    lab.write(STATE, "{}");
    let outcome = lab.publish();
    assert!(outcome.written.is_empty() && outcome.held.is_empty());
    let body = lab.body("worker");
    assert!(matches!(body.pods[0].class, Class::Policy { .. }));
}

#[test]
fn a_first_run_that_died_between_copies_and_state_is_taken_up() {
    let lab = Lab::new();
    lab.report_keys();
    // The copy of the second node cannot be written, and the run ends there.
    lab.write("publisher/intents/worker", "a file stands in the way");
    assert!(publish_once(&lab.path(""), &lab.options, lab.now).is_err());
    assert!(lab.path("publisher/intents/gw/intent.dsse.json").exists());
    fs::remove_file(lab.path("publisher/intents/worker")).expect("a file");
    assert_eq!(lab.publish().restored.len(), 0);
}

#[test]
fn an_empty_namespace_goes_on_denying_when_its_file_is_gone() {
    let lab = Lab::new();
    lab.report_keys();
    lab.write(
        "manifests/safe.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: safe, labels: {postern.dev/egress-default: deny}}\n",
    );
    lab.publish();
    fs::remove_file(lab.path("manifests/safe.yaml")).expect("a file");
    let safe = "safe".parse().expect("a name");
    for _ in 0..2 {
        lab.publish();
        assert!(lab.body("worker").guarded_namespaces.contains(&safe));
    }
    lab.write(
        "manifests/late.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {namespace: safe, name: late, uid: pod-late}\n\
         spec: {nodeName: worker, containers: []}\nstatus: {podIPs: [{ip: 10.244.2.9}]}\n",
    );
    lab.publish();
    let class = |lab: &Lab| {
        let pods = lab.body("worker").pods;
        let late = pods.into_iter().find(|pod| pod.name.as_str() == "late");
        late.expect("the pod").class
    };
    let denied = Class::Blocked {
        reason: BlockedReason::NamespaceDeny,
    };
    assert_eq!(class(&lab), denied);
    lab.write(
        "manifests/safe.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: safe}\n",
    );
    lab.publish();
    assert_eq!(class(&lab), Class::Released);
}

#[test]
fn a_field_that_nobody_knows_is_refused_by_its_path() {
    let policy = |more: &str| {
        format!(
            "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: crawlers, name: typo{more}}}\n\
             spec: {{podSelector: {{}}, defaultAction: Deny, route: {{type: Exit, exitNodes: [{{name: eu}}]}}}}\n"
        )
    };
    let cases = [
        (policy("").replace("Deny,", "Deny, rulez: [],"), "spec.rulez"),
        (
            policy("").replace("{name: eu}", "{name: eu, heaviness: 3}"),
            "spec.route.exitNodes[0].heaviness",
        ),
        (policy(", tags: {a: b}"), "metadata.tags"),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: safe}\nlabels: {postern.dev/egress-default: deny}\n".to_owned(),
            "labels",
        ),
    ];
    for (manifest, path) in cases {
        let lab = Lab::new();
        lab.write("manifests/typo.yaml", &manifest);
        let why = failure(&lab);
        assert!(
            why.contains(&format!("`{path}`")) && why.contains("typo.yaml"),
            "{why}"
        );
    }
}

#[test]
fn a_field_that_a_newer_kubernetes_has_is_passed_over() {
    let lab = Lab::new();
    lab.report_keys();
    lab.write(
        "manifests/newer.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {namespace: crawlers, name: newer, uid: pod-newer}\n\
         spec: {nodeName: worker, containers: [], fieldOfTheFuture: 1}\nstatus: {alsoNew: true}\n",
    );
    lab.publish();
    assert_eq!(lab.body("worker").pods.len(), 2);
}

#[test]
fn a_load_balancers_addresses_are_inbound() {
    let lab = Lab::new();
    lab.write(
        "manifests/web.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {namespace: crawlers, name: web}\nspec: {type: LoadBalancer}\n\
         status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}\n",
    );
    lab.publish();
    let address = "198.51.100.7".parse().expect("an address");
    let inbound = lab.body("worker").inbound_addresses();
    assert!(inbound.contains(&address), "{inbound:?}");
}

#[test]
fn a_policy_that_came_back_is_another_one() {
    let lab = published();
    let uid = |lab: &Lab| lab.body("worker").firewall[0].policy.uid.clone();
    let (first, file) = (uid(&lab), lab.path("manifests/20-crawlers.yaml"));
    let text = fs::read_to_string(&file).expect("a policy");
    fs::remove_file(&file).expect("a file");
    lab.publish();
    fs::write(&file, text).expect("a file");
    lab.publish();
    assert_ne!(uid(&lab), first);
}
