//! The body of a node from what is published in a cluster. No signature is looked at: agents do that, and
//! `posternctl verify` does.

use postern_crds::NodeIntent;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::published::{join, read_cluster, read_intent};
use postern_intent::{Body, DocumentRefusal, DsseEnvelope, NodeName};

use super::question::PacketError;
use crate::cluster::ReadResult;

/// What the node acts on once it has both documents.
///
/// # Errors
/// [`PacketError`] if nothing is published, or what is published gives no body.
pub fn body(
    node: &NodeName,
    intent: Option<&ReadResult<NodeIntent>>,
    cluster: Option<&ReadResult<NodeIntent>>,
) -> Result<Body, PacketError> {
    let unpublished = || PacketError::Unpublished { node: node.clone() };
    let envelope = envelope(intent)?.ok_or_else(unpublished)?;
    let intent = read_intent(&envelope, node).map_err(|source| match source {
        DocumentRefusal::WrongNode { .. } => PacketError::Foreign {
            node: node.clone(),
            source,
        },
        source => refused(node.as_str(), source),
    })?;
    let cluster = self::envelope(cluster)?;
    let cluster = cluster.map(|cluster| read_cluster(&cluster)).transpose();
    let cluster = cluster.map_err(|source| refused(CLUSTER_INTENT, source))?;
    join(&intent, cluster.as_ref()).map_err(|source| PacketError::Apart {
        node: node.clone(),
        source,
    })
}

fn refused(name: &str, source: DocumentRefusal) -> PacketError {
    let name = name.to_owned();
    PacketError::Document { name, source }
}

fn envelope(object: Option<&ReadResult<NodeIntent>>) -> Result<Option<DsseEnvelope>, PacketError> {
    let object = match object {
        None => return Ok(None),
        Some(Ok(object)) => object,
        Some(Err(bad)) => {
            return Err(PacketError::NotUnderstood {
                name: bad.name.clone(),
                why: bad.why.clone(),
            });
        }
    };
    let shown = object.spec.envelope.as_ref();
    Ok(shown.map(|shown| DsseEnvelope {
        payload_type: shown.payload_type.clone(),
        payload: shown.payload.clone(),
        signatures: Vec::new(),
    }))
}
