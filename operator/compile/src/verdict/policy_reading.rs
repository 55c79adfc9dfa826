//! What the documents in force say of each policy, and what the nodes report of it, gathered in one pass over the nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use postern_crds::conditions::{ConditionStatus, Reason};
use postern_crds::node_report::ResolverState;
use postern_intent::body::{Class, EgressPath, Scope};
use postern_intent::{NodeName, ScopeId, Uid};

use super::{ConcernedNodes, Progress};
use crate::assign::{PodDecision, PolicyPodCounts};
use crate::first_names;
use crate::lower::LoweringContext;
use crate::settled::{NodeOutcome, SettledNode};
use crate::snapshot::SnapshotReport;

/// What is known of one policy.
#[derive(Default)]
pub(super) struct PolicyReading<'a> {
    /// Enforced and blocked are pods of nodes that report it, never of nodes that have not reported it yet.
    pub(super) pods: PolicyPodCounts,
    pub(super) nodes: ConcernedNodes<'a>,
    /// Why it is blocked, on the first node where it is.
    pub(super) blocked: Option<Reason>,
    /// Pods that are to be blocked, on nodes that do not report it yet too.
    pub(super) to_block: u32,
    /// Nodes that block pods of it by themselves, such as one that can make no tunnel.
    pub(super) blocking: Vec<&'a NodeName>,
    /// Nodes on which pods of it pass the guard by, and how many pods.
    pub(super) bypassing: Vec<&'a NodeName>,
    pub(super) bypassed: u32,
    /// Nodes by whose uplink its pods leave while the exit is lost.
    pub(super) opened: Vec<&'a NodeName>,
    /// Nodes that bind no sources of its pods, and why the first one does not.
    pub(super) unbinding: Vec<&'a NodeName>,
    pub(super) unbound: Option<Reason>,
    /// Nodes of its pods on which flows that are no longer allowed have still to be cut.
    pub(super) uncut: Vec<&'a NodeName>,
    /// Nodes whose resolvers do not answer.
    pub(super) unanswered: Vec<&'a NodeName>,
    /// Nodes that leave a resolver alone because it does not answer them, by its address.
    silent: BTreeMap<IpAddr, Vec<&'a NodeName>>,
    /// Nodes that know no resolver to ask.
    pub(super) without_resolver: Vec<&'a NodeName>,
    /// The nodes of its pods.
    pub(super) hosts: Vec<&'a NodeName>,
    /// Nodes for which nothing is published until a person approves.
    pub(super) restored: Vec<&'a NodeName>,
}

/// What one node is to do for one policy.
#[derive(Default)]
struct Share<'a> {
    /// None: the policy was refused before it had one.
    scope: Option<&'a Scope>,
    enforced: u32,
    blocked: u32,
    /// Pods that only a refused update selects: they are in no scope.
    refused: u32,
    reason: Option<Reason>,
}

impl<'a> PolicyReading<'a> {
    /// A node's share as the node itself reports it: what it blocks by itself, and whom its guard does not see. A report can
    /// lower what is claimed of its own node, and raise nothing.
    fn lowered<'s>(
        &mut self,
        node: &'a NodeName,
        uid: &Uid,
        share: Share<'s>,
        report: Option<&SnapshotReport>,
    ) -> Share<'s> {
        let mut share = share;
        self.to_block += share.refused;
        let Some(report) = report else {
            self.to_block += share.blocked;
            return share;
        };
        if let Some(reason) = report.unbound
            && share.enforced > 0
        {
            self.unbound = self.unbound.or(Some(reason));
            self.unbinding.push(node);
        }
        if owes_cuts(report) && share.enforced + share.blocked > 0 {
            self.uncut.push(node);
        }
        let Some(said) = report.scopes.get(uid) else {
            self.to_block += share.blocked;
            return share;
        };
        let bypassed = said.unenforceable.min(share.enforced);
        if bypassed > 0 {
            share.enforced -= bypassed;
            self.bypassed += bypassed;
            self.pods.unenforceable += bypassed;
            self.bypassing.push(node);
        }
        if said.failed_open {
            self.opened.push(node);
        }
        if let Some(reason) = said.blocked
            && share.enforced > 0
        {
            share.blocked += std::mem::take(&mut share.enforced);
            share.reason = share.reason.or(Some(reason));
            self.blocking.push(node);
        }
        if share.enforced > 0 {
            self.add_resolvers(node, said.resolvers);
            for resolver in &said.silent_resolvers {
                let nodes = self.silent.entry(*resolver).or_default();
                nodes.push(node);
            }
        }
        self.to_block += share.blocked;
        // A pod that the document lists and the node does not count yet is held: neither enforced nor blocked by its class.
        share.enforced = share.enforced.min(said.enforced);
        share.blocked = share.blocked.min(said.blocked_pods);
        share
    }

    /// Which resolver does not answer whom, a sentence for each.
    pub(super) fn silent_resolvers(&self) -> impl Iterator<Item = String> {
        self.silent.iter().map(|(resolver, nodes)| {
            let nodes = first_names(nodes);
            format!("resolver {resolver} does not answer {nodes} and is asked seldom")
        })
    }

    fn add_resolvers(&mut self, node: &'a NodeName, state: ResolverState) {
        match state {
            ResolverState::Silent => self.unanswered.push(node),
            ResolverState::Unknown => self.without_resolver.push(node),
            ResolverState::Untested | ResolverState::Answers => {}
        }
    }
}

/// Where names outside of the cluster are refused, in a sentence; none: nowhere.
pub(super) fn refused_names<'n>(
    nodes: impl IntoIterator<Item = &'n &'n NodeName>,
) -> Option<String> {
    let mut nodes = nodes.into_iter().peekable();
    nodes.peek()?;
    Some(format!(
        "names outside of the cluster are refused on {}. {}",
        first_names(nodes),
        Reason::NoResolver.sentence()
    ))
}

fn owes_cuts(report: &SnapshotReport) -> bool {
    let mut conditions = report.conditions.iter();
    conditions.any(|one| one.reason == Reason::FlowsNotCut && one.state == ConditionStatus::False)
}

/// Looks at every document once.
pub(super) fn look<'a>(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&'a NodeName, SettledNode>,
) -> BTreeMap<Uid, PolicyReading<'a>> {
    let counts = context.assignment.counts.iter();
    let mut seen: BTreeMap<Uid, PolicyReading<'_>> = counts
        .map(|(uid, pods)| {
            let pods = pods.clone();
            (
                uid.clone(),
                PolicyReading {
                    pods,
                    ..PolicyReading::default()
                },
            )
        })
        .collect();
    for (node, of_node) in settled {
        let report = context.index.reports.get(*node).copied();
        for (uid, share) in shares(context, of_node, node) {
            let of_policy = seen.entry(uid.clone()).or_default();
            let progress = match share.scope {
                Some(scope) => Progress::of_scope(context, of_node, node, scope),
                None => Progress::of(context, settled, node),
            };
            let programmed = u32::from(progress == Progress::Programmed);
            of_policy.nodes.add(node, progress);
            of_policy.hosts.push(node);
            let share = of_policy.lowered(node, uid, share, report);
            of_policy.pods.enforced += share.enforced * programmed;
            of_policy.pods.blocked += (share.blocked + share.refused) * programmed;
            of_policy.blocked = of_policy.blocked.or(share.reason);
            if of_node.outcome == NodeOutcome::Restored {
                of_policy.restored.push(node);
            }
        }
    }
    seen
}

fn shares<'a>(
    context: &'a LoweringContext<'_>,
    settled: &'a SettledNode,
    node: &NodeName,
) -> BTreeMap<&'a Uid, Share<'a>> {
    let pods = pods_by_scope(settled);
    let mut shares: BTreeMap<&Uid, Share<'_>> = BTreeMap::new();
    for scope in &settled.document.firewall {
        let share = shares.entry(&scope.policy.uid).or_default();
        share.scope = Some(scope);
        let count = pods.get(&scope.id).copied().unwrap_or_default();
        match &scope.way {
            EgressPath::Blocked { reason } => {
                share.blocked += count;
                share.reason = Some((*reason).into());
            }
            EgressPath::Tunnel | EgressPath::LocalExit | EgressPath::NodeUplink => {
                share.enforced += count
            }
        }
    }
    let assigned = context.assignment.by_node.get(node).into_iter().flatten();
    for pod in assigned {
        if let PodDecision::Refused(uid) = &pod.decision {
            let share = shares.entry(uid).or_default();
            share.refused += 1;
            share.reason = share.reason.or(Some(Reason::PolicyRefused));
        }
    }
    shares
}

fn pods_by_scope(settled: &SettledNode) -> BTreeMap<&ScopeId, u32> {
    let mut pods = BTreeMap::new();
    for pod in &settled.document.pods {
        if let Class::Policy { scope } = &pod.class {
            *pods.entry(scope).or_default() += 1;
        }
    }
    pods
}
