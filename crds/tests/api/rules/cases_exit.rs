//! Wrong exits and isolations.

use serde_json::{Value, json};

use super::Case;
use crate::samples::Edit;

fn exit(at: &'static str, says: &'static str, edits: Vec<Edit>) -> Case {
    Case {
        kind: "ExitNode",
        at,
        says,
        edits,
        before: None,
    }
}

fn isolation(at: &'static str, says: &'static str, edits: Vec<Edit>) -> Case {
    Case {
        kind: "InterfaceIsolation",
        ..exit(at, says, edits)
    }
}

fn external(addresses: &Value) -> Value {
    json!({
        "endpoint": "vpn.example.net:51820",
        "publicKey": "PsoEGrjXnINZRq8Ar54qPdvpwmtXiGxUmhaOqyPCbDE=",
        "addresses": addresses,
        "credentialsSecretRef": {"name": "vpn"},
        "gatewayNodeSelector": {}
    })
}

/// An expression that names values which its operator does not take.
fn bad_selector() -> Value {
    json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]})
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = spec_cases();
    all.extend(address_cases());
    all.extend(selector_cases());
    all.extend(isolation_cases());
    all
}

fn spec_cases() -> Vec<Case> {
    vec![
        exit(
            "spec",
            "exactly one of gateway",
            vec![("/spec/gateway", Value::Null)],
        ),
        exit(
            "spec",
            "exactly one of gateway",
            vec![("/spec/external", external(&json!(["10.64.0.2/32"])))],
        ),
        exit(
            "spec",
            "path Relay needs",
            vec![("/spec/paths", json!(["Relay"]))],
        ),
        exit(
            "spec",
            "relay is used by path Relay only",
            vec![("/spec/relay", json!({"nodeSelector": {}}))],
        ),
        exit(
            "spec.allowedNamespaces",
            "from Selector needs",
            vec![("/spec/allowedNamespaces", json!({"from": "Selector"}))],
        ),
        exit(
            "spec.allowedNamespaces",
            "from Selector needs",
            vec![("/spec/allowedNamespaces", json!({"selector": {}}))],
        ),
        exit(
            "spec.probe.interval",
            "longer than zero",
            vec![(
                "/spec/probe",
                json!({"interval": "0ms", "targets": [{"tcp": "198.51.100.1:443"}]}),
            )],
        ),
    ]
}

fn address_cases() -> Vec<Case> {
    let host_bits = vec![("/spec/routes", json!(["198.51.100.7/24"]))];
    let mut all = vec![
        exit("spec.routes[]", "host bits", host_bits),
        exit(
            "spec.routes[]",
            "host bits",
            vec![("/spec/routes", json!(["2001:db8::1/32"]))],
        ),
        exit(
            "spec.external.addresses[]",
            "address with its prefix length",
            vec![
                ("/spec/gateway", Value::Null),
                ("/spec/external", external(&json!(["10.64.0.2"]))),
            ],
        ),
        exit(
            "spec.gateway.egressIPs[]",
            "must be an IP address",
            vec![("/spec/gateway/egressIPs", json!(["203.0.113.0/24"]))],
        ),
        exit(
            "spec.gateway.egressIPs",
            "at most one IPv4",
            vec![(
                "/spec/gateway/egressIPs",
                json!(["203.0.113.1", "203.0.113.2"]),
            )],
        ),
        exit(
            "spec.gateway.egressIPs",
            "at most one IPv4",
            vec![(
                "/spec/gateway/egressIPs",
                json!(["2001:db8::1", "2001:db8::2"]),
            )],
        ),
        exit(
            "status.gateways[].egressIPs[]",
            "must be an IP address",
            vec![(
                "/status",
                json!({"gateways": [{"node": "n1", "role": "Active", "egressIPs": ["nowhere"]}]}),
            )],
        ),
    ];
    for text in [
        "198.51.100.0",
        "198.51.100.0/33",
        "0.0.0.0/",
        "example.org/8",
        "1.2.3/24",
    ] {
        all.push(exit(
            "spec.routes[]",
            "must be a prefix",
            vec![("/spec/routes", json!([text]))],
        ));
    }
    for text in [
        "127.0.0.1",
        "169.254.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
        "::1",
        "ff02::1",
        "255.255.255.255",
    ] {
        let edits = vec![("/spec/gateway/egressIPs", json!([text]))];
        all.push(exit("spec.gateway.egressIPs[]", "others can answer", edits));
    }
    all
}

fn selector_cases() -> Vec<Case> {
    let says = "In and NotIn need values";
    let mut wrong = external(&json!(["10.64.0.2/32"]));
    wrong["gatewayNodeSelector"] = bad_selector();
    vec![
        exit(
            "spec.gateway.nodeSelector.matchExpressions[]",
            says,
            vec![("/spec/gateway/nodeSelector", bad_selector())],
        ),
        exit(
            "spec.gateway.nodeSelector.matchExpressions[]",
            says,
            vec![(
                "/spec/gateway/nodeSelector",
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn"}]}),
            )],
        ),
        exit(
            "spec.external.gatewayNodeSelector.matchExpressions[]",
            says,
            vec![("/spec/gateway", Value::Null), ("/spec/external", wrong)],
        ),
        exit(
            "spec.relay.nodeSelector.matchExpressions[]",
            says,
            vec![
                ("/spec/paths", json!(["Relay"])),
                ("/spec/relay", json!({"nodeSelector": bad_selector()})),
            ],
        ),
        exit(
            "spec.allowedNamespaces.selector.matchExpressions[]",
            says,
            vec![(
                "/spec/allowedNamespaces",
                json!({"from": "Selector", "selector": bad_selector()}),
            )],
        ),
        isolation(
            "spec.nodeSelector.matchExpressions[]",
            says,
            vec![("/spec/nodeSelector", bad_selector())],
        ),
    ]
}

fn isolation_cases() -> Vec<Case> {
    vec![
        isolation(
            "spec.exception",
            "must be two interfaces",
            vec![(
                "/spec/exception",
                json!({"accessPoint": "wlan0", "upstream": "wlan0", "notAfter": "2027-01-01T00:00:00Z"}),
            )],
        ),
        isolation(
            "spec.confirm.within",
            "longer than zero",
            vec![("/spec/confirm", json!({"within": "0s"}))],
        ),
    ]
}
