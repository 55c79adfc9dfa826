//! The publisher on a folder: what it reads, what it writes, and what it leaves alone.

use std::collections::BTreeMap;
use std::fs;

use postern_crds::conditions::ConditionType;
use postern_intent::Body;
use postern_intent::body::{BlockedReason, Class, EgressPath, TunnelRole};
use posternctl::files::{PublishOutcome, publish_once};

use crate::folder::{KEYS, Lab};

fn ways(body: &Body) -> BTreeMap<String, EgressPath> {
    body.firewall
        .iter()
        .map(|scope| (scope.id.to_string(), scope.way))
        .collect()
}

/// Why a node is accepted, or is not.
fn accepted(outcome: &PublishOutcome, node: &str) -> String {
    let mut nodes = outcome.verdicts.iter();
    let verdict = nodes.find(|one| one.kind == "Node" && one.name == node);
    let mut found = verdict.expect("a verdict").conditions.iter();
    let accepted = found.find(|one| one.kind == ConditionType::Accepted);
    accepted.expect("a condition").reason.to_string()
}

/// The ways of the worker where it has no key.
fn blocked() -> BTreeMap<String, EgressPath> {
    let blocked = EgressPath::Blocked {
        reason: BlockedReason::NoPeerKey,
    };
    BTreeMap::from([("crawlers/crawler@eu".to_owned(), blocked)])
}

#[test]
fn blocks_until_both_ends_have_reported_their_keys() {
    let lab = Lab::new();
    lab.publish();
    assert_eq!(ways(&lab.body("worker")), blocked());
    lab.report_keys();
    lab.publish();
    assert_eq!(
        ways(&lab.body("worker")),
        BTreeMap::from([("crawlers/crawler@eu".to_owned(), EgressPath::Tunnel)])
    );
}

#[test]
fn a_key_that_is_copied_with_its_proof_is_the_key_of_the_node_that_it_was_copied_from() {
    let lab = Lab::new();
    lab.report_keys();
    let gateway = fs::read_to_string(lab.path("reports/gw.json")).expect("a report");
    let copy = gateway
        .replace("uid-gw", "uid-worker")
        .replace("\"gw\"", "\"worker\"");
    lab.write("reports/worker.json", &copy);
    let outcome = lab.publish();
    assert!(outcome.ignored_reports.is_empty());
    assert_eq!(accepted(&outcome, "worker"), "KeyNotProved");
    assert_eq!(accepted(&outcome, "gw"), "Accepted");
    assert_eq!(ways(&lab.body("worker")), blocked());
    lab.report_keys();
    lab.publish();
    let worker = lab.body("worker");
    assert_eq!(worker.tunnels[0].peers[0].public_key.to_string(), KEYS[0].1);
}

#[test]
fn client_and_gateway_know_each_other() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    let (gateway, worker) = (lab.body("gw"), lab.body("worker"));
    let served = gateway
        .tunnels
        .iter()
        .find(|tunnel| tunnel.role == TunnelRole::Served)
        .expect("a served tunnel");
    let used = worker
        .tunnels
        .iter()
        .find(|tunnel| tunnel.role == TunnelRole::Used)
        .expect("a used tunnel");
    assert_eq!(served.peers[0].public_key.to_string(), KEYS[1].1);
    assert_eq!(used.peers[0].public_key.to_string(), KEYS[0].1);
    assert_eq!(
        used.peers[0].endpoint.map(|endpoint| endpoint.to_string()),
        Some("192.0.2.1:51850".to_owned())
    );
    assert_eq!(served.listen_port, Some(51850));
    let client: Vec<_> = used.addresses.iter().map(|net| net.addr()).collect();
    let allowed: Vec<_> = served.peers[0]
        .allowed_ips
        .iter()
        .map(|prefix| prefix.net().addr())
        .collect();
    assert_eq!(client, allowed);
    assert_eq!(gateway.nat.len(), 1);
    assert_eq!(ways(&gateway).values().next(), Some(&EgressPath::LocalExit));
}

#[test]
fn an_unchanged_node_keeps_its_envelope_until_refresh_is_due() {
    let mut lab = Lab::new();
    lab.report_keys();
    let first = lab.publish();
    assert_eq!(first.written.len(), 2);
    let before = lab.bytes("worker");
    // Before the fifth of the time by which it may be early.
    lab.now += jiff::SignedDuration::from_mins(47);
    assert!(lab.publish().written.is_empty());
    assert_eq!(lab.bytes("worker"), before);
    lab.now += jiff::SignedDuration::from_mins(13);
    assert_eq!(lab.publish().written.len(), 2);
    assert_ne!(lab.bytes("worker"), before);
}

#[test]
fn what_somebody_else_wrote_into_an_intent_is_put_right() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    let before = lab.bytes("worker");
    lab.write("intents/worker/intent.dsse.json", "{}");
    assert!(lab.publish().written.is_empty());
    assert_eq!(lab.bytes("worker"), before);
}

#[test]
fn a_broken_report_stops_nobody_else() {
    let lab = Lab::new();
    lab.report_keys();
    lab.write("reports/worker.json", "{ half");
    let outcome = lab.publish();
    assert_eq!(outcome.ignored_reports.len(), 1);
    assert_eq!(outcome.written.len(), 2);
}

#[test]
fn a_report_speaks_for_its_own_node_only() {
    let lab = Lab::new();
    lab.report_keys();
    fs::rename(
        lab.path("reports/worker.json"),
        lab.path("reports/other.json"),
    )
    .expect("a rename");
    let outcome = lab.publish();
    assert_eq!(outcome.ignored_reports.len(), 1);
    assert_eq!(ways(&lab.body("worker")), blocked());
}

#[test]
fn a_broken_manifest_publishes_nothing_and_leaves_everything() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    let before = lab.bytes("worker");
    lab.write("manifests/broken.yaml", "kind: [");
    assert!(publish_once(&lab.path(""), &lab.options, lab.now).is_err());
    assert_eq!(lab.bytes("worker"), before);
}

#[test]
fn fields_with_nothing_behind_them_are_read_as_absent() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    let before = lab.bytes("worker");
    for (file, after, lines) in [
        (
            "manifests/10-exit.yaml",
            "spec:\n",
            "  relay:\n  paths:\n  mtu:\n",
        ),
        ("manifests/20-crawlers.yaml", "spec:\n", "  priority:\n"),
    ] {
        let text = fs::read_to_string(lab.path(file)).expect("a manifest");
        let edited = text.replacen(after, &format!("{after}{lines}"), 1);
        assert_ne!(text, edited);
        lab.write(file, &edited);
    }
    lab.publish();
    assert_eq!(lab.bytes("worker"), before);
}

#[test]
fn a_deleted_policy_releases_its_pods() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    fs::remove_file(lab.path("manifests/20-crawlers.yaml")).expect("a file");
    lab.publish();
    let body = lab.body("worker");
    assert_eq!(body.pods[0].class, Class::Released);
    assert!(body.firewall.is_empty() && body.tunnels.is_empty() && body.routes.is_empty());
    assert!(
        !body
            .guarded_namespaces
            .contains(&"crawlers".parse().expect("a name"))
    );
}

#[test]
fn a_node_that_has_seen_newer_documents_gets_nothing_until_approved() {
    let lab = Lab::new();
    lab.report_keys();
    lab.publish();
    fs::remove_dir_all(lab.path("intents")).expect("no intents");
    fs::remove_dir_all(lab.path("publisher")).expect("no state");
    lab.report("worker", Some(KEYS[1].1), 1_795_000_000_000);
    let outcome = lab.publish();
    assert_eq!(outcome.restored, ["worker".parse().expect("a name")]);
    assert!(!lab.path("intents/worker/intent.dsse.json").exists());
    let held = &outcome.held[0];
    let approvals = serde_json::json!({"approvals": [
        {"subject": {"node": "worker"}, "cause": "Restored", "digest": held.digest}
    ]});
    lab.write("approvals.yaml", &approvals.to_string());
    assert!(lab.publish().restored.is_empty());
    assert!(lab.body("worker").serial.0 > 1_795_000_000_000);
}
