//! What the stories do not tell: budgets, and a definition that goes.

use jiff::SignedDuration;
use postern_compile::NodeOutcome;
use postern_compile::gate::{ApprovalCause, HeldUntil};
use postern_compile::snapshot::Definitions;
use postern_intent::NodeDocument;
use postern_intent::body::{BlockedReason, Class, EgressPath};
use postern_intent::verify::SKEW_ALLOWANCE;
use serde_json::json;

use super::changes::{
    Accepted, Change, Denies, NO_RED_POLICY, make, red_policy, start, with_a_policy,
};
use super::world::World;

fn body<'a>(world: &'a World, node: &str) -> &'a NodeDocument {
    &world.previous[&node.parse().expect("a name")]
}

#[test]
fn a_lost_memory_releases_nobody() {
    let mut world = with_a_policy();
    world.memory = Default::default();
    for pod in world.pods.values_mut() {
        pod.labels.clear();
    }
    let selector = json!({"matchLabels": {"app": "nobody"}});
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.pod_selector = serde_json::from_value(selector).expect("a selector");
    world.apply_policy(policy);
    world.compile();
    let red = |body: &NodeDocument| {
        body.pods
            .iter()
            .filter(|pod| pod.namespace.as_str() == "red")
            .cloned()
            .collect::<Vec<_>>()
    };
    let pods: Vec<_> = world.previous.values().flat_map(red).collect();
    assert_eq!(pods.len(), 4);
    assert!(pods.iter().all(|pod| pod.class != Class::Released));
}

#[test]
fn a_policy_that_would_break_the_budget_is_blocked_and_the_others_are_not() {
    let mut world = start();
    with_rules(&mut world, Tenant::Red, 1);
    with_rules(&mut world, Tenant::Green, 60);
    world.compile();
    world.settings.envelope_budget = size(&world) - 64;
    world.compile();
    assert_eq!(
        ways(&world),
        [
            ("green/p0@e2", TOO_LARGE),
            ("red/p0@e2", EgressPath::Tunnel)
        ]
        .map(named)
    );
    body(&world, "node0")
        .check()
        .expect("a body that its node accepts");
}

#[test]
fn a_small_policy_that_comes_last_is_the_one_that_does_not_fit_and_takes_nothing_from_a_large_one()
{
    let mut world = start();
    with_rules(&mut world, Tenant::Green, 60);
    world.compile();
    let before = ways(&world);
    with_rules(&mut world, Tenant::Red, 20);
    let mut both = world.clone();
    both.compile();
    world.settings.envelope_budget = size(&both) - 64;
    world.compile();
    assert_eq!(
        ways(&world),
        [
            ("green/p0@e2", EgressPath::Tunnel),
            ("red/p0@e2", TOO_LARGE)
        ]
        .map(named)
    );
    assert_eq!(ways(&world)[0], before[0]);
}

const TOO_LARGE: EgressPath = EgressPath::Blocked {
    reason: BlockedReason::TooLarge,
};

#[derive(Clone, Copy)]
enum Tenant {
    Red,
    Green,
}

/// A policy of a tenant, with so many rules.
fn with_rules(world: &mut World, tenant: Tenant, rules: usize) {
    let (namespace, key, net) = match tenant {
        Tenant::Red => (0, "red/p0", "203.0"),
        Tenant::Green => (1, "green/p0", "198.51"),
    };
    make(
        world,
        &Change::Policy {
            namespace,
            name: 0,
            app: 3,
            exit: 1,
            priority: 0,
            accepted: Accepted::Yes,
        },
    );
    let rule = |number: usize| json!({"action": "Allow", "to": [{"cidr": format!("{net}.{number}.0/24")}]});
    let mut policy = world.policies[key].clone();
    policy.spec.rules = (0..rules)
        .map(|number| serde_json::from_value(rule(number)).expect("a rule"))
        .collect();
    world.apply_policy(policy);
}

/// The size of an envelope: Base64 and what is around the payload.
fn size(world: &World) -> usize {
    let json = serde_json::to_vec(body(world, "node0")).expect("JSON");
    let packed = postern_intent::envelope::pack(&json).expect("memory").len();
    packed.div_ceil(3) * 4 + 1024
}

fn ways(world: &World) -> Vec<(String, EgressPath)> {
    let scopes = body(world, "node0").firewall.iter();
    scopes
        .map(|scope| (scope.id.to_string(), scope.way))
        .collect()
}

fn named((id, way): (&str, EgressPath)) -> (String, EgressPath) {
    (id.to_owned(), way)
}

#[test]
fn intents_that_were_published_together_are_not_all_issued_again_at_once() {
    let mut world = with_a_policy();
    world.compile();
    let refresh = world.settings.refresh;
    let mut issued = Vec::new();
    world.wait(refresh - refresh / 5);
    for _ in 0..=20 {
        let compilation = world.compile();
        let outcomes = compilation.nodes.values();
        let published = |one: &&NodeOutcome| matches!(one, NodeOutcome::Publish(_));
        issued.push(outcomes.filter(published).count());
        world.wait(refresh / 100);
    }
    let all: usize = issued.iter().sum();
    assert_eq!(all, world.nodes.len(), "each once: {issued:?}");
    let most = issued.iter().max().copied().unwrap_or_default();
    assert!(most < world.nodes.len(), "{issued:?}");
}

#[test]
fn policies_that_go_with_their_definition_go_on_selecting() {
    let mut world = with_a_policy();
    world.definitions = Definitions::Terminating;
    make(&mut world, &NO_RED_POLICY);
    let compilation = world.compile();
    assert_eq!(
        compilation
            .held
            .iter()
            .map(|held| held.cause)
            .collect::<Vec<_>>(),
        [ApprovalCause::DefinitionTerminating]
    );
    assert!(
        compilation
            .nodes
            .values()
            .all(|outcome| *outcome == NodeOutcome::Keep)
    );
    world.definitions = Definitions::Serving;
    world.wait(SignedDuration::from_mins(1));
    let served = world.compile().held;
    assert_eq!(served, compilation.held, "the same release waits");
    world.approve(compilation.held.iter());
    assert!(world.compile().held.is_empty());
    assert_eq!(world.released("red"), 4);
}

#[test]
fn an_approval_is_used_once() {
    let mut world = with_a_policy();
    world.settings.gate.pods = 0;
    let held = |world: &mut World| {
        make(world, &NO_RED_POLICY);
        world.compile().held
    };
    let first = held(&mut world);
    world.approve(first.iter());
    assert!(world.compile().held.is_empty());
    make(&mut world, &red_policy(3));
    world.wait(SignedDuration::from_secs(1));
    world.compile();
    let second = held(&mut world);
    assert_eq!(second.len(), 1);
    assert_ne!(first[0].digest, second[0].digest);
}

#[test]
fn a_namespace_that_is_going_keeps_its_pods_under_the_policy_that_went_first() {
    let mut world = with_a_policy();
    make(
        &mut world,
        &Change::Namespace {
            namespace: 0,
            denies: Denies::No,
            lifecycle: postern_compile::snapshot::Lifecycle::Deleting,
        },
    );
    make(&mut world, &NO_RED_POLICY);
    let compilation = world.compile();
    assert!(compilation.held.is_empty());
    assert!(
        compilation
            .nodes
            .values()
            .all(|outcome| *outcome == NodeOutcome::Keep)
    );
}

#[test]
fn an_address_that_two_running_pods_have_is_neithers() {
    let mut world = with_a_policy();
    let shared = "10.244.0.77".parse().expect("an address");
    for pod in world
        .pods
        .values_mut()
        .filter(|pod| pod.node.as_str() == "node0")
    {
        pod.addresses = [shared].into();
    }
    world.compile();
    assert!(body(&world, "node0").pods.len() > 1);
    assert!(
        body(&world, "node0")
            .pods
            .iter()
            .all(|pod| pod.addresses.is_empty())
    );
}

#[test]
fn what_once_waits_is_not_released_by_time_or_by_a_wider_gate() {
    let mut world = with_a_policy();
    world.settings.gate.pods = 3;
    make(&mut world, &NO_RED_POLICY);
    assert_eq!(world.compile().held.len(), 1);
    world.settings.gate.pods = 1000;
    world.wait(SignedDuration::from_hours(1));
    assert_eq!(world.compile().held.len(), 1);
}

const fn policy_of(namespace: usize, name: usize, app: usize) -> Change {
    Change::Policy {
        namespace,
        name,
        app,
        exit: 1,
        priority: 0,
        accepted: Accepted::Yes,
    }
}

#[test]
fn what_a_namespace_lets_go_in_ten_minutes_counts_together_and_what_fits_by_itself_goes_in_its_turn()
 {
    // Two pods of red are x, one is y.
    let mut world = start();
    world.settings.gate.pods = 2;
    make(&mut world, &policy_of(0, 0, 0));
    make(&mut world, &policy_of(0, 1, 1));
    world.compile();
    make(
        &mut world,
        &Change::NoPolicy {
            namespace: 0,
            name: 0,
        },
    );
    assert!(world.compile().held.is_empty());
    world.wait(SignedDuration::from_mins(9));
    make(
        &mut world,
        &Change::NoPolicy {
            namespace: 0,
            name: 1,
        },
    );
    let held = world.compile().held;
    let told: Vec<_> = held.iter().map(|one| (one.pods, one.until)).collect();
    assert_eq!(told, [(1, HeldUntil::Window)]);
    world.wait(SignedDuration::from_secs(59));
    assert_eq!(world.compile().held.len(), 1);
    world.wait(SignedDuration::from_secs(1));
    assert!(world.compile().held.is_empty());
}

#[test]
fn what_one_namespace_lets_go_keeps_no_other_waiting_up_to_the_cap_of_the_cluster() {
    let mut world = start();
    world.settings.gate.pods = 4;
    for namespace in [0, 1] {
        make(&mut world, &policy_of(namespace, 0, 3));
    }
    world.compile();
    for namespace in [0, 1] {
        make(&mut world, &Change::NoPolicy { namespace, name: 0 });
        assert!(world.compile().held.is_empty());
        world.wait(SignedDuration::from_mins(1));
    }

    // Two namespaces may use up their limit; the third one waits until they have left the window.
    let mut world = start();
    world.settings.gate.pods = 1;
    for namespace in [0, 1, 2] {
        make(&mut world, &policy_of(namespace, 0, 1));
    }
    world.compile();
    for namespace in [0, 1, 2] {
        make(&mut world, &Change::NoPolicy { namespace, name: 0 });
    }
    let held = world.compile().held;
    let told: Vec<_> = held.iter().map(|one| (one.pods, one.until)).collect();
    assert_eq!(told, [(1, HeldUntil::Window)]);
    world.wait(SignedDuration::from_mins(10));
    assert!(world.compile().held.is_empty());
}

#[test]
fn a_release_that_is_too_large_by_itself_waits_for_a_person_also_when_the_window_is_empty() {
    let mut world = with_a_policy();
    world.settings.gate.pods = 3;
    make(&mut world, &NO_RED_POLICY);
    let mut held = Vec::new();
    for _ in 0..3 {
        held = world.compile().held;
        assert_eq!(held[0].until, HeldUntil::Approved);
        assert_eq!(held[0].cause, ApprovalCause::PolicyDeleted);
        assert_eq!(world.released("red"), 0);
        world.wait(SignedDuration::from_mins(11));
    }
    world.approve(held.iter());
    assert!(world.compile().held.is_empty());
    assert_eq!(world.released("red"), 4);
}

#[test]
fn pods_of_a_policy_that_is_deleted_are_released_and_blocked_where_their_namespace_denies() {
    let classes = |world: &World| {
        let pods = world.previous.values().flat_map(|body| &body.pods);
        let red = pods.filter(|pod| pod.namespace.as_str() == "red");
        red.map(|pod| pod.class.clone()).collect::<Vec<_>>()
    };
    for (denies, class) in [
        (Denies::No, Class::Released),
        (
            Denies::Yes,
            Class::Blocked {
                reason: BlockedReason::NamespaceDeny,
            },
        ),
    ] {
        let mut world = start();
        let namespace = Change::Namespace {
            namespace: 0,
            denies,
            lifecycle: postern_compile::snapshot::Lifecycle::Live,
        };
        make(&mut world, &namespace);
        make(&mut world, &red_policy(3));
        world.compile();
        let under = classes(&world);
        assert!(under.iter().all(|one| matches!(one, Class::Policy { .. })));
        make(&mut world, &NO_RED_POLICY);
        let held = world.compile().held;
        world.approve(held.iter());
        world.compile();
        assert_eq!(classes(&world), vec![class; 4]);
    }
}

#[test]
fn a_denial_that_is_forgotten_together_with_its_label_waits_for_a_person() {
    let mut world = start();
    let namespace = |denies| Change::Namespace {
        namespace: 0,
        denies,
        lifecycle: postern_compile::snapshot::Lifecycle::Live,
    };
    make(&mut world, &namespace(Denies::Yes));
    world.compile();
    world.memory = Default::default();
    make(&mut world, &namespace(Denies::No));
    let compilation = world.compile();
    assert_eq!(
        compilation
            .held
            .iter()
            .map(|held| held.cause)
            .collect::<Vec<_>>(),
        [ApprovalCause::Forgotten]
    );
    assert!(
        compilation
            .nodes
            .values()
            .all(|outcome| *outcome == NodeOutcome::Keep)
    );
    world.wait(SignedDuration::from_mins(1));
    assert_eq!(world.compile().held, compilation.held, "it goes on waiting");
    world.approve(compilation.held.iter());
    assert!(world.compile().held.is_empty());
    assert_eq!(world.released("red"), 4);
}

#[test]
fn bodies_of_a_leader_whose_clock_was_ahead_are_issued_again_at_once() {
    let mut world = with_a_policy();
    let ahead = SignedDuration::from_hours(30);
    world.wait(ahead);
    world.compile();
    let wrong = body(&world, "node0").serial;
    world.wait(-ahead);
    let compilation = world.compile();
    let mut outcomes = compilation.nodes.values();
    assert!(outcomes.all(|outcome| matches!(outcome, NodeOutcome::Publish(_))));
    assert_eq!(body(&world, "node0").issued_at, world.now);
    assert!(body(&world, "node0").serial > wrong, "the ledger takes it");

    // The clocks of two replicas never agree to the second.
    world.wait(-SKEW_ALLOWANCE);
    let compilation = world.compile();
    let mut outcomes = compilation.nodes.values();
    assert!(outcomes.all(|outcome| *outcome == NodeOutcome::Keep));
}
