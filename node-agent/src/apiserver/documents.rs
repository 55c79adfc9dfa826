//! Which files an object becomes: the node's own NodeIntent, or the one that carries the cluster document. Nothing is judged here, and nothing is left out because it looks wrong: whoever
//! reads the inbox refuses it, with a reason that the report tells.

use std::path::Path;

use postern_intent::envelope::PayloadType;
use serde_json::Value;

use crate::files::{self, FileError, Readers};
use crate::inbox::DocumentKind;

/// What an object says, as files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Files as they should be, keys first: a document may be signed by a key that comes with it.
    pub files: Vec<(DocumentKind, Vec<u8>)>,
    /// The document that another one has taken the place of: an object has an intent or a release.
    pub replaced: Option<DocumentKind>,
}

/// Which NodeIntent an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    /// The node's own.
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
        self.files
            .push((document, envelope.to_string().into_bytes()));
    }

    /// Puts the files into the inbox and says which ones were written. A file that is as it should be is not touched,
    /// so that nobody looks at it again.
    ///
    /// # Errors
    /// [`FileError`] for the first one that cannot be written; what was replaced is still there then.
    pub fn deliver(&self, inbox: &Path) -> Result<Vec<DocumentKind>, FileError> {
        let mut written = Vec::new();
        for (document, bytes) in &self.files {
            let path = inbox.join(document.file());
            if files::read(&path)?.as_ref() != Some(bytes) {
                files::write(&path, bytes, Readers::Owner)?;
                written.push(*document);
            }
        }
        if let Some(document) = self.replaced {
            files::remove(&inbox.join(document.file()))?;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

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
            .files
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
        let read = postern_intent::verify::parse_envelope(&delivery.files[0].1).unwrap();
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
    fn a_document_that_did_not_change_is_not_written_again() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("intent.dsse.json");
        let first = of(
            IntentKind::Node,
            &object(&envelope(PayloadType::Intent, "aQ==")),
        );
        assert_eq!(first.deliver(inbox.path()).unwrap(), [DocumentKind::Intent]);
        let written = std::fs::metadata(&path).unwrap().ino();
        assert_eq!(first.deliver(inbox.path()).unwrap(), []);
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), written);
        let second = of(
            IntentKind::Node,
            &object(&envelope(PayloadType::Intent, "ag==")),
        );
        assert_eq!(
            second.deliver(inbox.path()).unwrap(),
            [DocumentKind::Intent]
        );
    }

    #[test]
    fn a_release_takes_the_place_of_the_intent_and_the_other_way_round() {
        let inbox = tempfile::tempdir().unwrap();
        let there = |document: DocumentKind| inbox.path().join(document.file()).exists();
        for (kind, comes, goes) in [
            (
                PayloadType::Intent,
                DocumentKind::Intent,
                DocumentKind::Release,
            ),
            (
                PayloadType::Release,
                DocumentKind::Release,
                DocumentKind::Intent,
            ),
            (
                PayloadType::Intent,
                DocumentKind::Intent,
                DocumentKind::Release,
            ),
        ] {
            of(IntentKind::Node, &object(&envelope(kind, "aQ==")))
                .deliver(inbox.path())
                .unwrap();
            assert_eq!((there(comes), there(goes)), (true, false), "{kind:?}");
        }
    }
}
