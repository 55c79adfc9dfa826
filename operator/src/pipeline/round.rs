//! What a run has gathered: types that every later step reads.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::names::CLUSTER_INTENT;
use postern_intent::{ClusterDocument, NodeName};

use super::gather::Inputs;
use super::intents::IntentState;
use super::memory::{LoadedMemory, MemoryContents};
use super::signed::SignedDocument;
use crate::signer::SigningKeys;

/// What a run has gathered.
pub(super) struct Round {
    pub(super) epoch: u64,
    pub(super) signing: SigningKeys,
    pub(super) world: World,
    pub(super) intent_states: BTreeMap<NodeName, IntentState>,
    /// How the published cluster document stands.
    pub(super) cluster_state: IntentState<ClusterDocument>,
    pub(super) loaded: LoadedMemory,
}

/// What distinguishes one state of the world from another: if nothing of it changed, nothing new can follow.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct World {
    pub(super) inputs: Inputs,
    pub(super) published: BTreeMap<NodeName, String>,
    pub(super) awaited: BTreeSet<NodeName>,
    /// Whether this process published the cluster document that is in force.
    pub(super) cluster_is_own: bool,
    pub(super) remembered: MemoryContents,
    pub(super) epoch: u64,
    pub(super) keys: Vec<String>,
}

/// The object of the cluster document.
pub(super) fn cluster_intent() -> NodeName {
    #[expect(clippy::expect_used, reason = "a constant, which a test parses")]
    CLUSTER_INTENT.parse().expect("the name of an object")
}

/// The marks by which two states of what is published differ.
pub(super) fn marks(
    intent_states: &BTreeMap<NodeName, IntentState>,
    cluster_state: &IntentState<ClusterDocument>,
) -> BTreeMap<NodeName, String> {
    let nodes = intent_states.iter();
    nodes
        .map(|(node, standing)| (node.clone(), mark(standing)))
        .chain([(cluster_intent(), mark(cluster_state))])
        .collect()
}

fn mark<D: SignedDocument>(standing: &IntentState<D>) -> String {
    match standing {
        IntentState::Current { body, .. } => format!("current {}", body.serial()),
        IntentState::Absent => "absent".to_owned(),
        IntentState::Lagging => "lagging".to_owned(),
        IntentState::Lost { kept, why } => format!("lost {} {why:?}", kept.body.serial()),
        IntentState::Tampered { why } => format!("tampered {why}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_of_the_cluster_documents_object_is_one() {
        assert!(super::cluster_intent().as_str().contains("cluster"));
    }
}
