//! What a run has gathered: types that every later step reads.

use std::collections::{BTreeMap, BTreeSet};

use postern_compile::publish::{PublishedState, SignedDocument, cluster_intent};
use postern_intent::NodeName;

use super::gather::ClusterInputs;
use super::intents::{IntentState, IntentStates};
use super::memory::{LoadedMemory, MemoryContents};
use crate::signer::SigningKeys;

/// What a run has gathered.
pub(super) struct GatheredRun {
    pub(super) epoch: u64,
    pub(super) signing: SigningKeys,
    pub(super) gathered: GatheredState,
    pub(super) published: IntentStates,
    pub(super) loaded: LoadedMemory,
}

/// Everything that a compile reads: if nothing of it changed, nothing new can follow.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GatheredState {
    pub(super) inputs: ClusterInputs,
    pub(super) published: BTreeMap<NodeName, String>,
    pub(super) awaited: BTreeSet<NodeName>,
    /// Whether this process published the cluster document that is in force.
    pub(super) cluster_is_own: bool,
    pub(super) remembered: MemoryContents,
    pub(super) epoch: u64,
    pub(super) keys: Vec<String>,
}

/// The marks by which two states of what is published differ.
pub(super) fn marks(published: &IntentStates) -> BTreeMap<NodeName, String> {
    let nodes = published.nodes.iter();
    nodes
        .map(|(node, state)| (node.clone(), mark(state)))
        .chain([(cluster_intent(), mark(&published.cluster))])
        .collect()
}

fn mark<D: SignedDocument>(state: &IntentState<D>) -> String {
    let serial = state
        .published()
        .map(|published| published.document.serial());
    match (state, serial) {
        (PublishedState::Current(_), Some(serial)) => format!("current {serial}"),
        (PublishedState::Lost(_, why), Some(serial)) => format!("lost {serial} {why:?}"),
        (PublishedState::Unreadable(why), _) => format!("unreadable {why}"),
        _ => "absent".to_owned(),
    }
}
