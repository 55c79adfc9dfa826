//! What one node has to do, section by section put together.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::body::{BlockedReason, NodeIdentity, TunnelRole, Way};
use postern_intent::{Body, ExitName, NodeName, ScopeId, Serial, Uid};

use super::{Context, Shared, dns, firewall, nat, pods, routes, tunnels};
use crate::allocate::Marks;
use crate::assign::{Assigned, Assignment, Decision};
use crate::index::Index;
use crate::resolve::{Exits, Plan, PlannedWay, Plans};
use crate::snapshot::Node;

/// One scope of a node.
pub(crate) struct ScopePlan<'a> {
    pub(crate) id: ScopeId,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) way: Way,
}

/// What one node has to do.
pub(crate) struct NodePlan<'a> {
    pub(crate) node: &'a Node,
    pub(crate) pods: &'a [Assigned<'a>],
    /// By the policy's UID.
    pub(crate) scopes: BTreeMap<&'a Uid, ScopePlan<'a>>,
    pub(crate) marks: Marks,
}

/// The nodes that use each exit by a tunnel: those with at least one pod of it, but not its gateway.
pub(crate) fn clients(
    plans: &Plans<'_>,
    exits: &Exits<'_>,
    assignment: &Assignment<'_>,
) -> BTreeMap<ExitName, BTreeSet<NodeName>> {
    let mut found: BTreeMap<ExitName, BTreeSet<NodeName>> = BTreeMap::new();
    for (node, pods) in &assignment.by_node {
        for uid in policies(pods) {
            if let Some(PlannedWay::Exit(exit)) = plans.get(uid).map(|plan| &plan.way)
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
    exits: &Exits<'_>,
    clients: &BTreeMap<ExitName, BTreeSet<NodeName>>,
) -> BTreeMap<ExitName, BTreeSet<NodeName>> {
    let mut peers = clients.clone();
    for (exit, active) in exits.all_active() {
        let body = index.published.bodies.get(active.gateway);
        let served = body.iter().flat_map(|body| &body.tunnels);
        let served =
            served.filter(|tunnel| tunnel.role == TunnelRole::Served && &tunnel.exit == exit);
        let former = served
            .flat_map(|tunnel| &tunnel.peers)
            .map(|peer| &peer.node);
        let former =
            former.filter(|node| index.nodes.contains_key(*node) && *node != active.gateway);
        peers
            .entry(exit.clone())
            .or_default()
            .extend(former.cloned());
    }
    peers
}

fn policies<'a>(pods: &'a [Assigned<'_>]) -> BTreeSet<&'a Uid> {
    let of = |assigned: &'a Assigned<'_>| match &assigned.decision {
        Decision::Policy(uid) => Some(uid),
        Decision::Refused(_) | Decision::Blocked(_) | Decision::Released => None,
    };
    pods.iter().filter_map(of).collect()
}

impl<'a> NodePlan<'a> {
    /// Decides the way of every scope of a node.
    pub(crate) fn new(context: &'a Context<'a>, node: &'a Node) -> Self {
        let pods = context
            .assignment
            .by_node
            .get(&node.name)
            .map_or(&[][..], Vec::as_slice);
        let plans: Vec<(&Uid, &Plan<'_>)> = policies(pods)
            .into_iter()
            .filter_map(|uid| context.plans.get(uid).map(|plan| (uid, plan)))
            .collect();
        let ways: Vec<(&Uid, &Plan<'_>, Way)> = plans
            .into_iter()
            .map(|(uid, plan)| (uid, plan, way(context, node, plan)))
            .collect();
        let used: BTreeSet<ExitName> = ways
            .iter()
            .filter_map(|(_, _, way)| match way {
                Way::Tunnel { exit } => Some(exit.clone()),
                _ => None,
            })
            .collect();
        let marks = Marks::new(same_node(context.index, node), &used);
        let scopes = ways
            .into_iter()
            .filter_map(|(uid, plan, way)| {
                let id = scope_id(plan)?;
                let way = match way {
                    Way::Tunnel { exit } if marks.get(&exit).is_none() => Way::Blocked {
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

    /// Puts the sections together. Serial and times are only stamped if the body is published.
    pub(crate) fn body(&self, context: &Context<'_>, shared: &Shared) -> Body {
        Body {
            node: NodeIdentity {
                name: self.node.name.clone(),
                uid: self.node.uid.clone(),
            },
            serial: Serial(0),
            issued_at: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH,
            trace_id: None,
            guarded_namespaces: shared.guarded_namespaces.clone(),
            cluster: shared.cluster_of(context.index, self.node),
            tunnels: tunnels::lower(context, self),
            routes: routes::lower(context, self),
            nat: nat::lower(context, self.node),
            firewall: firewall::lower(context, self),
            dns: dns::lower(self),
            pods: pods::lower(self),
            isolation: None,
        }
    }

    /// The exits that the node uses by a tunnel.
    pub(crate) fn used_exits(&self) -> BTreeSet<&ExitName> {
        self.scopes
            .values()
            .filter_map(|scope| match &scope.way {
                Way::Tunnel { exit } => Some(exit),
                _ => None,
            })
            .collect()
    }
}

fn same_node<'a>(index: &Index<'a>, node: &Node) -> Option<&'a Body> {
    index
        .published
        .bodies
        .get(&node.name)
        .filter(|body| body.node.uid == node.uid)
}

/// `namespace/policy@exit`, without the exit where there is none.
fn scope_id(plan: &Plan<'_>) -> Option<ScopeId> {
    let exit = match &plan.way {
        PlannedWay::Exit(exit) => exit.as_str(),
        PlannedWay::Blocked(_) => "",
    };
    format!("{}/{}@{exit}", plan.policy.namespace, plan.policy.name)
        .parse()
        .ok()
}

fn way(context: &Context<'_>, node: &Node, plan: &Plan<'_>) -> Way {
    let exit = match &plan.way {
        PlannedWay::Exit(exit) => exit,
        PlannedWay::Blocked(reason) => return Way::Blocked { reason: *reason },
    };
    let Some(active) = context.exits.active(exit) else {
        return Way::Blocked {
            reason: BlockedReason::NoExit,
        };
    };
    if *active.gateway == node.name {
        return Way::LocalExit { exit: exit.clone() };
    }
    if context.hosts.get(exit, &node.name).is_none() {
        return Way::Blocked {
            reason: BlockedReason::NoExit,
        };
    }
    let known = [&node.name, active.gateway]
        .into_iter()
        .all(|end| context.keys.get(end).is_some());
    if known {
        Way::Tunnel { exit: exit.clone() }
    } else {
        Way::Blocked {
            reason: BlockedReason::NoPeerKey,
        }
    }
}
