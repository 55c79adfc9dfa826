//! Letting go. Written to the ledger before anything opens; the guard goes last.

use std::sync::Arc;

use postern_agent_core::ScopeStatus;
use postern_host::{Host, observe};
use postern_intent::Serial;
use postern_intent::sign::Release;
use postern_intent::verify::Verified;
use postern_plan::Desired;
use postern_plan::order::{Stage, StepPlan, teardown};

use super::activation::Activation;
use super::reconcile::Again;
use super::state::Agent;
use crate::audit::Entry;
use crate::inbox::DocumentKind;
use crate::ledger::{AcceptedRelease, LedgerError, ReleasedBy};

impl<H: Host> Agent<H> {
    /// A signed release.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing was opened.
    pub fn accept_release(&mut self, release: &Verified<Release>) -> Result<(), LedgerError> {
        let record = AcceptedRelease {
            serial: release.get().serial,
            reason: release.get().reason.clone(),
            at: self.clock.now(),
            by: ReleasedBy::SignedRelease,
        };
        let digest = release.digest().to_owned();
        self.record_release(record, Some(digest))
    }

    /// Root on the socket releases the node.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing was opened.
    pub fn release_by_root(&mut self, reason: &str) -> Result<(), LedgerError> {
        let record = AcceptedRelease {
            serial: self.memory.ledger.entries().serial,
            reason: reason.to_owned(),
            at: self.clock.now(),
            by: ReleasedBy::RootOnSocket,
        };
        self.record_release(record, None)
    }

    fn record_release(
        &mut self,
        record: AcceptedRelease,
        digest: Option<String>,
    ) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let seen = self.clock.remembered();
        let serial: Serial = record.serial;
        let line = format!("{}: {}", record.by.as_str(), record.reason);
        self.memory.ledger.record(|entries| {
            entries.serial = entries.serial.max(serial);
            if digest.is_some() {
                entries.release_digest.clone_from(&digest);
                entries.digest = digest;
            }
            entries.release = Some(record);
            entries.highest_time = Some(seen);
        })?;
        self.output.audit.write(&Entry {
            serial: Some(serial.0),
            ..Entry::of(now, "release", "Released", &line)
        });
        let ids: Vec<_> = self.kernel.scopes.keys().cloned().collect();
        for id in ids {
            self.set_status(&id, ScopeStatus::Releasing, now);
        }
        Ok(())
    }

    /// Ends a release by root: the last intent is in force again when a later one comes, or now if root says so.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn claim(&mut self) -> Result<(), LedgerError> {
        self.memory
            .ledger
            .record(|entries| entries.release = None)?;
        let line = Entry::of(self.clock.now(), "release", "Claimed", "");
        self.output
            .audit
            .write(&line.about(self.documents.verified.as_deref()));
        // A cluster document that came meanwhile ended no release, and nothing else would look at it again. After a signed
        // release the next intent joins it: the ledger's serial is the release's, and must not fall to the intent's.
        self.take_joined();
        Ok(())
    }

    /// Root says that the wall clock is right, where a time that was remembered is not.
    ///
    /// # Errors
    /// [`LedgerError`]: nothing changed.
    pub fn trust_clock(&mut self, reason: &str) -> Result<(), LedgerError> {
        let before = self.clock.now();
        self.memory.ledger.set_time(self.clock.wall())?;
        let now = self.clock.trust_wall();
        let line = format!("from {before}: {reason}");
        self.output
            .audit
            .write(&Entry::of(now, "clock", "ClockTrusted", &line));
        for document in DocumentKind::ALL {
            self.documents.inbox.forget(document);
        }
        self.take_documents();
        Ok(())
    }

    /// Nothing of ours in the kernel: routes and rules, tunnels, locks; the guard last.
    pub async fn hold_released(&mut self, activation: Activation) -> Again {
        self.kernel.last.failures.clear();
        let nothing = Desired::default();
        let mut reading = observe(&self.host).await;
        reading.go_without_locks();
        // Whatever cannot be read may still hold something of ours: the report must not say that the node is released.
        for part in reading.unread() {
            self.kernel
                .last
                .failures
                .push((Stage::Release, part.to_string(), part.source.clone()));
        }
        let Ok(observed) = reading.whole() else {
            self.write_report();
            return Again::Soon;
        };
        self.dns.update(&nothing.dns);
        self.exits
            .probes
            .update(&postern_plan::desired::ProbePlan::default());
        self.kernel.owed_cuts.clear();
        let tunnels = self.memory.ledger.entries().tunnel_ranges();
        for step in teardown(&observed, &tunnels) {
            self.attempt(Stage::Release, &[step], activation).await;
        }
        let now = self.clock.now();
        if self.kernel.last.failures.is_empty() {
            let ids: Vec<_> = self.kernel.scopes.keys().cloned().collect();
            for id in ids {
                self.set_status(&id, ScopeStatus::Releasing, now);
                self.set_status(&id, ScopeStatus::Unclaimed, now);
            }
            self.kernel.scopes.clear();
            self.kernel.last.verified_at = Some(now);
        }
        self.kernel.desired = Arc::new(nothing);
        self.kernel.carried = None;
        self.kernel.last.read_back = None;
        self.kernel.last.known = StepPlan::default();
        self.kernel.last.unread.clear();
        self.kernel.last.lease = None;
        self.answer_waiting().await;
        self.write_report();
        if self.kernel.last.failures.is_empty() {
            Again::Later
        } else {
            Again::Soon
        }
    }
}
