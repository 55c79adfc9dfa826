//! The start: the last body is in force again and the guard is in place before a source of documents is read.

use std::time::Duration;

use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_host::Host;
use postern_intent::verify::{
    DocumentRefusal, Verified, VerifyContext, join, verify_cluster, verify_intent,
};
use postern_intent::{Body, DsseEnvelope};
use postern_plan::desired::NodeClaim;
use tokio::time::{Instant, timeout_at};

use super::activation::Activation;
use super::intake::Taken;
use super::reconcile::Again;
use super::state::{Agent, ExitOpening, LedgerState, ReceivedDocuments};
use crate::audit::Entry;
use crate::inbox::Received;
use crate::ledger::LedgerReading;

/// Whether a table of ours is in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableReading {
    There,
    Missing,
    /// The firewall could not be read.
    Unread,
}

impl<H: Host> Agent<H> {
    /// The first seal comes from the ledger and the local settings, before a source of documents is read.
    ///
    /// Where no table of ours is in the kernel the node was away, as after a boot, and a newer intent may be waiting: exits
    /// open only after one look at the source of documents, which takes `first_look` at most.
    pub async fn start(&mut self, found: &LedgerReading, first_look: Duration) -> Again {
        let now = self.clock.now();
        match found {
            LedgerReading::Whole => self.resume(now),
            LedgerReading::Missing if self.is_new_node().await => self.record_unclaimed(),
            LedgerReading::Missing => {}
            LedgerReading::Corrupt { aside } => {
                self.memory.ledger_lost = LedgerState::Lost;
                let message = format!("put aside as {}", aside.display());
                self.output.audit.write(&Entry::of(
                    now,
                    "start",
                    Reason::LedgerLost.as_str(),
                    &message,
                ));
            }
        }
        if self.memory.ledger.entries().unclaimed {
            self.kernel.facts.claim = NodeClaim::Unclaimed;
        }
        let line = Entry::of(now, "start", "Started", env!("CARGO_PKG_VERSION"));
        self.output
            .audit
            .write(&line.about(self.documents.verified.as_deref()));
        if let Err(error) = self.memory.bindings.work_off_departures() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "departed pods could not be worked off"
            );
        }
        if let Ok(links) = self.host.list_links().await {
            let names: Vec<String> = links.into_iter().map(|link| link.name).collect();
            if let Err(error) = self.memory.bindings.forget_missing(&names) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old bindings could not be forgotten"
                );
            }
        }
        // Held also where the firewall cannot be read: a table that nobody saw is no reason to open.
        if self.documents.verified.is_some() && self.table_reading().await != TableReading::There {
            self.exits.opening = ExitOpening::Held;
        }
        let mut again = self.reconcile(Activation::Startup).await;
        let mut taken = self.take_documents();
        if self.exits.opening == ExitOpening::Held {
            let until = Instant::now() + first_look;
            // The arrival of a cluster document does not end the wait: a newer intent may still come.
            while taken != Taken::New
                && let Ok(Ok(())) = timeout_at(until, self.documents.inbox.changed()).await
            {
                taken = self.take_documents();
            }
            self.exits.opening = ExitOpening::ByBody;
            again = self.reconcile(Activation::IntentChanged).await;
        } else if taken != Taken::Nothing {
            again = self.reconcile(Activation::IntentChanged).await;
        }
        self.write_report();
        again
    }

    /// Without a ledger, is there no other sign of an earlier intent: a table of ours in the kernel, or a pod that an
    /// intent guarded? What cannot be read counts as a sign.
    async fn is_new_node(&self) -> bool {
        self.table_reading().await == TableReading::Missing
            && self.memory.bindings.get().guarded.is_empty()
    }

    /// Is a table of ours in the kernel?
    async fn table_reading(&self) -> TableReading {
        match self.host.read_firewall().await {
            Err(_) => TableReading::Unread,
            Ok(firewall) if firewall.inet.is_none() && firewall.bridge.is_none() => {
                TableReading::Missing
            }
            Ok(_) => TableReading::There,
        }
    }

    fn record_unclaimed(&mut self) {
        if let Err(error) = self
            .memory
            .ledger
            .record(|entries| entries.unclaimed = true)
        {
            // Pods without a binding are held from now on, although nobody selected them: the next start could not tell
            // this node from one that lost its ledger.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the agent cannot write the ledger of a new node"
            );
        }
    }

    /// The last body is in force again. Its documents were verified when they were taken, and are verified again: a body
    /// that has run out meanwhile still has the classes of the pods, and gets no lease.
    fn resume(&mut self, now: Timestamp) {
        let entries = self.memory.ledger.entries();
        let Some(envelope) = entries.envelope.clone() else {
            return;
        };
        match self.verified_again(now, envelope, entries.cluster_envelope.clone()) {
            Ok((body, received)) => {
                self.clock.learn(body.get().issued_at);
                self.put_in_force(body);
                self.documents.received = received;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger's intent cannot be believed"
                );
                self.memory.ledger_lost = LedgerState::Lost;
            }
        }
    }

    fn verified_again(
        &self,
        now: Timestamp,
        envelope: DsseEnvelope,
        cluster: Option<DsseEnvelope>,
    ) -> Result<(Verified<Body>, ReceivedDocuments), DocumentRefusal> {
        let context = |now| VerifyContext {
            node: &self.options.node,
            keys: &self.documents.keys,
            now,
            last: None,
        };
        let intent = Received {
            verified: expired_too(|at| verify_intent(&envelope, &context(at)), now)?,
            envelope,
        };
        let cluster = cluster.map(|envelope| {
            let verified = expired_too(
                |at| verify_cluster(&envelope, &self.documents.keys, at, None),
                now,
            )?;
            Ok(Received { verified, envelope })
        });
        let cluster = cluster.transpose()?;
        let found = cluster.as_ref().map(|cluster| &cluster.verified);
        let body = join(&intent.verified, found)?;
        let intent = Some(intent);
        Ok((body, ReceivedDocuments { intent, cluster }))
    }
}

/// Verifies a document as of its last moment, if it has run out.
fn expired_too<T>(
    verify: impl Fn(Timestamp) -> Result<Verified<T>, DocumentRefusal>,
    now: Timestamp,
) -> Result<Verified<T>, DocumentRefusal> {
    match verify(now) {
        Err(DocumentRefusal::Expired { not_after, .. }) => {
            verify(not_after - jiff::SignedDuration::from_nanos(1))
        }
        other => other,
    }
}
