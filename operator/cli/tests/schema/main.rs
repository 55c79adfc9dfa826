//! What files may ask for is what an API server would take, by the same definitions and in the same words.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure; cases use parts of the helpers"
)]

#[path = "../../../../crds/tests/api/case_files.rs"]
mod case_files;
#[path = "../../../../crds/tests/api/samples.rs"]
mod samples;

use posternctl::schema::{judge, prune};
use serde_json::{Value, json};

const KINDS: [&str; 4] = [
    "ExitNode",
    "EgressPolicy",
    "ClusterEgressPolicy",
    "InterfaceIsolation",
];

#[test]
fn right_objects_are_taken_and_what_an_operator_answered_is_not_judged() {
    for mut object in samples::good() {
        assert!(judge(&object).is_ok(), "{object}: {:?}", judge(&object));
        object["status"] = json!({"from": "a newer version"});
        assert!(judge(&object).is_ok(), "{object}");
    }
    let foreign = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    assert!(judge(&foreign).is_ok());
}

#[test]
fn each_rule_refuses_its_object_in_its_own_words() {
    let mut tried = 0;
    for case in case_files::cases() {
        if case.update || !KINDS.contains(&&*case.kind) {
            continue;
        }
        if case.set.keys().any(|place| place.starts_with("/status")) {
            continue;
        }
        let object = samples::edited_by(&case.kind, &case.set);
        let refused = judge(&object).unwrap_err().to_string();
        assert!(refused.contains(&case.says), "{case:?}: {refused}");
        assert!(!refused.contains("cannot be evaluated"), "{refused}");
        tried += 1;
    }
    assert!(tried >= 50, "only {tried} objects were tried");
}

/// A kind, what makes its smallest right object wrong, and the answer.
const WRONG: [(&str, &str, &str, &str); 11] = [
    (
        "ExitNode",
        "/spec/mtu",
        "100",
        "spec.mtu: Invalid value: 100: should be at least 1280",
    ),
    (
        "ExitNode",
        "/spec/mtu",
        "\"1400\"",
        "spec.mtu: Invalid value: \"1400\": must be of type integer",
    ),
    (
        "ExitNode",
        "/spec/lanAccess",
        "\"Maybe\"",
        "supported values: \"Deny\", \"Allow\"",
    ),
    (
        "ExitNode",
        "/spec/paths",
        "[\"Direct\", \"Direct\"]",
        "spec.paths[1]: Duplicate value: \"Direct\"",
    ),
    (
        "ExitNode",
        "/spec/paths",
        "[]",
        "spec.paths: Invalid value: should be at least 1 items",
    ),
    (
        "ExitNode",
        "/spec/bedtime",
        "1",
        "unknown field \"spec.bedtime\"",
    ),
    ("ExitNode", "/extra", "1", "unknown field \"extra\""),
    (
        "EgressPolicy",
        "/spec/podSelector",
        "null",
        "spec.podSelector: Required value",
    ),
    (
        "EgressPolicy",
        "/spec/route/exitNodes/0",
        "{\"name\": \"Eu_1\"}",
        "spec.route.exitNodes[0].name: Invalid value: \"Eu_1\": should match",
    ),
    (
        "EgressPolicy",
        "/spec/priority",
        "1000001",
        "spec.priority: Invalid value: 1000001: should be at most 1000000",
    ),
    (
        "InterfaceIsolation",
        "/spec/exception",
        "{\"accessPoint\": \"a\", \"upstream\": \"b\", \"notAfter\": \"tomorrow\"}",
        "must be a time of RFC 3339",
    ),
];

#[test]
fn what_the_structure_refuses_is_named_with_its_place_and_what_to_write() {
    for (kind, place, value, words) in WRONG {
        let value: Value = serde_json::from_str(value).unwrap();
        let object = samples::edited(kind, &[(place, value)]);
        let refused = judge(&object).unwrap_err().to_string();
        assert!(refused.contains(words), "{place}: {refused}");
        assert!(refused.starts_with(kind), "{refused}");
    }
}

#[test]
fn nulls_are_dropped_from_fields_and_from_no_list() {
    let mut object = samples::smallest("ExitNode");
    object["spec"]["relay"] = Value::Null;
    object["spec"]["mtu"] = Value::Null;
    object["spec"]["paths"] = Value::Null;
    assert!(judge(&object).is_ok(), "{:?}", judge(&object));
    prune(&mut object).unwrap();
    assert_eq!(object, samples::smallest("ExitNode"));
    for (place, words) in [
        ("/spec/paths", "spec.paths[0]: Invalid value: null"),
        ("/spec/bedtime", "unknown field \"spec.bedtime\""),
        ("/spec", "spec: Required value"),
    ] {
        let mut object = samples::smallest("ExitNode");
        let (parent, name) = place.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = match name {
            "paths" => json!([null]),
            _ => Value::Null,
        };
        let refused = judge(&object).unwrap_err().to_string();
        assert!(refused.contains(words), "{place}: {refused}");
    }
}

#[test]
fn a_version_and_a_kind_of_ours_that_nobody_knows_are_refused() {
    let mut object = samples::smallest("ExitNode");
    object["apiVersion"] = json!("postern.dev/v2");
    assert!(
        judge(&object)
            .unwrap_err()
            .to_string()
            .contains("is no kind of postern.dev/v1alpha1")
    );
    object["apiVersion"] = json!("postern.dev/v1alpha1");
    object["kind"] = json!("ExitNodes");
    assert!(judge(&object).is_err());
}
