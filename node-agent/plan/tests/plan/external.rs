//! The node that has the session of an external exit.

use postern_plan::Desired;
use postern_plan::host::{LockAction, RouteKind};

use crate::fixture::{OwnedInputs, external, external_facts, word};

fn holder() -> OwnedInputs {
    OwnedInputs {
        facts: external_facts(),
        ..OwnedInputs::of(Some(external()))
    }
}

#[test]
fn clients_and_local_pods_are_marked_for_the_session_and_take_nothing_else() {
    let desired = Desired::from_inputs(&holder().inputs());
    insta::assert_snapshot!(desired.ruleset);
    // The main table has no route of ours, so that no other traffic takes it.
    let tables: Vec<u32> = desired.routes.iter().map(|route| route.table).collect();
    assert_eq!(tables, [5210; 4]);
    let device = RouteKind::Device(word("pst-x-eu"));
    let by_session = desired.routes.iter().filter(|route| route.kind == device);
    assert_eq!(by_session.count(), 2);
    let tunnels = word("198.18.0.0/15");
    let locks = desired.locks.iter().filter(|lock| lock.source == tunnels);
    let marks = locks.filter(|lock| lock.action == LockAction::Allow);
    let marks: Vec<Option<u32>> = marks.map(|lock| lock.mark.map(|mark| mark.value)).collect();
    assert_eq!(
        marks,
        [Some(0x10), Some(0x60)],
        "the session's and the main one"
    );
}

#[test]
fn the_device_of_the_session_has_its_own_key_and_none_while_the_credential_cannot_be_read() {
    let mut world = holder();
    let device = word("pst-x-eu");
    let config = Desired::from_inputs(&world.inputs()).tunnels[&device].clone();
    let session = external().external.remove(0);
    assert_eq!(config.own_key, Some(session.public_key));
    assert_eq!(config.peers[0].endpoint, Some(word("203.0.113.99:51820")));
    world.facts.sessions.insert(device.clone(), None);
    let unresolved = Desired::from_inputs(&world.inputs()).tunnels[&device].clone();
    assert_eq!(unresolved.peers[0].endpoint, None);
    world.facts.sessions.clear();
    let unread = Desired::from_inputs(&world.inputs());
    assert!(
        !unread.tunnels.contains_key(&device),
        "the node's key goes to no server"
    );
    assert!(unread.links.iter().any(|link| link.name == device));
}
