//! What one run knows, before and after the compile. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_compile::snapshot::{Labels, Lifecycle, Namespace, Snapshot};
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::{Body, NodeName};

use super::gather::{Inputs, Unknown, definitions};
use super::intents::Standing;
use super::memory::MemoryContents;
use crate::controllers::Spoken;

/// What distinguishes one state of the world from another: if nothing of it changed, nothing new can follow.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct World {
    pub(super) inputs: Inputs,
    pub(super) published: BTreeMap<NodeName, String>,
    pub(super) awaited: BTreeSet<NodeName>,
    pub(super) remembered: MemoryContents,
    pub(super) epoch: u64,
    pub(super) keys: Vec<String>,
}

/// The last compile.
pub(super) struct Last {
    pub(super) world: World,
    pub(super) at: Instant,
    pub(super) compilation: Arc<Compilation>,
}

/// The marks by which two states of what is published differ.
pub(super) fn marks(standings: &BTreeMap<NodeName, Standing>) -> BTreeMap<NodeName, String> {
    let mark = |standing: &Standing| match standing {
        Standing::Current { body, .. } => format!("current {}", body.serial),
        Standing::Absent => "absent".to_owned(),
        Standing::Lagging => "lagging".to_owned(),
        Standing::Lost { kept, why } => format!("lost {} {why:?}", kept.body.serial),
        Standing::Tampered { why } => format!("tampered {why}"),
    };
    standings
        .iter()
        .map(|(node, standing)| (node.clone(), mark(standing)))
        .collect()
}

/// Everything for the compiler.
pub(super) fn snapshot(
    world: &World,
    standings: &BTreeMap<NodeName, Standing>,
    now: Timestamp,
) -> Snapshot {
    let mut previous: BTreeMap<NodeName, Body> = BTreeMap::new();
    let mut unreadable = BTreeSet::new();
    for (node, standing) in standings {
        match standing {
            Standing::Current { body, .. } => {
                previous.insert(node.clone(), (**body).clone());
            }
            Standing::Lost { kept, .. } => {
                previous.insert(node.clone(), (*kept.body).clone());
            }
            Standing::Tampered { .. } => {
                unreadable.insert(node.clone());
            }
            Standing::Absent | Standing::Lagging => {}
        }
    }
    let inputs = world.inputs.clone();
    let remembered = &world.remembered;
    Snapshot {
        now,
        definitions: definitions(&inputs.definition, remembered.definition.as_deref()),
        settings: inputs.settings,
        exits: inputs.exits,
        policies: inputs.policies,
        isolations: inputs.isolations,
        nodes: inputs.nodes,
        pods: inputs.pods,
        namespaces: inputs.namespaces,
        services: inputs.services,
        reports: inputs.reports,
        previous,
        unreadable,
        awaited: world.awaited.clone(),
        memory: remembered.memory.clone(),
        approvals: inputs.approvals,
    }
}

/// How long reports are waited for: agents that live report once a minute, and on every change.
const PATIENCE: Duration = Duration::from_secs(150);

/// What is known of who has spoken.
pub(super) struct Heard<'a> {
    /// Who has since this process began to watch.
    pub(super) spoken: &'a Spoken,
    /// How long it has watched.
    pub(super) watching: Duration,
    /// Whose intents this process published itself.
    pub(super) ours: &'a dyn Fn(&NodeName) -> bool,
}

/// Nodes that have spoken before and not since this process began to watch. A list may show what a restored store
/// remembers: nothing new is published for such a node until its agent has said what it has seen. A node that was well
/// and is silent is away and waited for; one that was ill and is silent may need what is to be published.
pub(super) fn awaited(
    inputs: &Inputs,
    standings: &BTreeMap<NodeName, Standing>,
    remembered: &MemoryContents,
    heard: &Heard<'_>,
) -> BTreeSet<NodeName> {
    let silent = |node: &NodeName| {
        let late = heard.watching >= PATIENCE && !inputs.verified.contains(node);
        !heard.spoken.contains(node.as_str()) && !(heard.ours)(node) && !late
    };
    let known = |node: &postern_compile::snapshot::Node| {
        let pinned = remembered
            .memory
            .pins
            .get(&node.name)
            .is_some_and(|pin| pin.uid == node.uid);
        let reported = inputs
            .reports
            .iter()
            .any(|report| report.node == node.name && report.ledger_serial.is_some());
        pinned
            || reported
            || !matches!(
                standings.get(&node.name),
                None | Some(Standing::Absent | Standing::Lagging)
            )
    };
    inputs
        .nodes
        .iter()
        .filter(|node| silent(&node.name))
        .filter(|node| known(node))
        .map(|node| node.name.clone())
        .collect()
}

/// Verdicts while ranges are unknown: nothing is claimed.
pub(super) fn unclaimed(verdicts: &[Verdict], unknown: &[Unknown]) -> Vec<Verdict> {
    let sentences: Vec<&str> = unknown.iter().map(|range| range.sentence()).collect();
    let message = sentences.join("; ");
    let mut verdicts = verdicts.to_vec();
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| matches!(verdict.kind, "EgressPolicy" | "ExitNode"))
    {
        for kind in [ConditionType::Programmed, ConditionType::Ready] {
            let finding = Finding::no(kind, Reason::RangesUnknown, message.clone());
            verdict.conditions.retain(|found| found.kind != kind);
            verdict.conditions.push(finding);
        }
    }
    verdicts
}

/// What of namespaces can loosen something.
pub(super) fn labels(
    namespaces: &[Namespace],
) -> Vec<(&postern_intent::Namespace, &Labels, Lifecycle)> {
    namespaces
        .iter()
        .map(|found| (&found.name, &found.labels, found.lifecycle))
        .collect()
}

/// How many nodes are told nothing until a person approves.
pub(super) fn restored(compilation: &Compilation) -> usize {
    compilation
        .nodes
        .values()
        .filter(|outcome| matches!(outcome, NodeOutcome::Restored))
        .count()
}
