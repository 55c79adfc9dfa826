//! What the bodies in force say of each policy, and what the nodes report of it, gathered in one pass over the nodes.

use std::collections::BTreeMap;

use postern_intent::body::{BlockedReason, Class, Way};
use postern_intent::{NodeName, ScopeId, Uid};

use super::{Concerned, Progress};
use crate::assign::{Decision, PodCounts};
use crate::compile::{NodeOutcome, Settled};
use crate::lower::Context;

/// What is known of one policy.
#[derive(Clone, Default)]
pub(super) struct Seen<'a> {
    /// Enforced and blocked are pods of nodes that report it, never of nodes that were only told to.
    pub(super) pods: PodCounts,
    pub(super) nodes: Concerned<'a>,
    /// Why it is blocked, on the first node where it is.
    pub(super) blocked: Option<BlockedReason>,
    /// Pods that are to be blocked, on nodes that do not report it yet too.
    pub(super) to_block: u32,
    /// Nodes that are told nothing until a person approves.
    pub(super) restored: Vec<&'a NodeName>,
}

/// What one node is to do for one policy.
#[derive(Default)]
struct Share {
    enforced: u32,
    blocked: u32,
    reason: Option<BlockedReason>,
}

/// Looks at every body once.
pub(super) fn look<'a>(
    context: &Context<'_>,
    settled: &BTreeMap<&'a NodeName, Settled>,
) -> BTreeMap<Uid, Seen<'a>> {
    let counts = context.assignment.counts.iter();
    let mut seen: BTreeMap<Uid, Seen<'_>> = counts
        .map(|(uid, pods)| {
            let pods = pods.clone();
            (
                uid.clone(),
                Seen {
                    pods,
                    ..Seen::default()
                },
            )
        })
        .collect();
    for (node, of_node) in settled {
        let progress = Progress::of(context, settled, node);
        let programmed = u32::from(progress == Progress::Programmed);
        for (uid, share) in shares(context, of_node, node) {
            let of_policy = seen.entry(uid.clone()).or_default();
            of_policy.nodes.add(node, progress);
            of_policy.pods.enforced += share.enforced * programmed;
            of_policy.pods.blocked += share.blocked * programmed;
            of_policy.to_block += share.blocked;
            of_policy.blocked = of_policy.blocked.or(share.reason);
            if of_node.outcome == NodeOutcome::Restored {
                of_policy.restored.push(node);
            }
        }
    }
    seen
}

fn shares<'a>(
    context: &'a Context<'_>,
    settled: &'a Settled,
    node: &NodeName,
) -> BTreeMap<&'a Uid, Share> {
    let pods = pods_by_scope(settled);
    let mut shares: BTreeMap<&Uid, Share> = BTreeMap::new();
    for scope in &settled.body.firewall {
        let share = shares.entry(&scope.policy.uid).or_default();
        let count = pods.get(&scope.id).copied().unwrap_or_default();
        match &scope.way {
            Way::Blocked { reason } => {
                share.blocked += count;
                share.reason = Some(*reason);
            }
            Way::Tunnel { .. } | Way::LocalExit { .. } | Way::NodeUplink => share.enforced += count,
        }
    }
    let assigned = context.assignment.by_node.get(node).into_iter().flatten();
    for pod in assigned {
        if let Decision::Refused(uid) = &pod.decision {
            let share = shares.entry(uid).or_default();
            share.blocked += 1;
            share.reason = share.reason.or(Some(BlockedReason::PolicyRefused));
        }
    }
    shares
}

fn pods_by_scope(settled: &Settled) -> BTreeMap<&ScopeId, u32> {
    let mut pods = BTreeMap::new();
    for pod in &settled.body.pods {
        if let Class::Policy { scope } = &pod.class {
            *pods.entry(scope).or_default() += 1;
        }
    }
    pods
}
