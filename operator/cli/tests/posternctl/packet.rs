//! `posternctl explain pod --to`: what becomes of one packet, by manifests.

use std::fs;

use serde_json::{Value, json};

use crate::folder::Lab;
use crate::verbs::{NOW, ends, posternctl, text};

/// The exit has an address of each family; the policy names a range of TCP ports, refuses one address, and denies the rest.
pub(crate) const OBJECTS: &str = "apiVersion: postern.dev/v1alpha1
kind: ExitNode
metadata: {name: eu}
spec:
  gateway:
    nodeSelector: {matchLabels: {postern.dev/exit: gw-1}}
    egressIPs: [198.51.100.10, '2001:db8:99::10']
  routes: [203.0.113.0/24, 198.51.100.0/25, '2001:db8:77::/48']
---
apiVersion: postern.dev/v1alpha1
kind: EgressPolicy
metadata: {namespace: crawlers, name: crawler}
spec:
  podSelector: {matchLabels: {app: crawler}}
  route: {type: Exit, exitNodes: [{name: eu}]}
  defaultAction: Deny
  rules:
  - {name: bad, action: Deny, to: [{cidr: 203.0.113.66/32}]}
  - name: web
    action: Allow
    to: [{cidr: 203.0.113.0/24}, {cidr: 198.51.100.0/24}, {cidr: 0.0.0.0/1}, {cidr: '2001:db8:77::/48'}]
    ports: [{protocol: TCP, port: 8000, endPort: 8999}]
";

pub(crate) fn pod(name: &str, app: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: crawlers, name: {name}, uid: pod-{name}, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: worker, containers: []}}\nstatus: {{podIPs: [{addresses}]}}\n"
    )
}

/// A lab with these objects, whose nodes have reported their keys.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    for sample in ["10-exit.yaml", "20-crawlers.yaml"] {
        fs::remove_file(lab.path("manifests").join(sample)).expect("a sample");
    }
    let pods = [
        pod(
            "both",
            "crawler",
            "{ip: 10.244.2.8}, {ip: 'fd00:10:244:2::8'}",
        ),
        pod("free", "other", "{ip: 10.244.2.9}"),
    ];
    let objects = format!("{OBJECTS}{}", pods.concat());
    lab.write("manifests/objects.yaml", &objects);
    lab.report_keys();
    lab
}

pub(crate) const INPUTS: [&str; 12] = [
    "-f",
    "manifests",
    "--reports",
    "reports",
    "--now",
    NOW,
    "--service-cidrs",
    "10.96.0.0/16",
    "--cluster-dns",
    "10.96.0.10",
    "--dns-upstreams",
    "9.9.9.9:53",
];

fn asked(lab: &Lab, pod: &str, packet: &str, more: &[&str]) -> std::process::Output {
    let pod = match pod.contains('/') {
        true => pod.to_owned(),
        false => format!("crawlers/{pod}"),
    };
    let packet: Vec<&str> = packet.split_whitespace().collect();
    posternctl(
        lab,
        &[
            &["explain", "pod", &pod, "--to"],
            &packet[..],
            &INPUTS,
            more,
        ]
        .concat(),
    )
}

/// The code and what is said; nothing where that is no JSON.
fn answered(lab: &Lab, pod: &str, packet: &str) -> (i32, Value) {
    let output = asked(lab, pod, packet, &["-o", "json"]);
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap_or(-1), said)
}

/// What is said about a packet, which ends with this code.
pub(crate) fn said(lab: &Lab, pod: &str, packet: &str, code: i32) -> Value {
    let output = asked(lab, pod, packet, &["-o", "json"]);
    ends(&output, code);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_packet_that_a_rule_allows_leaves_by_the_exit_with_the_source_of_its_gateway() {
    let lab = lab();
    for (packet, source) in [
        ("203.0.113.5 --port 8080", "198.51.100.10"),
        ("203.0.113.5 --port 8999 --protocol TCP", "198.51.100.10"),
        ("2001:db8:77::1 --port 8000", "2001:db8:99::10"),
    ] {
        let found = said(&lab, "both", packet, 0);
        assert_eq!(found["result"], "LeavesByExit", "{found}");
        let way = [&found["exit"], &found["gateway"], &found["source"]];
        assert_eq!(way, ["eu", "gw", source], "{found}");
        let cause = json!({
            "type": "PolicyRule", "policy": "crawlers/crawler", "rule": "web", "action": "Allow",
        });
        assert_eq!(found["cause"], cause);
        assert_eq!(found["nodes"][0]["cause"], cause);
        assert_eq!(
            found["nodes"][1]["cause"],
            json!({"type": "Offered", "exit": "eu"})
        );
    }
    let shown = text(&asked(&lab, "both", "203.0.113.5 --port 8080", &[]));
    for words in [
        "TCP from pod crawlers/both (10.244.2.8) on node worker to 203.0.113.5 port 8080: allowed, it leaves by exit eu through \
         gateway gw with source 198.51.100.10: rule web of policy crawlers/crawler says Allow",
        "tcp dport { 8000-8999 }",
        "serve_eu_",
        "assumed:",
        "default settings",
        "default-route",
        "the tunnel carries",
    ] {
        assert!(shown.contains(words), "{shown} does not say {words:?}");
    }
}

#[test]
fn what_refuses_a_packet_is_told_in_the_words_of_the_policy_with_its_rule_in_nft() {
    let lab = lab();
    let (policy, mut wrong) = ("crawlers/crawler", Vec::new());
    for (packet, cause, nft) in [
        (
            "203.0.113.66 --port 8080",
            json!({"type": "PolicyRule", "policy": policy, "rule": "bad", "action": "Deny"}),
            "ip daddr { 203.0.113.66/32 } goto refuse",
        ),
        (
            "203.0.113.5 --port 443",
            json!({"type": "DefaultAction", "policy": policy, "action": "Deny"}),
            "goto refuse",
        ),
        (
            "203.0.113.5 --port 8080 --protocol UDP",
            json!({"type": "DefaultAction", "policy": policy, "action": "Deny"}),
            "goto refuse",
        ),
        (
            "203.0.113.5 --protocol ICMP",
            json!({"type": "DefaultAction", "policy": policy, "action": "Deny"}),
            "goto refuse",
        ),
        (
            "10.1.2.3 --port 8080",
            json!({"type": "Lan", "policy": policy}),
            "ip daddr @private4 goto refuse",
        ),
        (
            "169.254.169.254 --port 80",
            json!({"type": "SpecialUse", "policy": policy}),
            "ip daddr @special4 goto refuse",
        ),
        (
            "192.0.2.1 --port 30080",
            json!({"type": "NodePort"}),
            "th dport { 30000-32767 }",
        ),
        (
            "192.0.2.1 --port 51850 --protocol UDP",
            json!({"type": "TunnelEndpoint"}),
            "counter name endpoint drop",
        ),
    ] {
        let (code, found) = answered(&lab, "both", packet);
        let is_silent = cause["type"] == "TunnelEndpoint";
        let result = if is_silent { "Dropped" } else { "Refused" };
        let rule = found["nodes"][0]["deciding"]["text"].as_str();
        let is_told = rule.is_some_and(|rule| rule.contains(nft));
        let told = (code, &found["result"], &found["cause"], is_told);
        if told != (3, &json!(result), &cause, true) || found["nodes"][1] != Value::Null {
            wrong.push(format!("{packet}: {told:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_the_policy_allows_and_the_exit_does_not_offer_is_refused_at_the_gateway() {
    let lab = lab();
    let found = said(&lab, "both", "198.51.100.200 --port 8080", 3);
    assert_eq!(found["result"], "Refused", "{found}");
    let cause = json!({"type": "NotOffered", "exit": "eu", "limit": "Routes"});
    assert_eq!(
        (&found["cause"], &found["nodes"][1]["cause"]),
        (&cause, &cause)
    );
    assert_eq!(found["nodes"][0]["cause"]["rule"], "web");
    let summary = found["summary"].as_str().expect("a sentence");
    assert!(
        summary.starts_with("it is refused at gateway gw: "),
        "{summary}"
    );
}

#[test]
fn what_is_for_a_pod_or_a_node_stays_in_the_cluster_whoever_sends_it() {
    let (lab, mut wrong) = (lab(), Vec::new());
    for pod in ["both", "free"] {
        for (packet, result) in [
            ("10.244.1.7 --port 80", "StaysInCluster"),
            ("192.0.2.1 --port 10250", "StaysInCluster"),
            ("192.0.2.2 --port 10250", "ReachesNode"),
            ("127.0.0.1 --port 80", "StaysInPod"),
        ] {
            let (code, found) = answered(&lab, pod, packet);
            if (code, found["result"].as_str()) != (0, Some(result)) {
                wrong.push(format!("{pod} {packet}: {code} {}", found["result"]));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    let found = said(&lab, "both", "10.244.1.7 --port 80", 0);
    assert_eq!(found["cause"], json!({"type": "Inside"}));
    assert_eq!(found["nodes"][0]["deciding"]["chain"], "inside");
    let node_port = said(&lab, "both", "192.0.2.2 --port 30080", 0);
    let assumed = node_port["assumed"].to_string();
    assert!(
        assumed.contains("no Service has port 30080 at 192.0.2.2"),
        "{assumed}"
    );
}

#[test]
fn a_question_for_a_name_goes_to_the_forwarder_and_a_service_is_for_others_to_translate() {
    let lab = lab();
    for (packet, words) in [
        (
            "10.96.0.10 --port 53 --protocol UDP",
            "by exit eu at 9.9.9.9:53",
        ),
        ("203.0.113.53 --port 53", "by exit eu at 9.9.9.9:53"),
    ] {
        let found = said(&lab, "both", packet, 0);
        assert_eq!(found["result"], "AsksForwarder", "{found}");
        assert_eq!(found["cause"], json!({"type": "Dns"}));
        let rule = found["nodes"][0]["deciding"]["text"].to_string();
        assert!(rule.contains("redirect to :5300"), "{rule}");
        let summary = found["summary"].as_str().expect("a sentence");
        assert!(summary.contains("port 5300 of its node"), "{summary}");
        assert!(summary.contains(words), "{summary}");
    }
    let service = said(&lab, "both", "10.96.0.20 --port 8080", 3);
    assert_eq!(service["result"], "NotKnown", "{service}");
    let summary = service["summary"].as_str().expect("a sentence");
    assert!(
        summary.contains("ask with the address and the port of the endpoint"),
        "{summary}"
    );
}

#[test]
fn a_pod_that_no_policy_selects_leaves_by_the_uplink_of_its_node() {
    let lab = lab();
    for packet in [
        "203.0.113.66 --port 443",
        "10.1.2.3 --port 1",
        "9.9.9.9 --port 53",
    ] {
        let found = said(&lab, "free", packet, 0);
        assert_eq!(found["result"], "LeavesByUplink", "{found}");
        assert_eq!(found["cause"], json!({"type": "Released"}));
        assert_eq!(found["nodes"][0]["deciding"]["chain"], "released");
    }
}

#[test]
fn a_pod_on_the_gateway_leaves_there_and_a_policy_without_a_way_lets_nothing_out() {
    let lab = lab();
    let found = said(&lab, "crawl-gw", "203.0.113.5 --port 8080", 0);
    let way = [&found["exit"], &found["gateway"], &found["source"]];
    assert_eq!(way, ["eu", "gw", "198.51.100.10"], "{found}");
    assert_eq!(found["nodes"].as_array().map(Vec::len), Some(1));
    fs::remove_dir_all(lab.path("reports")).expect("reports");
    fs::create_dir(lab.path("reports")).expect("a folder");
    let found = said(&lab, "both", "203.0.113.5 --port 8080", 3);
    assert_eq!(found["cause"]["type"], "ScopeBlocked", "{found}");
    assert_eq!(found["cause"]["reason"], "NoPeerKey", "{found}");
}

#[test]
fn a_packet_that_no_pod_sends_is_not_explained() {
    let lab = lab();
    for (pod, packet, code, words) in [
        (
            "crawl-w",
            "2001:db8:77::1 --port 8000",
            1,
            "has no IPv6 address",
        ),
        (
            "nobody",
            "203.0.113.5 --port 8000",
            1,
            "there is no Pod crawlers/nobody",
        ),
        (
            "both",
            "203.0.113.5 --protocol UDP",
            1,
            "a packet of UDP has a port: name it with --port",
        ),
        (
            "both",
            "203.0.113.5 --protocol ICMP --port 1",
            1,
            "leave --port out",
        ),
        (
            "both",
            "203.0.113.5",
            2,
            "--port <PORT>|--protocol <PROTOCOL>",
        ),
        ("both", "203.0.113.0/24 --port 1", 2, "--to"),
        ("both", "203.0.113.5 --port 0", 2, "--port"),
        ("both", "203.0.113.5 --protocol GRE", 2, "--protocol"),
    ] {
        let output = asked(&lab, pod, packet, &[]);
        ends(&output, code);
        assert!(text(&output).contains(words), "{packet}: {}", text(&output));
    }
    let alone = posternctl(
        &lab,
        &[&["explain", "pod", "a/b", "--port", "1"], &INPUTS[..]].concat(),
    );
    ends(&alone, 2);
    let policy = [
        "explain",
        "policy",
        "crawlers/crawler",
        "--to",
        "203.0.113.5",
    ];
    ends(&posternctl(&lab, &[&policy[..], &INPUTS].concat()), 2);
}

#[test]
fn a_name_opens_what_its_rule_allows_and_the_rule_is_named() {
    let lab = lab();
    let named = OBJECTS
        .replace(
            "  defaultAction: Deny\n",
            "  defaultAction: Deny\n  dns: {mode: Filter}\n",
        )
        .replace("{cidr: 203.0.113.0/24}", "{fqdn: '*.Example.org'}")
        .replace(
            "routes: [203.0.113.0/24, 198.51.100.0/25, '2001:db8:77::/48']",
            "routes: [0.0.0.0/0]",
        );
    assert!(named.contains("fqdn") && named.contains("Filter"));
    let pod = pod("both", "crawler", "{ip: 10.244.2.8}");
    lab.write("manifests/objects.yaml", &(named + &pod));
    let opened = said(
        &lab,
        "both",
        "203.0.113.5 --port 8080 --answered-for API.example.org.",
        0,
    );
    assert_eq!(opened["cause"]["type"], "PolicyRule", "{opened}");
    assert_eq!(opened["cause"]["action"], "Allow", "{opened}");
    for other in [
        "",
        " --answered-for example.org",
        " --answered-for api.example.net",
    ] {
        let refused = said(&lab, "both", &format!("203.0.113.5 --port 8080{other}"), 3);
        assert_eq!(
            refused["cause"]["type"], "DefaultAction",
            "{other}: {refused}"
        );
    }
    // Of the name alone it is the same; a name that no rule allows is refused as a name.
    let opened = said(&lab, "both", "api.EXAMPLE.org --port 8080", 0);
    assert_eq!(opened["cause"]["rule"], "web", "{opened}");
    assert_eq!(opened["result"], "LeavesByExit", "{opened}");
    let shut = said(&lab, "both", "api.example.org --port 9080", 3);
    assert_eq!(shut["cause"]["type"], "DefaultAction", "{shut}");
    for (name, told) in [
        ("api.example.net", "refuses the name api.example.net"),
        ("use-application-dns.net", "refuses the name"),
        ("shop.svc.cluster.local", "is a name of the cluster"),
    ] {
        let refused = said(&lab, "both", &format!("{name} --port 8080"), 3);
        let summary = refused["summary"].as_str().unwrap();
        assert!(summary.contains(told), "{refused}");
    }
    // An answer may not bring an address of the cluster.
    let inside = said(
        &lab,
        "both",
        "10.1.2.3 --port 8080 --answered-for api.example.org",
        3,
    );
    assert_ne!(inside["cause"]["type"], "PolicyRule", "{inside}");
}

#[test]
fn an_exit_with_a_field_that_is_not_honoured_blocks_the_pods_of_its_policies() {
    let lab = lab();
    let named = OBJECTS.replace("  routes:", "  paths: [FakeTCP]\n  routes:");
    assert!(named.contains("FakeTCP"));
    let pod = pod("both", "crawler", "{ip: 10.244.2.8}");
    lab.write("manifests/objects.yaml", &(named + &pod));
    let found = said(&lab, "both", "203.0.113.5 --port 8080", 3);
    assert_eq!(found["result"], "Refused", "{found}");
    assert_eq!(found["cause"]["reason"], "NotImplemented", "{found}");
}
