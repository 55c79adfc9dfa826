//! Terms that contradict the cluster: refused with what to write instead, and what was in force stays.

use postern_compile::Compilation;
use postern_crds::egress_policy::{PolicyRule, PortRange};
use postern_crds::exit_node::ExitNodeSpec;
use postern_intent::body::Class;

use super::changes::{Accepted, Change, make, start};
use super::world::World;

/// A cluster whose policy red/p0 is in force by exit1 on every node that it needs.
fn world() -> World {
    let mut world = start();
    let policy = Change::Policy {
        namespace: 0,
        name: 0,
        app: 3,
        exit: 1,
        priority: 0,
        accepted: Accepted::Yes,
    };
    make(&mut world, &policy);
    world.compile();
    world
}

/// What `Accepted` of an object says.
fn accepted(compilation: &Compilation, name: &str) -> String {
    let mut verdicts = compilation.verdicts.iter();
    let verdict = verdicts.find(|one| one.name == name).expect("a verdict");
    let mut conditions = verdict.conditions.iter();
    let found = conditions.find(|one| one.kind.as_str() == "Accepted");
    let found = found.expect("a condition");
    format!(
        "{} {}: {}",
        found.state.as_str(),
        found.reason,
        found.message
    )
}

fn exit_says(change: impl FnOnce(&mut ExitNodeSpec)) -> String {
    let mut world = world();
    let served = |world: &World| {
        let bodies = world.previous.values();
        bodies.flat_map(|body| body.nat.clone()).collect::<Vec<_>>()
    };
    let before = served(&world);
    let mut exit = world.exits["e2"].clone();
    change(&mut exit.spec);
    world.apply_exit(exit);
    let says = accepted(&world.compile(), "e2");
    if says.starts_with("False") {
        assert_eq!(served(&world), before, "what was in force stays");
    }
    says
}

fn policy_says(upstream: &str) -> String {
    let mut world = world();
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.dns.upstreams = vec![upstream.to_owned()];
    world.apply_policy(policy);
    let says = accepted(&world.compile(), "p0");
    let pods = world.previous.values().flat_map(|body| &body.pods);
    let mut red = pods.filter(|pod| pod.namespace.as_str() == "red");
    assert!(red.all(|pod| matches!(pod.class, Class::Policy { .. })));
    says
}

#[test]
fn upstreams_inside_the_cluster_are_refused_and_those_outside_are_not() {
    for inside in ["10.96.0.10", "10.244.2.9", "192.0.2.3"] {
        let says = policy_says(inside);
        let wanted =
            format!("False Invalid: spec.dns.upstreams: {inside} is an address of this cluster");
        assert!(says.starts_with(&wanted), "{says}");
    }
    assert!(policy_says("9.9.9.9").starts_with("True"));
}

#[test]
fn an_egress_address_of_a_pod_or_a_service_is_refused_and_one_of_a_node_is_not() {
    for taken in ["10.244.3.77", "10.96.4.4"] {
        let says = exit_says(|spec| {
            let gateway = spec.gateway.as_mut().expect("a gateway");
            gateway.egress_ips = vec![taken.to_owned()];
        });
        let wanted = format!(
            "False Invalid: spec.gateway.egressIPs: {taken} lies in the range of pods or Services"
        );
        assert!(says.starts_with(&wanted), "{says}");
    }
    let free = exit_says(|spec| {
        let gateway = spec.gateway.as_mut().expect("a gateway");
        gateway.egress_ips = vec!["192.0.2.2".to_owned()];
    });
    assert!(free.starts_with("True"), "{free}");
}

#[test]
fn a_route_that_names_only_the_cluster_is_refused_and_one_that_reaches_beyond_is_not() {
    for inside in [
        "10.96.0.0/16",
        "10.244.1.0/24",
        "10.244.0.0/22",
        "192.0.2.2/32",
    ] {
        let says =
            exit_says(|spec| spec.routes = vec!["198.51.100.0/24".to_owned(), inside.to_owned()]);
        let wanted = format!("False Invalid: spec.routes: all of {inside} lies in this cluster");
        assert!(says.starts_with(&wanted), "{says}");
    }
    for beyond in ["0.0.0.0/0", "10.0.0.0/8", "203.0.113.0/24"] {
        let says = exit_says(|spec| spec.routes = vec![beyond.to_owned()]);
        assert!(says.starts_with("True"), "{says}");
    }
}

#[test]
fn a_rule_without_destinations_is_about_every_destination_on_its_ports() {
    let mut world = world();
    let mut policy = world.policies["red/p0"].clone();
    let ports = PortRange {
        port: Some(123),
        ..PortRange::default()
    };
    policy.spec.rules = vec![PolicyRule {
        ports: vec![ports],
        ..PolicyRule::default()
    }];
    world.apply_policy(policy);
    assert!(accepted(&world.compile(), "p0").starts_with("True"));
    let mut scopes = world.previous.values().flat_map(|body| &body.firewall);
    let to = |scope: &postern_intent::body::Scope| {
        let all = scope.terms.rules.iter().flat_map(|rule| &rule.to);
        all.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(scopes.any(|scope| to(scope) == ["0.0.0.0/0", "::/0"]));
}

#[test]
fn a_service_with_an_external_address_takes_no_resolver_away_from_other_tenants() {
    let mut world = world();
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.dns.upstreams = vec!["9.9.9.9".to_owned()];
    world.apply_policy(policy);
    let service = serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "green", "name": "resolver"},
        "spec": {"externalIPs": ["9.9.9.9"], "ports": [{"port": 53}]},
    }));
    let service = postern_compile::intake::service(&service.expect("a Service"));
    world
        .services
        .push(service.expect("a service").expect("an address"));
    let says = accepted(&world.compile(), "p0");
    assert!(says.starts_with("True"), "{says}");
}
