//! The conditions of an isolation, by the reports of its nodes.

use postern_compile::Compilation;
use postern_compile::snapshot::ReportedIsolation;
use postern_compile::verdict::Detail;
use postern_crds::conditions::Reason;
use postern_crds::interface_isolation::IsolationCounts;
use postern_crds::node_report::IsolationState;
use serde_json::json;

use super::changes::start;
use super::world::World;

fn isolated() -> World {
    let mut world = start();
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "InterfaceIsolation",
        "metadata": {"name": "all", "generation": 2},
        "spec": {"nodeSelector": {}, "preferred": ["eth0"]},
    });
    let object = serde_json::from_value(object).expect("an InterfaceIsolation");
    let isolation = postern_compile::intake::isolation(&object).expect("an isolation");
    world.isolations.push(isolation);
    world.compile();
    world
}

/// Every node reports this about the section that it got.
fn report(world: &mut World, state: IsolationState, reason: Reason) {
    for (name, document) in &world.previous {
        let isolation = document.isolation.as_ref().expect("a section");
        let said = ReportedIsolation {
            digest: Some(isolation.digest.clone()),
            state,
            reason: Some(reason),
            message: "eth1 carries the API server".to_owned(),
        };
        world.isolated.insert(name.to_string(), said);
    }
}

fn conditions(compilation: &Compilation) -> (Vec<String>, IsolationCounts) {
    let mut verdicts = compilation.verdicts.iter();
    let verdict = verdicts
        .find(|one| one.kind == "InterfaceIsolation")
        .expect("a verdict");
    let Detail::Isolation { nodes } = verdict.detail else {
        panic!("counts of nodes");
    };
    let line = |one: &postern_crds::conditions::Finding| {
        format!("{}={} {}", one.kind, one.state.as_str(), one.reason)
    };
    (verdict.conditions.iter().map(line).collect(), nodes)
}

#[test]
fn an_isolation_is_ready_when_every_node_has_read_back_that_one_uplink_is_up() {
    let mut world = isolated();
    let (said, nodes) = conditions(&world.compile());
    let desired = u32::try_from(world.nodes.len()).expect("a number");
    assert_eq!(
        said,
        [
            "Accepted=True Accepted",
            "Programmed=False Converging",
            "Ready=False Converging",
            "RolledBack=False Confirmed",
        ]
    );
    assert_eq!((nodes.desired, nodes.compliant), (desired, 0));

    report(&mut world, IsolationState::Compliant, Reason::Isolated);
    let (said, nodes) = conditions(&world.compile());
    assert_eq!(
        said,
        [
            "Accepted=True Accepted",
            "Programmed=True Programmed",
            "Ready=True Isolated",
            "RolledBack=False Confirmed",
        ]
    );
    assert_eq!((nodes.desired, nodes.compliant), (desired, desired));
}

#[test]
fn a_switch_that_was_rolled_back_or_held_is_never_ready_and_says_why() {
    let mut world = isolated();
    report(
        &mut world,
        IsolationState::RolledBack,
        Reason::SwitchRolledBack,
    );
    let (said, nodes) = conditions(&world.compile());
    assert_eq!(
        said[2..],
        [
            "Ready=False SwitchRolledBack",
            "RolledBack=True SwitchRolledBack"
        ]
    );
    assert_eq!(nodes.rolled_back, nodes.desired);

    report(
        &mut world,
        IsolationState::Held,
        Reason::RemoteLinkProtected,
    );
    let (said, nodes) = conditions(&world.compile());
    assert_eq!(
        said[2..],
        [
            "Ready=False RemoteLinkProtected",
            "RolledBack=False Confirmed"
        ]
    );
    assert_eq!(nodes.compliant, 0);
}

#[test]
fn what_a_node_says_of_another_section_counts_for_nothing() {
    let mut world = isolated();
    report(&mut world, IsolationState::Compliant, Reason::Isolated);
    for said in world.isolated.values_mut() {
        said.digest = Some("00000000000000ff".parse().expect("a digest"));
    }
    let (said, nodes) = conditions(&world.compile());
    assert_eq!(
        said[1..3],
        ["Programmed=False Converging", "Ready=False Converging"]
    );
    assert_eq!(nodes.compliant, 0);
}
