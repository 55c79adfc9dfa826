//! Findings of the doctor: their gravity, objects and acts.

use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_intent::envelope::PayloadType;
use postern_intent::sign::sign_bytes;
use posternctl::cluster::{ClusterObjects, ReadResult, UnreadableObject};
use posternctl::doctor::{DoctorFinding, DoctorReport, DoctorSnapshot, Gravity, KnownNode};
use posternctl::output::TableOutput as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use Gravity::{Blocked, Degraded, Notice, Open};

const LATELY: &str = "2026-11-23T03:59:30.000000Z";

fn now() -> Timestamp {
    "2026-11-23T04:00:00Z".parse().expect("a time")
}

fn object<K: DeserializeOwned>(value: Value) -> ReadResult<K> {
    Ok(serde_json::from_value(value).expect("an object"))
}

/// Conditions that all hold but the one that is given.
fn conditions(kinds: &[&str], but: Option<(&str, &str)>) -> Value {
    let one = |kind: &&str| {
        let but = but.filter(|(found, _)| found == kind);
        let (status, reason) = but.map_or(("True", "Accepted"), |(_, reason)| ("False", reason));
        json!({
            "type": kind, "status": status, "reason": reason, "message": format!("about {kind}"),
            "observedGeneration": 2, "lastTransitionTime": "2026-11-23T03:00:00Z",
        })
    };
    kinds.iter().map(one).collect()
}

const OF_POLICIES: [&str; 5] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Ready",
    "FullyEnforced",
];
const OF_CLUSTER_POLICIES: [&str; 3] = ["Accepted", "Programmed", "FullyEnforced"];
const OF_EXITS: [&str; 5] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Ready",
    "SettingsAccepted",
];
const OF_NODES: [&str; 7] = [
    "Accepted",
    "Programmed",
    "Verified",
    "FailClosed",
    "SourceBinding",
    "SecondLock",
    "Preflight",
];

fn policy(but: Option<(&str, &str)>) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "shop", "name": "crawler", "generation": 2},
        "spec": {
            "podSelector": {}, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "eu"}]},
        },
        "status": {"conditions": conditions(&OF_POLICIES, but)},
    })
}

fn administrators(but: Option<(&str, &str)>) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": {"name": "company", "generation": 2},
        "spec": {
            "tier": "Admin", "priority": 10, "subject": {"namespaces": {}},
            "rules": [{"action": "Deny", "to": [{"cidr": "198.51.100.0/24"}]}],
        },
        "status": {"conditions": conditions(&OF_CLUSTER_POLICIES, but)},
    })
}

fn exit(but: Option<(&str, &str)>) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode",
        "metadata": {"name": "eu", "generation": 2}, "spec": {"gateway": {"nodeSelector": {}}},
        "status": {"conditions": conditions(&OF_EXITS, but)},
    })
}

fn intent(node: &str) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
        "metadata": {"name": node}, "spec": {"nodeUID": "u", "serial": 9},
    })
}

fn report(node: &str, but: Option<(&str, &str)>) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": node}, "spec": {"nodeUID": "u"},
        "status": {
            "conditions": conditions(&OF_NODES, but), "agentVersion": "0.1.0",
            "appliedSerial": 9, "verifiedAt": LATELY,
        },
    })
}

fn lease(holder: &str, renewed: &str) -> Value {
    json!({
        "metadata": {"name": "postern-operator"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
    })
}

fn known(name: &str) -> KnownNode {
    KnownNode {
        name: name.to_owned(),
        is_linux: true,
    }
}

/// A cluster in which nothing is wrong.
fn good() -> DoctorSnapshot {
    DoctorSnapshot {
        objects: ClusterObjects {
            policies: vec![object(policy(None))],
            cluster_policies: vec![object(administrators(None))],
            exits: vec![object(exit(None))],
            intents: vec![object(intent("n1"))],
            reports: vec![object(report("n1", None))],
            held: Vec::new(),
        },
        lease: Ok(Some(object(lease("op_1", LATELY)).expect("a Lease"))),
        nodes: Ok(vec![known("n1")]),
        now: now(),
    }
}

fn findings(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    DoctorReport::of(snapshot).findings
}

/// Asserts that this is the only finding, and that it has a message and an action.
fn assert_only(snapshot: &DoctorSnapshot, gravity: Gravity, reason: &str, named: &str) {
    let found = findings(snapshot);
    let [one] = &found[..] else {
        panic!("one finding {reason}, not {found:#?}");
    };
    assert_eq!(
        (one.gravity, one.reason.as_str()),
        (gravity, reason),
        "{one:?}"
    );
    assert_eq!(format!("{} {}", one.kind, one.objects.join(",")), named);
    assert!(!one.message.is_empty() && !one.action.is_empty(), "{one:?}");
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    let report = DoctorReport::of(&good());
    assert_eq!(report.findings, []);
    assert!(report.is_well());
    assert_eq!(report.table(), "nothing is wrong");
}

#[test]
fn a_policy_of_administrators_that_is_refused_or_asked_for_too_few_pods_is_found() {
    for (kind, reason, gravity) in [
        ("Accepted", "NotImplemented", Blocked),
        ("FullyEnforced", "Ungoverned", Notice),
    ] {
        let mut snapshot = good();
        snapshot.objects.cluster_policies = vec![object(administrators(Some((kind, reason))))];
        assert_only(&snapshot, gravity, reason, "ClusterEgressPolicy company");
    }
}

#[test]
fn a_condition_that_does_not_hold_is_as_grave_as_what_it_means_for_pods() {
    for (kind, reason, gravity) in [
        ("FullyEnforced", "DataplaneBypassed", Open),
        ("Ready", "FailedOpen", Open),
        ("Ready", "NoExit", Blocked),
        ("Accepted", "NotPermitted", Blocked),
        ("Programmed", "ReleaseHeld", Degraded),
        ("Programmed", "Converging", Notice),
        ("Ready", "AReasonOfALaterVersion", Degraded),
    ] {
        let mut snapshot = good();
        snapshot.objects.policies = vec![object(policy(Some((kind, reason))))];
        assert_only(&snapshot, gravity, reason, "EgressPolicy shop/crawler");
    }
    for (kind, reason, gravity) in [
        ("Ready", "NoUplink", Blocked),
        ("SettingsAccepted", "SettingsRefused", Degraded),
    ] {
        let mut snapshot = good();
        snapshot.objects.exits = vec![object(exit(Some((kind, reason))))];
        assert_only(&snapshot, gravity, reason, "ExitNode eu");
    }
    for (kind, reason, gravity) in [
        ("FailClosed", "NoGuard", Open),
        ("SourceBinding", "Unbound", Open),
        ("SecondLock", "NoSecondLock", Degraded),
        ("SecondLock", "RangesUnknown", Degraded),
        ("Preflight", "CheckFailed", Degraded),
        ("Programmed", "NoTunnel", Blocked),
    ] {
        let mut snapshot = good();
        snapshot.objects.reports = vec![object(report("n1", Some((kind, reason))))];
        assert_only(&snapshot, gravity, reason, "Node n1");
    }
}

#[test]
fn every_reason_that_a_condition_can_have_has_an_action() {
    for reason in Reason::ALL {
        let mut snapshot = good();
        snapshot.objects.policies = vec![object(policy(Some(("Ready", reason.as_str()))))];
        let found = findings(&snapshot);
        let [one] = &found[..] else {
            panic!("{reason}: {found:?}");
        };
        assert!(one.action.len() > 10, "{one:?}");
    }
}

#[test]
fn each_explaining_condition_of_an_object_is_a_finding_of_its_own() {
    let mut bad = policy(Some(("FullyEnforced", "HostNetwork")));
    bad["status"]["conditions"][3]["status"] = json!("False");
    bad["status"]["conditions"][3]["reason"] = json!("NoExit");
    bad["status"]["conditions"][2]["status"] = json!("False");
    bad["status"]["conditions"][2]["reason"] = json!("Converging");
    let mut snapshot = good();
    snapshot.objects.policies = vec![object(bad)];
    let found = findings(&snapshot);
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.gravity, one.reason.as_str()))
        .collect();
    assert_eq!(found, [(Open, "HostNetwork"), (Blocked, "NoExit")]);
}

#[test]
fn a_node_for_which_no_agent_ever_spoke_is_open() {
    let mut snapshot = good();
    snapshot.nodes = Ok(vec![known("n1"), known("n2")]);
    assert_only(&snapshot, Open, "NoAgent", "Node n2");
    snapshot.nodes = Ok(vec![
        known("n1"),
        KnownNode {
            is_linux: false,
            ..known("w1")
        },
    ]);
    assert_only(&snapshot, Open, "NoAgent", "Node w1");
}

#[test]
fn a_released_node_is_open_and_what_a_release_takes_away_is_no_finding() {
    let mut released = report("n1", Some(("SecondLock", "NoSecondLock")));
    released["status"]["released"] = json!(true);
    let mut snapshot = good();
    snapshot.objects.reports = vec![object(released)];
    assert_only(&snapshot, Open, "Released", "Node n1");
}

#[test]
fn mismatches_and_the_newest_refusal_are_told_and_an_older_refusal_is_history() {
    let mut bad = report("n1", None);
    bad["status"]["mismatches"] = json!([{
        "object": "route table 7101 default", "difference": "Missing", "message": "not there",
    }]);
    let mut snapshot = good();
    snapshot.objects.reports = vec![object(bad)];
    assert_only(&snapshot, Degraded, "Mismatch", "Node n1");

    for (serial, count) in [(10, 1), (8, 0)] {
        let mut bad = report("n1", None);
        bad["status"]["refusals"] = json!([{"reason": "BadSignature", "serial": serial}]);
        snapshot.objects.reports = vec![object(bad)];
        let found = findings(&snapshot);
        assert_eq!(found.len(), count, "{serial}: {found:?}");
    }
}

#[test]
fn an_agent_that_is_silent_or_of_an_older_version_is_named() {
    let mut old = report("n1", None);
    old["status"]["verifiedAt"] = json!("2026-11-23T03:50:00.000000Z");
    let mut snapshot = good();
    snapshot.objects.reports = vec![object(old)];
    assert_only(&snapshot, Degraded, "Stale", "Node n1");

    let mut other = report("n2", None);
    other["status"]["agentVersion"] = json!("0.10.0");
    let mut snapshot = good();
    snapshot.objects.intents.push(object(intent("n2")));
    snapshot.objects.reports.push(object(other));
    assert_only(&snapshot, Notice, "OtherVersion", "Node n1");
}

#[test]
fn where_no_operator_leads_it_is_told_and_clocks_may_differ() {
    for bad in [
        Ok(None),
        Ok(Some(lease("", LATELY))),
        Ok(Some(lease("op_1", "2026-11-23T03:58:30.000000Z"))),
    ] {
        let mut snapshot = good();
        snapshot.lease = bad.map(|lease| lease.map(|lease| object(lease).expect("a Lease")));
        assert_only(&snapshot, Degraded, "NoLeader", "Lease postern-operator");
    }
    let mut snapshot = good();
    let fine = lease("op_1", "2026-11-23T03:58:50.000000Z");
    snapshot.lease = Ok(Some(object(fine).expect("a Lease")));
    assert_eq!(findings(&snapshot), []);
}

/// An intent whose document has these times; its payload is packed as the operator packs it.
fn dated(issued: &str, not_after: &str) -> Value {
    let body = json!({"issuedAt": issued, "notAfter": not_after});
    let packed = postern_intent::envelope::pack(body.to_string().as_bytes()).expect("gzip");
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let envelope = sign_bytes(PayloadType::Intent, &packed, &[key]).expect("an envelope");
    let mut intent = intent("n1");
    intent["spec"]["notAfter"] = json!(not_after);
    intent["spec"]["envelope"] = serde_json::to_value(envelope).expect("JSON");
    intent
}

#[test]
fn a_document_that_is_not_issued_anew_is_late_in_its_last_quarter_and_blocks_when_it_has_run_out() {
    for (issued, not_after, wanted) in [
        ("2026-11-23T03:00:00Z", "2026-11-24T03:00:00Z", None),
        ("2026-11-23T03:30:00Z", "2026-11-23T04:15:00Z", None),
        (
            "2026-11-22T09:00:00Z",
            "2026-11-23T09:00:00Z",
            Some((Degraded, "ExpiresSoon")),
        ),
        (
            "2026-11-22T03:00:00Z",
            "2026-11-23T03:00:00Z",
            Some((Blocked, "LeaseExpired")),
        ),
    ] {
        let mut snapshot = good();
        snapshot.objects.intents = vec![object(dated(issued, not_after))];
        match wanted {
            None => assert_eq!(findings(&snapshot), [], "{issued}"),
            Some((gravity, reason)) => {
                assert_only(&snapshot, gravity, reason, "NodeIntent n1");
            }
        }
    }
}

#[test]
fn what_waits_for_an_approval_is_told_with_the_command() {
    let mut snapshot = good();
    snapshot.objects.held = serde_json::from_value(json!([{
        "subject": {"policy": "shop/other"}, "cause": "PolicyDeleted", "digest": "0123",
        "since": "2026-11-23T03:58:00Z", "pods": 40,
    }]))
    .expect("what is held");
    assert_only(
        &snapshot,
        Degraded,
        "ReleaseHeld",
        "EgressPolicy shop/other",
    );
    let message = &findings(&snapshot)[0].message;
    assert!(
        message.contains("posternctl approve policy shop/other"),
        "{message}"
    );
}

#[test]
fn findings_of_one_reason_are_one_and_the_gravest_come_first() {
    let mut snapshot = good();
    snapshot.objects.exits = vec![object(exit(Some(("Ready", "NoUplink"))))];
    let nodes: Vec<KnownNode> = (1..=9).map(|number| known(&format!("n{number}"))).collect();
    snapshot.nodes = Ok(nodes);
    let report = DoctorReport::of(&snapshot);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|one| (one.gravity, one.objects.len()))
        .collect();
    assert_eq!(found, [(Open, 8), (Blocked, 1)]);
    let table = report.table();
    assert!(
        table.starts_with("Open      NoAgent: Node n2, n3, n4 and 5 more\n"),
        "{table}"
    );
    let summary = "found: 8 open, 1 blocked, 0 degraded, 0 of notice";
    assert!(table.ends_with(summary), "{table}");
}

#[test]
fn what_could_not_be_looked_at_is_a_finding_and_never_counts_as_well() {
    let mut snapshot = good();
    snapshot.nodes = Err("the right to list nodes is missing".to_owned());
    assert_only(&snapshot, Notice, "NotLookedAt", "Node *");
    let mut snapshot = good();
    snapshot.lease = Err("the right to get leases is missing".to_owned());
    assert_only(&snapshot, Notice, "NotLookedAt", "Lease postern-operator");
    let mut snapshot = good();
    snapshot.objects.exits = vec![Err(UnreadableObject {
        namespace: None,
        name: "eu".to_owned(),
        why: "no such path".to_owned(),
    })];
    assert_only(&snapshot, Degraded, "Invalid", "ExitNode eu");
}
