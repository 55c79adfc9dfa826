//! Policies: the exit and the rules in force for each that selects something.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_crds::conditions::Reason;
use postern_intent::body::{
    Access, BlockedReason, DnsMode, EstablishedFlows, PolicyRef, Replies, Rule,
};
use postern_intent::{ExitName, Namespace, Prefix, Uid};

use super::exit::{ExitState, Exits, Users};
use crate::index::{Index, LastGood};
use crate::select::{Contender, Contenders};
use crate::snapshot::{AllowedNamespaces, PolicyTerms};

/// The plan of every contender, by the policy's UID.
pub(crate) struct Plans<'a> {
    by_uid: BTreeMap<Uid, Plan<'a>>,
}

/// What becomes of the pods of one policy.
pub(crate) struct Plan<'a> {
    /// The policy as the body names it, in the generation that is in force.
    pub(crate) policy: PolicyRef,
    /// Where its pods leave.
    pub(crate) way: PlannedWay,
    /// What they may do.
    pub(crate) rules: Rules<'a>,
}

/// Where the pods of a policy leave, before any node is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedWay {
    /// By this exit.
    Exit(ExitName),
    /// Not at all.
    Blocked(BlockedReason),
}

/// The rules of a scope, wherever they come from.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) source: RulesSource,
    pub(crate) rules: &'a [Rule],
    pub(crate) default_action: Access,
    pub(crate) replies: Replies,
    pub(crate) lan: Access,
    pub(crate) special_use_exceptions: &'a [Prefix],
    pub(crate) established_flows: EstablishedFlows,
    pub(crate) dns_mode: DnsMode,
    pub(crate) dns_upstreams: &'a [SocketAddr],
}

/// Where rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RulesSource {
    /// The policy as it is now.
    Current,
    /// The published bodies: the policy went, or an update of it is refused.
    LastGood,
    /// Nowhere: the policy was never accepted.
    Nothing,
}

impl<'a> Plans<'a> {
    /// Plans every contender.
    pub(crate) fn new(index: &Index<'a>, contenders: &Contenders<'a>, exits: &Exits<'a>) -> Self {
        let plans = contenders
            .iter()
            .map(|one| (one.uid.clone(), plan(index, exits, one)));
        Self {
            by_uid: plans.collect(),
        }
    }

    /// The plan of a policy.
    pub(crate) fn get(&self, policy: &Uid) -> Option<&Plan<'a>> {
        self.by_uid.get(policy)
    }
}

fn plan<'a>(index: &Index<'a>, exits: &Exits<'a>, one: &Contender<'a>) -> Plan<'a> {
    let accepted = one.policy.and_then(|policy| policy.terms.as_ref().ok());
    let last_good = index.published.last_good(&one.uid);
    let reference = |generation| PolicyRef {
        namespace: one.key.namespace.clone(),
        name: one.key.name.clone(),
        uid: one.uid.clone(),
        generation,
    };
    match (accepted, last_good) {
        (Some(terms), last_good) => Plan {
            policy: reference(one.generation),
            way: first_exit(index, exits, &one.key.namespace, &terms.exits, last_good),
            rules: current(index, terms),
        },
        (None, Some(last_good)) => Plan {
            policy: reference(last_good.scope.policy.generation),
            way: first_exit(
                index,
                exits,
                &one.key.namespace,
                &standing_exits(one, last_good),
                Some(last_good),
            ),
            rules: published(last_good),
        },
        (None, None) => Plan {
            policy: reference(one.generation),
            way: PlannedWay::Blocked(refusal(one)),
            rules: NOTHING,
        },
    }
}

fn refusal(one: &Contender<'_>) -> BlockedReason {
    match one.policy.map(|policy| &policy.terms) {
        Some(Err(refusal)) if refusal.reason == Reason::NotImplemented => {
            BlockedReason::NotImplemented
        }
        Some(_) => BlockedReason::PolicyRefused,
        None => BlockedReason::ReleaseHeld,
    }
}

/// The exits of the accepted policy, else the one that the published scope names.
fn standing_exits(one: &Contender<'_>, last_good: LastGood<'_>) -> Vec<ExitName> {
    if one.exits.is_empty() {
        exit_of(last_good).into_iter().collect()
    } else {
        one.exits.clone()
    }
}

fn exit_of(last_good: LastGood<'_>) -> Option<ExitName> {
    last_good
        .scope
        .id
        .as_str()
        .rsplit_once('@')
        .and_then(|(_, exit)| exit.parse().ok())
}

/// The first exit of the list that may be used and has an active gateway.
fn first_exit(
    index: &Index<'_>,
    exits: &Exits<'_>,
    namespace: &Namespace,
    wanted: &[ExitName],
    last_good: Option<LastGood<'_>>,
) -> PlannedWay {
    let mut why = BlockedReason::NoExit;
    for name in wanted {
        let reason = match exits.get(name) {
            Some(ExitState::Active(active)) => match &active.offer.users {
                Users::Allowed(allowed) if may_use(index, allowed, namespace) => {
                    return PlannedWay::Exit(name.clone());
                }
                Users::Standing if last_good.and_then(exit_of).as_ref() == Some(name) => {
                    return PlannedWay::Exit(name.clone());
                }
                Users::Allowed(_) | Users::Standing => BlockedReason::RefNotResolved,
            },
            Some(ExitState::Refused(refusal)) if refusal.reason == Reason::NotImplemented => {
                BlockedReason::NotImplemented
            }
            Some(ExitState::Refused(_) | ExitState::NoGateway | ExitState::NoNumber(_)) | None => {
                BlockedReason::NoExit
            }
        };
        if why == BlockedReason::NoExit {
            why = reason;
        }
    }
    PlannedWay::Blocked(why)
}

pub(crate) fn may_use(
    index: &Index<'_>,
    allowed: &AllowedNamespaces,
    namespace: &Namespace,
) -> bool {
    match allowed {
        AllowedNamespaces::All => true,
        AllowedNamespaces::Selector(selector) => index
            .namespaces
            .get(namespace)
            .is_some_and(|found| selector.matches(&found.labels)),
    }
}

fn current<'a>(index: &Index<'a>, terms: &'a PolicyTerms) -> Rules<'a> {
    let own = &terms.dns.upstreams;
    Rules {
        source: RulesSource::Current,
        rules: &terms.rules,
        default_action: terms.default_action,
        replies: terms.replies,
        lan: terms.lan,
        special_use_exceptions: &terms.special_use_exceptions,
        established_flows: terms.established_flows,
        dns_mode: terms.dns.mode,
        dns_upstreams: if own.is_empty() {
            &index.snapshot.settings.dns_upstreams
        } else {
            own
        },
    }
}

fn published(last_good: LastGood<'_>) -> Rules<'_> {
    let LastGood { scope, dns } = last_good;
    Rules {
        source: RulesSource::LastGood,
        rules: &scope.rules,
        default_action: scope.default_action,
        replies: scope.replies,
        // The exit's half is asked again when the scope is lowered.
        lan: scope.lan,
        special_use_exceptions: &scope.special_use_exceptions,
        established_flows: scope.established_flows,
        dns_mode: dns.map_or(DnsMode::Block, |dns| dns.mode),
        dns_upstreams: dns.map_or(&[], |dns| &dns.upstreams),
    }
}

/// What the pods of a policy may do that was never accepted.
const NOTHING: Rules<'static> = Rules {
    source: RulesSource::Nothing,
    rules: &[],
    default_action: Access::Deny,
    replies: Replies::None,
    lan: Access::Deny,
    special_use_exceptions: &[],
    established_flows: EstablishedFlows::Cut,
    dns_mode: DnsMode::Block,
    dns_upstreams: &[],
};
