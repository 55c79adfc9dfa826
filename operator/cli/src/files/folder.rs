//! Where a publisher's files are.

use std::path::{Path, PathBuf};

use postern_intent::NodeName;

/// The file of an envelope in its node's folder.
const ENVELOPE: &str = "intent.dsse.json";

/// The file of the cluster document, in the folder of all nodes and in each node's.
const CLUSTER_ENVELOPE: &str = "cluster.dsse.json";

/// The files that a publisher writes.
#[derive(Debug, Clone)]
pub struct PublisherFolder {
    /// One folder of envelopes for each node, which agents read.
    pub intents: EnvelopeFolder,
    /// The publisher's own copies; none: nobody else writes into the folder that agents read.
    pub copies: Option<EnvelopeFolder>,
    /// What one run hands to the next.
    pub state: PathBuf,
}

/// A folder with the cluster document and a folder for each node.
#[derive(Debug, Clone)]
pub struct EnvelopeFolder(PathBuf);

impl PublisherFolder {
    /// The layout of a publisher that runs again and again in one folder.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        let publisher = root.join("publisher");
        Self {
            intents: EnvelopeFolder::at(&root.join("intents")),
            copies: Some(EnvelopeFolder::at(&publisher.join("intents"))),
            state: publisher.join("state.json"),
        }
    }

    /// The copies, and then what agents read.
    pub(super) fn envelopes(&self) -> impl Iterator<Item = &EnvelopeFolder> {
        self.copies.iter().chain([&self.intents])
    }
}

impl EnvelopeFolder {
    /// The folder at this path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The envelope of a node.
    pub(super) fn intent(&self, node: &NodeName) -> PathBuf {
        self.0.join(node.as_str()).join(ENVELOPE)
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.0.join(CLUSTER_ENVELOPE)
    }

    /// The cluster document that a node's agent reads.
    pub(super) fn cluster_of(&self, node: &NodeName) -> PathBuf {
        self.0.join(node.as_str()).join(CLUSTER_ENVELOPE)
    }
}
