//! Policies of administrators on a real API server: what their status says, and that their rules outlive their definition.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster tiers::`, as root; the first run builds Kubernetes.

use postern_e2e::LabError;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{policy, wait_until};
use serde_json::{Value, json};

use crate::plane::{LONG, cluster, condition, get};
use crate::restored::apply_definitions;

const COMPANY: &str = "apiVersion: postern.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: company}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: crawlers}}}
  rules: [{name: never, action: Deny, to: [{cidr: 203.0.113.200/32}]}]
";

/// Waits until the condition of the policy has this status and reason.
fn await_condition(lab: &Lab, kind: &str, wanted: (&str, &str)) -> Value {
    let mut last = Value::Null;
    let found = wait_until(LONG, kind, || {
        last = get(lab, &["cegp", "company"])?;
        let is_it = condition(&last, kind)
            .is_some_and(|one| one["status"] == wanted.0 && one["reason"] == wanted.1);
        Ok(is_it.then_some(()))
    });
    assert!(found.is_ok(), "{kind} {wanted:?}: {last:#}");
    last
}

/// The policies of administrators that the scope of the tenant's policy carries, where it has this generation.
fn carried(lab: &Lab, generation: i64) -> Result<Option<Vec<String>>, LabError> {
    let body = lab.current_body("n1")?;
    let mut scopes = body.firewall.iter();
    let scope = scopes.find(|scope| scope.policy.generation == generation);
    let names = |scope: &postern_intent::body::Scope| {
        let policies = scope.terms.admin.iter();
        policies.map(|policy| policy.name.clone()).collect()
    };
    Ok(scope.map(names))
}

#[test]
fn rules_of_administrators_are_told_in_their_status_and_outlive_their_definition_while_it_is_gone()
{
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    lab.apply_yaml(COMPANY).unwrap();
    await_condition(&lab, "Programmed", ("True", "Programmed"));
    let object = await_condition(&lab, "FullyEnforced", ("True", "Enforced"));
    let status = &object["status"];
    assert_eq!(status["namespaces"]["selected"], 1, "{status}");
    assert_eq!(status["pods"]["governed"], status["pods"]["selected"]);
    assert_eq!(
        status["nodes"],
        json!({"desired": 1, "programmed": 1, "stale": 0})
    );
    assert_eq!(carried(&lab, 1).unwrap().unwrap(), ["company"]);

    lab.kubectl_ok(&["delete", "crd", "clusteregresspolicies.postern.dev"])
        .unwrap();
    lab.apply_yaml(&policy("eu", "priority: 7")).unwrap();
    let after = wait_until(LONG, "a later generation of the tenant's policy", || {
        carried(&lab, 2)
    });
    assert_eq!(
        after.unwrap(),
        ["company"],
        "nobody decided about the rules"
    );

    apply_definitions(&lab).unwrap();
    lab.apply_yaml(&policy("eu", "priority: 8")).unwrap();
    let after = wait_until(LONG, "rules of a policy that is gone", || {
        let found = carried(&lab, 3)?;
        Ok(found.filter(Vec::is_empty))
    });
    after.unwrap();
}
