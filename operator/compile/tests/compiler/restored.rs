//! Nodes that are ahead of what is published: they wait, and nothing else is spent on them.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use postern_compile::gate::{Approval, Held, Subject};
use postern_compile::{Compilation, NodeOutcome};
use postern_intent::Serial;
use postern_intent::body::Class;

use super::changes::{Accepted, Change, make, start};
use super::world::World;

/// Namespace red leaves by e2, whose gateway is node1; its pods are on every node.
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

fn delete_policy(world: &mut World) {
    let gone = Change::NoPolicy {
        namespace: 0,
        name: 0,
    };
    make(world, &gone);
}

/// The nodes' ledgers have seen a newer document than the published one.
fn run_ahead(world: &mut World, nodes: &[&str]) {
    for node in nodes {
        let seen = world.ledgers.get_mut(*node).expect("a ledger");
        *seen = Serial(seen.0 + 5);
    }
}

fn approve<'a>(world: &mut World, held: impl Iterator<Item = &'a Held>) {
    world.approvals.extend(held.map(|held| Approval {
        subject: held.subject.clone(),
        cause: held.cause,
        digest: held.digest.clone(),
    }));
}

fn is_node(held: &&Held) -> bool {
    matches!(held.subject, Subject::Node(_))
}

fn outcome<'a>(compilation: &'a Compilation, node: &str) -> &'a NodeOutcome {
    &compilation.nodes[&node.parse().expect("a name")]
}

fn released(world: &World) -> usize {
    let pods = world.previous.values().flat_map(|body| &body.pods);
    pods.filter(|pod| pod.namespace.as_str() == "red" && pod.class == Class::Released)
        .count()
}

const NODES: [&str; 4] = ["node0", "node1", "node2", "node3"];

#[test]
fn restored_nodes_use_up_no_approval() {
    let mut world = world();
    world.settings.gate.pods = 0;
    delete_policy(&mut world);
    let held = world.compile().held;
    assert_eq!(held.len(), 1);
    run_ahead(&mut world, &NODES);
    approve(&mut world, held.iter());
    let waiting = world.compile();
    assert!(waiting.memory.used_approvals.is_empty());
    assert!(waiting.held.iter().all(|held| is_node(&held)));
    approve(&mut world, waiting.held.iter());
    let compilation = world.compile();
    assert!(compilation.held.is_empty(), "{:?}", compilation.held);
    assert_eq!(released(&world), 4);
}

#[test]
fn restored_nodes_use_up_nothing_of_the_release_window() {
    let mut world = world();
    world.settings.gate.pods = 4;
    run_ahead(&mut world, &NODES);
    delete_policy(&mut world);
    let waiting = world.compile();
    assert!(waiting.memory.releases.is_empty());
    assert_eq!(waiting.held.len(), 4);
    approve(&mut world, waiting.held.iter());
    world.wait(SignedDuration::from_secs(1));
    let compilation = world.compile();
    assert!(compilation.held.is_empty(), "{:?}", compilation.held);
    assert_eq!(compilation.memory.releases[0].pods, 4);
    assert_eq!(released(&world), 4);
}

#[test]
fn a_restored_node_says_so_on_the_policies_whose_pods_it_has() {
    let mut world = world();
    run_ahead(&mut world, &["node2"]);
    let compilation = world.compile();
    let verdict = compilation
        .verdicts
        .iter()
        .find(|verdict| verdict.kind == "EgressPolicy")
        .expect("a verdict");
    let programmed = verdict
        .conditions
        .iter()
        .find(|finding| finding.kind.as_str() == "Programmed")
        .expect("a condition");
    assert_eq!(programmed.reason.as_str(), "Restored");
    assert!(
        programmed.message.contains("node2"),
        "{}",
        programmed.message
    );
}

#[test]
fn a_node_whose_published_intent_cannot_be_read_gets_nothing_until_a_person_approves() {
    let mut world = world();
    let node = "node2".parse().expect("a name");
    world.previous.remove(&node);
    // It says nothing of its ledger, so that the serial alone would not tell.
    world.ledgers.remove("node2");
    world.unreadable = BTreeSet::from([node]);
    let compilation = world.compile();
    assert_eq!(outcome(&compilation, "node2"), &NodeOutcome::Restored);
    for other in ["node0", "node3"] {
        assert_ne!(outcome(&compilation, other), &NodeOutcome::Restored);
    }
    approve(&mut world, compilation.held.iter().filter(is_node));
    let approved = world.compile();
    assert!(matches!(
        outcome(&approved, "node2"),
        NodeOutcome::Publish(_)
    ));
    assert_eq!(
        outcome(&world.compile(), "node2"),
        &NodeOutcome::Restored,
        "an approval is used once"
    );
}
