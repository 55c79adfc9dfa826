//! The documents that an object carries: the node's own NodeIntent, or the one for all nodes. Nothing is judged here, and a
//! document that looks wrong is delivered too: the agent's loop refuses it with a reason that the report has.

use std::sync::{Arc, Mutex, PoisonError};

use postern_intent::envelope::PayloadType;
use serde_json::Value;
use tokio::sync::watch;

use crate::document_folder::DocumentFolder;
use crate::inbox::{DocumentKind, SourceDocuments};

/// The documents of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// The documents of the object.
    pub documents: Vec<(DocumentKind, Vec<u8>)>,
    /// The document that another one has taken the place of: an object has an intent or a release.
    pub replaced: Option<DocumentKind>,
}

/// Which NodeIntent an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    Node,
    /// The one for all nodes.
    Cluster,
}

/// Takes the envelopes out of an object. They are written as they are, field for field: the signature is over the
/// payload's bytes, and those are base64 in a string.
#[must_use]
pub fn of(kind: IntentKind, object: &Value) -> Delivery {
    let mut delivery = Delivery::default();
    let envelope = object.pointer("/spec/envelope");
    if kind == IntentKind::Cluster {
        // Its keys come with the node's own object.
        if let Some(envelope) = envelope {
            delivery.put(DocumentKind::Cluster, envelope);
        }
        return delivery;
    }
    if let Some(keys) = object.pointer("/spec/keySet/envelope") {
        delivery.put(DocumentKind::Keys, keys);
    }
    if let Some(envelope) = envelope {
        let kind = envelope.get("payloadType").and_then(Value::as_str);
        let is = |known: PayloadType| kind == Some(known.media_type());
        let (document, other) = if is(PayloadType::Release) {
            (DocumentKind::Release, Some(DocumentKind::Intent))
        } else {
            let known = is(PayloadType::Intent).then_some(DocumentKind::Release);
            (DocumentKind::Intent, known)
        };
        delivery.put(document, envelope);
        delivery.replaced = other;
    }
    delivery
}

impl Delivery {
    fn put(&mut self, document: DocumentKind, envelope: &Value) {
        self.documents
            .push((document, envelope.to_string().into_bytes()));
    }

    /// Puts the delivery among the documents of the source, and returns the kinds that are new.
    pub fn deliver(&self, documents: &mut SourceDocuments) -> Vec<DocumentKind> {
        let mut new = Vec::new();
        for (document, bytes) in &self.documents {
            if documents.insert(*document, bytes.clone()).as_ref() != Some(bytes) {
                new.push(*document);
            }
        }
        if let Some(document) = self.replaced {
            documents.remove(&document);
        }
        new
    }
}

/// Gives the loop what the watches deliver.
#[derive(Debug, Clone)]
pub struct DocumentSender {
    /// What the API server has, as far as it was delivered.
    documents: watch::Sender<SourceDocuments>,
    /// A copy for people, and for a restart while the API server is away.
    copy: DocumentFolder,
    /// Held by the watch that sends: of two at once the second would send what was there before the first.
    sending: Arc<Mutex<()>>,
}

impl DocumentSender {
    /// Sends on this channel, with a copy in this folder.
    #[must_use]
    pub fn new(documents: watch::Sender<SourceDocuments>, copy: DocumentFolder) -> Self {
        Self {
            documents,
            copy,
            sending: Arc::default(),
        }
    }

    /// Sends a delivery, and returns the kinds that are new. The copy is written first, so that a document that is in force
    /// is always in the folder, and outside of the channel's own lock, so that a slow disk does not stop the loop. A copy that
    /// cannot be written is logged, and the delivery is sent.
    pub fn send(&self, delivery: &Delivery) -> Vec<DocumentKind> {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut documents = self.documents.borrow().clone();
        let before = documents.len();
        let new = delivery.deliver(&mut documents);
        if let Err(error) = self.copy.write(&documents) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the copy of the documents cannot be written"
            );
        }
        if !new.is_empty() || documents.len() != before {
            self.documents.send_replace(documents);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope(kind: PayloadType, payload: &str) -> Value {
        json!({"payloadType": kind.media_type(), "payload": payload,
            "signatures": [{"keyid": "k", "sig": "c2ln"}]})
    }

    fn object(envelope: &Value) -> Value {
        json!({"spec": {"nodeUID": "u", "serial": 1, "envelope": envelope}})
    }

    fn names(delivery: &Delivery) -> Vec<DocumentKind> {
        delivery
            .documents
            .iter()
            .map(|(document, _)| *document)
            .collect()
    }

    #[test]
    fn the_payload_type_says_which_file_it_is_and_which_one_goes() {
        let intent = of(
            IntentKind::Node,
            &object(&envelope(PayloadType::Intent, "aQ==")),
        );
        assert_eq!(names(&intent), [DocumentKind::Intent]);
        assert_eq!(intent.replaced, Some(DocumentKind::Release));
        let release = of(
            IntentKind::Node,
            &object(&envelope(PayloadType::Release, "cg==")),
        );
        assert_eq!(names(&release), [DocumentKind::Release]);
        assert_eq!(release.replaced, Some(DocumentKind::Intent));
    }

    #[test]
    fn keys_come_before_what_they_sign() {
        let mut both = object(&envelope(PayloadType::Intent, "aQ=="));
        both["spec"]["keySet"] =
            json!({"version": 1, "envelope": envelope(PayloadType::KeySet, "aw==")});
        assert_eq!(
            names(&of(IntentKind::Node, &both)),
            [DocumentKind::Keys, DocumentKind::Intent]
        );
    }

    #[test]
    fn the_agent_reads_the_very_envelope_that_was_published() {
        let published = envelope(PayloadType::Intent, "aW50ZW50");
        let delivery = of(IntentKind::Node, &object(&published));
        let read = postern_intent::verify::parse_envelope(&delivery.documents[0].1).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), published);
    }

    #[test]
    fn the_cluster_document_is_a_file_of_its_own_whatever_it_says_it_is() {
        for kind in [PayloadType::Cluster, PayloadType::Intent] {
            let delivery = of(IntentKind::Cluster, &object(&envelope(kind, "aQ==")));
            assert_eq!(names(&delivery), [DocumentKind::Cluster]);
            assert_eq!(delivery.replaced, None);
        }
    }

    #[test]
    fn what_looks_wrong_is_brought_all_the_same_and_replaces_nothing() {
        for wrong in [
            json!({"payloadType": "text/plain", "payload": "", "signatures": []}),
            json!({"payload": 7}),
            json!("text"),
            Value::Null,
        ] {
            let delivery = of(IntentKind::Node, &object(&wrong));
            assert_eq!(names(&delivery), [DocumentKind::Intent], "{wrong}");
            assert_eq!(delivery.replaced, None, "{wrong}");
        }
    }

    #[test]
    fn an_object_without_a_document_touches_nothing() {
        for object in [
            json!({}),
            json!({"spec": {"serial": 0}}),
            json!({"spec": 3}),
        ] {
            assert_eq!(
                of(IntentKind::Node, &object),
                Delivery::default(),
                "{object}"
            );
        }
    }

    #[test]
    fn a_document_that_did_not_change_is_not_new() {
        let mut documents = SourceDocuments::new();
        let delivery = |payload| {
            of(
                IntentKind::Node,
                &object(&envelope(PayloadType::Intent, payload)),
            )
        };
        let first = delivery("aQ==");
        assert_eq!(first.deliver(&mut documents), [DocumentKind::Intent]);
        assert_eq!(first.deliver(&mut documents), []);
        assert_eq!(
            delivery("ag==").deliver(&mut documents),
            [DocumentKind::Intent]
        );
    }

    #[test]
    fn a_release_takes_the_place_of_the_intent_and_the_other_way_round() {
        let mut documents = SourceDocuments::new();
        for (kind, document) in [
            (PayloadType::Intent, DocumentKind::Intent),
            (PayloadType::Release, DocumentKind::Release),
            (PayloadType::Intent, DocumentKind::Intent),
        ] {
            of(IntentKind::Node, &object(&envelope(kind, "aQ=="))).deliver(&mut documents);
            let kinds: Vec<_> = documents.keys().copied().collect();
            assert_eq!(kinds, [document]);
        }
    }
}
