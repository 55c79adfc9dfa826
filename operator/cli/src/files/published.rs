//! Envelopes of a folder, read back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use postern_compile::publish::{PublishedDocument, SignedDocument, cluster_intent};
use postern_intent::verify::parse_envelope;
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument, NodeName, TrustedKeys};

use super::error::{EnvelopeError, FilesError};
use super::folder::EnvelopeFolder;
use super::write::{entries, read_if_there};

/// A published document with its envelope, or the reason why the envelope does not count.
pub(super) type ReadEnvelope<D> = Result<PublishedDocument<D, DsseEnvelope>, EnvelopeError>;

/// The envelopes of a folder.
#[derive(Debug, Default)]
pub(super) struct FolderEnvelopes {
    pub(super) nodes: BTreeMap<NodeName, ReadEnvelope<NodeDocument>>,
    pub(super) cluster: Option<ReadEnvelope<ClusterDocument>>,
}

impl FolderEnvelopes {
    /// Reads the cluster document of a folder and the document of every node; nothing if there is no such folder.
    ///
    /// # Errors
    /// [`FilesError::Read`] if the folder cannot be listed; what is wrong with one envelope is that document's alone.
    pub(super) fn read(folder: &EnvelopeFolder, keys: &TrustedKeys) -> Result<Self, FilesError> {
        let mut found = Self {
            cluster: read(&folder.cluster(), &cluster_intent(), keys),
            nodes: BTreeMap::new(),
        };
        for path in entries(folder.path())?
            .into_iter()
            .filter(|path| !path.is_file())
        {
            // No node is named so, so that nothing can have been published for one.
            let Some(node) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse::<NodeName>().ok())
            else {
                continue;
            };
            let envelope = read(&folder.intent(&node), &node, keys);
            found.nodes.extend(envelope.map(|read| (node, read)));
        }
        Ok(found)
    }

    /// The same envelopes, of which every one counts.
    ///
    /// # Errors
    /// [`FilesError::Envelope`] of the first one that does not.
    pub(super) fn all_good(self) -> Result<Self, FilesError> {
        let Self { nodes, cluster } = self;
        let cluster = cluster.transpose().map_err(FilesError::Envelope)?;
        let mut good = BTreeMap::new();
        for (node, read) in nodes {
            good.insert(node, Ok(read.map_err(FilesError::Envelope)?));
        }
        Ok(Self {
            nodes: good,
            cluster: cluster.map(Ok),
        })
    }
}

fn read<D: SignedDocument>(
    path: &Path,
    name: &NodeName,
    keys: &TrustedKeys,
) -> Option<ReadEnvelope<D>> {
    let bytes = match read_if_there(path) {
        Ok(bytes) => bytes?,
        Err(source) => {
            return Some(Err(EnvelopeError::Read {
                path: path.to_owned(),
                source,
            }));
        }
    };
    let opened = parse_envelope(&bytes).and_then(|form| {
        let document = Arc::new(D::open(name, &form, keys)?);
        Ok(PublishedDocument { document, form })
    });
    Some(opened.map_err(|source| EnvelopeError::Refused {
        path: path.to_owned(),
        source,
    }))
}
