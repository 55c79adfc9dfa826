//! What a policy says of itself: what its nodes report, which generation is in force, and who else selects its pods.

use postern_compile::snapshot::ReportedScope;
use postern_compile::verdict::{Detail, Verdict};
use postern_compile::{Compilation, NodeOutcome};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::body::{BlockedReason, Class, FORMAT_VERSION, TunnelRole};
use postern_intent::{NodeName, Uid};

use super::changes::{Accepted, Change, NO_RED_POLICY, make, pod, red_policy, start};
use super::world::World;

fn policy(name: usize, app: usize, priority: i32, accepted: Accepted) -> Change {
    Change::Policy {
        namespace: 0,
        name,
        app,
        exit: 0,
        priority,
        accepted,
    }
}

fn verdict<'a>(compilation: &'a Compilation, name: &str) -> &'a Verdict {
    let mut verdicts = compilation.verdicts.iter();
    verdicts
        .find(|one| ["EgressPolicy", "Node"].contains(&one.kind) && one.name == name)
        .expect("a verdict")
}

pub(crate) fn said(compilation: &Compilation, name: &str, kind: &str) -> String {
    let mut all = verdict(compilation, name).conditions.iter();
    let found = all
        .find(|one| one.kind.as_str() == kind)
        .expect("a condition");
    format!(
        "{} {}: {}",
        found.state.as_str(),
        found.reason,
        found.message
    )
}

/// Policy p0 in force on its nodes.
pub(crate) fn enforced() -> (World, Uid) {
    let mut world = start();
    make(&mut world, &red_policy(3));
    world.compile();
    let compilation = world.compile();
    assert!(
        said(&compilation, "p0", "Ready").starts_with("True"),
        "{:?}",
        said(&compilation, "p0", "Ready")
    );
    let uid = world.policies["red/p0"]
        .metadata
        .uid
        .clone()
        .expect("a UID");
    (world, uid.parse().expect("a UID"))
}

pub(crate) fn node_of_a_pod(world: &World) -> String {
    let mut bodies = world.previous.iter();
    let found = bodies.find(|(_, body)| !body.firewall.is_empty());
    found.expect("a node").0.to_string()
}

/// From now on the node reports this about the policy's scope.
fn report(world: &mut World, node: &str, uid: Uid, scope: ReportedScope) {
    let of_node = world.scopes.entry(node.to_owned()).or_default();
    of_node.insert(uid, scope);
}

#[test]
fn a_pod_that_its_node_reports_as_bypassing_the_guard_is_not_enforced_and_the_policy_names_the_node()
 {
    let (mut world, uid) = enforced();
    let before = world.compile();
    let node = node_of_a_pod(&world);
    let scope = ReportedScope {
        blocked: None,
        unenforceable: 1,
        ..ReportedScope::default()
    };
    report(&mut world, &node, uid, scope);
    let compilation = world.compile();
    for kind in ["Ready", "FullyEnforced"] {
        let said = said(&compilation, "p0", kind);
        assert!(
            said.starts_with("False DataplaneBypassed") && said.contains(&node),
            "{said}"
        );
    }
    let counts = |compilation: &Compilation| match &verdict(compilation, "p0").detail {
        Detail::Policy { pods, .. } => (pods.enforced, pods.unenforceable),
        _ => panic!("a policy"),
    };
    assert_eq!(counts(&compilation), (counts(&before).0 - 1, 1));
}

#[test]
fn a_node_that_reports_more_bypassing_pods_than_it_has_lowers_its_own_count_only() {
    let (mut world, uid) = enforced();
    let node = node_of_a_pod(&world);
    let scope = ReportedScope {
        blocked: None,
        unenforceable: u32::MAX,
        ..ReportedScope::default()
    };
    report(&mut world, &node, uid, scope);
    let compilation = world.compile();
    let Detail::Policy { pods, .. } = &verdict(&compilation, "p0").detail else {
        panic!("a policy");
    };
    assert!(pods.unenforceable <= pods.selected);
}

#[test]
fn a_node_that_can_make_no_tunnel_makes_the_policy_not_ready_by_its_name() {
    let (mut world, uid) = enforced();
    let node = node_of_a_pod(&world);
    let scope = ReportedScope {
        blocked: Some(Reason::NoTunnel),
        unenforceable: 0,
        ..ReportedScope::default()
    };
    report(&mut world, &node, uid, scope);
    let said = said(&world.compile(), "p0", "Ready");
    assert!(
        said.starts_with("False NoTunnel") && said.contains(&node),
        "{said}"
    );
}

#[test]
fn a_node_whose_uplink_is_used_makes_the_policy_neither_ready_nor_enforced_by_its_name() {
    let (mut world, uid) = enforced();
    let node = node_of_a_pod(&world);
    let scope = ReportedScope {
        failed_open: true,
        ..ReportedScope::default()
    };
    report(&mut world, &node, uid, scope);
    let compilation = world.compile();
    for condition in ["Ready", "FullyEnforced"] {
        let said = said(&compilation, "p0", condition);
        assert!(
            said.starts_with("False FailedOpen") && said.contains(&node),
            "{said}"
        );
    }
}

#[test]
fn a_node_that_binds_no_sources_leaves_the_policy_not_fully_enforced() {
    let (mut world, _) = enforced();
    let node = node_of_a_pod(&world);
    world.unbound.insert(node.clone(), Reason::NoPlugin);
    let said = said(&world.compile(), "p0", "FullyEnforced");
    assert!(
        said.starts_with("False NoPlugin") && said.contains(&node),
        "{said}"
    );
}

#[test]
fn a_node_that_has_flows_to_cut_leaves_the_policy_not_programmed_and_not_fully_enforced() {
    let (mut world, _) = enforced();
    let node = node_of_a_pod(&world);
    let (kind, reason) = (ConditionType::Programmed, Reason::FlowsNotCut);
    let owed = Finding::no(kind, reason, "2 addresses");
    world.conditions.insert(node.clone(), vec![owed]);
    let compilation = world.compile();
    for kind in ["Programmed", "FullyEnforced"] {
        let said = said(&compilation, "p0", kind);
        assert!(
            said.starts_with("False FlowsNotCut") && said.contains(&node),
            "{said}"
        );
    }
    let ready = said(&compilation, "p0", "Ready");
    assert!(ready.starts_with("True"), "the guard holds: {ready}");
}

#[test]
fn an_agent_that_reads_other_formats_only_is_named_and_one_that_says_nothing_is_not() {
    let (world, _) = enforced();
    let accepted = |world: &World, formats: &[u32]| {
        let mut world = world.clone();
        let node = node_of_a_pod(&world);
        world
            .formats
            .insert(node.clone(), formats.iter().copied().collect());
        said(&world.compile(), &node, "Accepted")
    };
    let other = accepted(&world, &[FORMAT_VERSION + 1]);
    assert!(
        other.starts_with("False FormatVersion") && other.contains("upgrade the agent"),
        "{other}"
    );
    for well in [&[FORMAT_VERSION, FORMAT_VERSION + 1][..], &[]] {
        assert!(accepted(&world, well).starts_with("True"), "{well:?}");
    }
}

#[test]
fn an_exception_that_the_exit_does_not_offer_is_named_by_the_policy() {
    let (mut world, _) = enforced();
    let ready = |world: &mut World| {
        world.compile();
        said(&world.compile(), "p0", "Ready")
    };
    assert!(!ready(&mut world).contains("specialUse"));
    let mut policy = world.policies["red/p0"].clone();
    let exceptions = serde_json::json!({"exceptions": ["169.254.169.254/32"]});
    policy.spec.special_use = serde_json::from_value(exceptions).expect("exceptions");
    world.apply_policy(policy);
    let said = ready(&mut world);
    assert!(
        said.starts_with("True") && said.contains("no route to 169.254.169.254/32"),
        "{said}"
    );
}

#[test]
fn nodes_that_are_behind_are_named() {
    let (mut world, _) = enforced();
    let node = node_of_a_pod(&world);
    world.unsealed.insert(node.clone());
    let said = said(&world.compile(), "p0", "Programmed");
    assert!(
        said.starts_with("False Converging") && said.contains(&format!("behind: {node}")),
        "{said}"
    );
}

#[test]
fn a_refused_update_is_neither_programmed_nor_ready_while_the_generation_before_stays_in_force() {
    let (mut world, _) = enforced();
    make(&mut world, &policy(0, 3, 0, Accepted::No));
    world.compile();
    let compilation = world.compile();
    for kind in ["Programmed", "Ready"] {
        let said = said(&compilation, "p0", kind);
        assert!(said.starts_with("False Invalid"), "{said}");
        assert!(said.contains("generation 1 stays in force"), "{said}");
    }
}

#[test]
fn of_two_policies_that_select_one_pod_both_name_the_other_one() {
    let mut world = start();
    make(&mut world, &policy(0, 3, 5, Accepted::Yes));
    make(&mut world, &policy(1, 3, 0, Accepted::Yes));
    world.compile();
    let compilation = world.compile();
    let loser = said(&compilation, "p1", "Ready");
    assert!(loser.starts_with("False Overridden"), "{loser}");
    let loser = said(&compilation, "p1", "FullyEnforced");
    assert!(
        loser.starts_with("False Overridden") && loser.contains("p0"),
        "{loser}"
    );
    let winner = said(&compilation, "p0", "FullyEnforced");
    assert!(
        winner.starts_with("True") && winner.contains("p1"),
        "{winner}"
    );
}

#[test]
fn a_pod_that_is_relabelled_comes_under_the_policy_of_higher_rank_at_once_and_under_no_other() {
    for (priority, expected) in [(1000, "red/p1@e1"), (0, "red/p0@e1")] {
        let mut world = start();
        make(&mut world, &policy(0, 0, 0, Accepted::Yes));
        make(&mut world, &policy(1, 1, priority, Accepted::Yes));
        pod(&mut world, 0, 0, 0, 0);
        world.compile();
        world.compile();
        let relabel = Change::Relabel {
            namespace: 0,
            name: 0,
            app: 1,
        };
        make(&mut world, &relabel);
        world.compile();
        let bodies = world.previous.values();
        let mut pods = bodies.flat_map(|body| &body.pods);
        let found =
            pods.find(|one| one.namespace.as_str() == "red" && one.name.as_str().ends_with('0'));
        let Class::Policy { scope } = &found.expect("the pod").class else {
            panic!("{found:?}");
        };
        assert_eq!(scope.as_str(), expected);
    }
}

#[test]
fn a_namespace_whose_label_has_another_value_denies() {
    for value in ["Deny", "true", ""] {
        let mut world = start();
        let namespace = world.namespaces.get_mut("red").expect("a namespace");
        let label = "postern.dev/egress-default".to_owned();
        namespace.labels.insert(label, value.to_owned());
        world.compile();
        let bodies = world.previous.values();
        let mut pods = bodies.flat_map(|body| &body.pods);
        let denied = Class::Blocked {
            reason: BlockedReason::NamespaceDeny,
        };
        let red = pods.find(|one| one.namespace.as_str() == "red");
        assert_eq!(red.expect("a pod").class, denied, "{value:?}");
    }
}

#[test]
fn a_peer_outlives_its_last_pod_and_keeps_its_addresses() {
    let (mut world, _) = enforced();
    let peers = |world: &World| {
        let bodies = world.previous.values();
        let tunnels = bodies.flat_map(|body| &body.tunnels);
        let served = tunnels.filter(|tunnel| tunnel.role == TunnelRole::Served);
        served
            .flat_map(|tunnel| tunnel.peers.clone())
            .collect::<Vec<_>>()
    };
    let before = peers(&world);
    assert!(!before.is_empty());
    make(&mut world, &NO_RED_POLICY);
    // It was numbered before e2, so that numbers given anew would differ.
    make(&mut world, &Change::NoExit { exit: 0 });
    world.compile();
    world.wait(jiff::SignedDuration::from_hours(2));
    world.compile();
    let clients = world
        .previous
        .values()
        .flat_map(|body| &body.routes)
        .count();
    assert_eq!(clients, 0, "nobody uses the exit any more");
    assert_eq!(peers(&world), before);
}

#[test]
fn a_client_keeps_its_addresses_when_nodes_before_it_become_clients() {
    let node = |name: &str| name.parse::<NodeName>().expect("a name");
    let addresses = |world: &World| {
        let tunnels = world.previous[&node("node2")].tunnels.iter();
        let used = tunnels.filter(|tunnel| tunnel.role == TunnelRole::Used);
        used.flat_map(|tunnel| tunnel.addresses.clone())
            .collect::<Vec<_>>()
    };
    let mut world = start();
    make(&mut world, &red_policy(2));
    world.compile();
    let before = addresses(&world);
    assert!(!before.is_empty());
    assert!(world.previous[&node("node0")].routes.is_empty());
    make(&mut world, &red_policy(3));
    world.compile();
    assert!(!world.previous[&node("node0")].routes.is_empty());
    assert_eq!(addresses(&world), before);
}

/// Everything that is said of a policy and of its exit.
fn statuses(compilation: &Compilation) -> Vec<Verdict> {
    let users = compilation.verdicts.iter().filter(|one| one.kind != "Node");
    users.cloned().collect()
}

#[test]
fn a_refresh_and_a_pod_of_another_policy_change_no_status() {
    let (mut world, _) = enforced();
    let before = statuses(&world.compile());
    world.wait(jiff::SignedDuration::from_hours(2));
    let refreshed = world.compile_for(|_| false);
    let published = refreshed.nodes.values();
    let is_refreshed = |one: &&NodeOutcome| matches!(one, NodeOutcome::Publish(_));
    assert!(published.filter(is_refreshed).count() > 1);
    assert_eq!(statuses(&refreshed), before);
    // Another policy, p1, by the same exit: its new pod brings it to node0.
    let others = |mut all: Vec<Verdict>| {
        all.retain(|one| one.name != "p1");
        all
    };
    let blue = Change::Policy {
        namespace: 2,
        name: 1,
        app: 1,
        exit: 1,
        priority: 0,
        accepted: Accepted::Yes,
    };
    make(&mut world, &blue);
    world.compile();
    let before = others(statuses(&world.compile()));
    pod(&mut world, 2, 9, 0, 1);
    let compilation = world.compile_for(|_| false);
    let blue = said(&compilation, "p1", "Programmed");
    assert!(blue.contains("behind: node0"), "{blue}");
    assert_eq!(others(statuses(&compilation)), before);
}
