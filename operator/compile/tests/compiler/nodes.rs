//! What nodes claim and report, and the addresses that services have.

use std::collections::BTreeSet;

use postern_compile::Compilation;
use postern_compile::intake;
use postern_compile::snapshot::SnapshotService;
use postern_compile::verdict::{Detail, Verdict};
use postern_intent::body::{EgressPath, PortSpan, TunnelRole};
use postern_intent::{Address, Body, NodeDocument, Serial};
use serde_json::json;

use super::changes::{make, red_policy, start};
use super::world::World;

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn claim(world: &mut World, node: &str, addresses: &[&str]) {
    let node = world.nodes.get_mut(node).expect("a node");
    node.addresses = addresses.iter().map(|text| address(text)).collect();
}

/// Where translated inbound connections of a node may have come in.
fn inbound(world: &World, node: &str) -> BTreeSet<Address> {
    let cluster = world.cluster().clone();
    Body::of(body(world, node).clone(), cluster).inbound_addresses()
}

fn body<'a>(world: &'a World, node: &str) -> &'a NodeDocument {
    &world.previous[&node.parse().expect("a name")]
}

fn verdict<'a>(compilation: &'a Compilation, kind: &str, name: &str) -> &'a Verdict {
    let mut all = compilation.verdicts.iter();
    all.find(|verdict| verdict.kind == kind && verdict.name == name)
        .expect("a verdict")
}

fn said(verdict: &Verdict, kind: &str) -> String {
    let mut all = verdict.conditions.iter();
    let found = all.find(|finding| finding.kind.as_str() == kind);
    let found = found.expect("a condition");
    format!(
        "{} {}: {}",
        found.state.as_str(),
        found.reason,
        found.message
    )
}

#[test]
fn an_address_outside_the_node_ranges_is_nobodys_and_is_named() {
    let mut world = start();
    world.settings.node_ranges = vec!["192.0.2.0/24".parse().expect("a prefix")];
    // First, so that it would be the endpoint too.
    claim(&mut world, "node1", &["203.0.113.9", "192.0.2.2"]);
    make(&mut world, &red_policy(3));
    let compilation = world.compile();
    let outside = address("203.0.113.9");
    for body in world.previous.values() {
        assert!(!body.local_addresses.contains(&outside));
    }
    let facts = &world.cluster().cluster;
    assert!(!facts.node_addresses.contains(&outside));
    let mut endpoints = facts.tunnel_endpoints.iter();
    assert!(endpoints.all(|endpoint| endpoint.ip() != outside));
    let mut tunnels = body(&world, "node0").tunnels.iter();
    let used = tunnels.find(|tunnel| tunnel.role == TunnelRole::Used);
    let peer = &used.expect("a used tunnel").peers[0];
    assert_eq!(
        peer.endpoint.map(|endpoint| endpoint.ip()),
        Some(address("192.0.2.2"))
    );
    let accepted = said(verdict(&compilation, "Node", "node1"), "Accepted");
    assert!(
        accepted.starts_with("False NotPermitted: it claims 203.0.113.9"),
        "{accepted}"
    );
    assert!(said(verdict(&compilation, "Node", "node0"), "Accepted").starts_with("True"));
}

#[test]
fn a_node_without_an_address_in_the_node_ranges_is_no_gateway() {
    let mut world = start();
    world.settings.node_ranges = vec!["192.0.2.0/24".parse().expect("a prefix")];
    claim(&mut world, "node1", &["203.0.113.9"]);
    make(&mut world, &red_policy(3));
    let compilation = world.compile();
    let resolved = said(verdict(&compilation, "ExitNode", "e2"), "ResolvedRefs");
    assert!(resolved.starts_with("False NoEligibleNode"), "{resolved}");
}

#[test]
fn a_pod_keeps_an_address_that_a_node_claims_outside_of_the_node_ranges() {
    let mut world = start();
    make(&mut world, &red_policy(3));
    let own = address("10.244.0.10");
    claim(&mut world, "node3", &["192.0.2.4", "10.244.0.10"]);
    let has_it = |world: &World| {
        let mut pods = body(world, "node0").pods.iter();
        pods.any(|pod| pod.addresses.contains(&own))
    };
    world.compile();
    assert!(
        !has_it(&world),
        "without ranges the claim counts, as documented"
    );
    world.settings.node_ranges = vec!["192.0.2.0/24".parse().expect("a prefix")];
    world.compile();
    assert!(has_it(&world));
}

#[test]
fn a_serial_that_is_not_believed_is_told() {
    let mut world = start();
    world.compile();
    let ahead = u64::try_from(world.now.as_millisecond()).expect("a time") + 3_600_001;
    world.ledgers.insert("node2".to_owned(), Serial(ahead));
    let compilation = world.compile();
    let accepted = said(verdict(&compilation, "Node", "node2"), "Accepted");
    assert!(
        accepted.contains(&format!("reports serial {ahead}")),
        "{accepted}"
    );
    assert!(said(verdict(&compilation, "Node", "node1"), "Accepted").starts_with("True"));
}

#[test]
fn pods_count_as_enforced_when_their_nodes_report_it_and_not_before() {
    let mut world = start();
    make(&mut world, &red_policy(3));
    let enforced = |compilation: &Compilation| {
        let verdict = verdict(compilation, "EgressPolicy", "p0");
        let Detail::Policy { pods, .. } = &verdict.detail else {
            panic!("a policy's verdict");
        };
        let full = said(verdict, "FullyEnforced");
        (
            pods.selected,
            pods.enforced,
            full.split(':').next().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        enforced(&world.compile()),
        (4, 0, "Unknown Converging".to_owned())
    );
    assert_eq!(
        enforced(&world.compile()),
        (4, 4, "True Enforced".to_owned())
    );
    // One node has an older body in force.
    world.ledgers.insert("node2".to_owned(), Serial(1));
    world.applied.remove("node2");
    assert_eq!(
        enforced(&world.compile()),
        (4, 3, "Unknown Converging".to_owned())
    );
}

#[test]
fn what_a_service_has_from_the_outside_is_inbound_on_every_node() {
    let service = |value| {
        let object = serde_json::from_value(value).expect("a Service");
        intake::service(&object).expect("a service")
    };
    let metadata = json!({"namespace": "red", "name": "web"});
    let balanced = service(json!({"metadata": metadata,
        "spec": {"type": "LoadBalancer", "externalIPs": ["198.51.100.8"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}, {"hostname": "lb.example.net"}]}}}));
    let inner = service(json!({"metadata": metadata, "spec": {"type": "ClusterIP"},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}}));
    assert_eq!(inner, None, "what was a load balancer once is none now");
    let mut world = start();
    world.services = Vec::from_iter(balanced);
    world.compile();
    for (node, own) in [("node0", "192.0.2.1"), ("node3", "192.0.2.4")] {
        let expected = [own, "198.51.100.7", "198.51.100.8"].map(address);
        assert_eq!(inbound(&world, node), expected.into());
        assert!(
            !world
                .cluster()
                .cluster
                .node_addresses
                .contains(&expected[1])
        );
    }
    let named: Vec<&SnapshotService> = world.services.iter().collect();
    assert_eq!((named.len(), named[0].name.as_str()), (1, "web"));
}

#[test]
fn a_node_is_inbound_on_itself_alone_whatever_a_service_claims() {
    let service = json!({"metadata": {"namespace": "red", "name": "web"},
        "spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.2", "198.51.100.8"]}});
    let service = serde_json::from_value(service).expect("a Service");
    let mut world = start();
    world.services = Vec::from_iter(intake::service(&service).expect("a service"));
    world.compile();
    let balanced = address("198.51.100.8");
    for (node, own) in [("node0", "192.0.2.1"), ("node1", "192.0.2.2")] {
        assert_eq!(inbound(&world, node), [address(own), balanced].into());
    }
}

#[test]
fn every_node_port_is_refused_whatever_range_the_api_server_has() {
    let service = |name: &str, spec: serde_json::Value| {
        let object = json!({"metadata": {"namespace": "red", "name": name}, "spec": spec});
        let object = serde_json::from_value(object).expect("a Service");
        intake::service(&object).expect("a service")
    };
    let mut world = start();
    world.compile();
    let span = |from, to| PortSpan { from, to };
    let ports = |world: &World| world.cluster().cluster.node_ports.clone();
    assert_eq!(ports(&world), [span(30_000, 32_767)]);
    let of_node = |port| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let inside = service("inside", of_node(30_080));
    let outside = [20_080, 20_081, 32_768].map(|port| service("outside", of_node(port)));
    world.services = inside
        .into_iter()
        .chain(outside.into_iter().flatten())
        .collect();
    world.compile();
    assert_eq!(
        ports(&world),
        [span(20_080, 20_081), span(30_000, 32_768)],
        "as few spans as say the same"
    );
    assert_eq!(service("inner", json!({"ports": [{"port": 80}]})), None);
}

#[test]
fn an_external_address_that_is_a_nodes_is_refused_with_its_ports() {
    let service = json!({"metadata": {"namespace": "red", "name": "web"},
        "spec": {"externalIPs": ["192.0.2.2", "198.51.100.8"], "ports": [{"port": 20_080}]}});
    let service = serde_json::from_value(service).expect("a Service");
    let mut world = start();
    world.services = Vec::from_iter(intake::service(&service).expect("a service"));
    world.compile();
    assert_eq!(
        world.cluster().cluster.node_services,
        ["192.0.2.2:20080".parse().expect("a socket")].into()
    );
}

#[test]
fn addresses_of_services_that_do_not_fit_go_and_no_policy_does() {
    let mut world = start();
    make(&mut world, &red_policy(3));
    let addresses: Vec<String> = (0..20_000)
        .map(|number| format!("198.{}.{}.{}", 18 + number % 2, number / 250, number % 250))
        .collect();
    let service = json!({"metadata": {"namespace": "green", "name": "greedy"},
        "spec": {"externalIPs": addresses}});
    let service = serde_json::from_value(service).expect("a Service");
    world.services = Vec::from_iter(intake::service(&service).expect("a service"));
    world.settings.envelope_budget = 16 * 1024;
    let compilation = world.compile();
    let node = body(&world, "node0");
    assert!(
        matches!(node.firewall[0].way, EgressPath::Tunnel),
        "{:?}",
        node.firewall[0].way
    );
    assert_eq!(inbound(&world, "node0"), [address("192.0.2.1")].into());
    let accepted = said(verdict(&compilation, "Node", "node0"), "Accepted");
    assert!(
        accepted.starts_with("False TooLarge: did not fit: 20000 addresses"),
        "{accepted}"
    );
}

#[test]
fn an_intent_that_is_too_large_without_everything_says_so() {
    let mut world = start();
    make(&mut world, &red_policy(3));
    world.settings.envelope_budget = 1024;
    let compilation = world.compile();
    let accepted = said(verdict(&compilation, "Node", "node0"), "Accepted");
    assert!(
        accepted.contains("red/p0@e2") && accepted.contains("too large without"),
        "{accepted}"
    );
}
