//! What one node has to do, section by section put together.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{BlockedReason, EgressPath, TunnelRole};
use postern_intent::{ExitName, NodeDocument, NodeName, ScopeId, Uid};

use super::LoweringContext;
use crate::allocate::Marks;
use crate::assign::{AssignedPod, Assignment, PodDecision};
use crate::index::Index;
use crate::resolve::{PlannedPath, PolicyPlan, PolicyPlans, ResolvedExits, SessionOffer};
use crate::snapshot::SnapshotNode;

/// One scope of a node.
pub(crate) struct ScopePlan<'a> {
    pub(crate) id: ScopeId,
    pub(crate) plan: &'a PolicyPlan,
    pub(crate) way: EgressPath,
}

/// What one node has to do.
pub(crate) struct NodePlan<'a> {
    pub(crate) node: &'a SnapshotNode,
    pub(crate) pods: &'a [AssignedPod<'a>],
    /// By the policy's UID.
    pub(crate) scopes: BTreeMap<&'a Uid, ScopePlan<'a>>,
    pub(crate) marks: Marks,
}

/// The nodes that use each exit by a tunnel: those with at least one pod of it, but not its first gateway.
pub(crate) fn clients(
    plans: &PolicyPlans,
    exits: &ResolvedExits<'_>,
    assignment: &Assignment<'_>,
) -> BTreeMap<ExitName, BTreeSet<NodeName>> {
    let mut found: BTreeMap<ExitName, BTreeSet<NodeName>> = BTreeMap::new();
    for (node, pods) in &assignment.by_node {
        for uid in policies(pods) {
            if let Some(PlannedPath::Exit(exit)) = plans.get(uid).map(|plan| &plan.way)
                && exits
                    .active(exit)
                    .is_some_and(|active| active.gateway != *node)
            {
                found
                    .entry(exit.clone())
                    .or_default()
                    .insert((*node).clone());
            }
        }
    }
    found
}

/// The nodes that each gateway knows: the clients, and those that were clients once and still exist. A peer that outlives
/// its last pod keeps its session: a pod that comes back at once under the same name would otherwise wait until the client
/// notices that the gateway's new peer has none (WireGuard's 10 s and 5 s).
pub(crate) fn peers(
    index: &Index<'_>,
    exits: &ResolvedExits<'_>,
    clients: &BTreeMap<ExitName, BTreeSet<NodeName>>,
) -> BTreeMap<ExitName, BTreeSet<NodeName>> {
    let mut peers = clients.clone();
    for (exit, active) in exits.all_active() {
        let documents = active
            .serving()
            .filter_map(|gateway| index.published.documents.get(gateway));
        let served = documents.flat_map(|document| &document.tunnels);
        let served =
            served.filter(|tunnel| tunnel.role == TunnelRole::Served && &tunnel.exit == exit);
        let former = served
            .flat_map(|tunnel| &tunnel.peers)
            .filter_map(|peer| peer.at.node());
        let former =
            former.filter(|node| index.nodes.contains_key(*node) && *node != active.gateway);
        peers
            .entry(exit.clone())
            .or_default()
            .extend(former.cloned());
    }
    peers
}

fn policies<'a>(pods: &'a [AssignedPod<'_>]) -> BTreeSet<&'a Uid> {
    let of = |assigned: &'a AssignedPod<'_>| match &assigned.decision {
        PodDecision::Policy(uid) => Some(uid),
        PodDecision::Refused(_) | PodDecision::Blocked(_) | PodDecision::Released => None,
    };
    pods.iter().filter_map(of).collect()
}

impl<'a> NodePlan<'a> {
    /// Decides the way of every scope of a node.
    pub(crate) fn new(context: &'a LoweringContext<'a>, node: &'a SnapshotNode) -> Self {
        let pods = context
            .assignment
            .by_node
            .get(&node.name)
            .map_or(&[][..], Vec::as_slice);
        let plans: Vec<(&Uid, &PolicyPlan)> = policies(pods)
            .into_iter()
            .filter_map(|uid| context.plans.get(uid).map(|plan| (uid, plan)))
            .collect();
        let ways: Vec<(&Uid, &PolicyPlan, EgressPath)> = plans
            .into_iter()
            .map(|(uid, plan)| (uid, plan, way(context, node, plan)))
            .collect();
        let used: BTreeSet<ExitName> = ways
            .iter()
            .filter(|(_, _, way)| *way == EgressPath::Tunnel)
            .filter_map(|(_, plan, _)| plan.way.exit().cloned())
            .collect();
        let held = held(context, node).map(|(exit, _)| exit.clone());
        let marked: BTreeSet<ExitName> = used.into_iter().chain(held).collect();
        let marks = Marks::new(same_node(context.index, node), &marked);
        let scopes = ways
            .into_iter()
            .filter_map(|(uid, plan, way)| {
                let id = scope_id(plan)?;
                let mark = plan.way.exit().and_then(|exit| marks.get(exit));
                let way = match way {
                    EgressPath::Tunnel if mark.is_none() => EgressPath::Blocked {
                        reason: BlockedReason::NoMarkLeft,
                    },
                    other => other,
                };
                Some((uid, ScopePlan { id, plan, way }))
            })
            .collect();
        Self {
            node,
            pods,
            scopes,
            marks,
        }
    }

    /// The external exits of which the node has the session, where it has a mark for it.
    pub(crate) fn held_exits<'c>(
        &self,
        context: &'c LoweringContext<'_>,
    ) -> BTreeMap<&'c ExitName, &'c SessionOffer<'c>> {
        let held = held(context, self.node);
        held.filter(|(exit, _)| self.marks.get(exit).is_some())
            .collect()
    }

    /// What is published for the node, if it is still the same node.
    pub(crate) fn published<'i>(&self, index: &Index<'i>) -> Option<&'i NodeDocument> {
        same_node(index, self.node)
    }

    /// The exits that the node uses by a tunnel.
    pub(crate) fn used_exits(&self) -> BTreeSet<&ExitName> {
        let scopes = self.scopes.values();
        scopes
            .filter(|scope| scope.way == EgressPath::Tunnel)
            .filter_map(|scope| scope.plan.way.exit())
            .collect()
    }
}

fn held<'c>(
    context: &'c LoweringContext<'_>,
    node: &SnapshotNode,
) -> impl Iterator<Item = (&'c ExitName, &'c SessionOffer<'c>)> {
    let active = context.exits.all_active();
    let own = active.filter(|(_, active)| *active.gateway == node.name);
    own.filter_map(|(exit, active)| Some((exit, active.offer.session.as_deref()?)))
}

fn same_node<'a>(index: &Index<'a>, node: &SnapshotNode) -> Option<&'a NodeDocument> {
    index
        .published
        .documents
        .get(&node.name)
        .filter(|document| document.node.uid == node.uid)
}

/// `namespace/policy@exit`, without the exit where there is none.
fn scope_id(plan: &PolicyPlan) -> Option<ScopeId> {
    let exit = match &plan.way {
        PlannedPath::Exit(exit) => exit.as_str(),
        PlannedPath::NodeUplink | PlannedPath::Blocked(_) => "",
    };
    format!("{}/{}@{exit}", plan.policy.namespace, plan.policy.name)
        .parse()
        .ok()
}

fn way(context: &LoweringContext<'_>, node: &SnapshotNode, plan: &PolicyPlan) -> EgressPath {
    let exit = match &plan.way {
        PlannedPath::Exit(exit) => exit,
        PlannedPath::NodeUplink => return EgressPath::NodeUplink,
        PlannedPath::Blocked(reason) => return EgressPath::Blocked { reason: *reason },
    };
    let Some(active) = context.exits.active(exit) else {
        return EgressPath::Blocked {
            reason: BlockedReason::NoExit,
        };
    };
    if *active.gateway == node.name {
        return EgressPath::LocalExit;
    }
    if context.hosts.get(exit, &node.name).is_none() {
        return EgressPath::Blocked {
            reason: BlockedReason::NoExit,
        };
    }
    let has_key = |end: &NodeName| context.keys.get(end).is_some();
    let mut others = active.serving().filter(|gateway| **gateway != node.name);
    if has_key(&node.name) && others.any(has_key) {
        EgressPath::Tunnel
    } else {
        EgressPath::Blocked {
            reason: BlockedReason::NoPeerKey,
        }
    }
}
