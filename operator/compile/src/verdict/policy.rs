//! Verdicts on policies.

use postern_crds::conditions::{ConditionType, Finding, Reason};

use super::seen::Seen;
use super::{Detail, NodeCounts, Verdict, reason};
use crate::assign::PodCounts;
use crate::gate::{Gate, Subject};
use crate::lower::Context;
use crate::resolve::{ExitState, PlannedWay, RulesSource};
use crate::snapshot::Policy;

/// The verdict on one policy.
pub(super) fn verdict(
    context: &Context<'_>,
    gate: &Gate,
    seen: Seen<'_>,
    policy: &Policy,
) -> Verdict {
    let conditions = vec![
        accepted(context, policy),
        resolved(context, policy),
        programmed(gate, policy, &seen),
        ready(&seen),
        fully_enforced(&seen.pods),
    ];
    Verdict {
        kind: "EgressPolicy",
        namespace: Some(policy.key.namespace.to_string()),
        name: policy.key.name.clone(),
        generation: Some(policy.generation),
        conditions,
        detail: Detail::Policy {
            pods: seen.pods,
            nodes: seen.nodes,
        },
    }
}

fn accepted(context: &Context<'_>, policy: &Policy) -> Finding {
    match &policy.terms {
        Ok(_) => Finding::yes(
            ConditionType::Accepted,
            Reason::Accepted,
            Reason::Accepted.sentence(),
        ),
        Err(refusal) => {
            let source = context
                .plans
                .get(&policy.uid)
                .map(|plan| (plan.rules.source, plan.policy.generation));
            let effect = match source {
                Some((RulesSource::LastGood, generation)) => {
                    format!("generation {generation} stays in force")
                }
                _ => "the pods that it selects are blocked".to_owned(),
            };
            let message = format!("{}; {effect}", refusal.message);
            Finding::no(ConditionType::Accepted, refusal.reason, message)
        }
    }
}

fn resolved(context: &Context<'_>, policy: &Policy) -> Finding {
    let kind = ConditionType::ResolvedRefs;
    match context.plans.get(&policy.uid).map(|plan| &plan.way) {
        Some(PlannedWay::Exit(exit)) => {
            Finding::yes(kind, Reason::Resolved, format!("leaves by exit {exit}"))
        }
        _ => unresolved(context, policy).unwrap_or_else(|| {
            Finding::unknown(kind, Reason::Pending, "the policy is not accepted")
        }),
    }
}

/// Why none of the policy's exits can be used: what is wrong with each.
fn unresolved(context: &Context<'_>, policy: &Policy) -> Option<Finding> {
    let exits = &policy.terms.as_ref().ok()?.exits;
    let problems: Vec<(Reason, String)> = exits
        .iter()
        .map(|name| match context.exits.get(name) {
            None => (Reason::RefNotFound, format!("there is no ExitNode {name}")),
            Some(ExitState::NoGateway) => (
                Reason::NoEligibleNode,
                format!("no node matches the gateway selector of {name}"),
            ),
            Some(ExitState::Refused(_)) => (
                Reason::RefNotAccepted,
                format!("ExitNode {name} is not accepted"),
            ),
            Some(ExitState::NoNumber(reason)) => {
                (*reason, format!("{name}: {}", reason.sentence()))
            }
            Some(ExitState::Active(_)) => (
                Reason::NamespaceNotAllowed,
                format!("{name} does not allow policies of this namespace"),
            ),
        })
        .collect();
    let reason = problems.first().map(|(reason, _)| *reason)?;
    let message: Vec<String> = problems.into_iter().map(|(_, message)| message).collect();
    Some(Finding::no(
        ConditionType::ResolvedRefs,
        reason,
        message.join("; "),
    ))
}

fn programmed(gate: &Gate, policy: &Policy, seen: &Seen<'_>) -> Finding {
    let kind = ConditionType::Programmed;
    let own = Subject::Policy(policy.key.to_string());
    if let Some(held) = gate.held.iter().find(|held| held.subject == own) {
        return Finding::no(
            kind,
            Reason::ReleaseHeld,
            format!("{} would release {} pods", held.cause, held.pods),
        );
    }
    let NodeCounts {
        desired,
        programmed,
    } = seen.nodes;
    let message = format!("{programmed} of {desired} nodes");
    if !seen.restored.is_empty() {
        let nodes: Vec<String> = seen.restored.iter().map(ToString::to_string).collect();
        let message = format!(
            "{message}; told nothing until approved: {}",
            nodes.join(", ")
        );
        return Finding::no(kind, Reason::Restored, message);
    }
    match (desired, desired == programmed) {
        (0, _) => idle(kind, &seen.pods),
        (_, true) => Finding::yes(kind, Reason::Programmed, message),
        (_, false) => Finding::no(kind, Reason::Converging, message),
    }
}

fn ready(seen: &Seen<'_>) -> Finding {
    let kind = ConditionType::Ready;
    match seen.blocked {
        Some(blocked) => Finding::no(
            kind,
            reason(blocked),
            format!("{} pods are to be blocked", seen.to_block),
        ),
        None if seen.nodes.desired == 0 => idle(kind, &seen.pods),
        None if seen.nodes.desired == seen.nodes.programmed => {
            Finding::yes(kind, Reason::Ready, format!("{} pods", seen.pods.enforced))
        }
        None => Finding::no(kind, Reason::Converging, Reason::Converging.sentence()),
    }
}

/// There is nothing to do for it. Where that is because of others or of the pods themselves, it says so: a policy that
/// selects pods must not be called unused.
fn idle(kind: ConditionType, pods: &PodCounts) -> Finding {
    match (pods.unenforceable, pods.overridden) {
        (0, 0) => Finding::yes(kind, Reason::Unused, Reason::Unused.sentence()),
        (0, count) => Finding::yes(
            kind,
            Reason::Overridden,
            format!("another policy decides about its pods, {count} in all"),
        ),
        (count, _) => Finding::yes(
            kind,
            Reason::HostNetwork,
            format!("nothing to do for pods of the host network, {count} in all"),
        ),
    }
}

fn fully_enforced(pods: &PodCounts) -> Finding {
    let kind = ConditionType::FullyEnforced;
    let said = pods.enforced + pods.blocked;
    match pods.unenforceable {
        0 if said >= pods.selected => {
            Finding::yes(kind, Reason::Enforced, Reason::Enforced.sentence())
        }
        // Nothing is claimed before a node has read it back.
        0 => Finding::unknown(
            kind,
            Reason::Converging,
            format!(
                "{said} of {} pods are on nodes that report it",
                pods.selected
            ),
        ),
        count => Finding::no(
            kind,
            Reason::HostNetwork,
            format!("{count} pods use the host network"),
        ),
    }
}
