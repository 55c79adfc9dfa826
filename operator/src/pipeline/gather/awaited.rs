//! Which nodes have to report before anything new is published for them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use postern_compile::publish::PublishedState;
use postern_intent::NodeName;

use super::inputs::ClusterInputs;
use crate::pipeline::intents::IntentState;
use crate::pipeline::memory::MemoryContents;
use crate::watches::ReportedNodes;

/// How long reports are waited for: agents that live report once a minute, and on every change.
const REPORT_DEADLINE: Duration = Duration::from_secs(150);

/// What is known of who has reported.
pub(in crate::pipeline) struct ReportsSeen<'a> {
    /// Nodes that reported since this process began to watch.
    pub(in crate::pipeline) reported: &'a ReportedNodes,
    /// How long it has watched.
    pub(in crate::pipeline) watching: Duration,
    /// Whose intents this process published itself.
    pub(in crate::pipeline) ours: &'a dyn Fn(&NodeName) -> bool,
}

/// Nodes that have reported before and not since this process began to watch. A list may show what a restored store
/// remembers: nothing new is published for such a node until its agent has said what it has seen. A node that was well
/// and is silent is away and waited for; one that was ill and is silent may need what is to be published.
pub(in crate::pipeline) fn awaited(
    inputs: &ClusterInputs,
    intent_states: &BTreeMap<NodeName, IntentState>,
    remembered: &MemoryContents,
    reports_seen: &ReportsSeen<'_>,
) -> BTreeSet<NodeName> {
    let silent = |node: &NodeName| {
        let late = reports_seen.watching >= REPORT_DEADLINE && !inputs.verified.contains(node);
        !reports_seen.reported.contains(node.as_str()) && !(reports_seen.ours)(node) && !late
    };
    let known = |node: &postern_compile::snapshot::SnapshotNode| {
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
                intent_states.get(&node.name),
                None | Some(PublishedState::Absent)
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
