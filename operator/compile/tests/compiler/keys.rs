//! Which WireGuard key belongs to which node.

use jiff::SignedDuration;
use postern_compile::snapshot::Possession;
use postern_compile::{CHANGE_INTERVAL, Compilation};
use postern_intent::body::{BlockedReason, EgressPath};
use postern_intent::{NodeDocument, WgKey};

use super::changes::{make, red_policy, start, with_a_policy};
use super::world::World;

fn body<'a>(world: &'a World, node: &str) -> &'a NodeDocument {
    &world.previous[&node.parse().expect("a name")]
}

fn key_of(world: &World, client: &str) -> Option<WgKey> {
    let peers = body(world, "node1")
        .tunnels
        .iter()
        .flat_map(|tunnel| &tunnel.peers);
    peers
        .filter(|peer| peer.at.node().is_some_and(|node| node.as_str() == client))
        .map(|peer| peer.public_key)
        .next()
}

#[test]
fn a_key_changes_once_in_five_minutes_and_then_again() {
    let mut world = with_a_policy();
    let first = World::key("node0");
    assert_eq!(key_of(&world, "node0"), Some(first));
    world.keys.insert("node0".to_owned(), World::key("other"));
    world.wait(CHANGE_INTERVAL - SignedDuration::from_secs(1));
    world.compile();
    assert_eq!(key_of(&world, "node0"), Some(first));
    world.wait(SignedDuration::from_secs(1));
    world.compile();
    assert_eq!(key_of(&world, "node0"), Some(World::key("other")));
}

#[test]
fn a_node_cannot_take_the_key_of_another_one() {
    let mut world = with_a_policy();
    world.wait(CHANGE_INTERVAL);
    world.keys.insert("node2".to_owned(), World::key("node0"));
    let compilation = world.compile();
    assert_eq!(key_of(&world, "node0"), Some(World::key("node0")));
    assert_eq!(key_of(&world, "node2"), Some(World::key("node2")));
    let verdict = compilation
        .verdicts
        .iter()
        .find(|verdict| verdict.name == "node2")
        .expect("a verdict");
    assert!(
        verdict
            .conditions
            .iter()
            .any(|finding| finding.reason.as_str() == "Conflict")
    );
}

#[test]
fn two_newcomers_with_one_key_have_none() {
    let mut world = start();
    world.keys.insert("node2".to_owned(), World::key("node0"));
    make(&mut world, &red_policy(3));
    world.compile();
    for node in ["node0", "node2"] {
        assert_eq!(key_of(&world, node), None);
        let blocked = EgressPath::Blocked {
            reason: BlockedReason::NoPeerKey,
        };
        assert!(
            body(&world, node)
                .firewall
                .iter()
                .all(|scope| scope.way == blocked)
        );
    }
}

/// What the node's verdict says about its report.
fn accepted(compilation: &Compilation, node: &str) -> (String, String) {
    let verdict = compilation
        .verdicts
        .iter()
        .find(|verdict| verdict.kind == "Node" && verdict.name == node)
        .expect("a verdict");
    let mut findings = verdict.conditions.iter();
    let found = findings
        .find(|finding| finding.kind.as_str() == "Accepted")
        .expect("a condition");
    (found.reason.to_string(), found.message.clone())
}

#[test]
fn a_joining_node_gets_its_key_though_another_report_has_a_copy_of_it() {
    for possession in [Possession::Unsaid, Possession::Refused] {
        let mut world = start();
        make(&mut world, &red_policy(3));
        // The holder of node2's token copies the key before node0 has reported, and goes on after it.
        let joining = world.keys.remove("node0").expect("a key");
        world.keys.insert("node2".to_owned(), joining);
        world.unproved.insert("node2".to_owned(), possession);
        let compilation = world.compile();
        assert_eq!(key_of(&world, "node2"), None);
        let (reason, message) = accepted(&compilation, "node2");
        assert_eq!(reason, "KeyNotProved", "{message}");
        assert!(message.contains("postern-agent trust-keys"), "{message}");
        assert!(
            message.ends_with("it has no tunnel until then"),
            "{message}"
        );
        world.keys.insert("node0".to_owned(), joining);
        world.compile();
        assert_eq!(key_of(&world, "node0"), Some(joining));
        assert_eq!(key_of(&world, "node2"), None);
    }
}

#[test]
fn a_key_that_was_pinned_without_a_proof_goes_to_the_node_that_proves_it() {
    let mut world = with_a_policy();
    let key = key_of(&world, "node2").expect("a key");
    world
        .unproved
        .insert("node2".to_owned(), Possession::Unsaid);
    let compilation = world.compile();
    assert_eq!(
        key_of(&world, "node2"),
        Some(key),
        "a pin that stands stays"
    );
    let (_, message) = accepted(&compilation, "node2");
    assert!(
        message.ends_with("the key that is pinned stays"),
        "{message}"
    );
    world.wait(CHANGE_INTERVAL);
    world.keys.insert("node0".to_owned(), key);
    world.compile();
    assert_eq!(key_of(&world, "node0"), Some(key));
    assert_eq!(key_of(&world, "node2"), None);
}

#[test]
fn a_key_changes_once_in_five_minutes_though_another_node_proves_the_old_one() {
    for unproved in [None, Some(Possession::Unsaid)] {
        let mut world = with_a_policy();
        let first = World::key("node0");
        world.keys.insert("node2".to_owned(), first);
        world.keys.insert("node0".to_owned(), World::key("other"));
        if let Some(possession) = unproved {
            world.unproved.insert("node0".to_owned(), possession);
        }
        world.wait(CHANGE_INTERVAL - SignedDuration::from_secs(2));
        world.compile();
        assert_eq!(key_of(&world, "node0"), Some(first));
        world.unproved.clear();
        world.wait(SignedDuration::from_secs(1));
        world.compile();
        assert_eq!(key_of(&world, "node0"), Some(first), "{unproved:?}");
        world.wait(SignedDuration::from_secs(1));
        world.compile();
        assert_eq!(key_of(&world, "node0"), Some(World::key("other")));
        assert_eq!(key_of(&world, "node2"), Some(first));
    }
}

#[test]
fn pins_survive_a_lost_memory() {
    let mut world = with_a_policy();
    world.memory = Default::default();
    world.keys.insert("node0".to_owned(), World::key("other"));
    world.wait(SignedDuration::from_secs(1));
    world.compile();
    assert_eq!(key_of(&world, "node0"), Some(World::key("node0")));
}
