//! Which address may do what.

use postern_intent::Address;
use postern_intent::body::{BlockedReason, Body, Class};
use postern_plan::Desired;
use postern_plan::binding::{Binding, Bindings};
use postern_plan::desired::AddressClass;

use crate::fixture::{OwnedInputs, client, pod, scope_id, word};

fn class_of(world: &OwnedInputs, address: &str) -> Option<AddressClass> {
    let desired = Desired::from_inputs(&world.inputs());
    desired
        .classes
        .get(&word::<Address>(address))
        .map(|classified| classified.class.clone())
}

fn binding(name: &str, uid: &str, namespace: &str, address: &str) -> Binding {
    Binding {
        namespace: word(namespace),
        name: word(name),
        uid: word(uid),
        container_id: format!("c-{uid}"),
        ifname: "eth0".to_owned(),
        addresses: [word::<Address>(address)].into(),
        host_interface: word("veth9"),
        mac: None,
        pod_link: word("cni0"),
    }
}

#[test]
fn a_bound_pod_has_the_class_that_the_intent_gives_its_uid() {
    let world = OwnedInputs::of(Some(client()));
    assert_eq!(
        class_of(&world, "10.244.1.2"),
        Some(AddressClass::Scope(scope_id()))
    );
}

#[test]
fn without_a_body_nobody_has_a_class() {
    let world = OwnedInputs::of(None);
    assert!(Desired::from_inputs(&world.inputs()).classes.is_empty());
}

#[test]
fn a_bound_pod_of_a_guarded_namespace_that_is_not_listed_is_held() {
    let mut world = OwnedInputs::of(Some(client()));
    world
        .bindings
        .add(binding("new", "new-uid", "crawlers", "10.244.1.9"));
    assert_eq!(class_of(&world, "10.244.1.9"), None);
}

#[test]
fn a_bound_pod_of_a_namespace_that_nobody_guards_is_released_at_once() {
    let mut world = OwnedInputs::of(Some(client()));
    world
        .bindings
        .add(binding("new", "new-uid", "default", "10.244.1.9"));
    assert_eq!(class_of(&world, "10.244.1.9"), Some(AddressClass::Released));
}

#[test]
fn an_address_reused_by_another_pod_inherits_nothing_from_the_intent() {
    let mut world = OwnedInputs::of(Some(client()));
    // The intent still lists the released pod b on this address; the binding says that somebody else has it now.
    world
        .bindings
        .add(binding("c", "c-uid-1", "crawlers", "10.244.1.3"));
    assert_eq!(class_of(&world, "10.244.1.3"), None);
}

#[test]
fn an_address_of_a_pod_whose_del_was_seen_has_no_class_although_the_intent_lists_it() {
    let mut world = OwnedInputs::of(Some(client()));
    world
        .bindings
        .add(binding("b", "b-uid", "crawlers", "10.244.1.3"));
    assert_eq!(class_of(&world, "10.244.1.3"), Some(AddressClass::Released));
    world.bindings.remove("c-b-uid");
    assert_eq!(class_of(&world, "10.244.1.3"), None);
}

#[test]
fn a_static_pod_is_known_by_its_name_and_another_pod_of_the_same_name_is_not() {
    let mut world = OwnedInputs::of(Some(client()));
    let body = world.body.as_mut().unwrap();
    body.pods.push(pod("static", Class::Released, &[]));
    let hash = "0123456789abcdef0123456789abcdef";
    world
        .bindings
        .add(binding("static", hash, "crawlers", "10.244.1.8"));
    assert_eq!(class_of(&world, "10.244.1.8"), Some(AddressClass::Released));
    world
        .bindings
        .add(binding("static", "an-other-uid", "crawlers", "10.244.1.7"));
    assert_eq!(class_of(&world, "10.244.1.7"), None);
}

const BOUND: &str = "10.244.1.2";

/// A body comes into force, as the agent lets it.
fn takes(world: &mut OwnedInputs, body: Body) {
    world.bindings.guard(&body);
    world.bindings.let_go(&body);
    world.body = Some(body);
}

/// A body that has never heard of the namespace, as after its end.
fn silent() -> Body {
    let mut body = client();
    body.guarded_namespaces.clear();
    body.pods.clear();
    body
}

fn with(class: Class) -> Body {
    let mut body = silent();
    body.pods = vec![pod("a", class, &[])];
    body
}

#[test]
fn a_guarded_pod_that_no_body_lists_any_more_is_held_until_one_lists_it_as_released() {
    let guards = [
        client(),
        with(Class::Blocked {
            reason: BlockedReason::NoExit,
        }),
        Body {
            guarded_namespaces: client().guarded_namespaces,
            ..silent()
        },
    ];
    for guarding in guards {
        let mut world = OwnedInputs::of(None);
        takes(&mut world, guarding);
        takes(&mut world, silent());
        assert_eq!(class_of(&world, BOUND), None);
        takes(&mut world, silent());
        assert_eq!(class_of(&world, BOUND), None, "as long as it lives");
        takes(&mut world, with(Class::Released));
        assert_eq!(class_of(&world, BOUND), Some(AddressClass::Released));
        takes(&mut world, silent());
        assert_eq!(
            class_of(&world, BOUND),
            Some(AddressClass::Released),
            "it was let go"
        );
    }
}

#[test]
fn a_pod_without_a_binding_that_no_body_lists_any_more_has_no_class() {
    let mut world = OwnedInputs::of(None);
    world.bindings = Bindings::default();
    takes(&mut world, client());
    assert_eq!(
        class_of(&world, BOUND),
        Some(AddressClass::Scope(scope_id()))
    );
    takes(&mut world, silent());
    assert_eq!(class_of(&world, BOUND), None);
}

#[test]
fn a_new_pod_of_a_namespace_that_was_guarded_once_is_released_at_once() {
    let mut world = OwnedInputs::of(None);
    takes(&mut world, client());
    takes(&mut world, silent());
    world
        .bindings
        .add(binding("new", "new-uid", "crawlers", "10.244.1.9"));
    assert_eq!(class_of(&world, "10.244.1.9"), Some(AddressClass::Released));
}

#[test]
fn a_guarded_static_pod_is_held_by_its_own_uid_and_let_go_by_its_name() {
    let mut world = OwnedInputs::of(None);
    let hash = "0123456789abcdef0123456789abcdef";
    world
        .bindings
        .add(binding("static", hash, "crawlers", "10.244.1.8"));
    let listed = |class| Body {
        pods: vec![pod("static", class, &[])],
        ..silent()
    };
    takes(&mut world, listed(Class::Policy { scope: scope_id() }));
    takes(&mut world, silent());
    assert_eq!(class_of(&world, "10.244.1.8"), None);
    // A reboot: its sandbox went, and is made anew without the API server.
    let mut again = world.bindings.remove(&format!("c-{hash}")).unwrap();
    world.bindings.forget_departed(&[].into());
    again.container_id = format!("c-{hash}-2");
    world.bindings.add(again);
    assert_eq!(class_of(&world, "10.244.1.8"), None);
    takes(&mut world, listed(Class::Released));
    takes(&mut world, silent());
    assert_eq!(class_of(&world, "10.244.1.8"), Some(AddressClass::Released));
}

#[test]
fn a_pod_whose_sandbox_is_made_anew_is_guarded_as_it_was_and_one_that_went_is_forgotten() {
    let mut world = OwnedInputs::of(None);
    takes(&mut world, client());
    takes(&mut world, silent());
    let mut again = world.bindings.remove("c-a").unwrap();
    again.container_id = "c-a-2".to_owned();
    world.bindings.add(again);
    assert_eq!(class_of(&world, BOUND), None);

    let nobody = [].into();
    world.bindings.forget_departed(&nobody);
    assert_eq!(class_of(&world, BOUND), None, "it is still there");
    world.bindings.remove("c-a-2");
    world.bindings.forget_departed(&nobody);
    assert_eq!(world.bindings, Bindings::default());
}

#[test]
fn bindings_outlive_a_file_with_their_guards_and_an_older_file_has_none() {
    let mut world = OwnedInputs::of(None);
    takes(&mut world, client());
    let mut file = serde_json::to_value(&world.bindings).unwrap();
    let again: Bindings = serde_json::from_value(file.clone()).unwrap();
    assert_eq!(again, world.bindings);
    assert_eq!(again.guarded, [word("a-uid")].into());
    file.as_object_mut().unwrap().remove("guarded").unwrap();
    let older: Bindings = serde_json::from_value(file).unwrap();
    assert_eq!(older.by_container, again.by_container);
    assert_eq!(older.guarded, [].into());
}
