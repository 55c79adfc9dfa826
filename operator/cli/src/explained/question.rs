//! The question about one packet of a pod of a snapshot, and the reasons why there is no answer.

use postern_compile::intake::IntakeError;
use postern_compile::snapshot::{PodNetwork, SnapshotPod};
use postern_control::explained::{PacketQuestion, PacketQuestionError, PacketTarget};
use postern_intent::{DocumentRefusal, NodeName};
use postern_plan::explain::BoundPod;
use thiserror::Error;

/// Why a packet cannot be judged.
#[derive(Debug, Error)]
pub enum PacketError {
    /// No pod sends such a packet, or this one does not.
    #[error(transparent)]
    Question(#[from] PacketQuestionError),
    /// The pod is not understood.
    #[error("the pod is not understood")]
    Pod(#[source] IntakeError),
    /// The pod has the addresses of its node.
    #[error(
        "pod {pod} uses the host network: its packets cannot be told from those of its node, and are not judged"
    )]
    HostNetwork { pod: String },
    /// The node has no intent.
    #[error(
        "nothing is published for node {node}: before its first intent it lets pods out that ran before Postern, and holds \
         those that start through the plugin"
    )]
    Unpublished { node: NodeName },
    /// The node has seen documents that are not known here.
    #[error(
        "what node {node} carries is not known here: it has seen newer documents than there are, and gets none until a person \
         approves (`posternctl approve`)"
    )]
    Restored { node: NodeName },
    /// A NodeIntent is not understood.
    #[error("NodeIntent {name} is not understood: {why}; is this program as new as the operator?")]
    NotUnderstood { name: String, why: String },
    /// A document is not one that an agent would take.
    #[error(
        "the document in NodeIntent {name} cannot be used; is this program as new as the operator?"
    )]
    Document {
        /// The name of the NodeIntent.
        name: String,
        #[source]
        source: DocumentRefusal,
    },
    /// The document is another node's.
    #[error(
        "the agent of node {node} refuses the document in NodeIntent {node}, and goes on with the one before; an operator that \
         runs puts the right one back: look at `posternctl status`, and try again"
    )]
    Foreign {
        node: NodeName,
        #[source]
        source: DocumentRefusal,
    },
    /// Two documents do not fit.
    #[error(
        "the document of node {node} cannot be joined with the cluster document, so that its agent waits; try again"
    )]
    Apart {
        node: NodeName,
        #[source]
        source: DocumentRefusal,
    },
}

/// The first packet of a connection from a pod.
///
/// # Errors
/// [`PacketError`] if the pod sends no such packet.
pub fn packet_question(
    pod: &SnapshotPod,
    target: &PacketTarget,
) -> Result<PacketQuestion, PacketError> {
    if pod.attachment == PodNetwork::Host {
        return Err(PacketError::HostNetwork {
            pod: format!("{}/{}", pod.namespace, pod.name),
        });
    }
    let bound = BoundPod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        addresses: pod.addresses.clone(),
    };
    Ok(PacketQuestion::new(bound, pod.node.clone(), target)?)
}
