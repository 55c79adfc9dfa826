//! Policies of administrators on a real API server: what their status says, and that their rules outlive their definition.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster tiers::`, as root; the first run builds Kubernetes.

use postern_e2e::LabError;
use postern_e2e::lab::{Lab, PodOptions};
use postern_e2e::proof::harness::{policy, wait_until};
use postern_intent::BASELINE;
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

/// For pods of the same namespace that no policy selects.
const DEFAULT: &str = "---
apiVersion: postern.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: default}
spec:
  tier: Baseline
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: crawlers}}}
  rules: [{name: no-mail, action: Deny, ports: [{protocol: TCP, port: 25}]}]
";

/// Waits until the condition of the policy has this status and reason.
fn await_condition(lab: &Lab, policy: &str, kind: &str, wanted: (&str, &str)) -> Value {
    let mut last = Value::Null;
    let found = wait_until(LONG, kind, || {
        last = get(lab, &["cegp", policy])?;
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

/// The rules of the tier `Baseline` that the node's body carries.
fn baseline(lab: &Lab) -> Result<Vec<String>, LabError> {
    let body = lab.current_body("n1")?;
    let scopes = body.firewall.iter();
    let scopes = scopes.filter(|scope| scope.policy.name == BASELINE);
    let rules = scopes.flat_map(|scope| &scope.terms.rules);
    Ok(rules.map(|rule| rule.name.clone()).collect())
}

#[test]
fn rules_of_administrators_are_told_in_their_status_and_outlive_their_definition_while_it_is_gone()
{
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    lab.pod_on("crawlers/free", &PodOptions::on("n1")).unwrap();
    lab.apply_yaml(&format!("{COMPANY}{DEFAULT}")).unwrap();
    await_condition(&lab, "default", "Programmed", ("True", "Programmed"));
    let object = await_condition(&lab, "default", "FullyEnforced", ("True", "Enforced"));
    let pods = &object["status"]["pods"];
    assert_eq!(
        (&pods["selected"], &pods["governed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(baseline(&lab).unwrap(), ["default/no-mail"]);
    await_condition(&lab, "company", "Programmed", ("True", "Programmed"));
    let object = await_condition(&lab, "company", "FullyEnforced", ("True", "Enforced"));
    let status = &object["status"];
    assert_eq!(status["namespaces"]["selected"], 1, "{status}");
    let pods = &status["pods"];
    assert_eq!(
        (&pods["selected"], &pods["governed"]),
        (&json!(2), &json!(2))
    );
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
    assert_eq!(baseline(&lab).unwrap(), ["default/no-mail"]);

    apply_definitions(&lab).unwrap();
    lab.apply_yaml(&policy("eu", "priority: 8")).unwrap();
    let after = wait_until(LONG, "rules of a policy that is gone", || {
        let found = carried(&lab, 3)?;
        let both = found.filter(|policies| policies.is_empty());
        Ok(both.filter(|_| baseline(&lab).is_ok_and(|rules| rules.is_empty())))
    });
    after.unwrap();
}
