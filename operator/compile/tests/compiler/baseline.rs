//! The tier `Baseline`: it takes the place of a release, and of nothing that is tighter.

use std::collections::BTreeMap;

use postern_compile::explain::explain;
use postern_compile::gate::ApprovalCause;
use postern_compile::snapshot::Definitions;
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::BASELINE;
use postern_intent::body::{Class, Scope, TermsDnsMode};
use serde_json::{Value, json};

use super::changes::start;
use super::world::World;

/// More pods than the gate lets go by itself.
const MANY: usize = 40;

/// Many pods in a namespace of their own.
fn shop() -> World {
    let mut world = start();
    for number in 0..MANY {
        world.add_pod("shop", &format!("till-{number}"), "node0", number + 1);
    }
    world
}

fn administrators(world: &mut World, name: &str, priority: i32, rules: &Value) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "Baseline", "priority": priority, "subject": {"namespaces": {}}, "rules": rules},
    });
    world.apply_cluster_policy(serde_json::from_value(object).expect("a ClusterEgressPolicy"));
}

fn mail() -> Value {
    json!([{"name": "mail", "action": "Deny", "ports": [{"protocol": "TCP", "port": 25}]}])
}

fn tenant(world: &mut World) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "shop", "name": "all"},
        "spec": {"podSelector": {}, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "e1"}]}},
    });
    world.apply_policy(serde_json::from_value(object).expect("an EgressPolicy"));
}

const DENY: &str = "postern.dev/egress-default";

fn labels(world: &mut World) -> &mut BTreeMap<String, String> {
    let namespace = world.namespaces.get_mut("shop");
    &mut namespace.expect("a namespace").labels
}

fn deny(world: &mut World) {
    labels(world).insert(DENY.to_owned(), "deny".to_owned());
}

/// How many pods of the namespace are in the scope of this policy.
fn under(world: &World, policy: &str) -> usize {
    let pods = world.previous.values().flat_map(|body| &body.pods);
    let classes = pods.filter(|pod| pod.namespace.as_str() == "shop");
    let prefix = format!("shop/{policy}@");
    let of = |class: &Class| matches!(class, Class::Policy { scope } if scope.as_str().starts_with(&prefix));
    classes.filter(|pod| of(&pod.class)).count()
}

fn scope(world: &World) -> &Scope {
    let mut scopes = world.previous.values().flat_map(|body| &body.firewall);
    let of_shop =
        |scope: &&Scope| scope.policy.name == BASELINE && scope.id.as_str().starts_with("shop/");
    scopes.find(of_shop).expect("a scope of the tier")
}

fn rules(world: &World) -> Vec<String> {
    let rules = scope(world).terms.rules.iter();
    rules.map(|rule| rule.name.clone()).collect()
}

#[test]
fn pods_without_a_policy_have_the_rules_in_the_order_of_the_policies_and_go_with_the_last_one() {
    let mut world = shop();
    world.add_pod("kube-system", "dns", "node0", 99);
    administrators(
        &mut world,
        "late",
        20,
        &json!([{"action": "Allow", "to": [{"fqdn": "example.org"}]}]),
    );
    administrators(&mut world, "early", 10, &mail());
    world.compile();
    assert_eq!(under(&world, BASELINE), MANY);
    assert_eq!(rules(&world), ["early/mail", "late/0"]);
    assert_eq!(scope(&world).terms.dns.mode, TermsDnsMode::Filter);
    assert_eq!(world.released("kube-system"), 1, "it is exempt");
    let pod = (
        &"shop".parse().expect("one"),
        &"till-0".parse().expect("one"),
    );
    let told = explain(&world.snapshot(), &world.previous, pod.0, pod.1).expect("the pod");
    let [policy] = &told.policies[..] else {
        panic!("{told:?}");
    };
    assert_eq!(policy.name, BASELINE);
    let remembered = world.memory.clone();
    world.compile();
    assert_eq!(world.memory, remembered, "nothing changes by itself");

    world.cluster_policies.remove("late");
    world.compile();
    assert_eq!(rules(&world), ["early/mail"]);
    assert_eq!(scope(&world).terms.dns.mode, TermsDnsMode::Forward);

    world.cluster_policies.clear();
    let compilation = world.compile();
    assert_eq!(world.released("shop"), 0, "so many wait for a person");
    let held: Vec<_> = compilation
        .held
        .iter()
        .filter(|one| one.subject.to_string().contains("shop"))
        .cloned()
        .collect();
    assert_eq!(held.len(), 1, "{:?}", compilation.held);
    assert_eq!(rules(&world), ["early/mail"], "the last ones stay in force");
    world.approve(held.iter());
    world.compile();
    assert_eq!(world.released("shop"), MANY);
}

#[test]
fn what_a_policy_or_a_label_held_is_let_go_to_the_tier_as_it_would_be_released() {
    for hold in [tenant as fn(&mut World), deny] {
        let mut world = shop();
        administrators(&mut world, "company", 0, &mail());
        hold(&mut world);
        world.compile();
        assert_eq!(
            under(&world, BASELINE),
            0,
            "the tier has no pod of another one"
        );

        world.policies.clear();
        labels(&mut world).remove(DENY);
        let held = world.compile().held;
        assert_eq!(under(&world, BASELINE), 0, "so many wait for a person");
        assert_eq!(world.released("shop"), 0);
        world.approve(held.iter());
        world.compile();
        assert_eq!(under(&world, BASELINE), MANY);
    }
}

#[test]
fn a_policy_that_selects_a_pod_or_a_label_that_denies_takes_it_from_the_tier_at_once() {
    let mut world = shop();
    administrators(&mut world, "company", 0, &mail());
    world.compile();
    tenant(&mut world);
    let compilation = world.compile();
    assert_eq!(under(&world, "all"), MANY);
    let verdicts = compilation.verdicts.iter();
    let of_tenant: Vec<_> = verdicts
        .filter(|one| one.kind == "EgressPolicy" && one.name == "all")
        .collect();
    assert!(
        !format!("{of_tenant:?}").contains(BASELINE),
        "the tier is no other policy"
    );
    assert!(
        !compilation.verdicts.iter().any(|one| one.name == BASELINE),
        "it is no object"
    );

    let mut world = shop();
    administrators(&mut world, "company", 0, &mail());
    world.compile();
    deny(&mut world);
    world.compile();
    assert_eq!((under(&world, BASELINE), world.released("shop")), (0, 0));
}

#[test]
fn rules_stay_while_their_definition_goes_and_when_an_update_is_refused() {
    let mut world = shop();
    administrators(&mut world, "company", 0, &mail());
    world.compile();
    world.cluster_policies.clear();
    world.admin_definition = Definitions::Terminating;
    let held = world.compile().held;
    assert!(
        held.iter()
            .all(|one| one.cause != ApprovalCause::PolicyDeleted),
        "{held:?}"
    );
    assert_eq!(rules(&world), ["company/mail"], "nobody decided about them");
    world.admin_definition = Definitions::Serving;

    let refused = json!([{"action": "Pass", "to": [{"cidr": "0.0.0.0/0"}]}]);
    administrators(&mut world, "company", 0, &refused);
    administrators(&mut world, "wrong", 1, &refused);
    world.compile();
    assert_eq!(rules(&world), ["company/mail"]);

    let mut world = shop();
    administrators(&mut world, "wrong", 0, &refused);
    world.compile();
    assert_eq!(
        world.released("shop"),
        MANY,
        "what was never in force takes nothing from them"
    );
}

#[test]
fn pods_of_the_tier_widen_nobodys_gate() {
    let mut world = shop();
    tenant(&mut world);
    administrators(&mut world, "company", 0, &mail());
    let one = world.pods["shop/till-0"].clone();
    for number in 0..1000 {
        let mut pod = one.clone();
        pod.namespace = "office".parse().expect("a namespace");
        pod.name = format!("desk-{number}").parse().expect("a name");
        pod.uid = format!("uid-desk-{number}").parse().expect("a UID");
        let address = format!("10.245.{}.{}", number / 250, number % 250 + 1);
        pod.addresses = [address.parse().expect("an address")].into();
        world.pods.insert(format!("office/desk-{number}"), pod);
    }
    world.add_pod("office", "first", "node0", 200);
    world.compile();
    assert_eq!(under(&world, "all"), MANY);
    let pods = world.previous.values().flat_map(|body| &body.pods);
    let of_tier = pods.filter(|pod| {
        matches!(&pod.class, Class::Policy { scope } if scope.policy() == ("office", BASELINE))
    });
    assert_eq!(of_tier.count(), 1001);
    world.policies.remove("shop/all");
    let held = world.compile().held;
    assert_eq!(under(&world, BASELINE), 0, "{held:?}");
}

#[test]
fn a_namespace_that_had_no_pod_when_an_update_was_refused_has_the_rules_of_before() {
    for gone in [
        (|world: &mut World| {
            let refused = json!([{"action": "Pass", "to": [{"cidr": "0.0.0.0/0"}]}]);
            administrators(world, "company", 0, &refused);
        }) as fn(&mut World),
        |world| {
            world.cluster_policies.clear();
            world.admin_definition = Definitions::Terminating;
        },
    ] {
        let mut world = shop();
        world.add_pod("office", "desk", "node0", 200);
        world.pods.retain(|key, _| !key.starts_with("shop/"));
        administrators(&mut world, "company", 0, &mail());
        world.compile();
        gone(&mut world);
        world.compile();
        world.add_pod("shop", "till", "node0", 1);
        world.compile();
        assert_eq!(under(&world, BASELINE), 1);
        assert_eq!(rules(&world), ["company/mail"]);
        world.compile();
        assert_eq!(rules(&world), ["company/mail"]);
    }
}

#[test]
fn a_lost_exit_of_a_tenant_is_no_fault_of_rules_that_stand_before_it() {
    let mut world = shop();
    tenant(&mut world);
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy", "metadata": {"name": "company"},
        "spec": {"tier": "Admin", "priority": 0, "subject": {"namespaces": {}}, "rules": mail()},
    });
    world.apply_cluster_policy(serde_json::from_value(object).expect("a ClusterEgressPolicy"));
    world.exits.clear();
    world.pods.retain(|key, _| key.starts_with("shop/"));
    world.compile();
    let compilation = world.compile();
    let mut verdicts = compilation.verdicts.iter();
    let company = verdicts.find(|one| one.name == "company").expect("one");
    assert_eq!(fully_enforced(&company.conditions), Reason::Enforced);
}

fn fully_enforced(conditions: &[Finding]) -> Reason {
    let mut conditions = conditions.iter();
    let found = conditions.find(|one| one.kind == ConditionType::FullyEnforced);
    found.expect("a condition").reason
}

/// `company` for all namespaces and `cloud` for those of team cloud are in force, and an update of `cloud` is refused.
fn cloud_refused() -> World {
    let mut world = shop();
    world.add_pod("cloud", "first", "node0", 200);
    label(&mut world, "cloud");
    administrators(&mut world, "company", 5, &mail());
    let subject = json!({"matchLabels": {"team": "cloud"}});
    let metadata =
        json!([{"name": "metadata", "action": "Allow", "to": [{"cidr": "169.254.169.254/32"}]}]);
    of_subject(&mut world, "cloud", &subject, &metadata);
    world.compile();
    let refused = json!([{"action": "Pass", "to": [{"cidr": "0.0.0.0/0"}]}]);
    of_subject(&mut world, "cloud", &subject, &refused);
    world
}

fn of_subject(world: &mut World, name: &str, namespaces: &Value, rules: &Value) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy", "metadata": {"name": name},
        "spec": {"tier": "Baseline", "priority": 0, "subject": {"namespaces": namespaces}, "rules": rules},
    });
    world.apply_cluster_policy(serde_json::from_value(object).expect("a ClusterEgressPolicy"));
}

fn label(world: &mut World, namespace: &str) {
    let found = world.namespaces.get_mut(namespace).expect("a namespace");
    found.labels.insert("team".to_owned(), "cloud".to_owned());
}

#[test]
fn a_refused_update_opens_nothing_in_a_namespace_that_is_no_subject() {
    let mut world = cloud_refused();
    world.pods.retain(|key, _| !key.starts_with("shop/"));
    world.compile();
    world.add_pod("shop", "till", "node0", 1);
    world.compile();
    assert_eq!(rules(&world), ["company/mail"]);
    assert_eq!(scope(&world).terms.special_use_exceptions, []);
}

#[test]
fn a_namespace_that_joins_the_subject_of_a_refused_policy_has_its_last_good_rules() {
    let mut world = cloud_refused();
    label(&mut world, "shop");
    world.compile();
    assert_eq!(rules(&world), ["cloud/metadata", "company/mail"]);
}

#[test]
fn a_policy_that_was_never_in_force_is_not_called_enforced() {
    let mut world = shop();
    let refused = json!([{"action": "Pass", "to": [{"cidr": "0.0.0.0/0"}]}]);
    administrators(&mut world, "company", 0, &mail());
    administrators(&mut world, "wrong", 1, &refused);
    world.compile();
    let verdicts = world.compile().verdicts;
    let reason = |name: &str| {
        let found = verdicts.iter().find(|one| one.name == name);
        fully_enforced(&found.expect("a verdict").conditions)
    };
    assert_eq!(
        (reason("company"), reason("wrong")),
        (Reason::Enforced, Reason::Invalid)
    );
}

#[test]
fn a_refused_update_to_the_other_tier_denies_nothing_more() {
    let mut world = shop();
    administrators(&mut world, "company", 0, &mail());
    world.compile();
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy", "metadata": {"name": "company"},
        "spec": {"tier": "Admin", "priority": 0, "subject": {"namespaces": {}}, "rules": [{"action": "Deny", "to": [{"fqdn": "example.org"}]}]},
    });
    world.apply_cluster_policy(serde_json::from_value(object).expect("a ClusterEgressPolicy"));
    world.compile();
    assert_eq!(rules(&world), ["company/mail"]);
    assert!(scope(&world).terms.admin.is_empty());
}
