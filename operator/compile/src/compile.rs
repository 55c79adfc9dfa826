//! The compiler: one list of steps, each a module of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::body::EgressTerm;
use postern_intent::{NodeDocument, NodeName};

use crate::allocate::{Hosts, Networks, Numbers};
use crate::assign::Assignment;
use crate::gate::{PendingApproval, ReleaseGate};
use crate::index::Index;
use crate::lower::{LoweringContext, NodePlan, clients, peers};
use crate::pins::PinnedKeys;
use crate::refresh::Validity;
use crate::remember::remember;
use crate::resolve::{
    AdminTier, EgressWait, PolicyPlans, ResolvedExits, ResolvedIsolations, SETTLING,
};
use crate::screen::ScreenedSnapshot;
use crate::select::Contenders;
use crate::settled::{NodeOutcome, SettledNode};
use crate::shared::{ClusterOutcome, SettledCluster};
use crate::snapshot::{CompilerMemory, HolderFence, Snapshot, SnapshotNode};
use crate::verdict::{Verdict, verdicts};
use crate::{budget, lower, refresh, serial, shared};

/// What a compile says.
#[derive(Debug, Clone, PartialEq)]
pub struct Compilation {
    /// What becomes of the cluster document. It is published before the documents of nodes, which name its serial.
    pub cluster: ClusterOutcome,
    /// What becomes of every node's intent.
    pub nodes: BTreeMap<NodeName, NodeOutcome>,
    /// What is to be said about every resource.
    pub verdicts: Vec<Verdict>,
    /// What waits for an approval.
    pub held: Vec<PendingApproval>,
    /// When the result changes by time alone: a waiting gateway gets its egress IPs, or reports of clients begin to count.
    pub wake: Option<Timestamp>,
    /// What the next compile has to know.
    pub memory: CompilerMemory,
    /// Published intents of nodes that are no more and that have run out.
    pub retired: BTreeSet<NodeName>,
}

/// Compiles a snapshot. The same snapshot always gives the same compilation.
#[must_use]
pub fn compile(snapshot: &Snapshot) -> Compilation {
    let screened = ScreenedSnapshot::new(snapshot);
    let index = Index::new(snapshot, &screened);
    let keys = PinnedKeys::new(&index);
    let mut exits = ResolvedExits::new(&index);
    let mut contenders = Contenders::new(&index);
    let gate = ReleaseGate::judge(&index, &mut contenders);
    let networks = Networks::new(&snapshot.settings.tunnels.ranges);
    let numbers = Numbers::new(&index, &networks, &mut exits);
    let plans = PolicyPlans::new(&index, &contenders, &exits);
    let admin = AdminTier::new(&index, contenders.namespaces());
    let assignment = Assignment::new(&index, &contenders, &gate);
    let clients = clients(&plans, &exits, &assignment);
    let peers = peers(&index, &exits, &clients);
    let hosts = Hosts::new(&index, &networks, &exits, &peers);
    let isolations = ResolvedIsolations::new(&index);
    let context = LoweringContext {
        index: &index,
        exits: &exits,
        plans: &plans,
        admin: &admin,
        assignment: &assignment,
        keys: &keys,
        networks: &networks,
        numbers: &numbers,
        hosts: &hosts,
        isolations: &isolations,
        clients: &clients,
        peers: &peers,
    };
    let guarded = lower::cluster::guarded(&contenders, &gate);
    let facts = lower::cluster::facts(&index, &exits, &numbers);
    let cluster = shared::settle(snapshot, shared::unstamped(guarded, facts));
    let settled: BTreeMap<&NodeName, SettledNode> = index
        .nodes
        .values()
        .map(|node| (&node.name, settle(&context, &cluster, &gate.restored, node)))
        .collect();
    let memory = remember(&index, &contenders, &gate, &keys, &settled);
    Compilation {
        wake: wake(snapshot.now, &exits, &memory),
        verdicts: verdicts(&context, &gate, &settled, &cluster),
        cluster: cluster.outcome,
        memory,
        retired: retired(&index),
        nodes: settled
            .into_iter()
            .map(|(name, settled)| (name.clone(), settled.outcome))
            .collect(),
        held: gate.held,
    }
}

fn wake(now: Timestamp, exits: &ResolvedExits<'_>, memory: &CompilerMemory) -> Option<Timestamp> {
    let ends = exits
        .all_active()
        .filter_map(|(_, active)| match &active.offer.wait {
            Some(EgressWait::Former(holder)) => Some(holder.until),
            Some(EgressWait::OtherExit(_)) | None => None,
        });
    let holders = memory.holders.iter();
    let holders = holders.filter(|(exit, holder)| {
        let active = exits.active(exit);
        holder.fence == HolderFence::Confirmed
            && active.is_some_and(|active| *active.gateway == holder.node)
    });
    // From then on reports of clients count.
    let settled = holders.map(|(_, holder)| holder.since + SETTLING);
    ends.chain(settled).filter(|at| *at > now).min()
}

fn settle(
    context: &LoweringContext<'_>,
    cluster: &SettledCluster,
    restored: &BTreeSet<NodeName>,
    node: &SnapshotNode,
) -> SettledNode {
    let snapshot = context.index.snapshot;
    let mut document = lower::document::lower(context, &NodePlan::new(context, node));
    let published = context.index.published.documents.get(&node.name);
    let shed = budget::fit(&mut document, published, snapshot.settings.envelope_budget);
    let settled = |outcome, document| SettledNode {
        outcome,
        document,
        facts: cluster.changed,
        shed,
    };
    if restored.contains(&node.name) {
        return settled(NodeOutcome::Restored, document);
    }
    if let Some(published) = published
        && refresh::same_sections(&document, published)
        // A document of before the store was set back is joined with no later cluster document.
        && published.cluster_serial >= cluster.follows
        && !validity(published).is_due(snapshot.now, &snapshot.settings, node.uid.as_str())
    {
        return settled(NodeOutcome::Keep, published.clone());
    }
    if snapshot.awaited.contains(&node.name) {
        return settled(NodeOutcome::Awaited, published.cloned().unwrap_or(document));
    }
    let reported = serial::reported(snapshot.now, context.index.reports.get(&node.name).copied());
    document.serial = serial::next(snapshot.now, published.map(|one| one.serial), reported);
    document.cluster_serial = cluster.changed.max(cluster.follows);
    let validity = Validity::from_now(snapshot.now, &snapshot.settings);
    document.issued_at = validity.issued_at;
    document.not_after = validity.not_after;
    settled(NodeOutcome::Publish(Box::new(document.clone())), document)
}

fn validity(document: &NodeDocument) -> Validity {
    Validity {
        issued_at: document.issued_at,
        not_after: document.not_after,
    }
}

/// Numbers of a node that is gone are free again once its last intent has run out. One that had egress IPs as long as the
/// API server confirms them loses its intent at once: nothing else would take them from a machine that runs on.
fn retired(index: &Index<'_>) -> BTreeSet<NodeName> {
    let gone = index
        .published
        .documents
        .iter()
        .filter(|(name, _)| !index.nodes.contains_key(name));
    let has_egress = |document: &NodeDocument| {
        let mut served = document.nat.iter();
        served.any(|served| served.egress_term == EgressTerm::Confirmed)
    };
    gone.filter(|(_, document)| document.not_after <= index.snapshot.now || has_egress(document))
        .map(|(name, _)| name.clone())
        .collect()
}
