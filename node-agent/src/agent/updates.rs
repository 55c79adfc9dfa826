//! What tasks beside the loop find while the agent runs: the UID of the node, the installed keys, the sockets of tunnel processes, and
//! whether packets are logged. None takes anything out of force.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use futures::StreamExt as _;
use inotify::{Inotify, WatchMask};
use postern_crds::conditions::Reason;
use postern_host::Host;
use postern_intent::{KeyId, TrustedKeys, Uid};
use postern_plan::desired::PacketLog;
use postern_telemetry::chain;
use tokio::sync::mpsc;

use super::activation::Activation;
use super::state::Agent;
use crate::audit::Entry;
use crate::control::ControlAnswer;
use crate::endpoints::FoundEndpoints;
use crate::inbox::DocumentKind;

/// What a task beside the loop found.
#[derive(Debug)]
pub enum NodeUpdate {
    /// The UID of this node.
    Node(Uid),
    /// The keys given at installation, as they lie there now.
    InstalledKeys(TrustedKeys),
    /// What the checks of the host find.
    Preflight(Vec<String>),
    /// A new term of the operator: it publishes nothing for this node before the node has reported.
    Asked,
    /// A tunnel process has made the socket of a device.
    TunnelServed,
    /// The addresses that names of servers outside have.
    Endpoints(FoundEndpoints),
    /// Whether the agent reads the kernel's log of packets, for records of decisions.
    PacketLog(PacketLog),
}

/// Sends an update when a tunnel process makes a socket in this folder. While the process was away the pause before the next
/// try has grown, and the events of the kernel do not end it.
///
/// # Errors
/// When the folder cannot be watched: devices are then tried again at their pause alone.
pub fn watch_sockets(folder: &Path, updates: mpsc::Sender<NodeUpdate>) -> io::Result<()> {
    let inotify = Inotify::init()?;
    inotify.watches().add(folder, WatchMask::CREATE)?;
    let mut sockets = inotify.into_event_stream(vec![0; 4096])?;
    tokio::spawn(async move {
        while sockets.next().await.is_some() {
            if updates.send(NodeUpdate::TunnelServed).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

impl<H: Host> Agent<H> {
    /// Takes an update, and returns the activation of the run that follows; documents are judged again where their judgement
    /// depended on it.
    pub fn take_update(&mut self, update: NodeUpdate) -> Activation {
        let now = self.clock.now();
        match update {
            NodeUpdate::Asked => {
                self.output.report.ask();
                return Activation::Asked;
            }
            NodeUpdate::TunnelServed => return Activation::Retry,
            NodeUpdate::Endpoints(found) => {
                self.sessions.resolved = found;
                return Activation::ProbeChanged;
            }
            NodeUpdate::Preflight(found) => {
                self.output.preflight = Some(found);
                return Activation::Asked;
            }
            NodeUpdate::PacketLog(log) => {
                let before = std::mem::replace(&mut self.kernel.facts.packet_log, log);
                if before == PacketLog::Read {
                    self.count("packet_log_ended");
                }
                return Activation::Asked;
            }
            NodeUpdate::Node(uid) => {
                self.output
                    .audit
                    .write(&Entry::of(now, "node", "NodeKnown", uid.as_str()));
                self.options.node.uid = uid;
            }
            NodeUpdate::InstalledKeys(keys) => {
                let ids: Vec<&str> = keys.ids().map(|id| id.as_str()).collect();
                self.output.audit.write(&Entry::of(
                    now,
                    "keys",
                    "InstalledKeysSeen",
                    &ids.join(" "),
                ));
                // Trust on first use: until something is pinned, what is installed counts, and no keys are none.
                if self.memory.ledger.entries().keys.is_none() && !keys.is_empty() {
                    self.documents.keys = keys.clone();
                }
                self.documents.installed_keys = keys;
            }
        }
        for document in DocumentKind::ALL {
            self.documents.inbox.forget(document);
        }
        Activation::IntentChanged
    }

    /// Trusts the installed keys in place of the pinned ones: the way back where the pinned ones are lost, since no key set
    /// can be signed any more that the node would take. What is in force stays in force.
    pub fn trust_by_root(&mut self, reason: &str) -> ControlAnswer {
        let keys = self.documents.installed_keys.clone();
        if keys.is_empty() {
            return ControlAnswer::refused(
                Reason::EmptyKeySet.as_str(),
                "no key is installed here: put the operator's public keys into the trust folder first",
            );
        }
        let document = keys.document();
        if let Err(error) = self
            .memory
            .ledger
            .record(|entries| entries.keys = Some(document))
        {
            return ControlAnswer::refused(Reason::NotDurable.as_str(), chain(&error));
        }
        let ids: Vec<&str> = keys.ids().map(|id| id.as_str()).collect();
        let line = format!("{}: {reason}", ids.join(" "));
        self.output
            .audit
            .write(&Entry::of(self.clock.now(), "keys", "TrustedByRoot", &line));
        self.documents.keys = keys;
        // What the former keys made it refuse is judged again.
        for document in DocumentKind::ALL {
            self.documents.inbox.forget(document);
        }
        ControlAnswer::done()
    }

    /// How the keys given at installation differ from those in force, if they do. The ones in force were pinned with the
    /// first good document or signed by one that was, so an edit of the installed ones changes nothing but this.
    #[must_use]
    pub fn other_keys(&self) -> Option<String> {
        let installed: BTreeSet<&KeyId> = self.documents.installed_keys.ids().collect();
        let trusted: BTreeSet<&KeyId> = self.documents.keys.ids().collect();
        let different = installed.symmetric_difference(&trusted).count();
        self.output.metrics.key_differences(different);
        (different > 0).then(|| {
            let (installed, trusted) = (listed(&installed), listed(&trusted));
            format!("the keys installed here are {installed}, and the pinned ones, which alone count, are {trusted}")
        })
    }
}

fn listed(ids: &BTreeSet<&KeyId>) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    ids.join(", ")
}
