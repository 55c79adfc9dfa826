//! Documents as they arrive, and what each turns out to be. A refused document changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_intent::body::NodeIdentity;
use postern_intent::sign::Release;
use postern_intent::verify::{
    Accepted, DocumentRefusal, Verified, VerifyContext, parse_envelope, verify_cluster,
    verify_intent, verify_key_set, verify_release,
};
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument, TrustedKeys};
use tokio::sync::watch;

use crate::ledger::Entries;
use crate::report::RefusalEntry;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocumentKind {
    /// `keys.dsse.json`.
    Keys,
    /// `cluster.dsse.json`.
    Cluster,
    /// `intent.dsse.json`.
    Intent,
    /// `release.dsse.json`.
    Release,
}

impl DocumentKind {
    /// Keys first: an intent may be signed by a key that the same delivery brings. The cluster document comes before the
    /// intent that may need it.
    pub const ALL: [Self; 4] = [Self::Keys, Self::Cluster, Self::Intent, Self::Release];

    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Keys => "keys.dsse.json",
            Self::Cluster => "cluster.dsse.json",
            Self::Intent => "intent.dsse.json",
            Self::Release => "release.dsse.json",
        }
    }
}

/// The documents that a source has now, in the order in which they are judged.
pub type SourceDocuments = BTreeMap<DocumentKind, Vec<u8>>;

/// What the source of documents has, with what was judged already, so that nothing is judged twice.
#[derive(Debug)]
pub struct Inbox {
    source: watch::Receiver<SourceDocuments>,
    judged: SourceDocuments,
    refused: BTreeMap<DocumentKind, RefusalEntry>,
}

impl Inbox {
    /// Takes documents from this source.
    #[must_use]
    pub fn new(source: watch::Receiver<SourceDocuments>) -> Self {
        Self {
            source,
            judged: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Waits until the source has something else than at the last look.
    ///
    /// # Errors
    /// When the source has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.source.changed().await
    }

    /// Looks at a document again although it did not change: its judgement depended on something else.
    pub fn forget(&mut self, document: DocumentKind) {
        self.judged.remove(&document);
    }

    /// Documents that are new or changed since the last look.
    pub fn look(&mut self) -> Vec<(DocumentKind, Vec<u8>)> {
        let documents = self.source.borrow_and_update();
        // A document that comes back after its source had none is a new one.
        self.judged.retain(|kind, _| documents.contains_key(kind));
        self.refused.retain(|kind, _| documents.contains_key(kind));
        let is_new =
            |(kind, bytes): &(&DocumentKind, &Vec<u8>)| self.judged.get(kind) != Some(bytes);
        let new = documents.iter().filter(is_new);
        let new: Vec<_> = new.map(|(kind, bytes)| (*kind, bytes.clone())).collect();
        self.judged.extend(new.iter().cloned());
        new
    }
}

impl Inbox {
    /// The document that the source has was refused.
    pub fn refuse(&mut self, document: DocumentKind, entry: RefusalEntry) {
        self.refused.insert(document, entry);
    }

    /// Was this very document refused for this very reason before?
    #[must_use]
    pub fn is_refused(&self, document: DocumentKind, reason: &str, digest: Option<&str>) -> bool {
        self.refused
            .get(&document)
            .is_some_and(|entry| entry.reason == reason && entry.digest.as_deref() == digest)
    }

    /// Ends the refusal of the document with this digest, because it is in force now. The source may have another document
    /// by now, whose refusal remains.
    pub fn approve_digest(&mut self, document: DocumentKind, digest: &str) {
        let refused = self.refused.get(&document);
        if refused.is_some_and(|entry| entry.digest.as_deref() == Some(digest)) {
            self.refused.remove(&document);
        }
    }

    /// Ends the refusal of a former document, in whose place is one with this digest.
    pub fn replace(&mut self, document: DocumentKind, digest: &str) {
        let refused = self.refused.get(&document);
        if refused.is_some_and(|entry| entry.digest.as_deref() != Some(digest)) {
            self.refused.remove(&document);
        }
    }

    /// The document that the source has is good.
    pub fn approve(&mut self, document: DocumentKind) {
        self.refused.remove(&document);
    }

    /// The last refusal of a document that the source still has.
    #[must_use]
    pub fn standing_refusal(&self) -> Option<&RefusalEntry> {
        self.refused.values().max_by_key(|entry| entry.at)
    }
}

/// Who verifies, and what it knows.
#[derive(Debug, Clone)]
pub struct Verifier<'a> {
    pub node: &'a NodeIdentity,
    /// The keys that it trusts.
    pub keys: &'a TrustedKeys,
    pub ledger: &'a Entries,
    pub now: Timestamp,
}

/// A verified document, with the envelope for the ledger.
#[derive(Debug, Clone)]
pub struct Received<T> {
    pub verified: Verified<T>,
    /// What it came in.
    pub envelope: DsseEnvelope,
}

/// What a document turned out to be.
#[derive(Debug)]
pub enum DocumentOutcome {
    /// A verified document for this node.
    Intent(Box<Received<NodeDocument>>),
    /// A verified document for all nodes.
    Cluster(Box<Received<ClusterDocument>>),
    /// The very document that is in force.
    Unchanged,
    Release(Box<Verified<Release>>),
    /// A newer key set.
    Keys(Box<TrustedKeys>),
}

impl Verifier<'_> {
    /// Judges a document.
    ///
    /// # Errors
    /// [`DocumentRefusal`].
    pub fn judge(
        &self,
        document: DocumentKind,
        bytes: &[u8],
    ) -> Result<DocumentOutcome, DocumentRefusal> {
        let envelope = parse_envelope(bytes)?;
        match document {
            DocumentKind::Keys => {
                if self
                    .ledger
                    .keys
                    .as_ref()
                    .is_some_and(|pinned| self.is_pinned(&envelope, pinned))
                {
                    return Ok(DocumentOutcome::Unchanged);
                }
                Ok(DocumentOutcome::Keys(Box::new(
                    verify_key_set(&envelope, self.keys)?.get().clone(),
                )))
            }
            DocumentKind::Cluster => {
                let verified = verify_cluster(&envelope, self.keys, self.now, self.last_cluster())?;
                Ok(DocumentOutcome::Cluster(Box::new(Received {
                    verified,
                    envelope,
                })))
            }
            DocumentKind::Intent => {
                let verified = verify_intent(&envelope, &self.context())?;
                if let Some(release) = &self.ledger.release
                    && verified.get().serial <= release.serial
                {
                    return Err(DocumentRefusal::Replayed {
                        found: verified.get().serial,
                        last: release.serial,
                    });
                }
                Ok(DocumentOutcome::Intent(Box::new(Received {
                    verified,
                    envelope,
                })))
            }
            DocumentKind::Release => {
                // The file of a release that was carried out may lie there long after an intent ended it.
                let digest = envelope.digest().map_err(DocumentRefusal::Payload)?;
                if self.ledger.release_digest.as_ref() == Some(&digest) {
                    return Ok(DocumentOutcome::Unchanged);
                }
                let verified = verify_release(&envelope, &self.context())?;
                let last = self.ledger.digest.as_deref();
                let known = last == Some(verified.digest())
                    || self
                        .ledger
                        .release
                        .as_ref()
                        .is_some_and(|r| r.serial >= verified.get().serial);
                Ok(if known {
                    DocumentOutcome::Unchanged
                } else {
                    DocumentOutcome::Release(Box::new(verified))
                })
            }
        }
    }

    /// The file of the key set that is in force lies where it was: no news, and no replay.
    fn is_pinned(
        &self,
        envelope: &DsseEnvelope,
        pinned: &postern_intent::keys::KeySetDocument,
    ) -> bool {
        envelope
            .payload_bytes()
            .ok()
            .and_then(|bytes| {
                serde_json::from_slice::<postern_intent::keys::KeySetDocument>(&bytes).ok()
            })
            .is_some_and(|document| &document == pinned)
    }

    fn last_cluster(&self) -> Option<Accepted<'_>> {
        let digest = self.ledger.cluster_digest.as_deref();
        digest.map(|digest| Accepted {
            serial: self.ledger.cluster_serial,
            digest,
        })
    }

    fn context(&self) -> VerifyContext<'_> {
        let last = self.ledger.digest.as_deref().map(|digest| Accepted {
            serial: self.ledger.serial,
            digest,
        });
        VerifyContext {
            node: self.node,
            keys: self.keys,
            now: self.now,
            last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_given_once_until_it_changes_or_comes_back() {
        let keys = (DocumentKind::Keys, b"keys".to_vec());
        let intent = (DocumentKind::Intent, b"intent".to_vec());
        let (source, documents) = watch::channel([intent.clone(), keys.clone()].into());
        let mut inbox = Inbox::new(documents);
        assert_eq!(inbox.look(), [keys.clone(), intent.clone()], "keys first");
        assert_eq!(inbox.look(), []);
        source.send_replace([keys.clone()].into());
        assert_eq!(inbox.look(), []);
        source.send_replace([keys, intent.clone()].into());
        assert_eq!(inbox.look(), [intent]);
    }
}
