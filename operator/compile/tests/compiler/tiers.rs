//! The tier `Admin` where what was decided is not known any more.

use postern_compile::snapshot::Definitions;
use postern_intent::body::{AdminAction, BlockedReason, EgressPath};
use serde_json::json;

use super::changes::start;
use super::world::World;

/// A policy of administrators for every namespace, with one rule of this action.
fn administrators(world: &mut World, action: &str) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": {"name": "company"},
        "spec": {
            "tier": "Admin", "priority": 10, "subject": {"namespaces": {}},
            "rules": [{"name": "range", "action": action, "to": [{"cidr": "198.51.100.0/24"}]}],
        },
    });
    let object = serde_json::from_value(object).expect("a ClusterEgressPolicy");
    world.apply_cluster_policy(object);
}

/// A policy of a tenant for all pods of one of the namespaces.
fn policy_for_all(world: &mut World) {
    let pod = world.pods.values().next().expect("a pod");
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": pod.namespace.as_str(), "name": "all"},
        "spec": {
            "podSelector": {}, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "nowhere"}]},
        },
    });
    world.apply_policy(serde_json::from_value(object).expect("an EgressPolicy"));
}

/// The actions that the scopes of all nodes carry.
fn carried(world: &World) -> Vec<AdminAction> {
    let scopes = world.previous.values().flat_map(|body| &body.firewall);
    let policies = scopes.flat_map(|scope| &scope.terms.admin);
    let rules = policies.flat_map(|policy| &policy.rules);
    rules.map(|rule| rule.action).collect()
}

#[test]
fn rules_of_administrators_stay_while_their_definition_goes_and_go_with_their_policy() {
    let mut world = start();
    policy_for_all(&mut world);
    administrators(&mut world, "Deny");
    world.compile();
    let denying = carried(&world);
    assert!(!denying.is_empty() && denying.iter().all(|one| *one == AdminAction::Deny));

    world.cluster_policies.clear();
    world.admin_definition = Definitions::Terminating;
    world.compile();
    assert_eq!(carried(&world), denying, "nobody decided about them");
    administrators(&mut world, "Allow");
    world.compile();
    assert_eq!(carried(&world), denying, "nor does one that is left");

    world.admin_definition = Definitions::Serving;
    world.cluster_policies.clear();
    world.compile();
    assert_eq!(carried(&world), []);
}

/// The policy of administrators with this spec.
fn company(world: &mut World, spec: &serde_json::Value) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": {"name": "company"}, "spec": spec,
    });
    let object = serde_json::from_value(object).expect("a ClusterEgressPolicy");
    world.apply_cluster_policy(object);
}

#[test]
fn a_refused_update_takes_no_rule_from_a_namespace_and_changes_no_order() {
    let mut world = start();
    policy_for_all(&mut world);
    administrators(&mut world, "Deny");
    world.compile();
    let denying = carried(&world);
    assert!(!denying.is_empty());
    let rule = |to| json!([{"name": "range", "action": "Allow", "to": [to]}]);
    let passing = json!([{"action": "Pass", "to": [{"cidr": "198.51.100.0/24"}]}]);
    let name = json!({"fqdn": "example.org"});
    let nowhere = json!({"namespaces": {"matchLabels": {"no": "such"}}});
    for spec in [
        json!({"tier": "Baseline", "priority": 10, "subject": {"namespaces": {}}, "rules": passing}),
        json!({"tier": "Admin", "priority": 10, "subject": nowhere, "rules": rule(&name)}),
        json!({"tier": "Admin", "priority": 900, "subject": {"namespaces": {}}, "rules": rule(&name)}),
    ] {
        company(&mut world, &spec);
        let compilation = world.compile();
        assert_eq!(carried(&world), denying, "{spec}");
        let scopes = world.previous.values().flat_map(|body| &body.firewall);
        let mut policies = scopes.flat_map(|scope| &scope.terms.admin);
        assert!(policies.all(|policy| policy.priority == 10), "{spec}");
        let mut verdicts = compilation.verdicts.iter();
        let verdict = verdicts.find(|one| one.kind == "ClusterEgressPolicy");
        let conditions = &verdict.expect("a verdict").conditions;
        let accepted = conditions
            .iter()
            .find(|one| one.kind.as_str() == "Accepted");
        let message = &accepted.expect("a condition").message;
        assert!(
            message.ends_with("generation 1 stays in force"),
            "{message}"
        );
    }
}

#[test]
fn a_scope_that_was_too_large_says_nothing_of_the_rules_of_its_namespace() {
    let mut world = start();
    policy_for_all(&mut world);
    administrators(&mut world, "Deny");
    world.compile();
    let carrying = carried(&world).len();
    assert!(carrying > 1, "scopes of one namespace");
    let first = world.previous.values_mut().next().expect("a document");
    let scope = first.firewall.first_mut().expect("a scope");
    scope.way = EgressPath::Blocked {
        reason: BlockedReason::TooLarge,
    };
    scope.terms.admin.clear();
    world.cluster_policies.clear();
    world.admin_definition = Definitions::Terminating;
    world.compile();
    assert_eq!(carried(&world).len(), carrying);
}
