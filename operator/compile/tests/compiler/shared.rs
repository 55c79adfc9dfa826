//! The document that all nodes read: when it is published, and who may take it after the store was set back.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use postern_compile::intake;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
use postern_crds::conditions::{ConditionType, Reason};
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
    // It may say more and more: it waits already, and makes no other node's document anew.
    let more = Serial(document.serial.0 + 5);
    world.cluster_ledgers.insert("node2".to_owned(), more);
    world.wait(SignedDuration::from_secs(1));
    let again = world.compile();
    assert_eq!(published(&again), None);
    assert_eq!(kept(&again), world.nodes.len() - 1);
    // The next change begins a line all the same: every node that knows more may be one that waits.
    serve(&mut world, "198.51.100.9");
    world.wait(SignedDuration::from_secs(1));
    let changed = world.compile();
    let next = published(&changed).expect("a document");
    assert_eq!(next.follows, next.serial);
}

#[test]
fn a_node_that_speaks_after_a_new_line_began_waits_where_it_has_seen_what_was_lost() {
    let mut world = with_a_policy();
    set_back(&mut world);
    world.cluster_is_own = false;
    // One node has not spoken when the facts change, and the one that has knows nothing that was lost.
    let lost = world.cluster_ledgers["node2"];
    let before = world.cluster().serial;
    assert!(lost > before);
    for node in ["node0", "node1", "node3"] {
        world.cluster_ledgers.insert(node.to_owned(), before);
    }
    world.cluster_ledgers.remove("node2");
    world.awaited = BTreeSet::from([name("node2")]);
    serve(&mut world, "198.51.100.8");
    let document = published(&world.compile()).expect("a document").clone();
    assert!(document.follows > lost && document.lost.iter().any(|gap| gap.contains(lost)));

    // Another process begins yet another line before that node speaks.
    world.wait(SignedDuration::from_secs(1));
    serve(&mut world, "198.51.100.9");
    world.compile();
    world.wait(SignedDuration::from_secs(1));
    world.awaited.clear();
    world.cluster_ledgers.insert("node2".to_owned(), lost);
    let spoken = world.compile();
    assert_eq!(outcome(&spoken, "node2"), &NodeOutcome::Restored);
    assert_eq!(kept(&spoken), world.nodes.len() - 1);
    world.approve(spoken.held.iter());
    world.wait(SignedDuration::from_secs(1));
    world.compile();
    assert_eq!(world.cluster_ledgers["node2"], world.cluster().serial);
    // Nobody's document is of before any more, so that the gaps are forgotten with the next change.
    world.wait(SignedDuration::from_secs(1));
    serve(&mut world, "198.51.100.10");
    assert_eq!(published(&world.compile()).expect("a document").lost, []);
}

#[test]
fn a_cluster_document_that_cannot_be_read_leaves_every_node_with_what_it_has() {
    let mut world = with_a_policy();
    world.previous_cluster = None;
    world.wait(SignedDuration::from_secs(1));
    let compilation = world.compile();
    for node in world.nodes.keys() {
        assert_eq!(outcome(&compilation, node), &NodeOutcome::Restored);
    }
}

#[test]
fn a_cluster_document_that_somebody_replaced_by_an_older_one_is_not_gone_on_from() {
    let mut world = with_a_policy();
    let older = world.cluster().clone();
    world.wait(SignedDuration::from_secs(1));
    // Only the documents of nodes say that there was a newer one: their ledgers are lost.
    world.cluster_ledgers.clear();
    for document in world.previous.values_mut() {
        // A former leader's clock was ahead.
        document.cluster_serial = Serial(older.serial.0 + 600_000);
    }
    let compilation = world.compile();
    let document = published(&compilation).expect("a document");
    assert_eq!(document.follows, document.serial);
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(published(&world.compile()), None, "its serial is above");
}

#[test]
fn a_node_is_programmed_once_it_acts_on_the_newest_facts_and_a_refresh_changes_nothing() {
    let mut world = with_a_policy();
    let programmed = |compilation: &Compilation| {
        let mut verdicts = compilation.verdicts.iter();
        let node = verdicts.find(|one| one.kind == "Node" && one.name == "node2");
        let mut conditions = node.expect("a verdict").conditions.iter();
        let found = conditions.find(|one| one.kind == ConditionType::Programmed);
        found.expect("a condition").reason
    };
    world.wait(SignedDuration::from_secs(1));
    assert_eq!(programmed(&world.compile()), Reason::Programmed);
    let known = world.cluster_ledgers["node2"];
    serve(&mut world, "198.51.100.8");
    world.compile();
    let newest = world.cluster_ledgers.insert("node2".to_owned(), known);
    assert_eq!(programmed(&world.compile()), Reason::Converging);
    world
        .cluster_ledgers
        .insert("node2".to_owned(), newest.expect("a serial"));
    world.wait(world.settings.refresh);
    let refreshed = world.compile();
    assert!(published(&refreshed).is_some());
    let cluster = world.cluster();
    assert!(cluster.changed < cluster.serial);
    world
        .cluster_ledgers
        .insert("node2".to_owned(), cluster.changed);
    assert_eq!(programmed(&world.compile()), Reason::Programmed);
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
