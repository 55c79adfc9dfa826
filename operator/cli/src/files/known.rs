//! What earlier runs left: the state and the published envelopes, each an input without which nothing is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_crds::names::CLUSTER_INTENT;
use postern_intent::{ClusterDocument, NodeDocument, NodeName, TrustedKeys};

use super::error::FilesError;
use super::folder::Folder;
use super::published::{Envelopes, Published, read_envelopes};
use super::state::State;
use crate::output::chain;

/// What is known from earlier runs.
#[derive(Debug, Default)]
pub struct Known {
    /// What the last run remembered.
    pub state: State,
    /// What is published.
    pub published: BTreeMap<NodeName, Published>,
    /// The published cluster document.
    pub cluster: Option<Published<ClusterDocument>>,
    /// Nodes for which something is published that does not count, with the reason and what to do.
    pub unreadable: BTreeMap<NodeName, String>,
    /// Whether there was a state.
    pub(super) origin: Origin,
}

/// Was anything known at all?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    /// Nothing was: this is the first run.
    #[default]
    Nothing,
    /// There is a state.
    Kept,
}

impl Known {
    /// Reads a publisher's folder. Agents read the shown envelopes and somebody else may write there, so the
    /// publisher has copies: one good one of the two is enough, and the newer one counts.
    ///
    /// # Errors
    /// [`FilesError`] if a folder or the state cannot be read, or if there are envelopes and no state.
    pub(super) fn of_folder(folder: &Folder, keys: &TrustedKeys) -> Result<Self, FilesError> {
        let copies = read_envelopes(&folder.copies(), keys)?;
        let shown = read_envelopes(&folder.intents(), keys)?;
        let (published, unreadable, cluster) = either(copies, shown);
        Self::new(Some(&folder.state()), published, unreadable, cluster)
    }

    /// Reads folders of envelopes, of which every one has to be good, and the state that belongs to them.
    ///
    /// # Errors
    /// [`FilesError`] if anything of it cannot be read or does not count, or if there are envelopes and no state.
    pub fn of_folders(
        folders: &[&Path],
        state: Option<&Path>,
        keys: &TrustedKeys,
    ) -> Result<Self, FilesError> {
        let (mut published, mut newest_cluster) = (BTreeMap::new(), None);
        for folder in folders {
            let Envelopes { good, bad, cluster } = read_envelopes(folder, keys)?;
            if let Some(source) = bad.into_values().next() {
                return Err(FilesError::Envelope(source));
            }
            published = newest(published, good);
            newest_cluster = newer(newest_cluster, cluster);
        }
        Self::new(state, published, BTreeMap::new(), newest_cluster)
    }

    fn new(
        path: Option<&Path>,
        published: BTreeMap<NodeName, Published>,
        unreadable: BTreeMap<NodeName, String>,
        cluster: Option<Published<ClusterDocument>>,
    ) -> Result<Self, FilesError> {
        let state = path.map(State::find).transpose()?.flatten();
        let nothing = published.is_empty() && unreadable.is_empty() && cluster.is_none();
        if state.is_none() && !nothing {
            return Err(FilesError::StateLost {
                path: path.map(Path::to_owned).unwrap_or_default(),
            });
        }
        Ok(Self {
            origin: if state.is_some() {
                Origin::Kept
            } else {
                Origin::Nothing
            },
            state: state.unwrap_or_default(),
            published,
            cluster,
            unreadable,
        })
    }

    /// A first run that dies after its first envelope would leave envelopes without a state, so the state goes first.
    ///
    /// # Errors
    /// [`FilesError`] of the file.
    pub fn begin(&self, state: &Path) -> Result<(), FilesError> {
        match self.origin {
            Origin::Nothing => self.state.write(state),
            Origin::Kept => Ok(()),
        }
    }

    pub(super) fn bodies(&self) -> BTreeMap<NodeName, NodeDocument> {
        let published = self.published.iter();
        published
            .map(|(node, published)| (node.clone(), published.body.clone()))
            .collect()
    }
}

/// One good envelope of two is enough. Where neither is good, nobody can say what the node was told last.
fn either(copies: Envelopes, shown: Envelopes) -> Readable {
    let good = newest(copies.good, shown.good);
    let cluster = newer(copies.cluster, shown.cluster);
    let mut bad: BTreeMap<NodeName, String> = BTreeMap::new();
    for (node, error) in copies.bad.into_iter().chain(shown.bad) {
        let is_replaced = match node.as_str() {
            CLUSTER_INTENT => cluster.is_some(),
            _ => good.contains_key(&node),
        };
        if !is_replaced {
            let text = bad.entry(node).or_default();
            text.push_str(&chain(&error));
            text.push_str("; ");
        }
    }
    for (node, text) in &mut bad {
        text.push_str("put one of them back from a backup, or ");
        let instead = match node.as_str() {
            // A new one is published at once, but a node that has taken the lost one waits for a person.
            CLUSTER_INTENT => {
                "approve every node that waits: posternctl approve node NODE --verdicts FILE"
                    .to_owned()
            }
            node => {
                format!("let it have a new one: posternctl approve node {node} --verdicts FILE")
            }
        };
        text.push_str(&instead);
    }
    (good, bad, cluster)
}

/// Good envelopes, reasons why others do not count, and the cluster document.
type Readable = (
    BTreeMap<NodeName, Published>,
    BTreeMap<NodeName, String>,
    Option<Published<ClusterDocument>>,
);

/// Of two cluster documents the one with the higher serial.
fn newer(
    one: Option<Published<ClusterDocument>>,
    other: Option<Published<ClusterDocument>>,
) -> Option<Published<ClusterDocument>> {
    one.into_iter()
        .chain(other)
        .max_by_key(|published| published.body.serial)
}

/// Of two envelopes of a node the one with the higher serial.
fn newest(
    one: BTreeMap<NodeName, Published>,
    other: BTreeMap<NodeName, Published>,
) -> BTreeMap<NodeName, Published> {
    let mut newest = one;
    for (node, published) in other {
        let older = newest
            .get(&node)
            .is_none_or(|known| known.body.serial < published.body.serial);
        if older {
            newest.insert(node, published);
        }
    }
    newest
}

/// The nodes of a list with reasons.
pub(super) fn nodes(unreadable: &BTreeMap<NodeName, String>) -> BTreeSet<NodeName> {
    unreadable.keys().cloned().collect()
}
