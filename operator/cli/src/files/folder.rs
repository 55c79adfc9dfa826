//! Where things are.

use std::path::{Path, PathBuf};

use super::published::CLUSTER_ENVELOPE;

/// The paths of a publisher's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at this path.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Manifests, any number of YAML or JSON files in any depth.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// One report for each node.
    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.root.join("reports")
    }

    /// What people approved.
    #[must_use]
    pub fn approvals(&self) -> PathBuf {
        self.root.join("approvals.yaml")
    }

    /// The verdicts of the last run.
    #[must_use]
    pub fn verdicts(&self) -> PathBuf {
        self.root.join("verdicts.json")
    }

    /// One folder for each node.
    #[must_use]
    pub fn intents(&self) -> PathBuf {
        self.root.join("intents")
    }

    /// The envelope that a node's agent reads.
    #[must_use]
    pub fn intent(&self, node: &str) -> PathBuf {
        self.intents().join(node).join("intent.dsse.json")
    }

    /// The cluster document that a node's agent reads.
    #[must_use]
    pub fn cluster_intent(&self, node: &str) -> PathBuf {
        self.intents().join(node).join(CLUSTER_ENVELOPE)
    }

    /// The publisher's own copies.
    #[must_use]
    pub fn copies(&self) -> PathBuf {
        self.root.join("publisher").join("intents")
    }

    /// The publisher's own copy of a node's envelope.
    #[must_use]
    pub fn copy(&self, node: &str) -> PathBuf {
        self.copies().join(node).join("intent.dsse.json")
    }

    /// What one run tells the next.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("publisher").join("state.json")
    }
}
