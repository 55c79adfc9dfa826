//! The lock that does not depend on nft: XFRM policies of direction `fwd`.
//!
//! What has this node's pod ranges as its source is blocked, unless it goes to a pod or carries one of our marks.
//! XFRM judges the destination before DNAT, so node and service addresses are never an allow: an unmarked pod would
//! reach an endpoint in the world by its own node's NodePort. On a gateway the tunnel ranges are held likewise, and
//! pass with the main mark only, or with that of an exit whose server outside this node has a session with.

use std::collections::BTreeSet;

use postern_intent::body::TunnelRole;
use postern_intent::{Mark, Prefix};

use super::{ClusterView, PlanInputs};
use crate::host::{Family, LockAction, LockPolicy};
use crate::settings::{
    LOCK_BLOCK_PRIORITY, LOCK_INSIDE_PRIORITY, LOCK_MARK_PRIORITY, NodeSettings, SecondLock,
};

pub(super) fn policies(inputs: &PlanInputs<'_>, cluster: &ClusterView) -> BTreeSet<LockPolicy> {
    let mut policies = BTreeSet::new();
    if inputs.settings.second_lock == SecondLock::Off {
        return policies;
    }
    for source in &cluster.local {
        let family = Family::of_prefix(source);
        policies.insert(block(*source));
        for pods in cluster
            .pods
            .iter()
            .filter(|pods| Family::of_prefix(pods) == family)
        {
            policies.insert(LockPolicy {
                destination: *pods,
                priority: LOCK_INSIDE_PRIORITY,
                action: LockAction::Allow,
                ..block(*source)
            });
        }
        for mark in Mark::EXITS.into_iter().chain([Mark::MAIN]) {
            policies.insert(marked(inputs.settings, *source, mark));
        }
    }
    let serves = inputs.body.is_some_and(|body| {
        body.tunnels
            .iter()
            .any(|tunnel| tunnel.role == TunnelRole::Served)
    });
    if serves {
        for source in &cluster.tunnels {
            policies.insert(block(*source));
            policies.insert(marked(inputs.settings, *source, Mark::MAIN));
            for session in inputs.body.iter().flat_map(|body| &body.external) {
                policies.insert(marked(inputs.settings, *source, session.mark));
            }
        }
    }
    policies
}

fn block(source: Prefix) -> LockPolicy {
    LockPolicy {
        source,
        destination: Family::of_prefix(&source).everything(),
        priority: LOCK_BLOCK_PRIORITY,
        action: LockAction::Block,
        mark: None,
    }
}

fn marked(settings: &NodeSettings, source: Prefix, mark: Mark) -> LockPolicy {
    LockPolicy {
        priority: LOCK_MARK_PRIORITY,
        action: LockAction::Allow,
        mark: Some(settings.masked(mark)),
        ..block(source)
    }
}
