//! Records of decisions: in front of a rule that decides, one with the same matches that tells the agent of the packet. They decide
//! nothing: without them the ruleset is what it is without `audit`.
//!
//! What is over a limit is counted and not recorded, because to look at a limit is to use it up.

use std::collections::BTreeMap;

use postern_intent::body::{AdminPolicy, AdminRule, PolicyRef, Scope, TermsAudit};

use super::context::{Chains, FirewallContext};
use super::names::{
    self, DENIED, NOT_RECORDED, OBSERVED, OTHER_RESOLVER, RECORDED, admin_private_chain,
    admin_public_chain, denied, public_chain, way_chain,
};
use crate::desired::PacketLog;
use crate::ruleset::rule::{alone, first_of_flow, jump};
use crate::ruleset::{FirewallRule, MatchField, RuleMeaning, Target};

/// What a record is about, by the name under which the kernel tells it.
pub type RecordPoints = BTreeMap<String, RecordPoint>;

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPoint {
    pub policy: PolicyRef,
    pub stage: RecordStage,
    pub ground: RecordGround,
}

/// What the kernel does with the packet at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStage {
    /// The first packet of a connection goes on to the way out, which may still refuse it.
    Chosen,
    /// The first packet of a connection leaves.
    Left,
    Refused,
    /// The policy only observes.
    WouldRefuse,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordGround {
    /// The rule of this name.
    Rule(String),
    /// A rule of an administrator: the name of the ClusterEgressPolicy, and that of the rule.
    AdminRule(String, String),
    DefaultAction,
    /// A special-use destination.
    SpecialUse,
    /// A private destination.
    Private,
    /// Another way to resolve names than the forwarder.
    OtherResolver,
    /// The intent has run out.
    Lease,
    /// The way out is not there, or is not the one that the packet takes.
    Way,
    /// The scope has no way out.
    Blocked,
    /// It leaves by a rule that was not told, as where there were too many packets for it.
    Unknown,
}

impl RecordGround {
    /// The rule's name, where a rule decided.
    #[must_use]
    pub fn rule(&self) -> Option<String> {
        match self {
            Self::Rule(name) => Some(name.clone()),
            Self::AdminRule(policy, rule) => Some(format!("{policy}/{rule}")),
            _ => None,
        }
    }

    /// As records name it; a rule by its own name, beside this.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rule(_) => "Rule",
            Self::AdminRule(..) => "AdminRule",
            Self::DefaultAction => "DefaultAction",
            Self::SpecialUse => "SpecialUse",
            Self::Private => "PrivateRange",
            Self::OtherResolver => "OtherResolver",
            Self::Lease => "IntentExpired",
            Self::Way => "WayOut",
            Self::Blocked => "Blocked",
            Self::Unknown => "Unknown",
        }
    }
}

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
