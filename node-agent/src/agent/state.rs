//! What the agent knows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_agent_core::egress::EgressFindings;
use postern_agent_core::report::ReportedUplinks;
pub use postern_agent_core::report::{LedgerState, StartDamage};
use postern_agent_core::session_health::SessionHealths;
use postern_agent_core::tunnel_health::TunnelHealths;
use postern_agent_core::{Carried, ExitChoices, ExitLoss, ProbeResults, ReadBack, ScopeStatus};
use postern_crds::conditions::{ConditionType, Reason};
use postern_host::{Bypass, Host, HostError, Unread};
use postern_intent::body::{NodeIdentity, TermsDnsMode};
use postern_intent::{Body, ClusterDocument, IfName, NodeDocument, ScopeId, TrustedKeys, Verified};
use postern_plan::Desired;
use postern_plan::check::Seal;
use postern_plan::desired::{HostFacts, PlanInputs};
use postern_plan::diff::learned::Learned;
use postern_plan::flow::Cuts;
use postern_plan::order::{ArpTables, StepPlan, TableChange};
use postern_plan::settings::NodeSettings;

use postern_telemetry::chain;

use super::backoff::HeldBack;
use super::renewals::Renewals;
use super::sessions::ExternalSessions;
use super::waiting::WaitingPod;
use crate::audit::AuditTrail;
use crate::bindings::BindingStore;
use crate::clock::Clock;
use crate::egress::EgressHandle;
use crate::inbox::{Inbox, Received};
use crate::isolation::IsolationHandle;
use crate::ledger::Ledger;
use crate::metrics::AgentMetrics;
use crate::options::{Plugin, Repair};
use crate::probe::ProbeHandle;
use crate::records::RecordHandle;
use crate::report::{RefusalEntry, ReportPublisher};
use crate::resolver::DnsHandle;
use crate::wireguard_key::NodeKey;

/// The agent. One task owns it: nothing else changes the host.
pub struct Agent<H> {
    pub host: H,
    /// Options of the command line.
    pub options: AgentOptions,
    pub clock: Clock,
    /// Documents of the operator, and the keys that verify them.
    pub documents: DocumentState,
    /// State on disk, which outlives the agent.
    pub memory: DurableState,
    /// What the kernel should look like, and what it looked like last.
    pub kernel: KernelState,
    /// How exits are watched.
    pub exits: ExitWatch,
    /// Sessions with servers outside of the cluster.
    pub sessions: ExternalSessions,
    /// The task that alone changes the state of uplinks.
    pub uplinks: IsolationHandle,
    /// The task that alone gives the node egress addresses.
    pub egress: EgressHandle,
    /// Pods whose ADD waits for the intent.
    pub waiting: Vec<WaitingPod>,
    /// The task that answers the questions of pods for names.
    pub dns: DnsHandle,
    /// Logs, metrics and the report.
    pub output: AgentOutput,
}

/// Options of the command line; only the node's UID may come later, from the token.
pub struct AgentOptions {
    pub node: NodeIdentity,
    pub settings: NodeSettings,
    /// Is the plugin installed?
    pub plugin: Plugin,
    pub repair: Repair,
}

/// Documents of the operator, and the keys that they are verified by.
pub struct DocumentState {
    /// Keys given at installation.
    pub installed_keys: TrustedKeys,
    pub keys: TrustedKeys,
    /// Where documents come in.
    pub inbox: Inbox,
    /// The newest documents that verified, whether they could be joined or not.
    pub received: ReceivedDocuments,
    /// The body in force.
    pub verified: Option<Arc<Verified<Body>>>,
    /// The same with the node's choice of gateways: what the host is planned by.
    pub steered: Option<Arc<Body>>,
    /// Documents that were refused, newest last.
    pub refusals: VecDeque<RefusalEntry>,
}

impl DocumentState {
    /// Before the first document.
    #[must_use]
    pub fn new(installed_keys: TrustedKeys, keys: TrustedKeys, inbox: Inbox) -> Self {
        Self {
            installed_keys,
            keys,
            inbox,
            received: ReceivedDocuments::default(),
            verified: None,
            steered: None,
            refusals: VecDeque::new(),
        }
    }
}

/// What a later agent of this node reads again.
pub struct DurableState {
    /// What must not be forgotten.
    pub ledger: Ledger,
    /// Was the ledger lost?
    pub ledger_lost: LedgerState,
    /// Which pod is behind which interface.
    pub bindings: BindingStore,
    /// The node's tunnel key.
    pub key: NodeKey,
    /// Credentials of external exits are encrypted to it.
    pub credentials_key: NodeKey,
}

/// What the kernel should look like, and what it looked like last.
#[derive(Default)]
pub struct KernelState {
    /// Facts of the host.
    pub facts: HostFacts,
    /// What the host was last made to look like.
    pub desired: Arc<Desired>,
    /// What the kernel was last read back to carry whole: it stays in force where a change of the guard is refused.
    pub carried: Option<Carried>,
    /// Rules as the kernel listed them right after they were written.
    pub learned: Learned,
    /// Addresses whose flows have still to be cut: a cut that failed is owed until it succeeds.
    pub owed_cuts: Cuts,
    /// What the last run found.
    pub last: LastRun,
    /// The status of each scope.
    pub scopes: BTreeMap<ScopeId, Track>,
    /// The DNS mode of each scope in the body that was last read back.
    pub dns_modes: BTreeMap<ScopeId, TermsDnsMode>,
    /// The state of the uplinks of an isolated node.
    pub uplinks: Option<ReportedUplinks>,
    /// What the node has of egress addresses.
    pub egress: EgressFindings,
}

/// How exits are watched.
pub struct ExitWatch {
    /// The task that sends probes.
    pub probes: ProbeHandle,
    /// Whether exits may be opened.
    pub opening: ExitOpening,
    /// When tunnels may get a new session.
    pub renewals: Renewals,
    /// The gateway of each exit.
    pub choices: ExitChoices,
}

impl ExitWatch {
    /// Before the first body.
    #[must_use]
    pub fn new(probes: ProbeHandle) -> Self {
        Self {
            probes,
            opening: ExitOpening::default(),
            renewals: Renewals::default(),
            choices: ExitChoices::new(),
        }
    }
}

/// Logs, metrics and the report.
pub struct AgentOutput {
    /// The log of transitions.
    pub audit: AuditTrail,
    pub report: ReportPublisher,
    pub metrics: AgentMetrics,
    /// Counters that are this agent's own.
    pub counters: BTreeMap<String, u64>,
    /// What could not be used at the start and the guard does not need.
    pub damages: Vec<StartDamage>,
    /// What the checks of the host find; none before the first one.
    pub preflight: Option<Vec<String>>,
    /// What may be recorded of decisions.
    pub records: RecordHandle,
}

/// The newest documents that verified. What is in force was made of the newest two that could be joined.
#[derive(Debug, Default)]
pub struct ReceivedDocuments {
    pub intent: Option<Received<NodeDocument>>,
    /// The one for all nodes.
    pub cluster: Option<Received<ClusterDocument>>,
}

/// What the first reading of a run showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstReading {
    /// Everything was read, and all of it was as it is wanted.
    AsWanted,
    /// Something was to do, or was not read.
    #[default]
    Other,
}

/// May exits be opened?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitOpening {
    /// As the body in force says.
    #[default]
    ByBody,
    /// Not before the source of documents was looked at: the node was away, and the ledger's body may be an old one.
    Held,
}

/// Notes what could not be used at the start in the log, and how the report tells it.
pub fn note_damage(
    condition: ConditionType,
    reason: Reason,
    error: &(dyn std::error::Error + 'static),
) -> StartDamage {
    tracing::error!(
        error,
        "the agent starts without a part that the guard does not need"
    );
    StartDamage {
        condition,
        reason,
        message: chain(error),
    }
}

/// What the agent remembers of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its status after the last run.
    pub status: ScopeStatus,
    /// Since when its exit is lost.
    pub loss: ExitLoss,
}

/// What the last run found.
#[derive(Debug, Default)]
pub struct LastRun {
    /// The kernel, read back; none before the first run and on a released node.
    pub read_back: Option<Arc<ReadBack>>,
    /// What this agent itself left so: a later run that finds it is not surprised.
    pub known: StepPlan,
    /// How the last run that changed anything changed our tables.
    pub table_change: TableChange,
    /// Did the last run find everything as it should be, before it did anything?
    pub first_reading: FirstReading,
    /// What leads past the guard, by the link.
    pub bypasses: BTreeMap<IfName, Bypass>,
    /// Whether this kernel can have an ARP table, as far as it was tried since the agent's start.
    pub arp: ArpTables,
    /// Why this kernel can have no second lock, if it cannot.
    pub no_lock: Option<HostError>,
    /// Steps that failed, by stage.
    pub failures: Vec<(postern_plan::order::Stage, String, HostError)>,
    /// Parts of the host that the last reading could not read.
    pub unread: Vec<Unread>,
    /// What else of the host the last run could not see.
    pub failed_looks: Vec<(&'static str, HostError)>,
    /// When the kernel was last read back and agreed.
    pub verified_at: Option<Timestamp>,
    /// Steps that failed and wait.
    pub held_back: HeldBack,
    /// Whether the other ends of the tunnels that this node uses answer.
    pub tunnels: TunnelHealths,
    /// Whether the servers of its sessions answer.
    pub sessions: SessionHealths,
    /// What probes of exits found last.
    pub probes: ProbeResults,
    /// The lease that was given: until when, and for which digest.
    pub lease: Option<(String, Instant)>,
    /// How long the commit of the last lease took.
    pub lease_commit: Duration,
    /// What the last run did to the kernel's lease after it had read it.
    pub lease_change: LeaseChange,
}

/// A change of the kernel's lease that the last reading does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaseChange {
    #[default]
    None,
    /// The lease was given or prolonged.
    Given,
    /// The lease was ended.
    Ended,
}

impl LastRun {
    /// Does the guard stand? None: nothing was read back yet, or the node is released.
    #[must_use]
    pub fn seal(&self) -> Option<Seal> {
        self.read_back.as_ref().map(|read_back| read_back.seal())
    }

    /// Does the second lock stand?
    #[must_use]
    pub fn lock(&self) -> Option<Seal> {
        self.read_back.as_ref().map(|read_back| read_back.lock())
    }
}

impl<H: Host> Agent<H> {
    /// Borrowed inputs of the plan.
    pub fn inputs(&self) -> PlanInputs<'_> {
        PlanInputs {
            settings: &self.options.settings,
            body: self.body(),
            bindings: self.memory.bindings.get(),
            facts: &self.kernel.facts,
        }
    }

    /// The body in force, with the node's choice of gateways.
    pub fn body(&self) -> Option<&Body> {
        self.documents.steered.as_deref()
    }

    /// Is the node released?
    pub fn is_released(&self) -> bool {
        self.memory.ledger.entries().release.is_some()
    }

    /// Has the body's validity run out?
    pub fn is_expired(&self) -> bool {
        self.body()
            .is_some_and(|body| body.not_after <= self.clock.now())
    }

    /// One more of something.
    pub fn count(&mut self, what: &str) {
        *self.output.counters.entry(what.to_owned()).or_default() += 1;
        self.output.metrics.count(what);
    }
}
