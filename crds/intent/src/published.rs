//! What is published, as a person reads it who has no key to verify it with. An agent acts on what
//! [`verify`](crate::verify) makes and on nothing from here.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body::{Body, ClusterDocument, FORMAT_VERSION, NodeDocument, NodeIdentity};
use crate::envelope::{DsseEnvelope, PayloadType, unpack};
use crate::newtypes::NodeName;
use crate::refusal::DocumentRefusal;

/// The document of the node of this name. Its signature is not verified.
///
/// # Errors
/// [`DocumentRefusal`] if it is no document of this format, contradicts itself, or is for another node.
pub fn read_intent(
    envelope: &DsseEnvelope,
    own: &NodeName,
) -> Result<NodeDocument, DocumentRefusal> {
    let document: NodeDocument = read(envelope, PayloadType::Intent)?;
    document.check().map_err(DocumentRefusal::Inconsistent)?;
    verify_name(&document.node, own)?;
    Ok(document)
}

/// The cluster document. Its signature is not verified.
///
/// # Errors
/// [`DocumentRefusal`] if it is no document of this format, or contradicts itself.
pub fn read_cluster(envelope: &DsseEnvelope) -> Result<ClusterDocument, DocumentRefusal> {
    let document: ClusterDocument = read(envelope, PayloadType::Cluster)?;
    document.check().map_err(DocumentRefusal::Inconsistent)?;
    Ok(document)
}

/// The addressee has the name of this node.
pub(crate) fn verify_name(found: &NodeIdentity, own: &NodeName) -> Result<(), DocumentRefusal> {
    if found.name == *own {
        return Ok(());
    }
    Err(DocumentRefusal::WrongNode {
        found: found.name.to_string(),
        own: own.to_string(),
    })
}

/// Joins two documents by the rules of an agent.
///
/// # Errors
/// [`DocumentRefusal::ClusterAwaited`], [`DocumentRefusal::FormerLineage`].
pub fn join(
    node: &NodeDocument,
    cluster: Option<&ClusterDocument>,
) -> Result<Body, DocumentRefusal> {
    let cluster = joinable(node, cluster)?;
    Ok(Body::of(node.clone(), cluster.clone()))
}

/// The cluster document, if the node's document may be joined with it.
pub(crate) fn joinable<'a>(
    node: &NodeDocument,
    cluster: Option<&'a ClusterDocument>,
) -> Result<&'a ClusterDocument, DocumentRefusal> {
    let needed = node.cluster_serial;
    let Some(cluster) = cluster.filter(|cluster| cluster.serial >= needed) else {
        let found = cluster.map(|cluster| cluster.serial);
        return Err(DocumentRefusal::ClusterAwaited { needed, found });
    };
    let follows = cluster.follows;
    if needed < follows {
        return Err(DocumentRefusal::FormerLineage {
            named: needed,
            follows,
        });
    }
    Ok(cluster)
}

fn read<T: DeserializeOwned>(
    envelope: &DsseEnvelope,
    kind: PayloadType,
) -> Result<T, DocumentRefusal> {
    if envelope.payload_type != kind.media_type() {
        return Err(DocumentRefusal::PayloadType {
            found: envelope.payload_type.clone(),
            expected: kind.media_type(),
        });
    }
    let packed = envelope.payload_bytes().map_err(DocumentRefusal::Payload)?;
    parse_document(&unpack(&packed).map_err(DocumentRefusal::Payload)?)
}

/// Parses a document of this format; of another format nothing but that is looked at.
pub(crate) fn parse_document<T: DeserializeOwned>(json: &[u8]) -> Result<T, DocumentRefusal> {
    let Versioned { version } = parse(json)?;
    if version != FORMAT_VERSION {
        return Err(DocumentRefusal::FormatVersion { found: version });
    }
    parse(json)
}

pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, DocumentRefusal> {
    serde_json::from_slice(json).map_err(DocumentRefusal::NotUnderstood)
}

/// The one field of a document that every format has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}
