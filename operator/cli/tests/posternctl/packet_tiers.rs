//! The explanation of a packet names the tier of the rule that decides.

use serde_json::json;

use crate::packet::{lab, said};

const ADMINISTRATORS: &str = "apiVersion: postern.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: company}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  rules:
  - {name: partner, action: Allow, to: [{cidr: 198.51.100.0/25}]}
  - {name: tenants, action: Pass, to: [{cidr: 203.0.113.5/32}]}
  - {name: never, action: Deny, to: [{cidr: 203.0.113.0/24}]}
";

#[test]
fn a_rule_of_administrators_that_decides_is_named_with_its_tier_and_one_that_passes_is_not() {
    let lab = lab();
    lab.write("manifests/administrators.yaml", ADMINISTRATORS);
    let cause = |rule: &str, action: &str| {
        json!({
            "type": "AdminRule", "tier": "Admin", "policy": "company", "rule": rule, "action": action,
        })
    };
    let denied = said(&lab, "both", "203.0.113.9 --port 8080", 3);
    assert_eq!(denied["cause"], cause("never", "Deny"), "{denied}");
    let summary = denied["summary"].as_str().expect("a sentence");
    let words = "rule never of ClusterEgressPolicy company, tier Admin, says Deny";
    assert!(summary.contains(words), "{summary}");
    let allowed = said(&lab, "both", "198.51.100.7 --port 25", 0);
    assert_eq!(
        allowed["nodes"][0]["cause"],
        cause("partner", "Allow"),
        "{allowed}"
    );
    let passed = said(&lab, "both", "203.0.113.5 --port 8080", 0);
    assert_eq!(passed["cause"]["rule"], "web", "{passed}");
    let passed = said(&lab, "both", "203.0.113.5 --port 25", 3);
    assert_eq!(passed["cause"]["type"], "DefaultAction", "{passed}");
}
