use postern_crds::ClusterEgressPolicy;
use postern_crds::cluster_egress_policy::{ClusterRule, ClusterRuleAction, Tier};
use postern_crds::conditions::Reason;
use postern_crds::honoured;
use postern_intent::PodName;
use postern_intent::body::{Access, AdminAction, AdminRule, Rule};

use super::error::{IntakeError, Reader};
use super::exit::prefix;
use super::invalid;
use super::policy::{check_granting, destinations, ports};
use crate::snapshot::{ClusterPolicyRules, ParsedSelector, SnapshotClusterPolicy, SpecRefusal};

/// Takes in a policy of administrators.
///
/// # Errors
/// [`IntakeError`] if it has no usable name. Everything else is a refusal in [`SnapshotClusterPolicy::rules`].
pub fn cluster_policy(object: &ClusterEgressPolicy) -> Result<SnapshotClusterPolicy, IntakeError> {
    let reader = Reader::new("ClusterEgressPolicy", &object.metadata);
    let name: PodName = reader.name()?;
    let spec = &object.spec;
    let namespaces = ParsedSelector::try_from(spec.subject.namespaces.clone());
    let mut rules = rules(object);
    if let Err(error) = &namespaces {
        rules = Err(invalid(format!("spec.subject.namespaces: {error}")));
    }
    Ok(SnapshotClusterPolicy {
        name: name.into(),
        generation: object.metadata.generation.unwrap_or_default(),
        tier: spec.tier,
        priority: spec.priority,
        // What a broken selector means is not known, so it is taken to mean every namespace.
        namespaces: namespaces.unwrap_or_else(|_| ParsedSelector::everything()),
        rules,
    })
}

fn rules(object: &ClusterEgressPolicy) -> Result<ClusterPolicyRules, SpecRefusal> {
    let unknown = honoured::not_implemented(object);
    if !unknown.is_empty() {
        return Err(SpecRefusal {
            reason: Reason::NotImplemented,
            message: honoured::message(&unknown),
        });
    }
    let rules = object.spec.rules.iter().enumerate();
    let rules: Vec<WrittenRule> = rules
        .map(|(position, written)| rule(position, written))
        .collect::<Result<_, _>>()?;
    match object.spec.tier {
        Tier::Admin => {
            let rules = rules.into_iter().map(admin_rule);
            Ok(ClusterPolicyRules::Admin(rules.collect::<Result<_, _>>()?))
        }
        Tier::Baseline => {
            let rules = rules.into_iter().map(baseline_rule);
            let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
            check_granting(&rules)?;
            Ok(ClusterPolicyRules::Baseline(rules))
        }
    }
}

/// A rule whose action has not been held against its tier.
struct WrittenRule {
    field: String,
    action: ClusterRuleAction,
    /// The rule's destinations and ports, with action Allow.
    named: Rule,
}

fn rule(position: usize, written: &ClusterRule) -> Result<WrittenRule, SpecRefusal> {
    let field = format!("spec.rules[{position}]");
    // The schema refuses it too; a manifest that never met an API server could mean everything by naming nothing.
    if written.to.is_empty() && written.ports.is_empty() {
        return Err(invalid(format!(
            "{field}: name to, ports or both; to: 0.0.0.0/0 and ::/0 mean every destination"
        )));
    }
    let (cidrs, names) = destinations(&field, &written.to)?;
    let to = cidrs
        .into_iter()
        .map(|cidr| prefix(&format!("{field}.to"), cidr));
    let ports = written.ports.iter().map(|written| ports(&field, written));
    let named = Rule {
        name: written.name.clone().unwrap_or_else(|| position.to_string()),
        action: Access::Allow,
        to: to.collect::<Result<_, _>>()?,
        names,
        ports: ports.collect::<Result<_, _>>()?,
    };
    Ok(WrittenRule {
        field,
        action: written.action,
        named,
    })
}

/// The schema refuses a name in this tier too.
fn admin_rule(written: WrittenRule) -> Result<AdminRule, SpecRefusal> {
    let WrittenRule {
        field,
        action,
        named,
    } = written;
    if !named.names.is_empty() {
        return Err(invalid(format!(
            "{field}.to: fqdn is for rules of tier Baseline that allow; write cidr"
        )));
    }
    Ok(AdminRule {
        name: named.name,
        action: match action {
            ClusterRuleAction::Allow => AdminAction::Allow,
            ClusterRuleAction::Deny => AdminAction::Deny,
            ClusterRuleAction::Pass => AdminAction::Pass,
        },
        to: named.to,
        ports: named.ports,
    })
}

/// The schema refuses `Pass` and a denied name too.
fn baseline_rule(written: WrittenRule) -> Result<Rule, SpecRefusal> {
    let WrittenRule {
        field,
        action,
        named,
    } = written;
    let action = match action {
        ClusterRuleAction::Allow => Access::Allow,
        ClusterRuleAction::Deny if named.names.is_empty() => Access::Deny,
        ClusterRuleAction::Deny => {
            return Err(invalid(format!(
                "{field}: a name can only be allowed, because a denied name is still reachable by its address"
            )));
        }
        ClusterRuleAction::Pass => {
            return Err(invalid(format!(
                "{field}.action: nothing is asked after tier Baseline; write Allow or Deny"
            )));
        }
    };
    Ok(Rule { action, ..named })
}
