//! How things stand in a cluster, by objects as an API server has them.

use jiff::Timestamp;
use posternctl::cluster::{ClusterObjects, ReadResult, UnreadableObject};
use posternctl::output::TableOutput as _;
use posternctl::overview::ClusterOverview;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-23T04:00:00Z".parse().expect("a time")
}

fn object<K: DeserializeOwned>(value: Value) -> ReadResult<K> {
    Ok(serde_json::from_value(value).expect("an object"))
}

/// Conditions of generation 2, which all hold but those that are given.
fn conditions(kinds: &[&str], but: &[(&str, &str, &str)]) -> Value {
    let one = |kind: &&str| {
        let but = but.iter().find(|(found, _, _)| found == kind);
        let (status, reason) = but.map_or(("True", "Accepted"), |(_, status, reason)| {
            (*status, *reason)
        });
        json!({
            "type": kind, "status": status, "reason": reason, "message": format!("about {kind}"),
            "observedGeneration": 2, "lastTransitionTime": "2026-11-23T03:00:00Z",
        })
    };
    kinds.iter().map(one).collect()
}

fn policy(name: &str, generation: i64, but: &[(&str, &str, &str)]) -> Value {
    let kinds = [
        "Accepted",
        "ResolvedRefs",
        "Programmed",
        "Ready",
        "FullyEnforced",
    ];
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "shop", "name": name, "generation": generation},
        "spec": {
            "podSelector": {}, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "eu"}]},
        },
        "status": {"conditions": conditions(&kinds, but), "exitNode": "eu", "pods": {"selected": 3, "enforced": 3}},
    })
}

fn exit() -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode",
        "metadata": {"name": "eu", "generation": 2},
        "spec": {"gateway": {"nodeSelector": {}}},
        "status": {
            "conditions": conditions(
                &["Accepted", "ResolvedRefs", "Programmed", "Ready", "SettingsAccepted"],
                &[],
            ),
            "gateways": [{"node": "gw", "role": "Active"}, {"node": "other", "role": "Standby"}],
        },
    })
}

fn intent(serial: u64) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
        "metadata": {"name": "gw"}, "spec": {"nodeUID": "u", "serial": serial},
    })
}

fn report(serial: u64, verified: &str, but: &[(&str, &str, &str)]) -> Value {
    let kinds = ["Accepted", "Programmed", "Verified", "FailClosed"];
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": "gw"}, "spec": {"nodeUID": "u"},
        "status": {
            "conditions": conditions(&kinds, but),
            "appliedSerial": serial, "verifiedAt": verified,
        },
    })
}

const LATELY: &str = "2026-11-23T03:59:30.000000Z";

fn good() -> ClusterObjects {
    ClusterObjects {
        policies: vec![object(policy("crawler", 2, &[]))],
        cluster_policies: Vec::new(),
        exits: vec![object(exit())],
        intents: vec![object(intent(9))],
        reports: vec![object(report(9, LATELY, &[]))],
        held: Vec::new(),
    }
}

fn reasons(objects: &ClusterObjects) -> Vec<String> {
    let overview = ClusterOverview::of(objects, now());
    overview
        .findings()
        .map(|finding| finding.reason.clone())
        .collect()
}

#[test]
fn an_object_that_no_operator_has_looked_at_says_so() {
    let mut objects = good();
    let default = json!({"observedGeneration": -1});
    for status in [default, Value::Null] {
        let (mut policy, mut exit) = (policy("crawler", 1, &[]), exit());
        (policy["status"], exit["status"]) = (status.clone(), status);
        (objects.policies, objects.exits) = (vec![object(policy)], vec![object(exit)]);
        assert_eq!(reasons(&objects), ["Pending", "Pending"]);
        let table = ClusterOverview::of(&objects, now()).table();
        let said = table.matches("no operator has looked at it yet").count();
        assert_eq!(said, 2, "{table}");
    }
}

fn administrators(name: &str, tier: &str, priority: u32, but: &[(&str, &str, &str)]) -> Value {
    let kinds = ["Accepted", "Programmed", "FullyEnforced"];
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": {"name": name, "generation": 2},
        "spec": {
            "tier": tier, "priority": priority, "subject": {"namespaces": {}},
            "rules": [{"action": "Deny", "to": [{"cidr": "198.51.100.0/24"}]}],
        },
        "status": {
            "conditions": conditions(&kinds, but),
            "pods": {"selected": 7, "governed": 4, "ungoverned": 3},
        },
    })
}

#[test]
fn rules_of_administrators_are_listed_in_the_order_in_which_they_are_asked_with_whom_they_miss() {
    let mut objects = good();
    let ungoverned = [("FullyEnforced", "False", "Ungoverned")];
    objects.cluster_policies = vec![
        object(administrators("default", "Baseline", 1, &[])),
        object(administrators("late", "Admin", 20, &[])),
        object(administrators("early", "Admin", 10, &ungoverned)),
        Err(UnreadableObject {
            namespace: None,
            name: "strange".to_owned(),
            why: "no tier".to_owned(),
        }),
    ];
    assert_eq!(reasons(&objects), ["Invalid", "Ungoverned"]);
    let overview = ClusterOverview::of(&objects, now());
    let said = serde_json::to_value(&overview).expect("JSON");
    let lines = said["clusterPolicies"].as_array().expect("lines");
    let names: Vec<&Value> = lines.iter().map(|line| &line["name"]).collect();
    assert_eq!(names, ["strange", "early", "late", "default"]);
    assert_eq!(lines[1]["pods"]["ungoverned"], 3);
    let table = overview.table();
    let line = table.lines().find(|line| line.contains("early"));
    let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
    let wanted = ["Admin", "10", "early", "7", "4", "3", "0", "True", "True"];
    assert_eq!(words[..9], wanted, "{table}");
    assert!(words[9].starts_with("Ungoverned"), "{table}");
}

#[test]
fn where_everything_is_as_asked_for_nothing_is_found() {
    let objects = good();
    assert_eq!(reasons(&objects), [""; 0]);
    let overview = ClusterOverview::of(&objects, now());
    let table = overview.table();
    for words in ["shop", "crawler", "eu", "gw", "30s"] {
        assert!(table.contains(words), "{table}");
    }
    assert!(table.ends_with("nothing waits for an approval"), "{table}");
    let said = serde_json::to_value(&overview).expect("JSON");
    assert_eq!(said["policies"][0]["programmed"], "True");
    assert_eq!(said["exits"][0]["active"], "gw");
    assert_eq!(said["nodes"][0]["publishedSerial"], 9);
    assert_eq!(said["nodes"][0]["reportAgeSeconds"], 30);
}

#[test]
fn of_many_policies_those_with_a_message_come_first_and_the_rest_is_counted() {
    let mut objects = good();
    let name = |number: usize| format!("p{number:02}");
    let held = [("Programmed", "False", "ReleaseHeld")];
    objects.policies = (0..30)
        .map(|number| match number {
            25..=27 => object(policy(&name(number), 2, &held)),
            _ => object(policy(&name(number), 2, &[])),
        })
        .collect();
    let table = ClusterOverview::of(&objects, now()).table();
    let shown: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("shop"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(shown.len(), 12, "{table}");
    assert_eq!(shown[..4], ["p25", "p26", "p27", "p00"]);
    let rest = "and 18 more, 0 of them with a message; -o json has all";
    assert!(table.contains(rest), "{table}");
}

#[test]
fn what_changes_with_every_second_is_no_change() {
    let objects = good();
    let later: Timestamp = "2026-11-23T04:00:07Z".parse().expect("a time");
    let at = |now| ClusterOverview::of(&objects, now);
    assert_ne!(at(now()), at(later));
    assert_eq!(at(now()).timeless(), at(later).timeless());
}

#[test]
fn each_path_of_a_node_is_shown_with_the_mtu_of_its_tunnel() {
    let mut objects = good();
    let mut told = report(9, LATELY, &[]);
    told["status"]["exits"] = json!([{
        "exit": "eu", "mtu": 1420, "healthy": true,
        "paths": [
            {"family": "IPv4", "state": "Works"},
            {"family": "IPv6", "state": "Broken", "hop": "Tunnel", "message": "no answer"},
        ],
    }, {"exit": "us", "healthy": false}]);
    told["status"]["served"] = json!([{
        "exit": "asia", "mtu": 1380, "paths": [{"family": "IPv4", "state": "Works"}],
    }]);
    objects.reports = vec![object(told)];
    let overview = ClusterOverview::of(&objects, now());
    let table = overview.table();
    let lines = table.lines().map(|line| line.split_whitespace());
    let lines: Vec<String> = lines
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "NODE EXIT ROLE FAMILY MTU STATE MESSAGE",
        "gw eu Used IPv4 1420 Works",
        "gw eu Used IPv6 1420 Broken Tunnel: no answer",
        "gw us Used Untested",
        "gw asia Served IPv4 1380 Works",
    ] {
        assert!(lines.iter().any(|one| one == line), "{line}\n{table}");
    }
    let said = serde_json::to_value(&overview).expect("JSON");
    assert_eq!(said["paths"][0]["mtu"], 1420);
    assert_eq!(
        reasons(&objects),
        [""; 0],
        "the objects' conditions tell what is wrong"
    );
}

#[test]
fn a_policy_tells_the_reason_that_explains_the_others() {
    let missing = [
        ("ResolvedRefs", "False", "RefNotFound"),
        ("Programmed", "False", "Converging"),
        ("Ready", "False", "RefNotResolved"),
    ];
    let held = [
        ("Programmed", "False", "Converging"),
        ("Ready", "False", "NoPeerKey"),
    ];
    let on_its_way = [("Programmed", "False", "Converging")];
    for (but, reason) in [
        (&missing[..], "RefNotFound"),
        (&held, "NoPeerKey"),
        (&on_its_way, "Converging"),
    ] {
        let mut objects = good();
        objects.policies = vec![object(policy("crawler", 2, but))];
        assert_eq!(reasons(&objects), [reason]);
    }
}

#[test]
fn what_was_said_of_an_older_generation_counts_for_nothing() {
    let mut objects = good();
    objects.policies = vec![object(policy("crawler", 3, &[]))];
    assert_eq!(reasons(&objects), ["Pending"]);
    let said = serde_json::to_value(ClusterOverview::of(&objects, now())).expect("JSON");
    assert_eq!(said["policies"][0]["ready"], "Unknown");
}

#[test]
fn an_object_that_cannot_be_read_is_told_and_hides_no_other() {
    let mut objects = good();
    objects.policies.push(Err(UnreadableObject {
        namespace: Some("shop".to_owned()),
        name: "poison".to_owned(),
        why: "no such action".to_owned(),
    }));
    assert_eq!(reasons(&objects), ["Invalid"]);
    let table = ClusterOverview::of(&objects, now()).table();
    assert!(
        table.contains("no such action") && table.contains("crawler"),
        "{table}"
    );
}

#[test]
fn a_node_tells_what_is_the_matter_with_it() {
    let open = [("FailClosed", "False", "NoGuard")];
    let cases = [
        (report(9, "2026-11-23T03:50:00.000000Z", &[]), "Stale"),
        (report(9, "2026-11-23T04:05:00.000000Z", &[]), "Stale"),
        (report(8, LATELY, &[]), "Converging"),
        (report(9, LATELY, &open), "NoGuard"),
    ];
    for (report, reason) in cases {
        let mut objects = good();
        objects.reports = vec![object(report)];
        assert_eq!(reasons(&objects), [reason]);
    }
    let mut silent = good();
    silent.reports.clear();
    assert_eq!(reasons(&silent), ["Pending"]);
    let mut untold = good();
    untold.intents.clear();
    assert_eq!(reasons(&untold), ["NoIntent"]);
}

#[test]
fn a_node_tells_what_the_operator_finds_about_it_before_what_is_on_its_way() {
    let refused = [
        ("Accepted", "False", "KeyNotProved"),
        ("Ready", "False", "KeyNotProved"),
    ];
    let late = [("Programmed", "False", "Converging")];
    let stale_guard = [("FailClosed", "False", "NoGuard")];
    let with = |generation: i64| {
        let mut intent = intent(9);
        intent["metadata"]["generation"] = json!(generation);
        intent["status"] = json!({"conditions": conditions(&["Accepted", "Ready"], &refused)});
        intent
    };
    let cases = [
        (2, report(9, LATELY, &[]), &["KeyNotProved"][..]),
        (2, report(8, LATELY, &late), &["KeyNotProved"]),
        (2, report(9, LATELY, &stale_guard), &["NoGuard"]),
        (3, report(9, LATELY, &[]), &[]),
    ];
    for (generation, report, wanted) in cases {
        let mut objects = good();
        objects.intents = vec![object(with(generation))];
        objects.reports = vec![object(report)];
        assert_eq!(reasons(&objects), wanted);
    }
}

#[test]
fn a_node_that_waits_for_an_approval_says_what_to_type() {
    let mut objects = good();
    objects.intents.clear();
    objects.held = serde_json::from_value(json!([{
        "subject": {"node": "gw"}, "cause": "Restored", "digest": "0123456789abcdef",
        "since": "2026-11-23T03:58:00Z", "pods": 0,
    }]))
    .expect("what is held");
    assert_eq!(reasons(&objects), ["Restored"]);
    let table = ClusterOverview::of(&objects, now()).table();
    assert!(table.contains("posternctl approve node gw"), "{table}");
    assert!(
        table.contains("0123456789ab\n") || table.ends_with("0123456789ab"),
        "{table}"
    );
}
