use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::NodeName;
use postern_intent::body::TermsEnforcement;

use super::exceptions::unoffered;
use super::policy_reading::{PolicyReading, refused_names};
use super::{ClientQuorum, Detail, PathFaults, Progress, Verdict, exit, silent};
use crate::assign::PolicyPodCounts;
use crate::first_names;
use crate::gate::{ApprovalSubject, ReleaseGate};
use crate::lower::LoweringContext;
use crate::resolve::{ExitState, PlannedPath, TermsSource, denied_upstreams};
use crate::settled::SettledNode;
use crate::snapshot::SnapshotPolicy;

/// The verdict on one policy.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    gate: &ReleaseGate,
    settled: &BTreeMap<&NodeName, SettledNode>,
    seen: PolicyReading<'_>,
    policy: &SnapshotPolicy,
) -> Verdict {
    let conditions = vec![
        accepted(context, policy),
        resolved(context, policy),
        programmed(context, gate, policy, &seen),
        ready(context, settled, policy, &seen),
        fully_enforced(context, policy, &seen),
    ];
    Verdict {
        kind: "EgressPolicy",
        namespace: Some(policy.key.namespace.to_string()),
        name: policy.key.name.clone(),
        generation: Some(policy.generation),
        conditions,
        detail: Detail::Policy {
            exit: context
                .plans
                .get(&policy.uid)
                .and_then(|plan| plan.way.exit().cloned()),
            pods: counted(seen.pods, enforcement(context, policy)),
            nodes: seen.nodes.counts,
        },
    }
}

/// The enforcement that is in force of the policy.
fn enforcement(context: &LoweringContext<'_>, policy: &SnapshotPolicy) -> TermsEnforcement {
    let plan = context.plans.get(&policy.uid);
    plan.map(|plan| plan.terms.enforcement).unwrap_or_default()
}

/// No pod of a policy that only observes is called enforced.
fn counted(mut pods: PolicyPodCounts, enforcement: TermsEnforcement) -> PolicyPodCounts {
    if enforcement == TermsEnforcement::Observe {
        pods.observed = std::mem::take(&mut pods.enforced);
    }
    pods
}

fn accepted(context: &LoweringContext<'_>, policy: &SnapshotPolicy) -> Finding {
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
                .map(|plan| (plan.source, plan.policy.generation));
            let effect = match source {
                Some((TermsSource::LastGood, generation)) => {
                    format!("generation {generation} stays in force")
                }
                _ => "the pods that it selects are blocked".to_owned(),
            };
            let message = format!("{}; {effect}", refusal.message);
            Finding::no(ConditionType::Accepted, refusal.reason, message)
        }
    }
}

fn resolved(context: &LoweringContext<'_>, policy: &SnapshotPolicy) -> Finding {
    let kind = ConditionType::ResolvedRefs;
    match context.plans.get(&policy.uid).map(|plan| &plan.way) {
        Some(PlannedPath::Exit(exit)) => {
            Finding::yes(kind, Reason::Resolved, format!("leaves by exit {exit}"))
        }
        Some(PlannedPath::NodeUplink) => {
            let message = "leaves by the uplink of each pod's node";
            Finding::yes(kind, Reason::Resolved, message)
        }
        _ => unresolved(context, policy).unwrap_or_else(|| {
            Finding::unknown(kind, Reason::Pending, "the policy is not accepted")
        }),
    }
}

/// Why none of the policy's exits can be used: what is wrong with each.
fn unresolved(context: &LoweringContext<'_>, policy: &SnapshotPolicy) -> Option<Finding> {
    let exits = policy.terms.as_ref().ok()?.route.exits();
    let problems: Vec<(Reason, String)> = exits
        .iter()
        .map(|name| match context.exits.get(name) {
            None => (Reason::RefNotFound, format!("there is no ExitNode {name}")),
            Some(ExitState::NoGateway) => (
                Reason::NoEligibleNode,
                format!("no node matches the gateway selector of {name}"),
            ),
            Some(ExitState::Off) => (
                Reason::SwitchedOff,
                format!("a person took {name} out of use"),
            ),
            Some(ExitState::Refused(_)) => (
                Reason::RefNotAccepted,
                format!("ExitNode {name} is not accepted"),
            ),
            Some(ExitState::NoSession(lack)) => {
                let (reason, message) = exit::session_fault(lack);
                (reason, format!("{name}: {message}"))
            }
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

/// A generation that is not accepted while an earlier one stays in force: no condition may say of the new one that it is
/// programmed or ready.
fn not_in_force(
    context: &LoweringContext<'_>,
    policy: &SnapshotPolicy,
) -> Option<(Reason, String)> {
    let refusal = policy.terms.as_ref().err()?;
    let plan = context.plans.get(&policy.uid)?;
    (plan.source == TermsSource::LastGood).then(|| {
        let message = format!(
            "generation {} is not accepted, and generation {} stays in force",
            policy.generation, plan.policy.generation
        );
        (refusal.reason, message)
    })
}

fn programmed(
    context: &LoweringContext<'_>,
    gate: &ReleaseGate,
    policy: &SnapshotPolicy,
    seen: &PolicyReading<'_>,
) -> Finding {
    let kind = ConditionType::Programmed;
    let own = ApprovalSubject::Policy(policy.key.to_string());
    if let Some(held) = gate.held.iter().find(|held| held.subject == own) {
        return Finding::no(
            kind,
            Reason::ReleaseHeld,
            format!("{} would release {} pods", held.cause, held.pods),
        );
    }
    let message = seen.nodes.sentence("nodes");
    if let Some(refused) = not_in_force(context, policy) {
        return Finding::no(kind, refused.0, format!("{}; {message}", refused.1));
    }
    if !seen.restored.is_empty() {
        let nodes: Vec<String> = seen.restored.iter().map(ToString::to_string).collect();
        let message = format!(
            "{message}; gets nothing new until approved: {}",
            nodes.join(", ")
        );
        return Finding::no(kind, Reason::Restored, message);
    }
    if seen.nodes.counts.desired == 0 {
        return idle(kind, &seen.pods);
    }
    match seen.nodes.progress() {
        Progress::Programmed if !seen.uncut.is_empty() => uncut(kind, seen),
        Progress::Programmed => Finding::yes(kind, Reason::Programmed, message),
        Progress::Converging => Finding::no(kind, Reason::Converging, message),
        Progress::Stale => Finding::unknown(kind, Reason::Stale, message),
    }
}

fn ready(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    policy: &SnapshotPolicy,
    seen: &PolicyReading<'_>,
) -> Finding {
    let kind = ConditionType::Ready;
    if seen.bypassed > 0 {
        return Finding::no(kind, Reason::DataplaneBypassed, bypass(seen));
    }
    if !seen.opened.is_empty() {
        return Finding::no(kind, Reason::FailedOpen, opening(seen));
    }
    if let Some(blocked) = seen.blocked {
        let message = format!("{} pods are to be blocked", seen.to_block);
        let message = if seen.blocking.is_empty() {
            message
        } else {
            format!(
                "{message}; nodes that block them: {}",
                first_names(&seen.blocking)
            )
        };
        return Finding::no(kind, blocked, message);
    }
    if let Some((reason, message)) = not_in_force(context, policy) {
        return Finding::no(kind, reason, message);
    }
    if seen.nodes.counts.desired == 0 {
        return idle(kind, &seen.pods);
    }
    match seen.nodes.progress() {
        Progress::Programmed => leaving(context, settled, policy, seen),
        Progress::Converging => {
            Finding::no(kind, Reason::Converging, Reason::Converging.sentence())
        }
        Progress::Stale => {
            let silence = seen.nodes.silence();
            let message = silence.unwrap_or_else(|| Reason::Stale.sentence().to_owned());
            Finding::unknown(kind, Reason::Stale, message)
        }
    }
}

/// The nodes of its pods carry it: by which exit and from which addresses the pods leave, unless nothing is known of the
/// gateway. One that takes a new client up continues with the others, so that it need not carry its newest document.
fn leaving(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    policy: &SnapshotPolicy,
    seen: &PolicyReading<'_>,
) -> Finding {
    let kind = ConditionType::Ready;
    let (reason, counted) = match enforcement(context, policy) {
        TermsEnforcement::Enforce => (Reason::Ready, ""),
        TermsEnforcement::Observe => (
            Reason::Observing,
            ", also where its rules refuse, which is only counted,",
        ),
    };
    let pods = match seen.pods.enforced {
        1 => format!("1 pod leaves{counted}"),
        more => format!("{more} pods leave{counted}"),
    };
    let way = context.plans.get(&policy.uid).map(|plan| &plan.way);
    let name = match way {
        Some(PlannedPath::Exit(name)) => name,
        Some(PlannedPath::NodeUplink) => {
            if let Some(silent) = silence(seen) {
                return silent;
            }
            let mut parts = vec![format!("{pods} by the uplink of the node")];
            parts.extend(refused_names(&seen.without_resolver));
            parts.extend(denied_resolvers(context, policy));
            parts.extend(seen.silent_resolvers());
            return Finding::yes(kind, reason, parts.join("; "));
        }
        Some(PlannedPath::Blocked(_)) | None => return Finding::yes(kind, reason, pods),
    };
    let Some(ExitState::Active(active)) = context.exits.get(name) else {
        return Finding::yes(kind, reason, format!("{pods} by exit {name}"));
    };
    let gateway = active.gateway;
    match exit::gateway_progress(context, settled, gateway, name) {
        Progress::Programmed => {}
        Progress::Stale => {
            let message = format!("{}; it is the gateway of exit {name}", silent(gateway));
            return Finding::unknown(kind, Reason::Stale, message);
        }
        Progress::Converging => {
            let message = format!("{gateway}, the gateway of exit {name}, does not carry it yet");
            return Finding::no(kind, Reason::Converging, message);
        }
    }
    let faults = PathFaults::of(context, name, active, seen.hosts.iter().copied());
    if let Some((reason, message)) = faults.reason(active, ClientQuorum::Single) {
        return Finding::no(kind, reason, format!("exit {name}: {message}"));
    }
    if let Some(silent) = silence(seen) {
        return silent;
    }
    let (_, from) = exit::sources(active);
    let mut parts = vec![format!("{pods} by exit {name} {from}")];
    parts.extend(faults.absent());
    // Pods that use addresses only are unaffected, so this is in the message and `Ready` stays true.
    parts.extend(refused_names(&seen.without_resolver));
    parts.extend(denied_resolvers(context, policy));
    parts.extend(seen.silent_resolvers());
    let exceptions = context.plans.get(&policy.uid);
    let exceptions = exceptions.map_or(&[][..], |plan| &plan.terms.special_use_exceptions);
    let missing = unoffered(exceptions, active.offer.routes);
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        parts.push(format!(
            "exit {name} offers no route to {}, which specialUse.exceptions names, and refuses packets to it; name it in \
             the exit's routes",
            missing.join(", ")
        ));
    }
    Finding::yes(kind, reason, parts.join("; "))
}

/// `Ready=False` where no resolver of the policy answers a node.
fn silence(seen: &PolicyReading<'_>) -> Option<Finding> {
    let reason = Reason::ResolverSilent;
    let nodes = first_names(&seen.unanswered);
    let mut parts = vec![format!("{} Nodes: {nodes}", reason.sentence())];
    parts.extend(seen.silent_resolvers());
    let is_silent = !seen.unanswered.is_empty();
    is_silent.then(|| Finding::no(ConditionType::Ready, reason, parts.join("; ")))
}

/// What the policy names as a resolver and an administrator denies.
fn denied_resolvers(context: &LoweringContext<'_>, policy: &SnapshotPolicy) -> Option<String> {
    let plan = context.plans.get(&policy.uid)?;
    let setting = &context.index.snapshot.settings.dns_upstreams;
    let admin = context.admin.of(&policy.key.namespace);
    let denied = denied_upstreams(setting, admin, &plan.terms);
    (!denied.is_empty()).then(|| {
        format!(
            "a ClusterEgressPolicy denies {}, which dns.upstreams names, and the forwarder does not ask it; where none is left, it asks those of the operator's setting or of the node",
            first_names(&denied)
        )
    })
}

fn bypass(seen: &PolicyReading<'_>) -> String {
    format!(
        "the guard does not see the packets of {} pods, on {}; see the node's report",
        seen.bypassed,
        first_names(&seen.bypassing)
    )
}

fn opening(seen: &PolicyReading<'_>) -> String {
    format!(
        "the exit is lost for longer than failOpenAfter, and pods leave by the uplink of {}",
        first_names(&seen.opened)
    )
}

fn uncut(kind: ConditionType, seen: &PolicyReading<'_>) -> Finding {
    let reason = Reason::FlowsNotCut;
    let nodes = first_names(&seen.uncut);
    Finding::no(
        kind,
        reason,
        format!("{} Nodes: {nodes}.", reason.sentence()),
    )
}

/// No node has anything to do for it. Where that is because of others or of the pods themselves, it says so and claims
/// nothing: a policy that selects pods and enforces none of them is neither programmed nor ready.
fn idle(kind: ConditionType, pods: &PolicyPodCounts) -> Finding {
    match (pods.unenforceable, pods.overridden) {
        (0, 0) => Finding::yes(kind, Reason::Unused, Reason::Unused.sentence()),
        (0, count) => Finding::no(
            kind,
            Reason::Overridden,
            format!("another policy decides about its pods, {count} in all"),
        ),
        (count, _) => Finding::no(
            kind,
            Reason::HostNetwork,
            format!(
                "the pods that it selects use the host network and leave by the node's uplink, {count} in all; run them \
                 without hostNetwork, or label the namespace postern.dev/egress-default: deny, which refuses such pods"
            ),
        ),
    }
}

fn fully_enforced(
    context: &LoweringContext<'_>,
    policy: &SnapshotPolicy,
    seen: &PolicyReading<'_>,
) -> Finding {
    let kind = ConditionType::FullyEnforced;
    let pods = &seen.pods;
    let said = pods.enforced + pods.blocked;
    if seen.bypassed > 0 {
        return Finding::no(kind, Reason::DataplaneBypassed, bypass(seen));
    }
    if !seen.opened.is_empty() {
        return Finding::no(kind, Reason::FailedOpen, opening(seen));
    }
    if pods.overridden > 0 {
        let message = format!(
            "{} pods that it selects are decided by {}",
            pods.overridden,
            context.assignment.overriders(&policy.uid)
        );
        return Finding::no(kind, Reason::Overridden, message);
    }
    let overridden = context.assignment.overridden(&policy.uid);
    match pods.unenforceable {
        0 if said >= pods.selected => match seen.unbound {
            Some(reason) => Finding::no(
                kind,
                reason,
                format!("sources are not bound on {}", first_names(&seen.unbinding)),
            ),
            None if !seen.uncut.is_empty() => uncut(kind, seen),
            None if enforcement(context, policy) == TermsEnforcement::Observe => Finding::no(
                kind,
                Reason::Observing,
                format!(
                    "{} Write enforcement: Enforce to refuse it.",
                    Reason::Observing.sentence()
                ),
            ),
            None if overridden.is_empty() => {
                Finding::yes(kind, Reason::Enforced, Reason::Enforced.sentence())
            }
            None => Finding::yes(
                kind,
                Reason::Enforced,
                format!(
                    "{} It also decides about pods that other policies select: {overridden}.",
                    Reason::Enforced.sentence()
                ),
            ),
        },
        // What a node said long ago is not claimed now.
        0 if seen.nodes.counts.stale > 0 => {
            let silence = seen.nodes.silence().unwrap_or_default();
            Finding::unknown(kind, Reason::Stale, silence)
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
