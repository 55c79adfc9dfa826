//! Documents: verified, written to the ledger, then in force. A refused one changes nothing.

use postern_host::Host;
use postern_intent::verify::{Refusal, RefusalRecord, Verified};
use postern_intent::{Body, Envelope, KeySet};

use super::state::{Agent, LedgerState};
use crate::audit::Entry;
use crate::inbox::{Document, Outcome, Verifier};
use crate::report::RefusalEntry;

/// Did a look change what is in force?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Something new is in force.
    New,
    /// Nothing changed.
    Nothing,
}

/// How many refusals a report carries.
const REFUSALS_KEPT: usize = 16;

impl<H: Host> Agent<H> {
    /// Looks into the folder and takes what is good.
    pub fn take_documents(&mut self) -> Taken {
        let documents = match self.inbox.look() {
            Ok(documents) => documents,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the intent folder cannot be read"
                );
                return Taken::Nothing;
            }
        };
        let mut taken = Taken::Nothing;
        for (document, bytes) in documents {
            let verifier = Verifier {
                node: &self.node,
                keys: &self.keys,
                ledger: self.ledger.entries(),
                now: self.clock.now(),
            };
            let judged = verifier.judge(document, &bytes);
            if judged.is_ok() {
                self.inbox.approve(document);
            }
            match judged {
                Ok(Outcome::Unchanged) => {}
                Ok(Outcome::Intent(accepted)) => taken = self.accept_intent(accepted.0, accepted.1),
                Ok(Outcome::Keys(keys)) => self.accept_keys(*keys),
                Ok(Outcome::Release(release)) => {
                    self.accept_release(&release);
                    taken = Taken::New;
                }
                Err(refusal) => {
                    if refusal.may_pass() {
                        self.inbox.forget(document);
                    }
                    self.refuse(document, &bytes, &refusal);
                }
            }
        }
        taken
    }

    fn accept_intent(&mut self, verified: Verified<Body>, envelope: Envelope) -> Taken {
        let now = self.clock.now();
        let serial = verified.get().serial;
        let digest = verified.digest().to_owned();
        let recorded = self.ledger.record(|entries| {
            entries.envelope = Some(envelope);
            entries.serial = serial;
            entries.digest = Some(digest);
            entries.highest_time = Some(now);
            entries.release = None;
        });
        if let Err(error) = recorded {
            // Not durable means not in force: after a crash the node would obey an older document again.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an intent could not be written to the ledger"
            );
            self.count("ledger_failures");
            self.inbox.forget(Document::Intent);
            return Taken::Nothing;
        }
        self.pin_keys();
        tracing::info!(%serial, digest = verified.digest(), "intent accepted");
        let listed = verified
            .get()
            .pods
            .iter()
            .map(|pod| pod.uid.clone())
            .collect();
        if let Err(error) = self
            .bindings
            .change(|bindings| bindings.forget_departed(&listed))
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "departed pods could not be forgotten"
            );
        }
        let line = Entry::of(now, "intent", "Accepted", "");
        self.audit.write(&line.about(Some(&verified)));
        self.verified = Some(verified);
        self.ledger_lost = LedgerState::Kept;
        Taken::New
    }

    /// Trust on first use: from the first good document on, the keys are the ledger's.
    fn pin_keys(&mut self) {
        if self.ledger.entries().keys.is_none() {
            let document = self.keys.document();
            if let Err(error) = self.ledger.record(|entries| entries.keys = Some(document)) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the keys could not be pinned"
                );
            }
        }
    }

    fn accept_keys(&mut self, keys: KeySet) {
        let document = keys.document();
        if let Err(error) = self.ledger.record(|entries| entries.keys = Some(document)) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a key set could not be written to the ledger"
            );
            return;
        }
        let message = format!("key set version {}", keys.version());
        self.audit.write(&Entry::of(
            self.clock.now(),
            "keys",
            "KeysRotated",
            &message,
        ));
        self.keys = keys;
    }

    /// Tells report, audit log and metric why; what was in force stays in force.
    fn refuse(&mut self, document: Document, bytes: &[u8], refusal: &Refusal) {
        let now = self.clock.now();
        let record = RefusalRecord::from(refusal);
        let digest = postern_intent::verify::parse_envelope(bytes)
            .ok()
            .and_then(|e| e.digest().ok());
        if refusal.may_pass()
            && self
                .inbox
                .is_refused(document, record.reason, digest.as_deref())
        {
            // It was told once; it is looked at again because it may be good by now.
            return;
        }
        tracing::warn!(
            document = document.file(),
            reason = record.reason,
            "{}",
            record.message
        );
        self.audit.write(&Entry {
            digest: digest.as_deref(),
            ..Entry::of(now, "refusal", record.reason, &record.message)
        });
        self.metrics.refused(record.reason);
        self.count("refusals");
        let entry = RefusalEntry {
            reason: record.reason,
            message: record.message,
            digest,
            at: now,
        };
        self.inbox.refuse(document, entry.clone());
        self.refusals.push_back(entry);
        while self.refusals.len() > REFUSALS_KEPT {
            self.refusals.pop_front();
        }
    }
}
