//! Which address may do what.

use postern_intent::Address;
use postern_intent::body::Class;
use postern_plan::Desired;
use postern_plan::binding::Binding;
use postern_plan::desired::Standing;

use crate::fixture::{World, client, pod, scope_id, word};

fn standing(world: &World, address: &str) -> Option<Standing> {
    let desired = Desired::from_inputs(&world.inputs());
    desired
        .classes
        .get(&word::<Address>(address))
        .map(|classified| classified.standing.clone())
}

fn binding(name: &str, uid: &str, namespace: &str, address: &str) -> Binding {
    Binding {
        namespace: word(namespace),
        name: word(name),
        uid: word(uid),
        container_id: format!("c-{uid}"),
        addresses: [word::<Address>(address)].into(),
        host_interface: word("veth9"),
        mac: None,
        pod_link: word("cni0"),
    }
}

#[test]
fn a_bound_pod_has_the_class_that_the_intent_gives_its_uid() {
    let world = World::of(Some(client()));
    assert_eq!(
        standing(&world, "10.244.1.2"),
        Some(Standing::Scope(scope_id()))
    );
}

#[test]
fn without_a_body_nobody_has_a_class() {
    let world = World::of(None);
    assert!(Desired::from_inputs(&world.inputs()).classes.is_empty());
}

#[test]
fn a_bound_pod_of_a_guarded_namespace_that_is_not_listed_is_held() {
    let mut world = World::of(Some(client()));
    world
        .bindings
        .add(binding("new", "new-uid", "crawlers", "10.244.1.9"));
    assert_eq!(standing(&world, "10.244.1.9"), None);
}

#[test]
fn a_bound_pod_of_a_namespace_that_nobody_guards_is_released_at_once() {
    let mut world = World::of(Some(client()));
    world
        .bindings
        .add(binding("new", "new-uid", "default", "10.244.1.9"));
    assert_eq!(standing(&world, "10.244.1.9"), Some(Standing::Released));
}

#[test]
fn an_address_reused_by_another_pod_inherits_nothing_from_the_intent() {
    let mut world = World::of(Some(client()));
    // The intent still lists the released pod b on this address; the binding says that somebody else has it now.
    world
        .bindings
        .add(binding("c", "c-uid-1", "crawlers", "10.244.1.3"));
    assert_eq!(standing(&world, "10.244.1.3"), None);
}

#[test]
fn an_address_of_a_pod_whose_del_was_seen_has_no_class_although_the_intent_lists_it() {
    let mut world = World::of(Some(client()));
    world
        .bindings
        .add(binding("b", "b-uid", "crawlers", "10.244.1.3"));
    assert_eq!(standing(&world, "10.244.1.3"), Some(Standing::Released));
    world.bindings.remove("c-b-uid");
    assert_eq!(standing(&world, "10.244.1.3"), None);
}

#[test]
fn a_static_pod_is_known_by_its_name_and_another_pod_of_the_same_name_is_not() {
    let mut world = World::of(Some(client()));
    let body = world.body.as_mut().unwrap();
    body.pods.push(pod("static", Class::Released, &[]));
    let hash = "0123456789abcdef0123456789abcdef";
    world
        .bindings
        .add(binding("static", hash, "crawlers", "10.244.1.8"));
    assert_eq!(standing(&world, "10.244.1.8"), Some(Standing::Released));
    world
        .bindings
        .add(binding("static", "an-other-uid", "crawlers", "10.244.1.7"));
    assert_eq!(standing(&world, "10.244.1.7"), None);
}
