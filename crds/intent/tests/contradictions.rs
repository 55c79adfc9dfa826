//! Bodies that parse and contradict themselves: each contradiction has a variant of its own, and the same body without
//! it is good.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use postern_intent::NodeDocument;
use postern_intent::body::{FORMAT_VERSION, Inconsistency};
use postern_intent::verify::parse_envelope;
use serde_json::{Value, json};

const DIGEST: &str = "0123456789abcdef";

/// One scope by one exit, with one pod.
fn whole() -> Value {
    let tunnel = |exit: &str| {
        json!({
            "exit": exit, "role": "Used", "interface": format!("pst-c-{exit}"), "mtu": 1420,
            "addresses": ["198.18.0.2/32"], "peers": [],
        })
    };
    json!({
        "version": FORMAT_VERSION, "node": {"name": "n1", "uid": "uid-1"},
        "serial": 7, "issuedAt": "2026-11-23T04:00:00Z", "notAfter": "2026-11-24T04:00:00Z",
        "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
        "tunnels": [tunnel("eu"), tunnel("us")],
        "routes": [route("eu", 1), route("us", 2)],
        "nat": [],
        "firewall": [{
            "id": "crawlers/crawler@eu",
            "digest": DIGEST, "exit": "eu",
            "policy": {"namespace": "crawlers", "name": "crawler", "uid": "policy-1", "generation": 1},
            "way": {"type": "Tunnel"}, "failure": {"type": "Closed"},
            "terms": {
                "rules": [], "defaultAction": "Allow", "replies": "Services", "lan": "Deny",
                "specialUseExceptions": [], "establishedFlows": "Cut",
                "dns": {"mode": "Forward", "upstreams": [], "refusal": "NXDOMAIN"},
            },
        }],
        "allocations": [],
        "pods": [pod("a", "a-uid", "10.244.1.5")],
    })
}

fn route(exit: &str, number: u32) -> Value {
    json!({
        "exit": exit, "mark": number, "table": 5200 + number, "interface": format!("pst-c-{exit}"),
        "digest": DIGEST, "gateways": [], "failback": "Manual",
        "probe": {"intervalMilliseconds": 100, "failureThreshold": 3, "targets": []},
    })
}

fn pod(name: &str, uid: &str, address: &str) -> Value {
    json!({
        "namespace": "crawlers", "name": name, "uid": uid, "addresses": [address],
        "class": {"type": "Policy", "scope": "crawlers/crawler@eu"},
    })
}

fn judged(change: impl FnOnce(&mut Value)) -> Result<(), Inconsistency> {
    let mut body = whole();
    change(&mut body);
    serde_json::from_value::<NodeDocument>(body)
        .unwrap()
        .check()
}

#[test]
fn a_body_without_a_contradiction_is_good() {
    assert_eq!(judged(|_| {}), Ok(()));
}

#[test]
fn a_uid_belongs_to_one_pod() {
    let second = pod("b", "a-uid", "10.244.1.6");
    let found = judged(|body| body["pods"].as_array_mut().unwrap().push(second));
    let wanted = Inconsistency::DuplicatePod("a-uid".parse().unwrap());
    assert_eq!(found, Err(wanted));
}

#[test]
fn an_address_belongs_to_one_pod() {
    let second = pod("b", "b-uid", "10.244.1.5");
    let found = judged(|body| body["pods"].as_array_mut().unwrap().push(second));
    let wanted = Inconsistency::SharedAddress("10.244.1.5".parse().unwrap());
    assert_eq!(found, Err(wanted));
}

#[test]
fn an_exit_has_one_route() {
    let second = route("eu", 3);
    let found = judged(|body| body["routes"].as_array_mut().unwrap().push(second));
    let wanted = Inconsistency::DuplicateRoute("eu".parse().unwrap());
    assert_eq!(found, Err(wanted));
}

#[test]
fn a_mark_leads_to_one_exit() {
    let found = judged(|body| body["routes"][1]["mark"] = json!(1));
    assert_eq!(found, Err(Inconsistency::Route("us".parse().unwrap())));
}

#[test]
fn a_limit_that_no_kernel_can_hold_is_refused() {
    let with = |limits: Value| judged(|body| body["firewall"][0]["terms"]["limits"] = limits);
    let wanted = Inconsistency::Limits("crawlers/crawler@eu".parse().unwrap());
    for limits in [
        json!({"connections": 0}),
        json!({"connections": 9, "newConnectionsPerSecond": 0}),
        json!({"packetsPerSecond": 1_u64 << 32}),
        json!({"bytesPerSecond": (1_u64 << 34) + 1}),
    ] {
        assert_eq!(with(limits.clone()), Err(wanted.clone()), "{limits}");
    }
    let most =
        json!({"connections": 1, "packetsPerSecond": u32::MAX, "bytesPerSecond": 1_u64 << 34});
    assert_eq!(with(most), Ok(()));
}

#[test]
fn names_are_allowed_by_a_filter_and_by_one_rule_of_a_name() {
    let rule = |name: &str, action: &str| json!({"name": name, "action": action, "to": [], "ports": [], "names": ["*.example.org"]});
    let with = |mode: &str, rules: &[Value]| {
        judged(|body| {
            body["firewall"][0]["terms"]["dns"]["mode"] = json!(mode);
            body["firewall"][0]["terms"]["rules"] = json!(rules);
        })
    };
    let wanted = Inconsistency::Names("crawlers/crawler@eu".parse().unwrap());
    let apis = || rule("apis", "Allow");
    assert_eq!(with("Filter", &[apis(), rule("other", "Allow")]), Ok(()));
    assert_eq!(with("Forward", &[apis()]), Err(wanted.clone()));
    assert_eq!(with("Filter", &[rule("apis", "Deny")]), Err(wanted.clone()));
    assert_eq!(with("Filter", &[apis(), apis()]), Err(wanted));
}

#[test]
fn a_gateway_of_an_exit_is_a_peer_of_its_tunnel() {
    let gateway = json!([{"node": "gw", "addresses": ["198.18.0.1"]}]);
    let found = judged(|body| body["routes"][0]["gateways"] = gateway);
    assert_eq!(found, Err(Inconsistency::Gateway("eu".parse().unwrap())));
}

#[test]
fn an_envelope_beyond_the_limit_is_not_parsed() {
    let spaces = |count: usize| {
        let mut file = br#"{"payloadType":"","payload":"","signatures":[]}"#.to_vec();
        file.resize(count, b' ');
        parse_envelope(&file).map_err(|refusal| (refusal.reason(), refusal.to_string()))
    };
    assert!(spaces(1024 * 1024).is_ok());
    let wanted = "the envelope has more than 1048576 bytes".to_owned();
    assert_eq!(spaces(1024 * 1024 + 1), Err(("TooLarge", wanted)));
}
