//! What a compile decides about the intent of one node.

use postern_intent::{NodeDocument, Serial};

use crate::budget::OmittedParts;

/// What becomes of a node's intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOutcome {
    /// The published envelope stays, byte for byte.
    Keep,
    /// This document is signed and published.
    Publish(Box<NodeDocument>),
    /// Nothing is published: the node has seen newer documents than we have, or what we have of it cannot be read, and
    /// whatever we said could be looser than what it enforces. It keeps that until a person approves or it runs out:
    /// docs/adr/0012-restored-publishes-nothing.md.
    Restored,
    /// Nothing new is published before the node has said what it has seen: [`Snapshot::awaited`](crate::Snapshot). What is published for it
    /// stays.
    Awaited,
}

/// A node's outcome with what the verdicts need to know about it.
pub(crate) struct SettledNode {
    pub(crate) outcome: NodeOutcome,
    /// The document that is in force once the outcome is carried out.
    pub(crate) document: NodeDocument,
    /// [`ClusterDocument::changed`](postern_intent::ClusterDocument) of the document in force.
    pub(crate) facts: Serial,
    /// What did not fit.
    pub(crate) shed: OmittedParts,
}
