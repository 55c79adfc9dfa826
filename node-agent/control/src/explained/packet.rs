//! What becomes of one packet of a pod, and which rule decides, as it is shown.

use std::fmt;

use postern_intent::body::RuleProtocol;
use postern_intent::{Address, Body, ExitName, NodeName};
use postern_plan::explain::{Cause, LegEnd, NameAnswer, NftRule, NodeLeg};
use serde::{Deserialize, Serialize};

use super::question::PacketQuestion;
use crate::text::table;

/// What becomes of one packet of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPacket {
    pub pod: String,
    /// The node of the pod.
    pub node: NodeName,
    pub packet: ShownPacket,
    /// Whether the nodes that judge it let it through.
    pub verdict: PacketVerdict,
    /// What becomes of it.
    pub result: PacketResult,
    /// The exit that it leaves by, or whose tunnel it enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitName>,
    /// The gateway of that exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<NodeName>,
    /// Its source when it leaves; none: it does not leave, or the interface gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// Why; none: no node judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What the forwarder does with a query for a name outside of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameAnswer>,
    /// The reason why the gateway's decision is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_error: Option<String>,
    /// The answer in one sentence.
    pub summary: String,
    /// The nodes that it passes.
    pub nodes: Vec<JudgingNode>,
    /// What the answer takes for granted.
    pub assumed: Vec<String>,
}

/// The packet of the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownPacket {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes to.
    pub destination: Address,
    pub protocol: RuleProtocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PacketResult {
    /// It leaves the cluster by an exit.
    LeavesByExit,
    /// It enters the tunnel of an exit, whose gateway judges it too.
    EntersTunnel,
    /// It leaves the cluster by the uplink of the pod's node.
    LeavesByUplink,
    /// It stays in the cluster.
    StaysInCluster,
    /// It never leaves the pod.
    StaysInPod,
    /// It is for a node itself: the pod's, or the gateway.
    ReachesNode,
    /// It is for the DNS forwarder of the pod's node.
    AsksForwarder,
    /// It does not arrive, and the pod gets an error.
    Refused,
    /// A node drops the packet silently.
    Dropped,
    /// What becomes of it depends on what is not known here.
    NotKnown,
}

/// Whether a packet is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PacketVerdict {
    Allowed,
    Denied,
    /// It depends on facts that are not known here.
    NotKnown,
}

impl From<PacketResult> for PacketVerdict {
    fn from(result: PacketResult) -> Self {
        match result {
            PacketResult::LeavesByExit
            | PacketResult::EntersTunnel
            | PacketResult::LeavesByUplink
            | PacketResult::StaysInCluster
            | PacketResult::StaysInPod
            | PacketResult::ReachesNode
            | PacketResult::AsksForwarder => Self::Allowed,
            PacketResult::Refused | PacketResult::Dropped => Self::Denied,
            PacketResult::NotKnown => Self::NotKnown,
        }
    }
}

/// One node that judges the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgingNode {
    pub node: NodeName,
    /// The serial of its intent.
    pub serial: u64,
    /// The serial of the cluster document.
    pub cluster_serial: u64,
    /// Why the packet ends there as it does.
    pub cause: Cause,
    /// The rule of `table inet postern` that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deciding: Option<NftRule>,
    /// Every rule of that table that decided or changed something, in order.
    pub rules: Vec<NftRule>,
}

impl ExplainedPacket {
    pub(super) fn new(question: &PacketQuestion) -> Self {
        let packet = &question.packet;
        Self {
            pod: format!("{}/{}", question.pod.namespace, question.pod.name),
            node: question.node.clone(),
            packet: ShownPacket {
                source: packet.source,
                destination: packet.destination,
                protocol: packet.protocol,
                port: (packet.protocol != RuleProtocol::Icmp).then_some(packet.port),
            },
            verdict: PacketVerdict::NotKnown,
            result: PacketResult::NotKnown,
            exit: None,
            gateway: None,
            source: None,
            cause: None,
            names: None,
            gateway_error: None,
            summary: String::new(),
            nodes: Vec::new(),
            assumed: Vec::new(),
        }
    }

    /// The answer about a packet that never leaves its pod; none: a node judges it.
    pub(super) fn staying(question: &PacketQuestion) -> Option<Self> {
        question.stays_in_the_pod().then(|| {
            let mut explained = Self::new(question);
            "it never leaves the pod: the address is the pod's own"
                .clone_into(&mut explained.summary);
            explained.end(PacketResult::StaysInPod);
            explained
        })
    }

    /// Sets the result, and the verdict that follows.
    pub(super) fn end(&mut self, result: PacketResult) {
        self.result = result;
        self.verdict = result.into();
    }

    /// Takes one more thing for granted, if a node was asked at all.
    pub fn assume(&mut self, what: &str) {
        if !self.nodes.is_empty() {
            self.assumed.push(what.to_owned());
        }
    }

    /// One more node has judged.
    pub(super) fn pass(&mut self, leg: &NodeLeg, body: &Body) {
        self.nodes.push(JudgingNode {
            node: leg.node.clone(),
            serial: body.serial.0,
            cluster_serial: body.cluster_serial.0,
            cause: leg.cause.clone(),
            deciding: leg.deciding.clone(),
            rules: leg.rules.clone(),
        });
        self.cause = Some(leg.cause.clone());
        let result = match &leg.end {
            LegEnd::Stays => PacketResult::StaysInCluster,
            LegEnd::Delivered => PacketResult::ReachesNode,
            LegEnd::Forwarder { names, .. } => {
                self.names = Some(names.clone());
                PacketResult::AsksForwarder
            }
            LegEnd::Rejected => PacketResult::Refused,
            LegEnd::Dropped => PacketResult::Dropped,
            LegEnd::Translated | LegEnd::Tunnel(_) => PacketResult::NotKnown,
            LegEnd::Uplink => PacketResult::LeavesByUplink,
            LegEnd::Exit { exit, source } => {
                self.exit = Some(exit.clone());
                self.gateway = Some(leg.node.clone());
                self.source = *source;
                PacketResult::LeavesByExit
            }
        };
        self.end(result);
    }

    /// Whether it arrives, and names outside of the cluster are asked for if that is its purpose.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.verdict == PacketVerdict::Allowed
            && !matches!(self.names, Some(NameAnswer::NotAsked { .. }))
    }
}

impl fmt::Display for ExplainedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = &self.packet;
        let port = packet.port.map(|port| format!(" port {port}"));
        let verdict = match self.verdict {
            PacketVerdict::Allowed => "allowed, ",
            PacketVerdict::Denied => "denied, ",
            PacketVerdict::NotKnown => "",
        };
        write!(
            f,
            "{} from pod {} ({}) on node {} to {}{}: {verdict}{}",
            packet.protocol,
            self.pod,
            packet.source,
            self.node,
            packet.destination,
            port.unwrap_or_default(),
            self.summary
        )?;
        if !self.nodes.is_empty() {
            let rows: Vec<_> = self.nodes.iter().map(JudgingNode::row).collect();
            let nodes = table(&["NODE", "CHAIN", "RULE", "NFT", "DECIDED BY"], &rows);
            write!(f, "\n\n{nodes}")?;
        }
        if !self.assumed.is_empty() {
            write!(f, "\n\nassumed:\n{}", self.assumed.join("\n"))?;
        }
        Ok(())
    }
}

impl JudgingNode {
    fn row(&self) -> Vec<String> {
        let deciding = self.deciding.as_ref();
        let rule = deciding.and_then(|deciding| deciding.rule);
        vec![
            self.node.to_string(),
            deciding.map(|one| one.chain.clone()).unwrap_or_default(),
            rule.map(|rule| rule.to_string()).unwrap_or_default(),
            deciding.map(|one| one.text.clone()).unwrap_or_default(),
            self.cause.to_string(),
        ]
    }
}
