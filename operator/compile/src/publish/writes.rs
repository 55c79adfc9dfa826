//! The writes of one run and their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_intent::sign::SignError;
use postern_intent::{ClusterDocument, NodeDocument, NodeName};
use thiserror::Error;

use super::document::{SignedDocument, cluster_intent};
use super::state::{PublishedDocuments, PublishedState};
use crate::compile::Compilation;
use crate::settled::NodeOutcome;
use crate::shared::ClusterOutcome;

/// How a publisher signs, and the form in which its store has an envelope.
pub trait DocumentSigner {
    /// The envelope as the store has it.
    type Form: Clone;

    /// The last change to a node's document before it is signed: credentials are encrypted.
    ///
    /// # Errors
    /// [`SignError::Credential`].
    fn stamp(&self, document: &mut NodeDocument) -> Result<(), SignError>;

    /// Signs a document.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign<D: SignedDocument>(&self, document: &D) -> Result<Self::Form, SignError>;

    /// Signs the payload of a published envelope again; none: it has today's signatures.
    ///
    /// # Errors
    /// [`SignError`].
    fn resign<D: SignedDocument>(
        &self,
        published: &Self::Form,
    ) -> Result<Option<Self::Form>, SignError>;
}

/// A document that cannot be signed.
#[derive(Debug, Error)]
#[error("the intent of {name} cannot be signed")]
pub struct DocumentSignError {
    /// The node, or the object of the cluster document.
    pub name: String,
    #[source]
    pub source: SignError,
}

/// Why a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentChange {
    /// It says something new, or is issued again.
    New,
    /// It was lost, and is put back as it was.
    Republished,
    /// It says the same, and the keys that nodes are to trust changed.
    Keys,
}

impl DocumentChange {
    /// The reason as it is logged.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Republished => "republished",
            Self::Keys => "keys",
        }
    }
}

/// One document that is written.
#[derive(Debug, Clone)]
pub struct DocumentWrite<D, F> {
    /// The node, or the object of the cluster document.
    pub name: NodeName,
    /// What the envelope says.
    pub document: Arc<D>,
    pub form: F,
    /// Why it is written.
    pub change: DocumentChange,
}

/// The documents that are written in one run.
#[derive(Debug, Clone)]
pub struct PlannedDocuments<F> {
    /// The document for all nodes.
    pub cluster: Option<DocumentWrite<ClusterDocument, F>>,
    /// The documents of nodes.
    pub nodes: Vec<DocumentWrite<NodeDocument, F>>,
}

/// Writes that a store carries out together. A store begins a stage when it has ended the one before.
#[derive(Debug, Clone)]
pub enum PublishStage<F> {
    Memory,
    /// The cluster document is written.
    Cluster(Option<DocumentWrite<ClusterDocument, F>>),
    /// The documents of nodes are written.
    Nodes(Vec<DocumentWrite<NodeDocument, F>>),
    /// What was published for nodes that are gone is deleted.
    Retire(BTreeSet<NodeName>),
}

impl<F> Default for PlannedDocuments<F> {
    fn default() -> Self {
        Self {
            cluster: None,
            nodes: Vec::new(),
        }
    }
}

impl<F> PlannedDocuments<F> {
    /// All writes of a run in their order.
    #[must_use]
    pub fn stages(self, retired: &BTreeSet<NodeName>) -> [PublishStage<F>; 4] {
        [
            // First: a crash in between loses no record of what was released.
            PublishStage::Memory,
            // Before the documents of nodes, which name its serial.
            PublishStage::Cluster(self.cluster),
            PublishStage::Nodes(self.nodes),
            // Last: numbers of a retired node are free again once nothing names them.
            PublishStage::Retire(retired.clone()),
        ]
    }
}

/// Decides which documents are written, and signs them.
///
/// # Errors
/// [`DocumentSignError`].
pub fn plan_documents<S: DocumentSigner, E>(
    compilation: &Compilation,
    published: &PublishedDocuments<S::Form, E>,
    signer: &S,
) -> Result<PlannedDocuments<S::Form>, DocumentSignError> {
    let name = cluster_intent();
    let cluster = match &compilation.cluster {
        ClusterOutcome::Publish(document) => Some(new_write(&name, (**document).clone(), signer)?),
        ClusterOutcome::Keep => kept_write(&name, Some(&published.cluster), signer)?,
    };
    let mut nodes = Vec::new();
    for (node, outcome) in &compilation.nodes {
        let write = match outcome {
            NodeOutcome::Restored | NodeOutcome::Awaited => None,
            NodeOutcome::Publish(document) => {
                let mut document = (**document).clone();
                let stamped = signer.stamp(&mut document);
                stamped.map_err(|error| failed(node, error))?;
                Some(new_write(node, document, signer)?)
            }
            NodeOutcome::Keep => kept_write(node, published.nodes.get(node), signer)?,
        };
        nodes.extend(write);
    }
    Ok(PlannedDocuments { cluster, nodes })
}

fn new_write<D: SignedDocument, S: DocumentSigner>(
    name: &NodeName,
    document: D,
    signer: &S,
) -> Result<DocumentWrite<D, S::Form>, DocumentSignError> {
    Ok(DocumentWrite {
        form: signer
            .sign(&document)
            .map_err(|error| failed(name, error))?,
        name: name.clone(),
        document: Arc::new(document),
        change: DocumentChange::New,
    })
}

/// What stays is written only where it is lost, or where its signatures are not today's, whenever that began: the write
/// that was to bring them may have failed.
fn kept_write<D: SignedDocument, S: DocumentSigner, E>(
    name: &NodeName,
    state: Option<&PublishedState<D, S::Form, E>>,
    signer: &S,
) -> Result<Option<DocumentWrite<D, S::Form>>, DocumentSignError> {
    let (published, form, change) = match state {
        Some(PublishedState::Lost(published, _)) => {
            let form = Some(published.form.clone());
            (published, form, DocumentChange::Republished)
        }
        Some(PublishedState::Current(published)) => {
            let form = signer.resign::<D>(&published.form);
            let form = form.map_err(|error| failed(name, error))?;
            (published, form, DocumentChange::Keys)
        }
        Some(PublishedState::Absent | PublishedState::Unreadable(_)) | None => return Ok(None),
    };
    Ok(form.map(|form| DocumentWrite {
        name: name.clone(),
        document: Arc::clone(&published.document),
        form,
        change,
    }))
}

fn failed(name: &NodeName, source: SignError) -> DocumentSignError {
    DocumentSignError {
        name: name.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use postern_intent::sign::SignError;
    use postern_intent::{DsseEnvelope, NodeDocument, NodeName};

    use super::super::document::SignedDocument;
    use super::super::state::{
        DocumentLoss, PublishedDocument, PublishedDocuments, PublishedState, published_state,
    };
    use super::{DocumentChange, DocumentSigner, PlannedDocuments, PublishStage, plan_documents};
    use crate::compile::Compilation;
    use crate::settled::NodeOutcome;
    use crate::shared::ClusterOutcome;

    struct OneKey(SigningKey);

    impl DocumentSigner for OneKey {
        type Form = DsseEnvelope;

        fn stamp(&self, _: &mut NodeDocument) -> Result<(), SignError> {
            Ok(())
        }

        fn sign<D: SignedDocument>(&self, document: &D) -> Result<DsseEnvelope, SignError> {
            document.sign(std::slice::from_ref(&self.0))
        }

        fn resign<D: SignedDocument>(
            &self,
            _: &DsseEnvelope,
        ) -> Result<Option<DsseEnvelope>, SignError> {
            Ok(None)
        }
    }

    fn name(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    fn document(node: &str, serial: u64) -> NodeDocument {
        let document = serde_json::json!({
            "version": postern_intent::body::FORMAT_VERSION,
            "node": { "name": node, "uid": "u1" },
            "serial": serial,
            "issuedAt": "2026-01-01T00:00:00Z",
            "notAfter": "2026-01-02T00:00:00Z",
            "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
            "tunnels": [], "routes": [], "nat": [], "firewall": [], "pods": [], "allocations": [],
        });
        serde_json::from_value(document).expect("a document")
    }

    fn signer() -> OneKey {
        OneKey(SigningKey::from_bytes(&[1; 32]))
    }

    fn published(serial: u64) -> PublishedDocument<NodeDocument, DsseEnvelope> {
        let document = document("n1", serial);
        PublishedDocument {
            form: signer().sign(&document).expect("an envelope"),
            document: Arc::new(document),
        }
    }

    type State = PublishedState<NodeDocument, DsseEnvelope, &'static str>;

    /// The documents that are written for a node with this outcome and this state.
    fn plan(outcome: NodeOutcome, state: State) -> Vec<(u64, DocumentChange)> {
        let compilation = Compilation {
            cluster: ClusterOutcome::Keep,
            nodes: [(name("n1"), outcome)].into(),
            verdicts: Vec::new(),
            held: Vec::new(),
            memory: Default::default(),
            wake: None,
            retired: BTreeSet::new(),
        };
        let documents = PublishedDocuments {
            nodes: BTreeMap::from([(name("n1"), state)]),
            cluster: PublishedState::Absent,
        };
        let planned = plan_documents(&compilation, &documents, &signer()).expect("a signature");
        let nodes = planned.nodes.into_iter();
        nodes
            .map(|write| (write.document.serial.0, write.change))
            .collect()
    }

    #[test]
    fn what_stays_is_written_only_where_it_is_lost() {
        let lost = PublishedState::Lost(published(5), DocumentLoss::Deleted);
        let again = [(5, DocumentChange::Republished)];
        assert_eq!(plan(NodeOutcome::Keep, lost), again);
        let current = PublishedState::Current(published(5));
        assert_eq!(plan(NodeOutcome::Keep, current), []);
    }

    #[test]
    fn a_restored_or_awaited_node_gets_nothing_even_where_its_document_is_lost() {
        for outcome in [NodeOutcome::Restored, NodeOutcome::Awaited] {
            let lost = PublishedState::Lost(published(5), DocumentLoss::Older);
            assert_eq!(plan(outcome, lost), []);
        }
    }

    #[test]
    fn a_new_document_is_written_whatever_is_there() {
        let new = || NodeOutcome::Publish(Box::new(document("n1", 6)));
        for state in [
            PublishedState::Absent,
            PublishedState::Unreadable("no JSON"),
            PublishedState::Current(published(5)),
        ] {
            assert_eq!(plan(new(), state), [(6, DocumentChange::New)]);
        }
    }

    #[test]
    fn memory_comes_first_the_cluster_document_before_nodes_and_what_is_retired_last() {
        let stages = PlannedDocuments::<DsseEnvelope>::default().stages(&[name("gone")].into());
        assert!(matches!(
            stages,
            [
                PublishStage::Memory,
                PublishStage::Cluster(None),
                PublishStage::Nodes(_),
                PublishStage::Retire(_)
            ]
        ));
    }

    #[test]
    fn the_newer_of_two_documents_is_published_and_a_damaged_one_is_never_absent() {
        let look = |shown, kept| published_state(shown, kept);
        let serial = |state: &State| state.published().map(|one| one.document.serial.0);
        let older = look(Some(Ok(published(4))), Some(published(5)));
        assert!(matches!(
            older,
            PublishedState::Lost(_, DocumentLoss::Older)
        ));
        assert_eq!(serial(&older), Some(5));
        let newer = look(Some(Ok(published(6))), Some(published(5)));
        assert!(matches!(newer, PublishedState::Current(_)));
        assert_eq!(serial(&newer), Some(6));
        let changed = look(Some(Err("no JSON")), Some(published(5)));
        assert!(matches!(
            changed,
            PublishedState::Lost(_, DocumentLoss::Changed("no JSON"))
        ));
        assert!(matches!(
            look(Some(Err("no JSON")), None),
            PublishedState::Unreadable("no JSON")
        ));
        assert!(matches!(look(None, None), PublishedState::Absent));
    }

    #[test]
    fn an_envelope_counts_for_the_node_that_it_names_and_for_no_other() {
        let trust = postern_intent::TrustedKeys::installed([pem().as_str()]).expect("a key set");
        let envelope = published(5).form;
        let open = |node: &str| NodeDocument::open(&name(node), &envelope, &trust);
        assert_eq!(open("n1").expect("a document").serial.0, 5);
        assert_eq!(open("n2").expect_err("a refusal").reason(), "WrongNode");
    }

    fn pem() -> String {
        use ed25519_dalek::pkcs8::EncodePublicKey as _;
        use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
        let key = signer().0.verifying_key();
        key.to_public_key_pem(LineEnding::LF).expect("a PEM")
    }
}
