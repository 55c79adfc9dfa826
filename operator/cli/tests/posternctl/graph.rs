//! The graph of traffic, as each drawing has it: compared with committed files. `POSTERN_GOLDEN=write` writes them anew.

use std::fs;
use std::path::Path;

use posternctl::cluster::{ClusterObjects, ReadResult};
use posternctl::graph::{EdgeStyle, GraphColumn, TrafficGraph};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<K: DeserializeOwned>(value: Value) -> ReadResult<K> {
    Ok(serde_json::from_value(value).expect("an object"))
}

fn policy(namespace: &str, name: &str, route: &Value, in_force: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": {}, "defaultAction": "Allow", "route": route},
        "status": {"exitNode": in_force, "pods": {"selected": 3, "enforced": 2}},
    })
}

fn exit(name: &str, spec: &Value, gateways: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode", "metadata": {"name": name}, "spec": spec,
        "status": {"gateways": gateways, "clients": {"desired": 2, "programmed": 1, "sealed": 2}},
    })
}

fn client(node: &str, exits: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": node}, "spec": {"nodeUID": "u"}, "status": {"exits": exits},
    })
}

fn objects() -> ClusterObjects {
    let both = json!({"type": "Exit", "exitNodes": [{"name": "eu"}, {"name": "vpn"}]});
    let own = json!({"type": "NodeUplink"});
    let missing = json!({"type": "Exit", "exitNodes": [{"name": "nowhere"}]});
    let gateway = json!({"gateway": {"nodeSelector": {}}});
    let server = json!({"external": {
        "endpoint": "vpn.example.net:51820", "publicKey": "aQ==", "addresses": ["10.64.0.2/32"],
        "credentialsSecretRef": {"name": "vpn"}, "gatewayNodeSelector": {},
    }});
    let gateways = json!([
        {"node": "gw-1", "role": "Active", "healthy": true, "egressIPs": ["203.0.113.10", "2001:db8::10"]},
        {"node": "gw-2", "role": "Standby", "healthy": true},
    ]);
    let path = |state: &str| json!([{"family": "IPv4", "state": state}]);
    ClusterObjects {
        policies: vec![
            object(policy("shop", "crawler", &both, &json!("eu"))),
            object(policy(
                "shop",
                "a \"quoted\" <name> & more",
                &own,
                &Value::Null,
            )),
            object(policy("lab", "lost", &missing, &Value::Null)),
        ],
        cluster_policies: Vec::new(),
        exits: vec![
            object(exit(
                "vpn",
                &server,
                &json!([{"node": "gw-2", "role": "Active", "healthy": false}]),
            )),
            object(exit("eu", &gateway, &gateways)),
        ],
        reports: vec![
            object(client(
                "n2",
                &json!([{"exit": "eu", "paths": path("Broken")}]),
            )),
            object(client(
                "n1",
                &json!([{"exit": "eu", "paths": path("Works")}, {"exit": "vpn"}]),
            )),
        ],
        ..ClusterObjects::default()
    }
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/posternctl/golden")
        .join(name);
    if std::env::var_os("POSTERN_GOLDEN").is_some_and(|wanted| wanted == "write") {
        fs::write(&path, format!("{text}\n")).expect("a file");
    }
    let wanted = fs::read_to_string(&path).expect("a golden file");
    assert_eq!(format!("{text}\n"), wanted, "{name}");
}

#[test]
fn each_drawing_is_as_the_committed_file_has_it() {
    let graph = TrafficGraph::of(&objects());
    compare("graph.mmd", &graph.mermaid());
    compare("graph.dot", &graph.dot());
    compare("graph.svg", &graph.svg());
}

#[test]
fn the_order_of_the_objects_changes_no_drawing() {
    let mut other = objects();
    other.policies.reverse();
    other.exits.reverse();
    other.reports.reverse();
    let (one, other) = (TrafficGraph::of(&objects()), TrafficGraph::of(&other));
    assert_eq!(one, other);
    assert_eq!(one.svg(), other.svg());
}

#[test]
fn an_edge_shows_whether_traffic_takes_it() {
    let graph = TrafficGraph::of(&objects());
    let style = |from: (GraphColumn, &str), to: (GraphColumn, &str)| {
        let is_it = |(column, name): (GraphColumn, &str), end: &(GraphColumn, String)| {
            (column, name) == (end.0, end.1.as_str())
        };
        let mut edges = graph.edges.iter();
        let edge = edges.find(|edge| is_it(from, &edge.from) && is_it(to, &edge.to));
        edge.map(|edge| edge.style)
    };
    use GraphColumn::{Client, Exit, Gateway, Policy};
    let crawler = (Policy, "shop/crawler");
    for (from, to, wanted) in [
        (crawler, (Exit, "eu"), Some(EdgeStyle::InForce)),
        (crawler, (Exit, "vpn"), Some(EdgeStyle::Standby)),
        ((Exit, "eu"), (Gateway, "gw-1"), Some(EdgeStyle::InForce)),
        ((Exit, "eu"), (Gateway, "gw-2"), Some(EdgeStyle::Standby)),
        ((Exit, "vpn"), (Gateway, "gw-2"), Some(EdgeStyle::Broken)),
        ((Client, "n2"), (Exit, "eu"), Some(EdgeStyle::Broken)),
        ((Client, "n2"), (Exit, "vpn"), None),
    ] {
        assert_eq!(style(from, to), wanted, "{from:?} {to:?}");
    }
}

#[test]
fn what_a_policy_names_and_nothing_describes_is_drawn_as_not_there() {
    let graph = TrafficGraph::of(&objects());
    let lost = graph.nodes.iter().find(|node| node.name == "nowhere");
    assert_eq!(lost.expect("a node").detail, "not there");
}

#[test]
fn an_empty_cluster_has_drawings_too() {
    let graph = TrafficGraph::of(&ClusterObjects::default());
    assert_eq!(graph.mermaid(), "flowchart LR");
    assert!(graph.dot().ends_with('}'));
    assert!(graph.svg().ends_with("</svg>"));
}
