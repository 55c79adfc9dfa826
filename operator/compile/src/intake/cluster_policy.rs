use postern_crds::ClusterEgressPolicy;
use postern_crds::cluster_egress_policy::{ClusterRule, ClusterRuleAction};
use postern_crds::conditions::Reason;
use postern_crds::honoured;
use postern_intent::PodName;
use postern_intent::body::{AdminAction, AdminRule};

use super::error::{IntakeError, Reader};
use super::exit::prefix;
use super::invalid;
use super::policy::{destinations, ports};
use crate::snapshot::{ParsedSelector, SnapshotClusterPolicy, SpecRefusal};

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

fn rules(object: &ClusterEgressPolicy) -> Result<Vec<AdminRule>, SpecRefusal> {
    let unknown = honoured::not_implemented(object);
    if !unknown.is_empty() {
        return Err(SpecRefusal {
            reason: Reason::NotImplemented,
            message: honoured::message(&unknown),
        });
    }
    let rules = object.spec.rules.iter().enumerate();
    rules
        .map(|(position, written)| rule(position, written))
        .collect()
}

fn rule(position: usize, written: &ClusterRule) -> Result<AdminRule, SpecRefusal> {
    let field = format!("spec.rules[{position}]");
    // The schema refuses it too; a manifest that never met an API server could mean everything by naming nothing.
    if written.to.is_empty() && written.ports.is_empty() {
        return Err(invalid(format!(
            "{field}: name to, ports or both; to: 0.0.0.0/0 and ::/0 mean every destination"
        )));
    }
    let (cidrs, names) = destinations(&field, &written.to)?;
    if !names.is_empty() {
        return Err(invalid(format!("{field}.to: write cidr and no fqdn")));
    }
    let to = cidrs
        .into_iter()
        .map(|cidr| prefix(&format!("{field}.to"), cidr));
    let ports = written.ports.iter().map(|written| ports(&field, written));
    Ok(AdminRule {
        name: written.name.clone().unwrap_or_else(|| position.to_string()),
        action: match written.action {
            ClusterRuleAction::Allow => AdminAction::Allow,
            ClusterRuleAction::Deny => AdminAction::Deny,
            ClusterRuleAction::Pass => AdminAction::Pass,
        },
        to: to.collect::<Result<_, _>>()?,
        ports: ports.collect::<Result<_, _>>()?,
    })
}
