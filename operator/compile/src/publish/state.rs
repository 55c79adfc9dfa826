//! What is published of a document, and what has to be published again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postern_intent::{ClusterDocument, NodeDocument, NodeName};

use super::document::SignedDocument;

/// A published document. `F` is the form in which a store has its envelope.
#[derive(Debug, Clone)]
pub struct PublishedDocument<D, F> {
    pub document: Arc<D>,
    /// The envelope as the store has it.
    pub form: F,
}

/// What is published of one document. `E` is the reason why an envelope does not count.
#[derive(Debug, Clone)]
pub enum PublishedState<D, F, E> {
    /// Nothing was ever published.
    Absent,
    /// Readers see it, and it verifies.
    Current(PublishedDocument<D, F>),
    /// Readers do not see it, and the publisher has it: it is published again as it was.
    Lost(PublishedDocument<D, F>, DocumentLoss<E>),
    /// Readers see something that does not verify, and the publisher does not know what was there.
    Unreadable(E),
}

/// Why a document has to be published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentLoss<E> {
    Deleted,
    /// There is one that does not count.
    Changed(E),
    /// There is an older one.
    Older,
}

/// The states of all documents.
#[derive(Debug, Clone)]
pub struct PublishedDocuments<F, E> {
    /// One document for each node.
    pub nodes: BTreeMap<NodeName, PublishedState<NodeDocument, F, E>>,
    /// The document for all nodes.
    pub cluster: PublishedState<ClusterDocument, F, E>,
}

/// Compares what readers see with what the publisher has kept. The newer one of two that count is published; one that does
/// not count is never taken for an absent one.
#[must_use]
pub fn published_state<D: SignedDocument, F, E>(
    shown: Option<Result<PublishedDocument<D, F>, E>>,
    kept: Option<PublishedDocument<D, F>>,
) -> PublishedState<D, F, E> {
    match (shown, kept) {
        (None, None) => PublishedState::Absent,
        (None, Some(kept)) => PublishedState::Lost(kept, DocumentLoss::Deleted),
        (Some(Ok(shown)), Some(kept)) if shown.document.serial() < kept.document.serial() => {
            PublishedState::Lost(kept, DocumentLoss::Older)
        }
        (Some(Ok(shown)), _) => PublishedState::Current(shown),
        (Some(Err(reason)), Some(kept)) => {
            PublishedState::Lost(kept, DocumentLoss::Changed(reason))
        }
        (Some(Err(reason)), None) => PublishedState::Unreadable(reason),
    }
}

impl<D, F, E> PublishedState<D, F, E> {
    /// The document that is published, or has to be published again.
    #[must_use]
    pub const fn published(&self) -> Option<&PublishedDocument<D, F>> {
        match self {
            Self::Current(published) | Self::Lost(published, _) => Some(published),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

impl<F, E> PublishedDocuments<F, E> {
    /// The documents of nodes that the next compile follows.
    #[must_use]
    pub fn previous(&self) -> BTreeMap<NodeName, NodeDocument> {
        let published = self.nodes.iter().filter_map(|(node, state)| {
            let published = state.published()?;
            Some((node.clone(), (*published.document).clone()))
        });
        published.collect()
    }

    /// The cluster document that the next compile follows.
    #[must_use]
    pub fn previous_cluster(&self) -> Option<ClusterDocument> {
        let published = self.cluster.published();
        published.map(|published| (*published.document).clone())
    }

    /// Nodes for which something is published that does not count.
    #[must_use]
    pub fn unreadable(&self) -> BTreeSet<NodeName> {
        let unreadable = self
            .nodes
            .iter()
            .filter(|(_, state)| matches!(state, PublishedState::Unreadable(_)));
        unreadable.map(|(node, _)| node.clone()).collect()
    }
}
