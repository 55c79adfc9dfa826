//! Documents: verified, written to the ledger, then in force. A refused one changes nothing.

use std::collections::BTreeSet;

use postern_crds::conditions::Reason;
use postern_host::Host;
use postern_intent::verify::{
    DocumentRefusal, RefusalRecord, Verified, VerifyContext, join, verify_cluster, verify_intent,
};
use postern_intent::{Body, ClusterDocument, DsseEnvelope, NodeDocument, TrustedKeys, Uid};
use postern_plan::binding::Listing;
use postern_plan::desired::NodeClaim;
use postern_telemetry::chain;

use super::state::{Agent, LedgerState, ReceivedDocuments};
use crate::audit::Entry;
use crate::files::FileError;
use crate::inbox::{DocumentKind, DocumentOutcome, Received, Verifier};
use crate::ledger::LedgerError;
use crate::report::RefusalEntry;

/// Did a look change what is in force?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Something new is in force.
    New,
    /// A newer cluster document is in force, joined with the same intent.
    Facts,
    Nothing,
}

/// How many refusals a report carries.
const REFUSALS_KEPT: usize = 16;

impl<H: Host> Agent<H> {
    /// Judges what the source of documents has, and takes what is good.
    pub fn take_documents(&mut self) -> Taken {
        let (mut taken, mut join, mut intent_came) = (Taken::Nothing, false, false);
        for (document, bytes) in self.documents.inbox.look() {
            let verifier = Verifier {
                node: &self.options.node,
                keys: &self.documents.keys,
                ledger: self.memory.ledger.entries(),
                now: self.clock.now(),
            };
            let judged = verifier.judge(document, &bytes);
            // What is new is good once it is in force.
            match judged {
                Ok(DocumentOutcome::Unchanged) => self.documents.inbox.approve(document),
                // What they say together is judged once all that came is known.
                Ok(DocumentOutcome::Cluster(received)) => {
                    self.documents
                        .inbox
                        .replace(document, received.verified.digest());
                    self.documents.received.cluster = Some(*received);
                    join = true;
                }
                Ok(DocumentOutcome::Intent(received)) => {
                    self.documents
                        .inbox
                        .replace(document, received.verified.digest());
                    self.documents.received.intent = Some(*received);
                    (join, intent_came) = (true, true);
                }
                Ok(DocumentOutcome::Keys(keys)) => match self.accept_keys(*keys) {
                    Ok(()) => self.documents.inbox.approve(document),
                    Err(error) => {
                        self.not_durable(document, digest_of(&bytes), "the key set", &error)
                    }
                },
                Ok(DocumentOutcome::Release(release)) => match self.accept_release(&release) {
                    Ok(()) => {
                        self.documents.inbox.approve(document);
                        taken = Taken::New;
                    }
                    Err(error) => {
                        self.not_durable(document, digest_of(&bytes), "the release", &error)
                    }
                },
                Err(refusal) => {
                    if refusal.may_pass() {
                        self.documents.inbox.forget(document);
                    }
                    self.refuse(document, digest_of(&bytes), &refusal);
                }
            }
        }
        let joined = if join {
            self.take_joined()
        } else {
            Taken::Nothing
        };
        match (taken, joined) {
            (Taken::Nothing, Taken::Facts) if intent_came => Taken::New,
            (Taken::Nothing, joined) => joined,
            (taken, _) => taken,
        }
    }

    /// Joins the newest documents, and puts in force what they say together.
    pub(super) fn take_joined(&mut self) -> Taken {
        let ReceivedDocuments { intent, cluster } = &self.documents.received;
        let intent = intent.as_ref().filter(|intent| self.may_follow(intent));
        let Some(intent) = intent.cloned() else {
            return Taken::Nothing;
        };
        let cluster = cluster.clone();
        if let Err((document, digest, refusal)) = self.verify_waiting(&intent, cluster.as_ref()) {
            match document {
                DocumentKind::Cluster => self.documents.received.cluster = None,
                _ => self.documents.received.intent = None,
            }
            self.refuse(document, Some(digest), &refusal);
            return Taken::Nothing;
        }
        let found = cluster.as_ref().map(|cluster| &cluster.verified);
        match (join(&intent.verified, found), cluster) {
            (Ok(body), Some(cluster)) => self.accept(body, intent.envelope, cluster),
            (Err(refusal), cluster) => {
                // The refusal is reported for the document that a newer one has to replace.
                let (document, digest) = match (&refusal, cluster) {
                    (DocumentRefusal::FormerLineage { .. }, Some(cluster)) => {
                        (DocumentKind::Cluster, cluster.verified.digest().to_owned())
                    }
                    _ => (DocumentKind::Intent, intent.verified.digest().to_owned()),
                };
                self.refuse(document, Some(digest), &refusal);
                Taken::Nothing
            }
            (Ok(_), None) => Taken::Nothing,
        }
    }

    /// Verifies again what is not in force yet: keys, the node's UID and the time may have changed while a document waited for
    /// its counterpart.
    fn verify_waiting(
        &self,
        intent: &Received<NodeDocument>,
        cluster: Option<&Received<ClusterDocument>>,
    ) -> Result<(), (DocumentKind, String, DocumentRefusal)> {
        let (entries, now) = (self.memory.ledger.entries(), self.clock.now());
        let digest = intent.verified.digest();
        if entries.digest.as_deref() != Some(digest) {
            let context = VerifyContext {
                node: &self.options.node,
                keys: &self.documents.keys,
                now,
                last: None,
            };
            verify_intent(&intent.envelope, &context)
                .map_err(|refusal| (DocumentKind::Intent, digest.to_owned(), refusal))?;
        }
        let Some(cluster) = cluster else {
            return Ok(());
        };
        let digest = cluster.verified.digest();
        if entries.cluster_digest.as_deref() != Some(digest) {
            verify_cluster(&cluster.envelope, &self.documents.keys, now, None)
                .map_err(|refusal| (DocumentKind::Cluster, digest.to_owned(), refusal))?;
        }
        Ok(())
    }

    /// A cluster document alone ends no release, and brings back no intent that another document took the place of.
    fn may_follow(&self, intent: &Received<NodeDocument>) -> bool {
        let entries = self.memory.ledger.entries();
        let serial = intent.verified.get().serial;
        let released = entries.release.as_ref();
        let is_last = entries.digest.as_deref() == Some(intent.verified.digest());
        released.is_none_or(|release| serial > release.serial)
            && (serial > entries.serial || is_last)
    }

    fn accept(
        &mut self,
        verified: Verified<Body>,
        envelope: DsseEnvelope,
        cluster: Received<ClusterDocument>,
    ) -> Taken {
        let now = self.clock.now();
        let serial = verified.get().serial;
        let digest = verified.digest().to_owned();
        let cluster_digest = cluster.verified.digest().to_owned();
        let before = self.memory.bindings.get().guarded.clone();
        if let Err(error) = self.remember_guarded(verified.get()) {
            self.not_durable(DocumentKind::Intent, Some(digest), "who is guarded", &error);
            return Taken::Nothing;
        }
        // By the ledger, so that a restart on the same body is no news.
        let before_this = self.memory.ledger.entries();
        let is_new_intent = before_this.digest.as_ref() != Some(&digest);
        let is_new = is_new_intent || before_this.cluster_digest.as_ref() != Some(&cluster_digest);
        self.clock.learn(verified.get().issued_at);
        self.clock.learn(cluster.verified.get().issued_at);
        let seen = self.clock.remembered();
        let recorded = self.memory.ledger.record(|entries| {
            entries.envelope = Some(envelope);
            entries.cluster_envelope = Some(cluster.envelope);
            entries.cluster_serial = verified.get().cluster_serial;
            entries.cluster_digest = Some(cluster_digest.clone());
            entries.serial = serial;
            entries.digest = Some(digest.clone());
            entries.highest_time = Some(seen);
            entries.release = None;
            entries.unclaimed = false;
        });
        if let Err(error) = recorded {
            // Not durable means not in force: after a crash the node would obey an older document again.
            self.count("ledger_failures");
            self.forget_guarded_since(&before);
            self.not_durable(DocumentKind::Intent, Some(digest), "the intent", &error);
            return Taken::Nothing;
        }
        self.documents
            .inbox
            .approve_digest(DocumentKind::Cluster, &cluster_digest);
        self.documents
            .inbox
            .approve_digest(DocumentKind::Intent, &digest);
        self.pin_keys();
        let cluster_serial = verified.get().cluster_serial;
        tracing::info!(%serial, %cluster_serial, digest = verified.digest(), "intent accepted");
        if is_new {
            let line = Entry::of(now, "intent", "Accepted", "");
            self.output.audit.write(&line.about(Some(&verified)));
        }
        self.put_in_force(verified);
        self.kernel.facts.claim = NodeClaim::Claimed;
        self.let_go_of_listed();
        self.memory.ledger_lost = LedgerState::Kept;
        if is_new_intent {
            Taken::New
        } else {
            Taken::Facts
        }
    }

    /// Before a body comes into force: whom it guards, and whom the one before guarded, so that a pod that it does not
    /// list is not taken for one that nobody ever guarded. No pod is released before the body that releases it is in force.
    fn remember_guarded(&mut self, coming: &Body) -> Result<(), FileError> {
        let in_force = self.documents.verified.as_deref().map(Verified::get);
        self.memory.bindings.change(|bindings| {
            if let Some(body) = in_force {
                bindings.guard(body);
                bindings.let_go(body);
            }
            bindings.guard(coming);
        })
    }

    /// The body that was coming is not in force after all, so that it guards nobody. A crash before this holds more.
    fn forget_guarded_since(&mut self, before: &BTreeSet<Uid>) {
        let changed = self
            .memory
            .bindings
            .change(|bindings| bindings.guarded.retain(|uid| before.contains(uid)));
        if let Err(error) = changed {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "pods of an intent that is not in force stay guarded"
            );
        }
    }

    /// Whom the body in force lists as released, and who went. If this is not durable now it is with the next body.
    fn let_go_of_listed(&mut self) {
        let Some(body) = self.documents.verified.as_deref().map(Verified::get) else {
            return;
        };
        let listed: BTreeSet<_> = body.pods.iter().map(|pod| pod.uid.clone()).collect();
        let changed = self.memory.bindings.change(|bindings| {
            bindings.let_go(body);
            bindings.forget_departed(&listed);
        });
        if let Err(error) = changed {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "pods that were let go or departed could not be forgotten"
            );
        }
        for pod in self.memory.bindings.get().unlisted(&Listing::of(body)) {
            tracing::warn!(
                namespace = %pod.namespace, name = %pod.name,
                "a pod that was guarded is listed no more; it is held until an intent releases it or it goes"
            );
        }
    }

    /// A good document that is not taken because what must outlive a crash cannot be written. It is looked at again.
    fn not_durable(
        &mut self,
        document: DocumentKind,
        digest: Option<String>,
        what: &str,
        error: &dyn std::error::Error,
    ) {
        let reason = Reason::NotDurable.as_str();
        if !self
            .documents
            .inbox
            .is_refused(document, reason, digest.as_deref())
        {
            let message = format!("{what} cannot be written: {}", chain(error));
            self.tell_refusal(document, reason, message, digest);
        }
        self.documents.inbox.forget(document);
        if document == DocumentKind::Intent {
            // Both are put into the ledger together.
            self.documents.inbox.forget(DocumentKind::Cluster);
        }
    }

    /// Trust on first use: from the first good document on, the keys are the ledger's.
    fn pin_keys(&mut self) {
        if self.memory.ledger.entries().keys.is_none() {
            let document = self.documents.keys.document();
            if let Err(error) = self
                .memory
                .ledger
                .record(|entries| entries.keys = Some(document))
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the keys could not be pinned"
                );
            }
        }
    }

    fn accept_keys(&mut self, keys: TrustedKeys) -> Result<(), LedgerError> {
        let document = keys.document();
        self.memory
            .ledger
            .record(|entries| entries.keys = Some(document))?;
        let message = format!("key set version {}", keys.version());
        self.output.audit.write(&Entry::of(
            self.clock.now(),
            "keys",
            "KeysRotated",
            &message,
        ));
        self.documents.keys = keys;
        Ok(())
    }

    /// Refuses a document; what was in force stays in force.
    fn refuse(
        &mut self,
        document: DocumentKind,
        digest: Option<String>,
        refusal: &DocumentRefusal,
    ) {
        let record = RefusalRecord::from(refusal);
        if refusal.may_pass()
            && self
                .documents
                .inbox
                .is_refused(document, record.reason, digest.as_deref())
        {
            // It is in the report already, and is judged again because it may be good by now.
            return;
        }
        self.tell_refusal(document, record.reason, record.message, digest);
    }

    /// Tells report, audit log and metric why.
    fn tell_refusal(
        &mut self,
        document: DocumentKind,
        reason: &'static str,
        message: String,
        digest: Option<String>,
    ) {
        let now = self.clock.now();
        tracing::warn!(document = document.file(), reason, "{message}");
        self.output.audit.write(&Entry {
            digest: digest.as_deref(),
            ..Entry::of(now, "refusal", reason, &message)
        });
        self.output.metrics.refused(reason);
        self.count("refusals");
        let entry = RefusalEntry {
            reason,
            message,
            digest,
            at: now,
        };
        self.documents.inbox.refuse(document, entry.clone());
        self.documents.refusals.push_back(entry);
        while self.documents.refusals.len() > REFUSALS_KEPT {
            self.documents.refusals.pop_front();
        }
    }
}

/// The digest of a document's payload, if it has one.
fn digest_of(bytes: &[u8]) -> Option<String> {
    let envelope = postern_intent::verify::parse_envelope(bytes).ok()?;
    envelope.digest().ok()
}
