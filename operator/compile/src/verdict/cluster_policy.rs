//! The conditions of a policy of administrators.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::cluster_egress_policy::{GovernedPods, NamespaceCounts, Tier};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::body::AdminPolicy;
use postern_intent::{Namespace, NodeName, Uid};

use super::policy_reading::{PolicyReading, refused_names};
use super::progress::{ConcernedNodes, Progress};
use super::{Detail, Verdict};
use crate::assign::PodDecision;
use crate::baseline;
use crate::first_names;
use crate::lower::LoweringContext;
use crate::settled::SettledNode;
use crate::snapshot::{PodNetwork, SnapshotClusterPolicy};

/// What is known of all policies, gathered in one pass over pods and scopes.
pub(super) struct TierReadings<'a> {
    namespaces: BTreeMap<&'a Namespace, NamespaceReading<'a>>,
    /// The nodes whose documents carry rules of a policy, by the policy's name.
    carried: BTreeMap<&'a str, BTreeMap<&'a NodeName, Progress>>,
    policies: &'a BTreeMap<Uid, PolicyReading<'a>>,
}

/// Pods of one namespace as each tier counts them, and the policies that decide about them.
#[derive(Default)]
struct NamespaceReading<'a> {
    admin: GovernedPods,
    baseline: GovernedPods,
    policies: BTreeSet<&'a Uid>,
}

/// What is known of one policy.
#[derive(Default)]
struct GovernedNodes<'a> {
    namespaces: NamespaceCounts,
    pods: GovernedPods,
    nodes: ConcernedNodes<'a>,
    /// Pods whose packets pass the guard by, and their nodes.
    bypassed: u32,
    bypassing: BTreeSet<&'a NodeName>,
    /// Nodes that bind no sources of the pods, or owe cuts of flows.
    unbinding: BTreeSet<&'a NodeName>,
    unbound: Option<Reason>,
    uncut: BTreeSet<&'a NodeName>,
    /// Nodes that block pods by themselves, and why the first one does.
    blocking: BTreeSet<&'a NodeName>,
    blocked: Option<Reason>,
    /// Nodes that know no resolver to ask for names outside of the cluster.
    without_resolver: BTreeSet<&'a NodeName>,
}

impl<'a> TierReadings<'a> {
    /// O(pods + scopes and the names of their rules).
    pub(super) fn new(
        context: &'a LoweringContext<'_>,
        settled: &'a BTreeMap<&'a NodeName, SettledNode>,
        policies: &'a BTreeMap<Uid, PolicyReading<'a>>,
    ) -> Self {
        let mut all = Self {
            namespaces: BTreeMap::new(),
            carried: BTreeMap::new(),
            policies,
        };
        for pod in context.index.pods.values().flatten() {
            if pod.attachment == PodNetwork::Host {
                let of_namespace = all.namespaces.entry(&pod.namespace).or_default();
                of_namespace.admin.unenforceable += 1;
                of_namespace.baseline.unenforceable += 1;
            }
        }
        for one in context.assignment.by_node.values().flatten() {
            let of_namespace = all.namespaces.entry(&one.pod.namespace).or_default();
            of_namespace.add(&one.decision);
        }
        for (node, of_node) in settled {
            for scope in &of_node.document.firewall {
                let progress = Progress::of_scope(context, of_node, node, scope);
                let admin = scope.terms.admin.iter().map(|rules| &rules.name[..]);
                for policy in admin.chain(baseline::baseline_policies(scope)) {
                    let nodes = all.carried.entry(policy).or_default();
                    nodes
                        .entry(node)
                        .and_modify(|all| *all = all.and(progress))
                        .or_insert(progress);
                }
            }
        }
        all
    }

    fn of(
        &self,
        context: &LoweringContext<'_>,
        policy: &SnapshotClusterPolicy,
    ) -> GovernedNodes<'a> {
        let mut seen = GovernedNodes::default();
        for namespace in context.index.namespaces.values() {
            let is_subject = match policy.tier {
                Tier::Admin => policy.namespaces.matches(&namespace.labels),
                Tier::Baseline => {
                    baseline::is_subject(&context.index.snapshot.settings, policy, namespace)
                }
            };
            if !is_subject {
                continue;
            }
            seen.namespaces.selected += 1;
            let Some(reading) = self.namespaces.get(&namespace.name) else {
                continue;
            };
            let pods = match policy.tier {
                Tier::Admin => reading.admin,
                Tier::Baseline => reading.baseline,
            };
            seen.add_pods(pods);
            let deciding = reading.policies.iter().copied();
            let deciding =
                deciding.filter(|uid| policy.tier == Tier::Admin || baseline::is_uid(uid));
            for reading in deciding.filter_map(|uid| self.policies.get(uid)) {
                seen.add_faults(reading);
                if policy.tier == Tier::Baseline {
                    seen.add_outage(reading);
                }
            }
        }
        for (node, progress) in self.carried.get(&policy.name[..]).into_iter().flatten() {
            seen.nodes.add(node, *progress);
        }
        seen
    }
}

impl<'a> NamespaceReading<'a> {
    fn add(&mut self, decision: &'a PodDecision) {
        let is_baseline = matches!(decision, PodDecision::Policy(uid) if baseline::is_uid(uid));
        self.admin.selected += 1;
        match decision {
            PodDecision::Policy(uid) => {
                self.admin.governed += 1;
                self.policies.insert(uid);
            }
            PodDecision::Refused(_) | PodDecision::Blocked(_) => self.admin.blocked += 1,
            PodDecision::Released => self.admin.ungoverned += 1,
        }
        match decision {
            PodDecision::Policy(_) if is_baseline => self.baseline.governed += 1,
            // An EgressPolicy decides.
            PodDecision::Policy(_) | PodDecision::Refused(_) => return,
            PodDecision::Blocked(_) => self.baseline.blocked += 1,
            PodDecision::Released => self.baseline.ungoverned += 1,
        }
        self.baseline.selected += 1;
    }
}

impl<'a> GovernedNodes<'a> {
    fn add_pods(&mut self, pods: GovernedPods) {
        let GovernedPods {
            selected,
            governed,
            blocked,
            ungoverned,
            unenforceable,
        } = pods;
        self.pods.selected += selected;
        self.pods.governed += governed;
        self.pods.blocked += blocked;
        self.pods.ungoverned += ungoverned;
        self.pods.unenforceable += unenforceable;
    }

    fn add_faults(&mut self, reading: &PolicyReading<'a>) {
        self.bypassed += reading.bypassed;
        self.bypassing.extend(&reading.bypassing);
        self.unbinding.extend(&reading.unbinding);
        self.unbound = self.unbound.or(reading.unbound);
        self.uncut.extend(&reading.uncut);
    }

    /// Adds the pods that have no way out. Only tier Baseline counts them: a tenant's lost exit is no fault of tier Admin.
    fn add_outage(&mut self, reading: &PolicyReading<'a>) {
        self.blocking.extend(&reading.blocking);
        self.blocked = self.blocked.or(reading.blocked);
        self.without_resolver.extend(&reading.without_resolver);
        // The document blocks them, or their node does by itself.
        let blocked = reading.to_block.min(self.pods.governed);
        self.pods.governed -= blocked;
        self.pods.blocked += blocked;
    }
}

/// The verdict on one policy.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    readings: &TierReadings<'_>,
    policy: &SnapshotClusterPolicy,
) -> Verdict {
    let seen = readings.of(context, policy);
    Verdict {
        kind: "ClusterEgressPolicy",
        namespace: None,
        name: policy.name.clone(),
        generation: Some(policy.generation),
        conditions: vec![
            accepted(context, &seen, policy),
            programmed(policy, &seen),
            fully_enforced(policy, &seen),
        ],
        detail: Detail::ClusterPolicy {
            namespaces: seen.namespaces,
            pods: seen.pods,
            nodes: seen.nodes.counts,
        },
    }
}

fn accepted(
    context: &LoweringContext<'_>,
    seen: &GovernedNodes<'_>,
    policy: &SnapshotClusterPolicy,
) -> Finding {
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
        None if seen.nodes.counts.desired > 0 => {
            "the rules of before stay in force for the namespaces that have them".to_owned()
        }
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
    // No rule that a user writes names neither destinations nor ports.
    let mut rules = policy.rules.iter();
    rules.any(|rule| rule.to.is_empty() && rule.ports.is_empty())
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

/// Whether the rules apply to every pod of the subject. The condition counts pods that leave by the node's own way, to which they do
/// not apply: a reader would take the policy for a promise about them.
fn fully_enforced(policy: &SnapshotClusterPolicy, seen: &GovernedNodes<'_>) -> Finding {
    let kind = ConditionType::FullyEnforced;
    let pods = &seen.pods;
    if let Err(refusal) = &policy.rules
        && seen.nodes.counts.desired == 0
        && pods.selected > 0
    {
        return Finding::no(kind, refusal.reason, "no rule of this policy is in force");
    }
    if pods.ungoverned > 0 {
        let message = format!(
            "no EgressPolicy selects {} of {} pods, which leave by the node's own way; {}",
            pods.ungoverned,
            pods.selected,
            match policy.tier {
                Tier::Admin => {
                    "write one for them, or label their namespaces postern.dev/egress-default: deny"
                }
                Tier::Baseline => "the rules of this policy are not in force for them",
            }
        );
        return Finding::no(kind, Reason::Ungoverned, message);
    }
    if seen.bypassed > 0 {
        let message = format!(
            "the guard does not see the packets of {} pods, on {}; see the node's report",
            seen.bypassed,
            first_names(&seen.bypassing)
        );
        return Finding::no(kind, Reason::DataplaneBypassed, message);
    }
    if let Some(reason) = seen.blocked {
        let mut message = format!("{} pods have no way out", pods.blocked);
        if !seen.blocking.is_empty() {
            message.push_str(&format!(", on {}", first_names(&seen.blocking)));
        }
        return Finding::no(kind, reason, message);
    }
    if let Some(reason) = seen.unbound {
        let message = format!("sources are not bound on {}", first_names(&seen.unbinding));
        return Finding::no(kind, reason, message);
    }
    if !seen.uncut.is_empty() {
        let reason = Reason::FlowsNotCut;
        let nodes = first_names(&seen.uncut);
        return Finding::no(
            kind,
            reason,
            format!("{} Nodes: {nodes}.", reason.sentence()),
        );
    }
    if pods.unenforceable > 0 {
        let message = format!("{} pods use the host network", pods.unenforceable);
        return Finding::no(kind, Reason::HostNetwork, message);
    }
    match seen.nodes.progress() {
        Progress::Programmed => {
            let mut message = Reason::Enforced.sentence().to_owned();
            if let Some(refused) = refused_names(&seen.without_resolver) {
                message = format!("{message} Also, {refused}");
            }
            Finding::yes(kind, Reason::Enforced, message)
        }
        Progress::Converging => {
            Finding::unknown(kind, Reason::Converging, seen.nodes.sentence("nodes"))
        }
        Progress::Stale => {
            let silence = seen.nodes.silence().unwrap_or_default();
            Finding::unknown(kind, Reason::Stale, silence)
        }
    }
}
