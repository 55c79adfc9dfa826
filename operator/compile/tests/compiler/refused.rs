//! Refused updates, and what is known of policies when the memory is lost.

use std::collections::BTreeSet;

use postern_compile::gate::{ApprovalCause, PendingApproval};
use postern_compile::snapshot::{Lifecycle, Permission, SnapshotNamespace};
use postern_compile::verdict::Detail;
use postern_crds::EgressPolicy;
use postern_crds::egress_policy::{
    Action, Destination, Enforcement, FailureMode, PolicyRule, RouteType,
};
use postern_crds::exit_node::LanAccess;
use postern_intent::body::{Access, BlockedReason, Class, EgressPath, Terms, TermsEnforcement};
use serde_json::json;

use super::changes::{Accepted, Change, make, pod, start};
use super::reported::said;
use super::world::World;

/// Every pod of the namespace.
const ALL: usize = 3;

fn policy(name: usize, app: usize, priority: i32, accepted: Accepted) -> Change {
    Change::Policy {
        namespace: 0,
        name,
        app,
        exit: 1,
        priority,
        accepted,
    }
}

/// A cluster with these policies in force.
fn world(policies: &[(usize, usize, i32)]) -> World {
    let mut world = start();
    for (name, app, priority) in policies {
        make(&mut world, &policy(*name, *app, *priority, Accepted::Yes));
    }
    world.compile();
    world
}

fn compiled(world: &mut World, change: &Change) -> Vec<PendingApproval> {
    make(world, change);
    world.wait(jiff::SignedDuration::from_secs(1));
    world.compile().held
}

/// What the pods of red are under: `pN`, `Released` or the reason why they are blocked.
fn red(world: &World) -> Vec<String> {
    let pods = world.previous.values().flat_map(|body| &body.pods);
    let mut all: Vec<_> = pods
        .filter(|pod| pod.namespace.as_str() == "red")
        .map(|pod| {
            let class = match &pod.class {
                Class::Policy { scope } => scope.as_str()["red/".len()..][..2].to_owned(),
                Class::Blocked { reason } => format!("{reason:?}"),
                Class::Released => "Released".to_owned(),
            };
            (pod.name.to_string(), class)
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, class)| class).collect()
}

fn edit(world: &mut World, key: &str, change: impl FnOnce(&mut EgressPolicy)) {
    let mut policy = world.policies[key].clone();
    change(&mut policy);
    world.apply_policy(policy);
}

#[test]
fn a_refused_update_does_not_outrank_the_policy_in_force() {
    let mut world = world(&[(0, ALL, 1), (1, ALL, 0)]);
    compiled(&mut world, &policy(1, ALL, 2, Accepted::No));
    assert_eq!(red(&world), ["p0"; 4]);
}

#[test]
fn a_refused_update_does_not_step_behind_another_policy() {
    let mut world = world(&[(0, ALL, 1), (1, ALL, 2)]);
    for _ in 0..2 {
        compiled(&mut world, &policy(1, ALL, 0, Accepted::No));
        assert_eq!(red(&world), ["p1"; 4]);
    }
}

#[test]
fn a_refused_update_takes_no_pod_from_a_policy_in_force() {
    // Pods 0 and 3 are x, pod 1 is y, pod 2 is z.
    let mut world = world(&[(0, 1, 0), (1, 0, 5)]);
    assert_eq!(red(&world), ["p1", "p0", "Released", "p1"]);
    compiled(&mut world, &policy(1, ALL, 5, Accepted::No));
    assert_eq!(red(&world), ["p1", "p0", "PolicyRefused", "p1"]);
}

#[test]
fn pods_that_only_a_refused_update_selects_are_blocked_until_it_is_put_right() {
    let mut world = world(&[(0, 0, 0)]);
    compiled(&mut world, &policy(0, ALL, 0, Accepted::No));
    let blocked = ["p0", "PolicyRefused", "PolicyRefused", "p0"];
    assert_eq!(red(&world), blocked);
    assert!(compiled(&mut world, &policy(0, 1, 0, Accepted::No)).is_empty());
    assert_eq!(red(&world), ["p0", "PolicyRefused", "Released", "p0"]);
    assert!(compiled(&mut world, &policy(0, 0, 0, Accepted::Yes)).is_empty());
    assert_eq!(red(&world), ["p0", "Released", "Released", "p0"]);
}

#[test]
fn what_a_refused_update_blocked_goes_with_the_gates_consent() {
    let mut world = world(&[(0, 0, 0)]);
    world.settings.gate.pods = 0;
    compiled(&mut world, &policy(0, ALL, 0, Accepted::No));
    let held = compiled(&mut world, &policy(0, 0, 0, Accepted::Yes));
    let causes: Vec<_> = held.iter().map(|held| (held.cause, held.pods)).collect();
    assert_eq!(causes, [(ApprovalCause::SelectorChanged, 2)]);
    assert!(!red(&world).contains(&"Released".to_owned()));
    world.approve(held.iter());
    world.compile();
    assert_eq!(red(&world), ["p0", "Released", "Released", "p0"]);
}

#[test]
fn a_policy_that_was_never_accepted_selects_and_ranks_as_it_asks_to() {
    let mut world = world(&[(0, ALL, 1)]);
    compiled(&mut world, &policy(1, 0, 2, Accepted::No));
    assert_eq!(red(&world), ["p1", "p0", "p0", "p1"]);
    let body = &world.previous[&"node0".parse().expect("a name")];
    let scope = body
        .firewall
        .iter()
        .find(|scope| scope.id.as_str().starts_with("red/p1@"));
    assert!(format!("{:?}", scope.expect("a scope").way).contains("Blocked"));
}

#[test]
fn new_pods_of_a_narrowed_selector_stay_selected_while_its_next_update_is_refused() {
    let mut world = world(&[(0, ALL, 0)]);
    world.settings.gate.pods = 0;
    assert_eq!(
        compiled(&mut world, &policy(0, 1, 0, Accepted::Yes)).len(),
        1
    );
    compiled(&mut world, &policy(0, 2, 0, Accepted::No));
    edit(&mut world, "red/p0", |policy| policy.spec.priority = 1);
    pod(&mut world, 0, 4, 0, 1);
    world.compile();
    assert_eq!(red(&world), ["p0"; 5]);
}

#[test]
fn a_refused_update_of_a_policy_that_nobody_remembers_loosens_nothing() {
    let mut world = world(&[(0, ALL, 1), (1, ALL, 2)]);
    world.memory = Default::default();
    compiled(&mut world, &policy(1, 0, 0, Accepted::No));
    assert_eq!(red(&world), ["p1"; 4]);
    world.policies.remove("red/p0");
    pod(&mut world, 0, 4, 0, 1);
    world.settings.gate.pods = 100;
    world.compile();
    assert_eq!(red(&world)[4], "PolicyRefused");
}

#[test]
fn a_policy_that_went_while_nobody_knows_whom_it_selected_denies_its_namespace() {
    let mut world = world(&[(0, 0, 0)]);
    assert_eq!(red(&world), ["p0", "Released", "Released", "p0"]);
    world.memory = Default::default();
    let held = compiled(
        &mut world,
        &Change::NoPolicy {
            namespace: 0,
            name: 0,
        },
    );
    let causes: Vec<_> = held
        .iter()
        .map(|held| (held.subject.to_string(), held.cause))
        .collect();
    assert_eq!(
        causes,
        [("policy red/p0".to_owned(), ApprovalCause::Forgotten)]
    );
    pod(&mut world, 0, 4, 0, 2);
    let held = world.compile().held;
    assert_eq!(held.len(), 1);
    let new = format!("{:?}", BlockedReason::ReleaseHeld);
    assert_eq!(red(&world), ["p0", "Released", "Released", "p0", &new]);
    world.approve(held.iter());
    assert!(world.compile().held.is_empty());
    assert_eq!(red(&world), ["Released"; 5]);
}

#[test]
fn a_refused_update_in_a_namespace_that_is_going_lets_nobody_go() {
    let mut world = world(&[(0, 0, 0)]);
    compiled(&mut world, &policy(0, ALL, 0, Accepted::No));
    let going = SnapshotNamespace {
        name: "red".parse().expect("a name"),
        labels: Default::default(),
        lifecycle: Lifecycle::Deleting,
    };
    world.namespaces.insert("red".to_owned(), going);
    let gone = Change::NoPolicy {
        namespace: 0,
        name: 0,
    };
    compiled(&mut world, &gone);
    world.compile();
    let classes = red(&world);
    assert!(
        !classes.contains(&"Released".to_owned()),
        "{classes:?} {}",
        json!(world.memory)
    );
}

#[test]
fn pods_that_nobody_knows_to_be_a_refused_policys_count_as_selected() {
    let mut world = world(&[(0, 1, 0)]);
    world.memory = Default::default();
    make(&mut world, &policy(0, 1, 0, Accepted::No));
    // It is new, so it may be one of those that the policy selected.
    pod(&mut world, 0, 4, 0, 2);
    let compilation = world.compile();
    let verdict = compilation
        .verdicts
        .iter()
        .find(|one| one.kind == "EgressPolicy");
    let Some(Detail::Policy { pods, .. }) = verdict.map(|one| &one.detail) else {
        panic!("a policy's verdict");
    };
    assert_eq!(
        red(&world),
        ["Released", "p0", "Released", "Released", "PolicyRefused"]
    );
    assert_eq!(pods.selected, 2, "{pods:?}");
}

#[test]
fn a_policy_that_may_open_is_refused_where_the_administrator_withholds_it() {
    let mut world = world(&[(0, ALL, 0)]);
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.failure_mode = FailureMode::Open;
    policy.spec.fail_open_after = Some("30s".to_owned());
    world.apply_policy(policy);
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(accepted.starts_with("True Accepted"), "{accepted}");
    let failures = |world: &World| -> BTreeSet<String> {
        let scopes = world.previous.values().flat_map(|body| &body.firewall);
        scopes.map(|scope| format!("{:?}", scope.failure)).collect()
    };
    assert_eq!(
        failures(&world),
        ["Open { after_seconds: 30 }".to_owned()].into()
    );
    world.settings.ceiling.fail_open = Permission::Withheld;
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(
        accepted.starts_with("False NotPermitted: spec.failureMode is more"),
        "{accepted}"
    );
    assert_eq!(failures(&world), ["Closed".to_owned()].into());
}

#[test]
fn a_policy_that_only_observes_is_called_so_and_enforced_where_the_administrator_withholds_it() {
    let mut world = world(&[(0, ALL, 0)]);
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.enforcement = Enforcement::Observe;
    world.apply_policy(policy);
    world.compile();
    let compilation = world.compile();
    let ready = said(&compilation, "p0", "Ready");
    assert!(ready.starts_with("True Observing"), "{ready}");
    let enforced = said(&compilation, "p0", "FullyEnforced");
    assert!(enforced.starts_with("False Observing"), "{enforced}");
    let mut verdicts = compilation.verdicts.iter();
    let verdict = verdicts.find(|one| one.kind == "EgressPolicy" && one.name == "p0");
    let Some(Detail::Policy { pods, .. }) = verdict.map(|one| &one.detail) else {
        panic!("a policy's verdict");
    };
    assert_eq!(
        (pods.enforced, pods.observed),
        (0, pods.selected),
        "{pods:?}"
    );
    let observing = |world: &World| -> Vec<TermsEnforcement> {
        let scopes = world.previous.values().flat_map(|body| &body.firewall);
        scopes.map(|scope| scope.terms.enforcement).collect()
    };
    let before = observing(&world);
    let is = |all: &[TermsEnforcement], wanted| all.iter().all(|one| *one == wanted);
    assert!(!before.is_empty() && is(&before, TermsEnforcement::Observe));
    world.settings.ceiling.observe = Permission::Withheld;
    let compilation = world.compile();
    let accepted = said(&compilation, "p0", "Accepted");
    assert!(
        accepted.starts_with("False NotPermitted: spec.enforcement is more"),
        "{accepted}"
    );
    assert!(is(&observing(&world), TermsEnforcement::Enforce));
    let compilation = world.compile();
    let enforced = said(&compilation, "p0", "FullyEnforced");
    assert!(!enforced.contains("Observing"), "{enforced}");
}

#[test]
fn a_policy_by_the_uplink_of_the_node_is_blocked_where_the_administrator_withholds_it() {
    let mut world = world(&[(0, ALL, 0)]);
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.route.type_ = RouteType::NodeUplink;
    policy.spec.route.exit_nodes.clear();
    world.apply_policy(policy);
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(accepted.starts_with("True Accepted"), "{accepted}");
    let ways = |world: &World| -> Vec<EgressPath> {
        let scopes = world.previous.values().flat_map(|body| &body.firewall);
        scopes.map(|scope| scope.way).collect()
    };
    let before = ways(&world);
    assert!(!before.is_empty() && before.iter().all(|way| *way == EgressPath::NodeUplink));
    world.settings.ceiling.node_uplink = Permission::Withheld;
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(
        accepted.starts_with("False NotPermitted: spec.route.type is more"),
        "{accepted}"
    );
    let reason = BlockedReason::PolicyRefused;
    let blocked = EgressPath::Blocked { reason };
    assert!(
        ways(&world).iter().all(|way| *way == blocked),
        "{:?}",
        ways(&world)
    );
}

#[test]
fn a_rule_that_allows_a_private_range_is_refused_where_the_administrator_withholds_the_lan() {
    let mut world = world(&[(0, ALL, 0)]);
    world.settings.ceiling.lan = Permission::Withheld;
    let with = |world: &mut World, action: Action, cidr: &str| {
        let mut policy = world.policies["red/p0"].clone();
        let to = Destination {
            cidr: Some(cidr.to_owned()),
            ..Destination::default()
        };
        policy.spec.rules = vec![PolicyRule {
            action,
            to: vec![to],
            ..PolicyRule::default()
        }];
        world.apply_policy(policy);
        said(&world.compile(), "p0", "Accepted")
    };
    for private in ["10.1.0.0/16", "fd00::/8", "64:ff9b::a00:0/104"] {
        let accepted = with(&mut world, Action::Allow, private);
        assert!(
            accepted.starts_with("False NotPermitted: spec.rules is more"),
            "{private}: {accepted}"
        );
    }
    for (action, cidr) in [
        (Action::Deny, "10.1.0.0/16"),
        (Action::Allow, "0.0.0.0/0"),
        (Action::Allow, "64:ff9b::808:808/128"),
    ] {
        let accepted = with(&mut world, action, cidr);
        assert!(accepted.starts_with("True Accepted"), "{cidr}: {accepted}");
    }
}

#[test]
fn what_the_administrator_withholds_is_taken_from_the_rules_of_before_too() {
    let mut world = world(&[(0, ALL, 0)]);
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.lan_access = LanAccess::Allow;
    let to = |cidr: &str| Destination {
        cidr: Some(cidr.to_owned()),
        ..Destination::default()
    };
    policy.spec.rules = vec![
        PolicyRule {
            action: Action::Allow,
            to: vec![to("10.1.0.0/16"), to("198.51.100.0/24")],
            ..PolicyRule::default()
        },
        PolicyRule {
            action: Action::Allow,
            to: vec![to("fd00::/8")],
            ..PolicyRule::default()
        },
    ];
    policy.spec.special_use.exceptions = vec!["169.254.169.254/32".to_owned()];
    policy.spec.dns.upstreams = vec!["10.0.0.53".to_owned(), "9.9.9.9".to_owned()];
    world.apply_policy(policy);
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(accepted.starts_with("True Accepted"), "{accepted}");

    world.settings.ceiling.lan = Permission::Withheld;
    world.settings.ceiling.special_use = Permission::Withheld;
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(accepted.starts_with("False NotPermitted"), "{accepted}");
    let scopes = |world: &World| -> Vec<Terms> {
        let scopes = world.previous.values().flat_map(|body| &body.firewall);
        scopes.map(|scope| scope.terms.clone()).collect()
    };
    let after = scopes(&world);
    assert!(!after.is_empty());
    for terms in after {
        assert_eq!(terms.lan, Access::Deny);
        assert_eq!(terms.special_use_exceptions, []);
        let to: Vec<Vec<String>> = terms
            .rules
            .iter()
            .map(|rule| rule.to.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(to, [["198.51.100.0/24"]]);
        assert_eq!(terms.dns.upstreams, ["9.9.9.9:53".parse().unwrap()]);
    }
    world.settings.ceiling.upstreams = Permission::Withheld;
    world.settings.dns_upstreams = vec!["10.0.0.10:53".parse().unwrap()];
    world.compile();
    for terms in scopes(&world) {
        assert_eq!(terms.dns.upstreams, world.settings.dns_upstreams);
    }
}

#[test]
fn a_private_resolver_is_refused_where_the_administrator_withholds_the_lan() {
    let mut world = world(&[(0, ALL, 0)]);
    world.settings.ceiling.lan = Permission::Withheld;
    let mut policy = world.policies["red/p0"].clone();
    policy.spec.dns.upstreams = vec!["10.0.0.53".to_owned()];
    world.apply_policy(policy);
    let accepted = said(&world.compile(), "p0", "Accepted");
    assert!(
        accepted.starts_with("False NotPermitted: spec.dns.upstreams is more"),
        "{accepted}"
    );
}
