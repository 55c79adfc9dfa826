//! Documents that the operator signs and publishes in a NodeIntent: one for each node, and one for all of them.

use std::fmt;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_intent::envelope::PayloadType;
use postern_intent::sign::{SignError, sign_cluster, sign_intent};
use postern_intent::verify::{DocumentRefusal, verify_published_cluster, verify_published_intent};
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument, NodeName, Serial, TrustedKeys};

/// A document in a NodeIntent.
pub trait SignedDocument: Clone + fmt::Debug + PartialEq + Send + Sync {
    /// The payload type of its envelope.
    const KIND: PayloadType;

    fn serial(&self) -> Serial;
    fn not_after(&self) -> Timestamp;
    /// `spec.nodeUID` of its object.
    fn node_uid(&self) -> &str;

    /// # Errors
    /// [`SignError`].
    fn sign(&self, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError>;

    /// Verifies an envelope that an operator published, an expired one too.
    ///
    /// # Errors
    /// The reason, as conditions and Events name it.
    fn open(name: &NodeName, envelope: &DsseEnvelope, keys: &TrustedKeys) -> Result<Self, Reason>;
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

    fn open(name: &NodeName, envelope: &DsseEnvelope, keys: &TrustedKeys) -> Result<Self, Reason> {
        let verified = verify_published_intent(envelope, keys);
        let verified = verified.map_err(|refusal| reason(&refusal))?;
        let document = verified.get();
        (document.node.name == *name)
            .then(|| document.clone())
            .ok_or(Reason::WrongNode)
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
        // No UID of a Node, and one that the definition takes for one.
        "cluster"
    }

    fn sign(&self, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError> {
        sign_cluster(self, keys)
    }

    fn open(_: &NodeName, envelope: &DsseEnvelope, keys: &TrustedKeys) -> Result<Self, Reason> {
        let verified = verify_published_cluster(envelope, keys);
        let verified = verified.map_err(|refusal| reason(&refusal))?;
        Ok(verified.get().clone())
    }
}

/// The reason of a refusal, as conditions and Events name it.
fn reason(refusal: &DocumentRefusal) -> Reason {
    Reason::parse(refusal.reason()).unwrap_or(Reason::Malformed)
}
