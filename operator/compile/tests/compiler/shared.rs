//! The document that all nodes read: when it is published, and who may take it after the store was set back.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use postern_compile::intake;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
use postern_intent::{ClusterDocument, NodeName, Serial};
use serde_json::json;

use super::changes::{make, red_policy, start, with_a_policy};
use super::world::World;

fn name(node: &str) -> NodeName {
    node.parse().expect("a name")
}

/// A Service of the world with this external address.
fn serve(world: &mut World, address: &str) {
    let service = json!({
        "metadata": {"namespace": "green", "name": "web"},
        "spec": {"externalIPs": [address], "ports": [{"port": 80}]},
    });
    let service = serde_json::from_value(service).expect("a Service");
    world.services = Vec::from_iter(intake::service(&service).expect("a service"));
}

fn published(compilation: &Compilation) -> Option<&ClusterDocument> {
    match &compilation.cluster {
        ClusterOutcome::Keep => None,
        ClusterOutcome::Publish(document) => Some(document),
    }
}

fn kept(compilation: &Compilation) -> usize {
    let outcomes = compilation.nodes.values();
    outcomes
        .filter(|outcome| **outcome == NodeOutcome::Keep)
        .count()
}

fn outcome<'a>(compilation: &'a Compilation, node: &str) -> &'a NodeOutcome {
    &compilation.nodes[&name(node)]
}

/// The store is set back to what it held before the last cluster document.
fn set_back(world: &mut World) {
    let before = world.previous_cluster.clone();
    world.wait(SignedDuration::from_secs(1));
    serve(world, "198.51.100.9");
    world.compile();
    world.services.clear();
    world.previous_cluster = before;
    world.wait(SignedDuration::from_secs(1));
}

#[test]
fn a_service_that_changes_rewrites_one_document_and_no_nodes() {
    let mut world = with_a_policy();
    let before = world.cluster().clone();
    world.wait(SignedDuration::from_secs(1));
    serve(&mut world, "198.51.100.8");
    let compilation = world.compile();
    let document = published(&compilation).expect("a document");
    assert!(document.serial > before.serial);
    assert_eq!(document.follows, before.follows);
    assert_eq!(kept(&compilation), world.nodes.len());
    let again = world.compile();
    assert_eq!(published(&again), None, "it says the same");
}

#[test]
fn a_namespaces_first_policy_rewrites_no_node_that_has_none_of_its_pods() {
    let mut world = start();
    world.compile();
    world.wait(SignedDuration::from_secs(1));
    make(&mut world, &red_policy(3));
    let compilation = world.compile();
    let document = published(&compilation).expect("a document");
    assert!(
        document
            .guarded_namespaces
            .contains(&"red".parse().expect("a namespace"))
    );
    for body in compilation.nodes.values() {
        if let NodeOutcome::Publish(body) = body {
            assert_eq!(body.cluster_serial, document.serial);
        }
    }
}

#[test]
fn an_unchanged_document_is_issued_again_when_its_refresh_is_due_and_its_nodes_stay() {
    let mut world = with_a_policy();
    let before = world.cluster().clone();
    world.wait(world.settings.refresh);
    let compilation = world.compile();
    let document = published(&compilation).expect("a document");
    assert_eq!(document.guarded_namespaces, before.guarded_namespaces);
    assert!(document.not_after > before.not_after);
    assert_eq!(document.follows, before.follows);
}

#[test]
fn nodes_that_have_seen_a_newer_cluster_document_keep_what_they_have_until_a_person_approves() {
    let mut world = with_a_policy();
    set_back(&mut world);
    let compilation = world.compile();
    let document = published(&compilation).expect("a document").clone();
    assert_eq!(
        document.follows, document.serial,
        "nobody takes it by itself"
    );
    assert!(
        world
            .cluster_ledgers
            .values()
            .all(|seen| *seen < document.serial)
    );
    for node in world.nodes.keys() {
        assert_eq!(outcome(&compilation, node), &NodeOutcome::Restored);
    }
    // What was published since is newer than all that they have seen, and they wait all the same.
    world.wait(SignedDuration::from_secs(1));
    let still = world.compile();
    for node in world.nodes.keys() {
        assert_eq!(outcome(&still, node), &NodeOutcome::Restored);
    }
    world.approve(still.held.iter());
    world.wait(SignedDuration::from_secs(1));
    let approved = world.compile();
    for node in world.nodes.keys() {
        let NodeOutcome::Publish(body) = outcome(&approved, node) else {
            panic!("{node} gets nothing");
        };
        assert!(body.cluster_serial >= document.follows);
    }
    assert!(world.compile().held.is_empty());
}

#[test]
fn one_node_that_claims_to_have_seen_more_delays_only_itself() {
    let mut world = with_a_policy();
    let seen = world.cluster().serial;
    world
        .cluster_ledgers
        .insert("node2".to_owned(), Serial(seen.0 + 5));
    world.wait(SignedDuration::from_secs(1));
    serve(&mut world, "198.51.100.8");
    let compilation = world.compile();
    let document = published(&compilation).expect("a document").clone();
    assert_eq!(outcome(&compilation, "node2"), &NodeOutcome::Restored);
    for node in ["node0", "node1", "node3"] {
        assert!(matches!(
            outcome(&compilation, node),
            NodeOutcome::Publish(_)
        ));
        assert_eq!(world.cluster_ledgers[node], document.serial);
    }
    assert!(world.cluster_ledgers["node2"] < document.serial);
}

#[test]
fn a_serial_of_a_cluster_document_that_is_not_believed_moves_nothing() {
    let mut world = with_a_policy();
    let far = world.now + SignedDuration::from_hours(2);
    let far = u64::try_from(far.as_millisecond()).expect("a time");
    world
        .cluster_ledgers
        .insert("node2".to_owned(), Serial(far));
    world.wait(SignedDuration::from_secs(1));
    let compilation = world.compile();
    assert_eq!(published(&compilation), None);
    assert_eq!(kept(&compilation), world.nodes.len());
}

#[test]
fn while_a_node_has_not_spoken_a_change_begins_anew_once_and_that_node_does_not_take_it() {
    let mut world = with_a_policy();
    world.awaited = BTreeSet::from([name("node2")]);
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(published(&world.compile()), None, "nothing changed");
    serve(&mut world, "198.51.100.8");
    let compilation = world.compile();
    let document = published(&compilation).expect("a document").clone();
    assert_eq!(document.follows, document.serial);
    assert_eq!(outcome(&compilation, "node2"), &NodeOutcome::Awaited);
    assert!(world.cluster_ledgers["node2"] < document.serial);
    // The process that published that document knows every later one, however long the node stays away.
    world.cluster_is_own = true;
    world.wait(SignedDuration::from_secs(1));
    serve(&mut world, "198.51.100.9");
    let compilation = world.compile();
    let later = published(&compilation).expect("a document").clone();
    assert_eq!(later.follows, document.serial);
    assert_eq!(outcome(&compilation, "node1"), &NodeOutcome::Keep);
    world.awaited.clear();
    world.wait(SignedDuration::from_secs(1));
    world.compile();
    assert_eq!(world.cluster_ledgers["node2"], later.serial);
}
