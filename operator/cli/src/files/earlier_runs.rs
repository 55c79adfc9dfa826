//! What earlier runs left: the state and the published envelopes, each an input without which nothing is compiled.

use std::collections::BTreeMap;
use std::path::Path;

use postern_compile::publish::{
    PublishedDocuments, PublishedState, SignedDocument, cluster_intent, published_state,
};
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::{DsseEnvelope, NodeName, TrustedKeys};

use super::error::FilesError;
use super::folder::{EnvelopeFolder, PublisherFolder};
use super::published::{FolderEnvelopes, ReadEnvelope};
use super::state::PublisherState;
use crate::output::chain;

/// What is known from earlier runs.
#[derive(Debug)]
pub struct EarlierRuns {
    /// What the last run remembered.
    pub state: PublisherState,
    /// What is published. An envelope that does not count has the reason and what to do.
    pub published: PublishedDocuments<DsseEnvelope, String>,
}

impl EarlierRuns {
    /// Reads a publisher's folder. Agents read the shown envelopes and somebody else may write there, so the
    /// publisher has copies: one good one of the two is enough, and the newer one counts.
    ///
    /// # Errors
    /// [`FilesError`] if a folder or the state cannot be read, or if there are envelopes and no state.
    pub(super) fn of_folder(
        folder: &PublisherFolder,
        keys: &TrustedKeys,
    ) -> Result<Self, FilesError> {
        let copies = match &folder.copies {
            Some(copies) => FolderEnvelopes::read(copies, keys)?,
            None => FolderEnvelopes::default(),
        };
        let shown = FolderEnvelopes::read(&folder.intents, keys)?;
        Self::new(Some(&folder.state), copies, shown)
    }

    /// Reads the envelopes of an earlier publisher and those of the folder that is written to, of which every one has to be
    /// good, and the state that belongs to them.
    ///
    /// # Errors
    /// [`FilesError`] if anything of it cannot be read or does not count, or if there are envelopes and no state.
    pub fn of_folders(
        previous: Option<&Path>,
        out: Option<&Path>,
        state: Option<&Path>,
        keys: &TrustedKeys,
    ) -> Result<Self, FilesError> {
        let read = |folder: Option<&Path>| match folder {
            Some(path) => FolderEnvelopes::read(&EnvelopeFolder::at(path), keys)?.all_good(),
            None => Ok(FolderEnvelopes::default()),
        };
        Self::new(state, read(previous)?, read(out)?)
    }

    fn new(
        path: Option<&Path>,
        kept: FolderEnvelopes,
        mut shown: FolderEnvelopes,
    ) -> Result<Self, FilesError> {
        let cluster = state_of(&cluster_intent(), kept.cluster, shown.cluster);
        let mut nodes = BTreeMap::new();
        for (node, kept) in kept.nodes {
            let shown = shown.nodes.remove(&node);
            nodes.insert(node.clone(), state_of(&node, Some(kept), shown));
        }
        for (node, shown) in shown.nodes {
            nodes.insert(node.clone(), state_of(&node, None, Some(shown)));
        }
        let nothing = nodes.is_empty() && matches!(cluster, PublishedState::Absent);
        let state = path.map(PublisherState::find).transpose()?.flatten();
        if state.is_none() && !nothing {
            return Err(FilesError::StateLost {
                path: path.map(Path::to_owned).unwrap_or_default(),
            });
        }
        Ok(Self {
            state: state.unwrap_or_default(),
            published: PublishedDocuments { nodes, cluster },
        })
    }

    /// Documents whose envelopes do not count, with the reason and what to do.
    pub(super) fn unreadable(&self) -> BTreeMap<NodeName, String> {
        let mut unreadable = BTreeMap::new();
        if let PublishedState::Unreadable(reason) = &self.published.cluster {
            unreadable.insert(cluster_intent(), reason.clone());
        }
        for (node, state) in &self.published.nodes {
            if let PublishedState::Unreadable(reason) = state {
                unreadable.insert(node.clone(), reason.clone());
            }
        }
        unreadable
    }
}

/// One good envelope of two is enough. Where neither is good, nobody can say which document the node has.
fn state_of<D: SignedDocument>(
    name: &NodeName,
    kept: Option<ReadEnvelope<D>>,
    shown: Option<ReadEnvelope<D>>,
) -> PublishedState<D, DsseEnvelope, String> {
    let mut damage = String::new();
    let mut good = |read: Option<ReadEnvelope<D>>| match read? {
        Ok(published) => Some(published),
        Err(error) => {
            damage.push_str(&chain(&error));
            damage.push_str("; ");
            None
        }
    };
    let (kept, shown) = (good(kept), good(shown));
    let shown = match (shown, &kept) {
        // Somebody else may have changed the signatures of the shown one.
        (Some(shown), Some(kept)) if shown.document.serial() == kept.document.serial() => {
            Some(Ok(kept.clone()))
        }
        (Some(shown), _) => Some(Ok(shown)),
        (None, _) if damage.is_empty() => None,
        (None, _) => Some(Err(damage + &advice(name))),
    };
    published_state(shown, kept)
}

fn advice(name: &NodeName) -> String {
    let instead = match name.as_str() {
        // A new one is published at once, but a node that has taken the lost one waits for a person.
        CLUSTER_INTENT => {
            "approve every node that waits: posternctl approve node NODE --verdicts FILE".to_owned()
        }
        node => {
            format!("let it have a new one: posternctl approve node {node} --verdicts FILE")
        }
    };
    format!("put one of them back from a backup, or {instead}")
}
