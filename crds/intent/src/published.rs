//! What is published, as a person reads it who has no key to verify it with. An agent acts on what
//! [`verify`](crate::verify) makes and on nothing from here.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body::{Body, ClusterDocument, FORMAT_VERSION, NodeDocument, NodeIdentity};
use crate::envelope::{Envelope, PayloadType, unpack};
use crate::newtypes::NodeName;
use crate::refusal::Refusal;

/// The document of the node of this name. Its signature is not verified.
///
/// # Errors
/// [`Refusal`] if it is no document of this format, contradicts itself, or is for another node.
pub fn read_intent(envelope: &Envelope, own: &NodeName) -> Result<NodeDocument, Refusal> {
    let document: NodeDocument = read(envelope, PayloadType::Intent)?;
    document.check().map_err(Refusal::Inconsistent)?;
    verify_name(&document.node, own)?;
    Ok(document)
}

/// The cluster document. Its signature is not verified.
///
/// # Errors
/// [`Refusal`] if it is no document of this format, or contradicts itself.
pub fn read_cluster(envelope: &Envelope) -> Result<ClusterDocument, Refusal> {
    let document: ClusterDocument = read(envelope, PayloadType::Cluster)?;
    document.check().map_err(Refusal::Inconsistent)?;
    Ok(document)
}

/// The addressee has the name of this node.
pub(crate) fn verify_name(found: &NodeIdentity, own: &NodeName) -> Result<(), Refusal> {
    if found.name == *own {
        return Ok(());
    }
    Err(Refusal::WrongNode {
        found: found.name.to_string(),
        own: own.to_string(),
    })
}

/// Joins two documents by the rules of an agent.
///
/// # Errors
/// [`Refusal::ClusterAwaited`], [`Refusal::FormerLineage`].
pub fn join(node: &NodeDocument, cluster: Option<&ClusterDocument>) -> Result<Body, Refusal> {
    let cluster = joinable(node, cluster)?;
    Ok(Body::of(node.clone(), cluster.clone()))
}

/// The cluster document, if the node's document may be joined with it.
pub(crate) fn joinable<'a>(
    node: &NodeDocument,
    cluster: Option<&'a ClusterDocument>,
) -> Result<&'a ClusterDocument, Refusal> {
    let needed = node.cluster_serial;
    let Some(cluster) = cluster.filter(|cluster| cluster.serial >= needed) else {
        let found = cluster.map(|cluster| cluster.serial);
        return Err(Refusal::ClusterAwaited { needed, found });
    };
    let follows = cluster.follows;
    if needed < follows {
        return Err(Refusal::FormerLineage {
            named: needed,
            follows,
        });
    }
    Ok(cluster)
}

fn read<T: DeserializeOwned>(envelope: &Envelope, kind: PayloadType) -> Result<T, Refusal> {
    if envelope.payload_type != kind.media_type() {
        return Err(Refusal::PayloadType {
            found: envelope.payload_type.clone(),
            expected: kind.media_type(),
        });
    }
    let packed = envelope.payload_bytes().map_err(Refusal::Payload)?;
    parse_document(&unpack(&packed).map_err(Refusal::Payload)?)
}

/// Parses a document of this format; of another format nothing but that is looked at.
pub(crate) fn parse_document<T: DeserializeOwned>(json: &[u8]) -> Result<T, Refusal> {
    let Versioned { version } = parse(json)?;
    if version != FORMAT_VERSION {
        return Err(Refusal::FormatVersion { found: version });
    }
    parse(json)
}

pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(json).map_err(Refusal::NotUnderstood)
}

/// The one field of a document that every format has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}
