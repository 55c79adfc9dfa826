//! Records of decisions. In front of each rule that decides is one with the same matches, which logs the packet to the agent and
//! decides nothing: without these rules the ruleset is the one of a policy without `audit`.
//!
//! Packets over a limit of the policy are counted and not recorded: a second rule with the same limit would count each packet twice.

use postern_intent::body::{AdminPolicy, AdminRule, Scope, TermsAudit};

use super::context::{Chains, FirewallContext};
use super::names::{
    self, DENIED, NOT_RECORDED, OBSERVED, OTHER_RESOLVER, RECORDED, admin_private_chain,
    admin_public_chain, denied, public_chain, way_chain,
};
use super::record_point::{RecordGround, RecordPoint, RecordPoints, RecordStage};
use crate::desired::PacketLog;
use crate::ruleset::rule::{alone, first_of_flow, jump};
use crate::ruleset::{FirewallRule, MatchField, RuleMeaning, Target};

/// Adds a chain of the scope, with records in front of the rules that decide.
pub(super) fn add(
    context: &FirewallContext<'_>,
    scope: &Scope,
    chains: &mut Chains,
    name: String,
    rules: Vec<FirewallRule>,
) {
    let is_recorded =
        !scope.terms.audit.is_none() && context.inputs.facts.packet_log == PacketLog::Read;
    let rules = match is_recorded {
        true => with_records(scope, rules, &mut chains.records),
        false => rules,
    };
    chains.plain(name, rules);
}

fn with_records(
    scope: &Scope,
    rules: Vec<FirewallRule>,
    points: &mut RecordPoints,
) -> Vec<FirewallRule> {
    let with_record = |rule: FirewallRule| {
        let point = point(scope, &rule);
        let record = point.map(|point| record(scope, &rule, point, points));
        record.into_iter().chain([rule])
    };
    rules.into_iter().flat_map(with_record).collect()
}

/// Adds the chains that the records are made in.
pub(super) fn finish(chains: &mut Chains) {
    let names: Vec<String> = chains.records.keys().cloned().collect();
    for name in names {
        let over = FirewallRule::to(Target::Return)
            .counted(NOT_RECORDED)
            .when(alone(MatchField::OverRecords));
        let record = FirewallRule::to(Target::Record(name.clone()));
        chains.plain(name, vec![over, record]);
    }
}

/// Does the rule only record?
pub(crate) fn is_record(rule: &FirewallRule) -> bool {
    matches!(&rule.target, Target::Jump(chain) if chain.starts_with(RECORDED))
}

fn record(
    scope: &Scope,
    rule: &FirewallRule,
    point: RecordPoint,
    points: &mut RecordPoints,
) -> FirewallRule {
    let chain = name(scope, rule, &point);
    let record = FirewallRule {
        matches: rule.matches.clone(),
        ..FirewallRule::to(jump(chain.clone()))
    };
    let record = match point.stage {
        RecordStage::Refused => record,
        RecordStage::Chosen | RecordStage::Left | RecordStage::WouldRefuse => {
            record.when(first_of_flow())
        }
    };
    points.insert(chain, point);
    record
}

fn name(scope: &Scope, rule: &FirewallRule, point: &RecordPoint) -> String {
    // By its place: a rule may have the name that another one without a name gets from its place.
    let mut ground = format!("{:?} {}", point.stage, point.ground.word());
    let rule = match rule.meaning {
        Some(RuleMeaning::PolicyRule(position)) => scope.terms.rules.get(position),
        Some(RuleMeaning::AdminRule(place, position)) => {
            if let Some((policy, rule)) = admin_rule(scope, place, position) {
                // The name has what the rule names.
                ground = format!("{ground} {}", denied(&scope.id, policy, rule));
            }
            None
        }
        _ => None,
    };
    names::recorded(&scope.id, &ground, rule)
}

fn point(scope: &Scope, rule: &FirewallRule) -> Option<RecordPoint> {
    let records_all = scope.terms.audit == TermsAudit::All;
    let (stage, ground) = match &rule.target {
        Target::Goto(chain) if chain == "refuse" => (RecordStage::Refused, ground(scope, rule)?),
        Target::Goto(chain) if chain == "refuse_lease" => {
            (RecordStage::Refused, RecordGround::Lease)
        }
        Target::Goto(chain) if chain.starts_with(DENIED) => {
            (RecordStage::Refused, ground(scope, rule)?)
        }
        Target::Goto(chain) if chain.starts_with(OBSERVED) => {
            (RecordStage::WouldRefuse, ground(scope, rule)?)
        }
        Target::Goto(chain) if records_all && ways(scope).contains(chain) => {
            (RecordStage::Chosen, ground(scope, rule)?)
        }
        Target::Accept if records_all => (RecordStage::Left, RecordGround::Unknown),
        _ => return None,
    };
    Some(RecordPoint {
        policy: scope.policy.clone(),
        stage,
        ground,
    })
}

/// None: what goes on because it is older than the rules.
fn ground(scope: &Scope, rule: &FirewallRule) -> Option<RecordGround> {
    let Some(meaning) = rule.meaning else {
        let is_resolver = rule.counter == Some(OTHER_RESOLVER);
        return is_resolver.then_some(RecordGround::OtherResolver);
    };
    match meaning {
        RuleMeaning::PolicyRule(position) => {
            let rule = scope.terms.rules.get(position)?;
            Some(RecordGround::Rule(rule.name.clone()))
        }
        RuleMeaning::AdminRule(place, position) => {
            let (policy, rule) = admin_rule(scope, place, position)?;
            Some(RecordGround::AdminRule(
                policy.name.to_string(),
                rule.name.clone(),
            ))
        }
        RuleMeaning::DefaultAction => Some(RecordGround::DefaultAction),
        RuleMeaning::SpecialUse => Some(RecordGround::SpecialUse),
        RuleMeaning::Private => Some(RecordGround::Private),
        RuleMeaning::ScopeBlocked => Some(RecordGround::Blocked),
        RuleMeaning::Way => Some(RecordGround::Way),
        _ => None,
    }
}

fn admin_rule(scope: &Scope, place: usize, position: usize) -> Option<(&AdminPolicy, &AdminRule)> {
    let policy = scope.terms.admin.get(place)?;
    Some((policy, policy.rules.get(position)?))
}

/// The chains in which a connection goes on that a rule lets go on.
fn ways(scope: &Scope) -> [String; 4] {
    [
        way_chain(&scope.id),
        public_chain(&scope.id),
        admin_private_chain(&scope.id),
        admin_public_chain(&scope.id),
    ]
}
