//! Envelopes that were published, as an input of the next compile.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use postern_crds::names::CLUSTER_INTENT;
use postern_intent::verify::{parse_envelope, verify_published_cluster, verify_published_intent};
use postern_intent::{ClusterDocument, DocumentRefusal, NodeDocument, NodeName, TrustedKeys};

use super::error::{EnvelopeError, FilesError};
use super::write::entries;

/// The file of an envelope in its node's folder.
pub const ENVELOPE: &str = "intent.dsse.json";

/// The file of the cluster document, in the folder of all nodes and in each node's.
pub const CLUSTER_ENVELOPE: &str = "cluster.dsse.json";

/// An envelope with its document and its exact bytes.
#[derive(Debug, Clone)]
pub struct Published<D = NodeDocument> {
    /// The verified document.
    pub body: D,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// The envelopes of a folder.
#[derive(Debug, Default)]
pub struct Envelopes {
    /// Those that count.
    pub good: BTreeMap<NodeName, Published>,
    /// Those that are there and do not, with the reason; the cluster document under the name of its object.
    pub bad: BTreeMap<NodeName, EnvelopeError>,
    /// The cluster document, where it counts.
    pub cluster: Option<Published<ClusterDocument>>,
}

/// Reads `cluster.dsse.json` of a folder and `<node>/intent.dsse.json` of every node below it; nothing if there is no such
/// folder.
///
/// # Errors
/// [`FilesError::Read`] if the folder cannot be listed; what is wrong with one envelope is that node's alone.
pub fn read_envelopes(folder: &Path, keys: &TrustedKeys) -> Result<Envelopes, FilesError> {
    let mut found = Envelopes::default();
    match read_cluster(&folder.join(CLUSTER_ENVELOPE), keys) {
        Ok(cluster) => found.cluster = cluster,
        Err(error) => found
            .bad
            .extend(CLUSTER_INTENT.parse().ok().map(|name| (name, error))),
    }
    for path in entries(folder)?.into_iter().filter(|path| !path.is_file()) {
        // No node is named so, so that nothing can have been published for one.
        let Some(node) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<NodeName>().ok())
        else {
            continue;
        };
        match read(&path.join(ENVELOPE), &node, keys) {
            Ok(Some(published)) => drop(found.good.insert(node, published)),
            Ok(None) => {}
            Err(error) => drop(found.bad.insert(node, error)),
        }
    }
    Ok(found)
}

fn read_cluster(
    path: &Path,
    keys: &TrustedKeys,
) -> Result<Option<Published<ClusterDocument>>, EnvelopeError> {
    let Some(bytes) = bytes(path)? else {
        return Ok(None);
    };
    let opened =
        parse_envelope(&bytes).and_then(|envelope| verify_published_cluster(&envelope, keys));
    let body = opened.map_err(refused(path))?.get().clone();
    Ok(Some(Published { body, bytes }))
}

fn read(
    path: &Path,
    node: &NodeName,
    keys: &TrustedKeys,
) -> Result<Option<Published>, EnvelopeError> {
    let Some(bytes) = bytes(path)? else {
        return Ok(None);
    };
    let opened =
        parse_envelope(&bytes).and_then(|envelope| verify_published_intent(&envelope, keys));
    let body = opened.map_err(refused(path))?;
    if body.get().node.name != *node {
        return Err(EnvelopeError::Stray {
            path: path.to_owned(),
            found: body.get().node.name.clone(),
        });
    }
    let body = body.get().clone();
    Ok(Some(Published { body, bytes }))
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, EnvelopeError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(EnvelopeError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn refused(path: &Path) -> impl FnOnce(DocumentRefusal) -> EnvelopeError {
    let path = path.to_owned();
    |source| EnvelopeError::Refused { path, source }
}
