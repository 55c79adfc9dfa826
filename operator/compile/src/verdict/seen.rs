//! What the bodies in force say of each policy, gathered in one pass over the nodes.

use std::collections::BTreeMap;

use postern_intent::body::{BlockedReason, Class, Way};
use postern_intent::{NodeName, ScopeId, Uid};

use super::{NodeCounts, is_programmed};
use crate::assign::PodCounts;
use crate::compile::Settled;
use crate::lower::Context;

/// What the bodies say of one policy.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) pods: PodCounts,
    pub(super) nodes: NodeCounts,
    /// Why it is blocked, on the first node where it is.
    pub(super) blocked: Option<BlockedReason>,
}

/// Looks at every body once.
pub(super) fn look(
    context: &Context<'_>,
    settled: &BTreeMap<&NodeName, Settled>,
) -> BTreeMap<Uid, Seen> {
    let counts = context.assignment.counts.iter();
    let mut seen: BTreeMap<Uid, Seen> = counts
        .map(|(uid, pods)| {
            (
                uid.clone(),
                Seen {
                    pods: pods.clone(),
                    ..Seen::default()
                },
            )
        })
        .collect();
    for (node, settled) in settled {
        let pods = pods_by_scope(settled);
        let programmed = u32::from(is_programmed(context, settled, node));
        for scope in &settled.body.firewall {
            let of_policy = seen.entry(scope.policy.uid.clone()).or_default();
            of_policy.nodes.desired += 1;
            of_policy.nodes.programmed += programmed;
            let count = pods.get(&scope.id).copied().unwrap_or_default();
            match &scope.way {
                Way::Blocked { reason } => {
                    of_policy.pods.blocked += count;
                    of_policy.blocked = of_policy.blocked.or(Some(*reason));
                }
                Way::Tunnel { .. } | Way::LocalExit { .. } | Way::NodeUplink => {
                    of_policy.pods.enforced += count;
                }
            }
        }
    }
    seen
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
