//! What a run has gathered: types that every later step reads.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::NodeName;

use super::gather::Inputs;
use super::intents::IntentState;
use super::memory::{LoadedMemory, MemoryContents};
use crate::signer::SigningKeys;

/// What a run has gathered.
pub(super) struct Round {
    pub(super) epoch: u64,
    pub(super) signing: SigningKeys,
    pub(super) world: World,
    pub(super) intent_states: BTreeMap<NodeName, IntentState>,
    pub(super) loaded: LoadedMemory,
}

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

/// The marks by which two states of what is published differ.
pub(super) fn marks(intent_states: &BTreeMap<NodeName, IntentState>) -> BTreeMap<NodeName, String> {
    let mark = |standing: &IntentState| match standing {
        IntentState::Current { body, .. } => format!("current {}", body.serial),
        IntentState::Absent => "absent".to_owned(),
        IntentState::Lagging => "lagging".to_owned(),
        IntentState::Lost { kept, why } => format!("lost {} {why:?}", kept.body.serial),
        IntentState::Tampered { why } => format!("tampered {why}"),
    };
    intent_states
        .iter()
        .map(|(node, standing)| (node.clone(), mark(standing)))
        .collect()
}
