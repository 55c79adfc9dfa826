//! The report: what this node's agent saw, from what was read back and never from having written it.
//!
//! [`ReportInputs`] is everything that a report depends on. The applied body, its serial and its pods come from the
//! [`ReadBack`] alone, and a [`ReadBack`] is made from a reading alone.

mod bypassed;
mod conditions;
mod exits;
mod isolation;
mod paths;
mod scopes;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use jiff::Timestamp;
use postern_crds::conditions::{ConditionType, Reason};
use postern_intent::possession::Proof;
use postern_intent::{Body, IfName, KeyId, ScopeId, Serial, TrustedKeys, WgKey};
use postern_plan::binding::Bindings;
use postern_plan::desired::{HostFacts, NodeClaim};
use postern_plan::flow::Cuts;
use postern_plan::order::Stage;
use postern_plan::settings::SecondLock;

use crate::egress::EgressFindings;
use crate::probe::ProbeResults;
use crate::read_back::ReadBack;
use crate::scope_reading::LeaseReading;
use crate::scope_status::ScopeStatus;
use crate::session_health::SessionHealths;
use crate::tunnel_health::TunnelHealths;

pub use bypassed::BypassedPod;
pub use isolation::ReportedUplinks;
pub use scopes::ScopeRuleCounts;

/// How the names of counters of questions for names begin.
pub const QUESTIONS: &str = "questions_";

/// How the names of counters of packets begin.
pub const PACKETS: &str = "packets_";

/// What the agent obeys: documents, bindings and what the ledger remembers of both.
#[derive(Debug, Clone)]
pub struct InForce<'a> {
    /// The last body that was accepted. Whether the kernel carries it is no part of this.
    pub body: Option<&'a Body>,
    /// Whether an intent was ever in force here.
    pub claim: NodeClaim,
    /// Whether the node is released.
    pub release: NodeRelease,
    /// Whether the ledger was there at the start.
    pub ledger: LedgerState,
    /// The serial of the last document for this node that was accepted.
    pub serial: Serial,
    /// The serial of the last cluster document that was joined with one.
    pub cluster_serial: Serial,
    /// The keys that documents are verified with.
    pub keys: &'a TrustedKeys,
    /// How the keys given at installation differ from these, as a sentence.
    pub key_difference: Option<String>,
    /// Who is behind which interface.
    pub bindings: &'a Bindings,
    /// The last refusal of a document that still lies there.
    pub standing_refusal: Option<&'a RefusalEntry>,
    /// Documents that were refused, newest last.
    pub refusals: &'a VecDeque<RefusalEntry>,
}

/// Is the node released?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRelease {
    /// A release was accepted, and no intent since.
    Released,
    Guarded,
}

/// Whether the ledger was there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// It was whole, or the node is new.
    Kept,
    /// It was corrupt: the node is sealed until a fresh intent comes.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalEntry {
    /// Why, in one word.
    pub reason: &'static str,
    pub message: String,
    /// The document's digest, if it has one.
    pub digest: Option<String>,
    /// When it was refused.
    pub at: Timestamp,
}

/// What the last run did and did not do.
#[derive(Debug, Clone)]
pub struct ReportedRun<'a> {
    /// Steps that failed, in order.
    pub failures: Vec<FailedStep>,
    /// Addresses whose flows have still to be cut.
    pub owed_cuts: &'a Cuts,
    /// When the kernel was last read back and agreed.
    pub verified_at: Option<Timestamp>,
    /// Whether the tunnels' other ends answer.
    pub tunnels: &'a TunnelHealths,
    /// Whether the servers of sessions answer.
    pub sessions: &'a SessionHealths,
    /// Why credentials of sessions cannot be read, by device.
    pub session_faults: BTreeMap<IfName, String>,
    /// What probes of exits found.
    pub probes: &'a ProbeResults,
    /// The status of each scope.
    pub scopes: BTreeMap<ScopeId, ScopeStatus>,
    /// The lease of the body that was read back.
    pub lease: LeaseReading,
    /// What leads packets past the guard, by link.
    pub bypasses: BTreeMap<IfName, String>,
    /// The state of the uplinks; none: the node is not isolated.
    pub isolation: Option<&'a ReportedUplinks>,
    /// What the node has of egress addresses.
    pub egress: &'a EgressFindings,
    /// Resolvers that are left alone for a while because they did not answer, by scope.
    pub open_resolvers: BTreeMap<ScopeId, BTreeSet<SocketAddr>>,
    /// What the agent counts itself.
    pub counters: BTreeMap<String, u64>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    pub stage: Stage,
    pub step: String,
    pub message: String,
}

/// What this node is and can do.
#[derive(Debug, Clone)]
pub struct NodeSetup<'a> {
    /// Facts of the host.
    pub facts: &'a HostFacts,
    /// Whether the CNI plugin gives bindings.
    pub plugin: PluginUse,
    /// Whether the second lock is wanted and possible.
    pub second_lock: SecondLock,
    /// Why this kernel can have none, if it cannot.
    pub no_lock: Option<String>,
    /// Whether nft tables are possible.
    pub guard: GuardMeans,
    pub kernel: String,
    /// The public half of the node's tunnel key.
    pub wireguard_key: &'a WgKey,
    /// Proofs that the node holds its private half.
    pub key_proofs: Vec<(KeyId, Proof)>,
    /// The public half of the key that credentials are encrypted to.
    pub credentials_key: &'a WgKey,
    /// Proofs that the node holds its private half.
    pub credentials_proofs: Vec<(KeyId, Proof)>,
    /// What could not be used at the start.
    pub damages: &'a [StartDamage],
    /// What the checks of the host find; none before the first one.
    pub preflight: Option<&'a [String]>,
}

/// Does the CNI plugin give bindings?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginUse {
    /// Bindings are known before a pod's first instruction.
    Expected,
    /// Addresses come from the intent.
    None,
}

/// Can this node have a guard at all?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardMeans {
    /// nft tables can be written, or nothing else is known.
    Present,
    /// nft is not installed, or the kernel has no tables.
    Absent,
}

/// A file or a socket that could not be used at the start. The guard stands without it; a condition says so until the
/// agent starts again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartDamage {
    /// The condition that is not true because of it.
    pub condition: ConditionType,
    pub reason: Reason,
    pub message: String,
}

/// The moment of a report.
#[derive(Debug, Clone, Copy)]
pub struct ReportTime {
    /// The agent's time, which never falls.
    pub now: Timestamp,
    /// The wall clock, which handshakes are stamped with.
    pub wall: Timestamp,
}

/// Everything that a report depends on.
#[derive(Debug, Clone)]
pub struct ReportInputs<'a> {
    /// What the agent obeys.
    pub in_force: InForce<'a>,
    /// What the kernel shows; none before the first run and on a released node.
    pub read_back: Option<&'a ReadBack>,
    /// What the last run did.
    pub run: ReportedRun<'a>,
    /// What this node is.
    pub setup: NodeSetup<'a>,
    /// When the report is made.
    pub time: ReportTime,
}

impl ReportInputs<'_> {
    fn is_released(&self) -> bool {
        self.in_force.release == NodeRelease::Released
    }
}
