//! Bounds and defaults: what the schema refuses and fills in without any rule.

use postern_crds::definition;
use postern_crds::{
    ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::openapi;
use crate::samples::{self, Edit};

fn schema(kind: &str) -> Value {
    let all = definition::all().unwrap();
    let one = all.into_iter().find(|one| one.kind == kind).unwrap();
    one.schema().clone()
}

/// Calls `look` with every schema of a definition and where it stands.
fn walk(schema: &Value, at: &str, look: &mut dyn FnMut(&str, &Value)) {
    look(at, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        walk(inner, &format!("{at}.{name}"), look);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(name) {
            walk(inner, &format!("{at}[]"), look);
        }
    }
}

fn unbounded(schema: &Value) -> bool {
    let is_absent = |name: &str| schema.get(name).is_none();
    match schema["type"].as_str() {
        Some("string") => {
            is_absent("maxLength") && is_absent("enum") && schema["format"] != json!("date-time")
        }
        Some("array") => is_absent("maxItems"),
        Some("object") => !is_absent("additionalProperties") && is_absent("maxProperties"),
        Some("integer" | "boolean") => false,
        None => is_absent("x-kubernetes-int-or-string"),
        Some(_) => true,
    }
}

#[test]
fn every_string_list_and_map_is_bounded() {
    for definition in definition::all().unwrap() {
        for part in ["spec", "status"] {
            let schema = &definition.schema()["properties"][part];
            if schema.is_null() {
                continue;
            }
            walk(schema, part, &mut |at, one| {
                assert!(!unbounded(one), "{} {at} is not bounded", definition.kind);
            });
        }
    }
}

#[test]
fn every_field_of_our_own_is_described() {
    for definition in definition::all().unwrap() {
        let spec = &definition.schema()["properties"]["spec"];
        let mut bare = Vec::new();
        walk(spec, "spec", &mut |at, one| {
            let is_foreign = at.contains("elector.")
                || at.contains("elector[]")
                || at.contains(".namespaces.")
                || at.ends_with("[]");
            if one.get("description").is_none() && !is_foreign {
                bare.push(at.to_owned());
            }
        });
        assert_eq!(bare, [""; 0], "{}", definition.kind);
    }
}

#[test]
fn nothing_is_nullable_and_no_format_is_unknown_to_an_api_server() {
    for definition in definition::all().unwrap() {
        walk(definition.schema(), "", &mut |at, one| {
            assert_eq!(one.get("nullable"), None, "{at}");
            let format = one["format"].as_str().unwrap_or("int64");
            assert!(
                ["int32", "int64", "date-time"].contains(&format),
                "{at} {format}"
            );
        });
    }
}

#[test]
fn conditions_are_keyed_by_type_in_every_kind() {
    for definition in definition::all().unwrap() {
        let status = &definition.schema()["properties"]["status"];
        if status.is_null() {
            assert_eq!(definition.kind, "NodeIntent");
            continue;
        }
        let conditions = &status["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    }
}

/// Whether an edit is refused, and at which place by which keyword.
#[rstest]
#[case::route_is_required("EgressPolicy", ("/spec/route", Value::Null), ".spec.route: required")]
#[case::pod_selector_is_required("EgressPolicy", ("/spec/podSelector", Value::Null), ".spec.podSelector: required")]
#[case::default_action_is_required("EgressPolicy", ("/spec/defaultAction", Value::Null), ".spec.defaultAction: required")]
#[case::unknown_field("EgressPolicy", ("/spec/rulez", json!([])), ".spec.rulez: unknown")]
#[case::nine_exits("EgressPolicy", ("/spec/route/exitNodes", json!([{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "e"}, {"name": "f"}, {"name": "g"}, {"name": "h"}, {"name": "i"}])), ".spec.route.exitNodes: maxItems")]
#[case::exit_name("EgressPolicy", ("/spec/route/exitNodes", json!([{"name": "EU"}])), ".spec.route.exitNodes[0].name: pattern")]
#[case::port_zero("EgressPolicy", ("/spec/rules", json!([{"action": "Deny", "to": [{"cidr": "::/0"}], "ports": [{"protocol": "TCP", "port": 0}]}])), ".spec.rules[0].ports[0].port: minimum")]
#[case::name_in_the_middle("EgressPolicy", ("/spec/rules", json!([{"action": "Allow", "to": [{"fqdn": "a.*.org"}]}])), ".spec.rules[0].to[0].fqdn: pattern")]
#[case::star_alone("EgressPolicy", ("/spec/rules", json!([{"action": "Allow", "to": [{"fqdn": "*"}]}])), ".spec.rules[0].to[0].fqdn: pattern")]
#[case::negative_duration("EgressPolicy", ("/spec/failOpenAfter", json!("-30s")), ".spec.failOpenAfter: pattern")]
#[case::days("EgressPolicy", ("/spec/failOpenAfter", json!("3 days")), ".spec.failOpenAfter: pattern")]
#[case::bytes("EgressPolicy", ("/spec/limits", json!({"bytesPerSecond": "10MB"})), ".spec.limits.bytesPerSecond: pattern")]
#[case::more_bytes_than_a_kernel_counts("EgressPolicy", ("/spec/limits", json!({"bytesPerSecond": "17Gi"})), ".spec.limits.bytesPerSecond: pattern")]
#[case::more_bytes_than_a_kernel_counts_as_a_number("EgressPolicy", ("/spec/limits", json!({"bytesPerSecond": 17_179_869_185_i64})), ".spec.limits.bytesPerSecond: maximum")]
#[case::no_bytes("EgressPolicy", ("/spec/limits", json!({"bytesPerSecond": "0"})), ".spec.limits.bytesPerSecond: pattern")]
#[case::priority("EgressPolicy", ("/spec/priority", json!(-1)), ".spec.priority: minimum")]
#[case::mtu_below_ipv6("ExitNode", ("/spec/mtu", json!(1279)), ".spec.mtu: minimum")]
#[case::interface_with_slash("ExitNode", ("/spec/gateway/interface", json!("eth/0")), ".spec.gateway.interface: pattern")]
#[case::interface_of_sixteen("ExitNode", ("/spec/gateway/interface", json!("abcdefghijklmnop")), ".spec.gateway.interface: maxLength")]
#[case::no_routes("ExitNode", ("/spec/routes", json!([])), ".spec.routes: minItems")]
#[case::path("ExitNode", ("/spec/paths", json!(["Pigeon"])), ".spec.paths[0]: enum")]
#[case::priority_of_a_tier("ClusterEgressPolicy", ("/spec/priority", json!(1001)), ".spec.priority: maximum")]
#[case::subject_of_pods("ClusterEgressPolicy", ("/spec/subject", json!({"pods": {}})), ".spec.subject.namespaces: required")]
#[case::no_preference("InterfaceIsolation", ("/spec/preferred", json!([])), ".spec.preferred: minItems")]
#[case::version_zero("NodeIntent", ("/spec/keySet/version", json!(0)), ".spec.keySet.version: minimum")]
#[case::unsigned("NodeIntent", ("/spec/envelope/signatures", json!([])), ".spec.envelope.signatures: minItems")]
#[case::short_key("NodeReport", ("/status", json!({"publicKeys": {"wireguard": "AAAA"}})), ".status.publicKeys.wireguard: minLength")]
fn the_schema_refuses(#[case] kind: &str, #[case] edit: Edit, #[case] problem: &str) {
    let object = samples::edited(kind, &[edit]);
    let found = openapi::problems(&schema(kind), &object);
    assert!(found.contains(&problem.to_owned()), "{found:?}");
}

#[test]
fn the_defaults_of_the_types_are_those_of_the_schema() {
    let policy: EgressPolicy = serde_json::from_value(samples::smallest("EgressPolicy")).unwrap();
    assert_defaults("EgressPolicy", &serde_json::to_value(&policy).unwrap());
    let exit: ExitNode = serde_json::from_value(samples::smallest("ExitNode")).unwrap();
    assert_defaults("ExitNode", &serde_json::to_value(&exit).unwrap());
    let isolation: InterfaceIsolation =
        serde_json::from_value(samples::smallest("InterfaceIsolation")).unwrap();
    assert_defaults(
        "InterfaceIsolation",
        &serde_json::to_value(&isolation).unwrap(),
    );
}

fn assert_defaults(kind: &str, read_by_the_types: &Value) {
    let filled = kube::core::cel::apply_defaults(&schema(kind), &samples::smallest(kind));
    assert_eq!(read_by_the_types["spec"], filled["spec"], "{kind}");
}

#[test]
fn good_objects_survive_a_round_through_the_types() {
    for object in samples::good() {
        let kind = samples::kind(&object);
        let filled = kube::core::cel::apply_defaults(&schema(kind), &object);
        let back = match kind {
            "ExitNode" => round::<ExitNode>(&filled),
            "EgressPolicy" => round::<EgressPolicy>(&filled),
            "ClusterEgressPolicy" => round::<ClusterEgressPolicy>(&filled),
            "InterfaceIsolation" => round::<InterfaceIsolation>(&filled),
            "NodeIntent" => round::<NodeIntent>(&filled),
            _ => round::<NodeReport>(&filled),
        };
        let mut expected = filled;
        for part in ["spec", "status"] {
            let mut found = back[part].clone();
            drop_empty(&mut found);
            drop_empty(&mut expected[part]);
            assert_eq!(found, expected[part], "{kind}");
        }
    }
}

fn round<T: serde::Serialize + serde::de::DeserializeOwned>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

/// An empty text says the same as none; the types leave it out.
fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| *inner != json!(""));
            map.values_mut().for_each(drop_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

#[test]
fn a_report_keeps_the_microseconds_of_its_times() {
    let object = samples::good().pop().unwrap();
    let report: NodeReport = serde_json::from_value(object).unwrap();
    let back = serde_json::to_value(report).unwrap();
    assert_eq!(back["status"]["verifiedAt"], "2026-11-23T04:00:00.123456Z");
}
