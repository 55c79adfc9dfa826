//! Wrong policies.

use serde_json::{Value, json};

use super::Case;
use crate::samples::Edit;

fn policy(at: &'static str, says: &'static str, edits: Vec<Edit>) -> Case {
    Case {
        kind: "EgressPolicy",
        at,
        says,
        edits,
        before: None,
    }
}

/// A policy whose one rule has this destination, or these ports.
fn rule(to: &Value, ports: &Value) -> Edit {
    (
        "/spec/rules",
        json!([{"action": "Allow", "to": [to], "ports": ports}]),
    )
}

fn to(destination: &Value) -> Edit {
    rule(destination, &json!([]))
}

fn ports(ports: &Value) -> Edit {
    rule(&json!({"cidr": "0.0.0.0/0"}), ports)
}

fn filter() -> Edit {
    ("/spec/dns", json!({"mode": "Filter"}))
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = spec_cases();
    all.extend(rule_cases());
    all.extend(address_cases());
    all
}

fn spec_cases() -> Vec<Case> {
    vec![
        policy(
            "spec",
            "failureMode Open needs failOpenAfter",
            vec![("/spec/failureMode", json!("Open"))],
        ),
        policy(
            "spec",
            "failOpenAfter is for failureMode Open only",
            vec![("/spec/failOpenAfter", json!("30s"))],
        ),
        policy(
            "spec",
            "needs dns.mode Filter",
            vec![to(&json!({"fqdn": "example.org"}))],
        ),
        policy(
            "spec",
            "needs dns.mode Filter",
            vec![
                to(&json!({"fqdn": "example.org"})),
                ("/spec/dns", json!({"mode": "Block"})),
            ],
        ),
        policy(
            "spec.failOpenAfter",
            "longer than zero",
            vec![
                ("/spec/failureMode", json!("Open")),
                ("/spec/failOpenAfter", json!("0h0m")),
            ],
        ),
        policy(
            "spec.route",
            "needs exitNodes",
            vec![("/spec/route", json!({"type": "Exit"}))],
        ),
        policy(
            "spec.route",
            "needs exitNodes",
            vec![("/spec/route", json!({"type": "Exit", "exitNodes": []}))],
        ),
        policy(
            "spec.route",
            "for route type Exit only",
            vec![("/spec/route/type", json!("NodeUplink"))],
        ),
        policy(
            "spec.podSelector.matchExpressions[]",
            "In and NotIn need values",
            vec![(
                "/spec/podSelector",
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}),
            )],
        ),
        policy(
            "spec.limits.bytesPerSecond",
            "above zero",
            vec![("/spec/limits", json!({"bytesPerSecond": 0}))],
        ),
        policy(
            "spec.limits.bytesPerSecond",
            "above zero",
            vec![("/spec/limits", json!({"bytesPerSecond": -5}))],
        ),
    ]
}

fn rule_cases() -> Vec<Case> {
    vec![
        policy(
            "spec.rules[]",
            "a name can only be allowed",
            vec![
                filter(),
                (
                    "/spec/rules",
                    json!([{"action": "Deny", "to": [{"fqdn": "example.org"}]}]),
                ),
            ],
        ),
        policy(
            "spec.rules[].to[]",
            "exactly one of cidr and fqdn",
            vec![to(&json!({}))],
        ),
        policy(
            "spec.rules[].to[]",
            "exactly one of cidr and fqdn",
            vec![
                filter(),
                to(&json!({"cidr": "0.0.0.0/0", "fqdn": "example.org"})),
            ],
        ),
        policy(
            "spec.rules[].ports[]",
            "ICMP has no ports",
            vec![ports(&json!([{"protocol": "ICMP", "port": 8}]))],
        ),
        policy(
            "spec.rules[].ports[]",
            "endPort needs port",
            vec![ports(&json!([{"protocol": "TCP", "endPort": 8}]))],
        ),
        policy(
            "spec.rules[].ports[]",
            "must not be below",
            vec![ports(
                &json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 443, "endPort": 442}]),
            )],
        ),
    ]
}

fn address_cases() -> Vec<Case> {
    let exceptions = |text: &str| vec![("/spec/specialUse", json!({"exceptions": [text]}))];
    let upstreams = |text: &str| vec![("/spec/dns", json!({"upstreams": [text]}))];
    vec![
        policy(
            "spec.rules[].to[].cidr",
            "must be a prefix",
            vec![to(&json!({"cidr": "198.51.100.7"}))],
        ),
        policy(
            "spec.rules[].to[].cidr",
            "host bits",
            vec![to(&json!({"cidr": "198.51.100.7/24"}))],
        ),
        policy(
            "spec.specialUse.exceptions[]",
            "must be a prefix",
            exceptions("169.254.169.254"),
        ),
        policy(
            "spec.specialUse.exceptions[]",
            "host bits",
            exceptions("169.254.169.254/16"),
        ),
        policy(
            "spec.dns.upstreams[]",
            "must be an IP address",
            upstreams("dns.example.org"),
        ),
        policy(
            "spec.dns.upstreams[]",
            "must be an IP address",
            upstreams("9.9.9.9:53"),
        ),
        policy(
            "spec.dns.upstreams[]",
            "others can answer",
            upstreams("127.0.0.53"),
        ),
    ]
}
