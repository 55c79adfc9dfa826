//! The conditions of a policy of administrators.

use std::collections::BTreeMap;

use postern_crds::cluster_egress_policy::{GovernedPods, NamespaceCounts, Tier};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::body::AdminPolicy;
use postern_intent::{Namespace, NodeName};

use super::progress::{ConcernedNodes, Progress};
use super::{Detail, Verdict};
use crate::assign::PodDecision;
use crate::first_names;
use crate::lower::LoweringContext;
use crate::resolve::NOT_ACCEPTED;
use crate::settled::SettledNode;
use crate::snapshot::{PodNetwork, SnapshotClusterPolicy};

/// What is known of one policy.
#[derive(Default)]
struct GovernedNodes<'a> {
    namespaces: NamespaceCounts,
    pods: GovernedPods,
    nodes: ConcernedNodes<'a>,
}

/// The verdict on one policy.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    policy: &SnapshotClusterPolicy,
) -> Verdict {
    let seen = look(context, settled, policy);
    let mut conditions = vec![accepted(context, policy)];
    if policy.tier == Tier::Admin {
        conditions.extend([programmed(policy, &seen), fully_enforced(&seen)]);
    }
    Verdict {
        kind: "ClusterEgressPolicy",
        namespace: None,
        name: policy.name.clone(),
        generation: Some(policy.generation),
        conditions,
        detail: Detail::ClusterPolicy {
            namespaces: seen.namespaces,
            pods: seen.pods,
            nodes: seen.nodes.counts,
        },
    }
}

fn accepted(context: &LoweringContext<'_>, policy: &SnapshotClusterPolicy) -> Finding {
    let kind = ConditionType::Accepted;
    let Err(refusal) = &policy.rules else {
        let message = match equals(context, policy) {
            others if others.is_empty() => Reason::Accepted.sentence().to_owned(),
            others => format!(
                "{} The same tier and priority have {others}; the name that sorts first is asked first.",
                Reason::Accepted.sentence()
            ),
        };
        return Finding::yes(kind, Reason::Accepted, message);
    };
    let effect = match context.admin.in_force(&policy.name) {
        None => "nothing is in force".to_owned(),
        Some(rules) if !is_denial(rules) => {
            format!("generation {} stays in force", rules.generation)
        }
        Some(_) => {
            "what no other policy of the tier decides before is denied to its pods".to_owned()
        }
    };
    Finding::no(
        kind,
        refusal.reason,
        format!("{}; {effect}", refusal.message),
    )
}

/// Do these rules stand for rules that were refused and never in force?
fn is_denial(policy: &AdminPolicy) -> bool {
    policy.rules.iter().any(|rule| rule.name == NOT_ACCEPTED)
}

/// Names of the policies that the order of the tier tells from this one by the name alone; empty: there are none.
fn equals(context: &LoweringContext<'_>, policy: &SnapshotClusterPolicy) -> String {
    let mut others: Vec<&String> = context
        .index
        .snapshot
        .cluster_policies
        .iter()
        .filter(|other| (other.tier, other.priority) == (policy.tier, policy.priority))
        .map(|other| &other.name)
        .filter(|name| **name != policy.name)
        .collect();
    others.sort();
    first_names(others)
}

fn look<'a>(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&'a NodeName, SettledNode>,
    policy: &SnapshotClusterPolicy,
) -> GovernedNodes<'a> {
    let mut seen = GovernedNodes::default();
    let is_subject = |namespace: &Namespace| {
        let found = context.index.namespaces.get(namespace);
        found.is_some_and(|found| policy.namespaces.matches(&found.labels))
    };
    let namespaces = context.index.namespaces.keys();
    let selected = namespaces.filter(|namespace| is_subject(namespace)).count();
    seen.namespaces.selected = u32::try_from(selected).unwrap_or(u32::MAX);
    for pod in context.index.pods.values().flatten() {
        if is_subject(&pod.namespace) && pod.attachment == PodNetwork::Host {
            seen.pods.unenforceable += 1;
        }
    }
    let assigned = context.assignment.by_node.values().flatten();
    for one in assigned.filter(|one| is_subject(&one.pod.namespace)) {
        seen.pods.selected += 1;
        match &one.decision {
            PodDecision::Policy(_) => seen.pods.governed += 1,
            PodDecision::Refused(_) | PodDecision::Blocked(_) => seen.pods.blocked += 1,
            PodDecision::Released => seen.pods.ungoverned += 1,
        }
    }
    for (node, of_node) in settled {
        let scopes = of_node.document.firewall.iter();
        let mut scopes = scopes.filter(|scope| {
            let mut rules = scope.terms.admin.iter();
            rules.any(|rules| rules.name == policy.name)
        });
        let progress = |scope| Progress::of_scope(context, of_node, node, scope);
        if let Some(first) = scopes.next() {
            let all = scopes.fold(progress(first), |all, scope| all.and(progress(scope)));
            seen.nodes.add(node, all);
        }
    }
    seen
}

fn programmed(policy: &SnapshotClusterPolicy, seen: &GovernedNodes<'_>) -> Finding {
    let kind = ConditionType::Programmed;
    let message = seen.nodes.sentence("nodes");
    if let Err(refusal) = &policy.rules {
        let message = format!(
            "generation {} is not accepted; {message}",
            policy.generation
        );
        return Finding::no(kind, refusal.reason, message);
    }
    if seen.nodes.counts.desired == 0 {
        return Finding::yes(kind, Reason::Unused, Reason::Unused.sentence());
    }
    match seen.nodes.progress() {
        Progress::Programmed => Finding::yes(kind, Reason::Programmed, message),
        Progress::Converging => Finding::no(kind, Reason::Converging, message),
        Progress::Stale => Finding::unknown(kind, Reason::Stale, message),
    }
}

/// The rules are asked for no pod that leaves by the node's own way: the administrator reads it here, and nobody takes an
/// allowance or a denial for more than it is.
fn fully_enforced(seen: &GovernedNodes<'_>) -> Finding {
    let kind = ConditionType::FullyEnforced;
    let pods = &seen.pods;
    if pods.ungoverned > 0 {
        let message = format!(
            "no EgressPolicy selects {} of {} pods, which leave by the node's own way; write one for them, or label their \
             namespaces postern.dev/egress-default: deny",
            pods.ungoverned, pods.selected
        );
        return Finding::no(kind, Reason::Ungoverned, message);
    }
    if pods.unenforceable > 0 {
        let message = format!("{} pods use the host network", pods.unenforceable);
        return Finding::no(kind, Reason::HostNetwork, message);
    }
    match seen.nodes.progress() {
        Progress::Programmed => Finding::yes(kind, Reason::Enforced, Reason::Enforced.sentence()),
        Progress::Converging => {
            Finding::unknown(kind, Reason::Converging, seen.nodes.sentence("nodes"))
        }
        Progress::Stale => {
            let silence = seen.nodes.silence().unwrap_or_default();
            Finding::unknown(kind, Reason::Stale, silence)
        }
    }
}
