//! Which uplink of the node is up, as the node reads it back.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The isolation of the node's uplinks.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationReport {
    /// The InterfaceIsolation that the body carried.
    #[schemars(schema_with = "crate::schema::text::object_name")]
    pub policy: String,

    /// Digest of the section that the node acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::section_digest")]
    pub digest: Option<String>,

    /// How far the node is.
    pub state: IsolationState,

    /// Why, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::text::reason")]
    pub reason: Option<String>,

    /// Why, as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "crate::schema::text::sentence")]
    pub message: String,

    /// Interfaces that may be up, with the ports and parents that belong to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::text::interfaces")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub uplinks: Vec<String>,

    /// Grows with every reading of the interfaces that differed from the one before, since the agent's start.
    #[serde(default)]
    pub epoch: u64,
}

/// How far the node is.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum IsolationState {
    /// Nothing was changed: the change would cut a remote session.
    #[default]
    Held,
    /// The node changes its uplink.
    Switching,
    /// The new uplink is up, and what has to answer did not answer yet.
    Confirming,
    /// The wanted uplink is up and nothing else, read back.
    Compliant,
    /// The uplink of before is up again and nothing else, read back: the wanted one was not confirmed.
    RolledBack,
    /// Something that should be down is up, or what should be up is not, or a level is not reached.
    Deviating,
}
