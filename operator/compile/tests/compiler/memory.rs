//! What is remembered of a namespace is bounded, and a namespace that asks for more takes nothing from the others.

use postern_compile::NAMESPACE_BUDGET;
use postern_compile::verdict::Verdict;
use postern_crds::EgressPolicy;
use postern_intent::body::{BlockedReason, Class, EgressPath};
use serde_json::json;

use super::changes::{pod, start};
use super::world::World;

/// The namespace that asks for too much: there is one before it and one behind it in the order of names.
const GREEN: &str = "green";

/// A policy of namespace green whose selector takes some 40 kB: all that the schema lets through.
fn large(name: &str, generation: i64, first: &str) -> EgressPolicy {
    let expressions: Vec<_> = (0..16)
        .map(|number| {
            let values: Vec<String> = (0..32)
                .map(|value| format!("{first}{number:02}{value:02}{}", "v".repeat(58)))
                .collect();
            json!({"key": "app", "operator": "NotIn", "values": values})
        })
        .collect();
    let policy = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {
            "namespace": GREEN, "name": name, "uid": format!("uid-{name}"), "generation": generation,
        },
        "spec": {
            "podSelector": {"matchExpressions": expressions},
            "route": {"type": "Exit", "exitNodes": [{"name": "e1"}]},
            "defaultAction": "Allow",
        },
    });
    serde_json::from_value(policy).expect("a policy")
}

/// The policy for the pods only whose label `late` is its name or `both`. It takes as much room as before.
fn selecting(mut policy: EgressPolicy) -> EgressPolicy {
    let late = json!({"key": "late", "operator": "In", "values": [policy.metadata.name, "both"]});
    let late = serde_json::from_value(late).expect("an expression");
    let expressions = policy.spec.pod_selector.match_expressions.as_mut();
    *expressions.and_then(|all| all.last_mut()).expect("sixteen") = late;
    policy
}

/// The same policy in another namespace.
fn elsewhere(mut policy: EgressPolicy, namespace: &str) -> EgressPolicy {
    policy.metadata.namespace = Some(namespace.to_owned());
    policy
}

/// What a pod of green is under.
fn class(world: &World, name: &str) -> Class {
    let mut pods = world.previous.values().flat_map(|body| &body.pods);
    let found = pods.find(|pod| pod.namespace.as_str() == GREEN && pod.name.as_str() == name);
    found.expect("the pod").class.clone()
}

/// The way out of a pod of green that is under a policy.
fn way(world: &World, name: &str) -> EgressPath {
    let Class::Policy { scope } = class(world, name) else {
        panic!("{:?}", class(world, name));
    };
    let mut scopes = world.previous.values().flat_map(|body| &body.firewall);
    let found = scopes.find(|one| one.id == scope);
    found.expect("the scope").way
}

fn accepted(verdicts: &[Verdict], name: &str) -> String {
    let mut found = verdicts.iter().filter(|one| one.kind == "EgressPolicy");
    let found = found.find(|one| one.name == name).expect("a verdict");
    let mut all = found.conditions.iter();
    let accepted = all.find(|one| one.kind.as_str() == "Accepted");
    accepted.expect("a condition").reason.to_string()
}

/// Bytes that are remembered of green's policies.
fn remembered(world: &World) -> usize {
    let policies = world.memory.policies.iter();
    let green = policies.filter(|(namespace, _)| namespace.as_str() == GREEN);
    let green: Vec<_> = green.map(|(_, known)| known).collect();
    serde_json::to_vec(&green).expect("JSON").len()
}

#[test]
fn policies_past_the_budget_of_their_namespace_are_refused_and_block_and_the_others_stay() {
    let mut world = start();
    // Its name comes after those of the others, and its rank before theirs.
    let mut there = selecting(large("there", 1, "a"));
    there.spec.priority = 1;
    world.policies.insert("there".to_owned(), there);
    for (number, late) in [(5, "a00"), (6, "a99"), (7, "both")] {
        pod(&mut world, 1, number, 0, 2);
        let pod = world.pods.get_mut(&format!("{GREEN}/pod{number}"));
        pod.expect("it").labels = [("late".to_owned(), late.to_owned())].into();
    }
    world.compile();
    assert_eq!(class(&world, "pod5"), Class::Released);
    let kept = (class(&world, "pod7"), way(&world, "pod7"));
    assert!(!matches!(kept.1, EgressPath::Blocked { .. }));
    for number in 0..100 {
        let name = format!("a{number:02}");
        let policy = selecting(large(&name, 1, "a"));
        world.policies.insert(name, policy);
    }
    for (name, namespace) in [("before", "blue"), ("behind", "red")] {
        let policy = elsewhere(large(name, 1, "a"), namespace);
        world.policies.insert(name.to_owned(), policy);
    }
    let compilation = world.compile();
    assert!(!matches!(way(&world, "pod5"), EgressPath::Blocked { .. }));
    let reason = BlockedReason::PolicyRefused;
    assert_eq!(way(&world, "pod6"), EgressPath::Blocked { reason });
    assert!(remembered(&world) < NAMESPACE_BUDGET + 64 * 1024);
    assert_eq!(accepted(&compilation.verdicts, "a00"), "Accepted");
    assert_eq!(accepted(&compilation.verdicts, "a99"), "TooLarge");
    for name in ["before", "behind", "there"] {
        let reason = accepted(&compilation.verdicts, name);
        assert_eq!(reason, "Accepted", "{name}");
    }
    let now = (class(&world, "pod7"), way(&world, "pod7"));
    assert_eq!(now, kept, "the pod of the policy that was there");
}

#[test]
fn an_update_that_does_not_fit_leaves_what_is_remembered_as_it_was() {
    let mut world = start();
    for number in 0..7 {
        let name = format!("z{number:02}");
        world.policies.insert(name.clone(), large(&name, 1, "a"));
    }
    world.compile();
    let before = world.memory.policies.clone();
    world
        .policies
        .insert("z00".to_owned(), large("z00", 2, "b"));
    let compilation = world.compile();
    assert_eq!(accepted(&compilation.verdicts, "z00"), "TooLarge");
    assert_eq!(world.memory.policies, before);
    world.policies.remove("z06");
    world.policies.remove("z05");
    world.compile();
    world.wait(jiff::SignedDuration::from_hours(1));
    let compilation = world.compile();
    assert_eq!(accepted(&compilation.verdicts, "z00"), "Accepted");
}

#[test]
fn an_update_that_fits_is_accepted_before_a_new_policy_that_then_does_not() {
    let mut world = start();
    for number in 0..6 {
        let name = format!("z{number:02}");
        world.policies.insert(name.clone(), large(&name, 1, "a"));
    }
    world.compile();
    for policy in [large("z05", 2, "b"), large("a00", 1, "a")] {
        let name = policy.metadata.name.clone().expect("a name");
        world.policies.insert(name, policy);
    }
    let compilation = world.compile();
    assert_eq!(accepted(&compilation.verdicts, "z05"), "Accepted");
    assert_eq!(accepted(&compilation.verdicts, "a00"), "TooLarge");
}

#[test]
fn names_and_exits_count_towards_the_budget_of_their_namespace() {
    let long = |first: &str| format!("{first}{}", "n".repeat(253 - first.len()));
    let exits: Vec<_> = (0..8)
        .map(|exit| json!({"name": long(&format!("e{exit}"))}))
        .collect();
    let mut world = start();
    for number in 0..400 {
        let name = long(&format!("z{number:03}"));
        let policy = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
            "metadata": {
                "namespace": "red", "name": name, "uid": format!("uid-{number}"), "generation": 1,
            },
            "spec": {
                "podSelector": {"matchLabels": {"app": "x"}},
                "route": {"type": "Exit", "exitNodes": exits},
                "defaultAction": "Allow",
            },
        });
        let policy = serde_json::from_value(policy).expect("a policy");
        world.policies.insert(name, policy);
    }
    let compilation = world.compile();
    let kept = remembered(&world);
    assert!(kept < NAMESPACE_BUDGET + 64 * 1024, "{kept}");
    assert_eq!(accepted(&compilation.verdicts, &long("z399")), "TooLarge");
}
