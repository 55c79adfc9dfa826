//! Documents that are signed and published: one for each node, and one for all of them.

use std::fmt;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::envelope::PayloadType;
use postern_intent::sign::{SignError, sign_cluster, sign_intent};
use postern_intent::verify::{verify_published_cluster, verify_published_intent};
use postern_intent::{
    ClusterDocument, DocumentRefusal, DsseEnvelope, NodeDocument, NodeName, Serial, TrustedKeys,
};

/// The name under which the cluster document is published, beside the names of nodes.
#[must_use]
pub fn cluster_intent() -> NodeName {
    #[expect(clippy::expect_used, reason = "a constant, which a test parses")]
    CLUSTER_INTENT.parse().expect("the name of an object")
}

/// A document that is signed and published.
pub trait SignedDocument: Clone + fmt::Debug + PartialEq + Send + Sync {
    /// The payload type of its envelope.
    const KIND: PayloadType;

    /// The document's own counter.
    fn serial(&self) -> Serial;
    /// The end of its validity.
    fn not_after(&self) -> Timestamp;
    /// `spec.nodeUID` of the NodeIntent that carries it.
    fn node_uid(&self) -> &str;

    /// Signs the document with every key.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError>;

    /// Reads a published envelope back, an expired one too. `name` is the node, or the object of the cluster document.
    ///
    /// # Errors
    /// [`DocumentRefusal`]: the envelope does not count as published.
    fn open(
        name: &NodeName,
        envelope: &DsseEnvelope,
        keys: &TrustedKeys,
    ) -> Result<Self, DocumentRefusal>;
}

impl SignedDocument for NodeDocument {
    const KIND: PayloadType = PayloadType::Intent;

    fn serial(&self) -> Serial {
        self.serial
    }

    fn not_after(&self) -> Timestamp {
        self.not_after
    }

    fn node_uid(&self) -> &str {
        self.node.uid.as_str()
    }

    fn sign(&self, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError> {
        sign_intent(self, keys)
    }

    fn open(
        name: &NodeName,
        envelope: &DsseEnvelope,
        keys: &TrustedKeys,
    ) -> Result<Self, DocumentRefusal> {
        let verified = verify_published_intent(envelope, keys)?;
        let document = verified.get();
        if document.node.name == *name {
            return Ok(document.clone());
        }
        Err(DocumentRefusal::WrongNode {
            found: document.node.name.to_string(),
            own: name.to_string(),
        })
    }
}

impl SignedDocument for ClusterDocument {
    const KIND: PayloadType = PayloadType::Cluster;

    fn serial(&self) -> Serial {
        self.serial
    }

    fn not_after(&self) -> Timestamp {
        self.not_after
    }

    fn node_uid(&self) -> &str {
        // It belongs to no Node; the definition requires a value.
        "cluster"
    }

    fn sign(&self, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError> {
        sign_cluster(self, keys)
    }

    fn open(
        _: &NodeName,
        envelope: &DsseEnvelope,
        keys: &TrustedKeys,
    ) -> Result<Self, DocumentRefusal> {
        Ok(verify_published_cluster(envelope, keys)?.get().clone())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_of_the_cluster_documents_object_is_one() {
        assert!(super::cluster_intent().as_str().contains("cluster"));
    }
}
