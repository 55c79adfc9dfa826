//! Nodes that are ahead of what is published: they wait, and nothing else is spent on them.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use postern_compile::gate::{ApprovalSubject, PendingApproval};
use postern_compile::{Compilation, NodeOutcome};
use postern_intent::{NodeName, Serial};
use rstest::rstest;

use super::changes::{NO_RED_POLICY, make, with_a_policy};
use super::world::World;

/// The nodes' ledgers have seen a newer document than the published one.
fn run_ahead(world: &mut World, nodes: &[&str]) {
    for node in nodes {
        let seen = world.ledgers.get_mut(*node).expect("a ledger");
        *seen = Serial(seen.0 + 5);
    }
}

fn is_node(held: &&PendingApproval) -> bool {
    matches!(held.subject, ApprovalSubject::Node(_))
}

fn outcome<'a>(compilation: &'a Compilation, node: &str) -> &'a NodeOutcome {
    &compilation.nodes[&node.parse().expect("a name")]
}

const NODES: [&str; 4] = ["node0", "node1", "node2", "node3"];

#[test]
fn restored_nodes_use_up_no_approval() {
    let mut world = with_a_policy();
    world.settings.gate.pods = 0;
    make(&mut world, &NO_RED_POLICY);
    let held = world.compile().held;
    assert_eq!(held.len(), 1);
    run_ahead(&mut world, &NODES);
    world.approve(held.iter());
    let waiting = world.compile();
    assert!(waiting.held.iter().all(|held| is_node(&held)));
    world.approve(waiting.held.iter());
    let compilation = world.compile();
    assert!(compilation.held.is_empty(), "{:?}", compilation.held);
    assert_eq!(world.released("red"), 4);
}

#[test]
fn restored_nodes_use_up_nothing_of_the_release_window() {
    let mut world = with_a_policy();
    world.settings.gate.pods = 4;
    run_ahead(&mut world, &NODES);
    make(&mut world, &NO_RED_POLICY);
    let waiting = world.compile();
    assert!(waiting.memory.releases.is_empty());
    assert_eq!(waiting.held.len(), 4);
    world.approve(waiting.held.iter());
    world.wait(SignedDuration::from_secs(1));
    let compilation = world.compile();
    assert!(compilation.held.is_empty(), "{:?}", compilation.held);
    assert_eq!(compilation.memory.releases[0].pods.len(), 4);
    assert_eq!(world.released("red"), 4);
}

#[test]
fn a_restored_node_says_so_on_the_policies_whose_pods_it_has() {
    let mut world = with_a_policy();
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

#[rstest]
#[case::an_agent_that_says_again_what_it_has_seen(&[])]
#[case::an_agent_that_stays_silent(&["node2".to_owned()])]
fn a_node_whose_published_intent_cannot_be_read_gets_nothing_until_a_person_approves(
    #[case] away: &[String],
) {
    let mut world = with_a_policy();
    world.leave(away);
    let node: NodeName = "node2".parse().expect("a name");
    world.previous.remove(&node);
    // It says nothing of its ledger, so that the serial alone would not tell.
    world.ledgers.remove("node2");
    world.unreadable = BTreeSet::from([node.clone()]);
    let compilation = world.compile();
    assert_eq!(outcome(&compilation, "node2"), &NodeOutcome::Restored);
    for other in ["node0", "node3"] {
        assert_ne!(outcome(&compilation, other), &NodeOutcome::Restored);
    }
    world.approve(compilation.held.iter().filter(is_node));
    world.wait(SignedDuration::from_secs(1));
    let approved = world.compile();
    assert!(matches!(
        outcome(&approved, "node2"),
        NodeOutcome::Publish(_)
    ));
    world.unreadable.clear();
    assert!(world.compile().memory.held.is_empty());
    world.wait(SignedDuration::from_secs(1));
    world.unreadable = BTreeSet::from([node]);
    assert_eq!(
        outcome(&world.compile(), "node2"),
        &NodeOutcome::Restored,
        "an approval is good for one time"
    );
}

#[test]
fn a_node_that_waits_for_a_person_goes_on_waiting_when_its_report_goes() {
    let mut world = with_a_policy();
    run_ahead(&mut world, &["node2"]);
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(world.compile().held.len(), 1);
    world.ledgers.remove("node2");
    let silent = world.compile();
    assert_eq!(outcome(&silent, "node2"), &NodeOutcome::Restored);
    assert_eq!(silent.held.len(), 1, "{:?}", silent.held);
}
