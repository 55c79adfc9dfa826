//! What a node does with a packet by what it has in force, with what only the node knows: addresses that are granted, the state of
//! policy and exit, and what their rules counted.

use std::fmt;

use jiff::Timestamp;
use postern_crds::node_report::{ExitReport, ScopeReport};
use postern_intent::{Address, Body, NamePattern};
use postern_plan::explain::{LegEnd, NodeModel};
use serde::{Deserialize, Serialize};

use super::judging::JudgedLeg;
use super::packet::{ExplainedPacket, PacketResult};
use super::question::PacketQuestion;
use super::sentence;
use crate::text::table;

/// The answer of a node about one packet of a pod on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    #[serde(flatten)]
    pub packet: ExplainedPacket,
    /// The name that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NamePattern>,
    /// Addresses in the kernel's sets of the pod's policy: the one that was asked about, or those of the name.
    pub grants: Vec<GrantedAddress>,
    /// What they mean for the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<String>,
    /// The state of the pod's policy on the node, with what its rules had counted when the kernel was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ScopeReport>,
    /// The state of the exit, as the probes of the node show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ExitReport>,
    /// When the kernel was last read back and agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// A newer intent, which this answer is not about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingIntent>,
}

/// An address that the kernel lets through because of an answer for a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedAddress {
    /// The rule of the policy.
    pub rule: String,
    pub address: Address,
    /// Names whose answers brought it, as far as this agent remembers: it keeps four of an address, and none over a restart.
    pub names: Vec<String>,
    /// When the kernel lets no new connection through any more, unless a name brings the address again.
    /// None: another program wrote it, and it was not listed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// An intent that the node accepted and that was not read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingIntent {
    pub serial: u64,
    pub cluster_serial: u64,
}

impl ExplainedPacket {
    /// What the node itself does with the packet, by its body in force.
    #[must_use]
    pub fn in_force(question: &PacketQuestion, model: NodeModel<'_>, body: &Body) -> Self {
        if let Some(staying) = Self::staying(question) {
            return staying;
        }
        let mut explained = Self::new(question);
        let Some(JudgedLeg { question, leg, .. }) = explained.judge(question, model) else {
            return explained;
        };
        explained.pass(&leg, body);
        if let LegEnd::Tunnel(entry) = &leg.end {
            explained.exit = Some(entry.exit.clone());
            explained.gateway = entry.gateways.first().cloned();
            explained.end(match explained.gateway {
                Some(_) => PacketResult::EntersTunnel,
                None => PacketResult::LeavesByExit,
            });
        }
        explained.assumed = sentence::assumed_by_node(&question, body, &leg.end);
        explained.summary = sentence::summary(&explained, &leg.end);
        explained
    }
}

impl NodeExplanation {
    /// Whether the node lets the packet through.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.packet.is_well()
    }

    /// The documents in force, and those that were accepted only.
    fn state(&self) -> Vec<String> {
        let judging = self.packet.nodes.first();
        let in_force = judging.map(|node| {
            let read_back = match &self.verified_at {
                Some(at) => format!(", with which the kernel agreed at {at}"),
                None => String::new(),
            };
            format!(
                "in force: serial {} of the intent and serial {} of the cluster document{read_back}",
                node.serial, node.cluster_serial
            )
        });
        let pending = self.pending.as_ref().map(|pending| {
            format!(
                "serial {} of the intent and serial {} of the cluster document were accepted and not read back: this answer is not \
                 about them",
                pending.serial, pending.cluster_serial
            )
        });
        in_force.into_iter().chain(pending).collect()
    }

    fn grants_table(&self) -> Option<String> {
        let rows = self.grants.iter().map(|grant| {
            let names = match grant.names.is_empty() {
                true => "not remembered".to_owned(),
                false => grant.names.join(", "),
            };
            vec![
                grant.address.to_string(),
                grant.rule.clone(),
                names,
                grant
                    .until
                    .map_or_else(|| "not known".to_owned(), |until| until.to_string()),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let header = ["GRANTED", "RULE", "BY THE ANSWER FOR", "UNTIL"];
        (!rows.is_empty()).then(|| table(&header, &rows))
    }
}

impl fmt::Display for NodeExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![self.packet.to_string()];
        parts.extend(self.granted.clone());
        parts.extend(self.grants_table());
        parts.extend(self.policy.as_ref().map(policy_table));
        parts.extend(self.policy.as_ref().and_then(counted_table));
        parts.extend(self.path.as_ref().map(path_table));
        parts.extend(Some(self.state().join("\n")).filter(|state| !state.is_empty()));
        f.write_str(&parts.join("\n\n"))
    }
}

fn policy_table(scope: &ScopeReport) -> String {
    let policy = scope.policy.as_ref();
    let name = policy.map(|policy| format!("{}/{}", policy.namespace, policy.name));
    let row = vec![
        name.unwrap_or_else(|| scope.id.clone()),
        format!("{:?}", scope.state),
        format!("{:?}", scope.posture),
        scope.reason.clone().unwrap_or_default(),
    ];
    table(&["POLICY", "STATE", "POSTURE", "REASON"], &[row])
}

/// What single rules counted since the tables of the node were made anew; none: they counted nothing.
fn counted_table(scope: &ScopeReport) -> Option<String> {
    let denied = scope.denied.iter().map(|count| {
        let policy = format!("ClusterEgressPolicy {}", count.policy);
        vec![
            policy,
            count.rule.clone(),
            "denied".to_owned(),
            count.packets.to_string(),
        ]
    });
    let own = scope.policy.as_ref().map(|policy| policy.name.clone());
    let observed = scope.observed.iter().map(|count| {
        let rule = count
            .rule
            .clone()
            .unwrap_or_else(|| "defaultAction".to_owned());
        let policy = own.clone().unwrap_or_default();
        vec![
            policy,
            rule,
            "would deny".to_owned(),
            count.packets.to_string(),
        ]
    });
    let rows: Vec<_> = denied.chain(observed).collect();
    let header = ["COUNTED BY", "RULE", "WHAT", "PACKETS"];
    (!rows.is_empty()).then(|| table(&header, &rows))
}

fn path_table(exit: &ExitReport) -> String {
    let broken = exit.paths.iter().filter(|path| !path.message.is_empty());
    let messages: Vec<String> = broken
        .map(|path| format!("{:?}: {}", path.family, path.message))
        .collect();
    let row = vec![
        exit.exit.clone(),
        exit.gateway.clone().unwrap_or_default(),
        if exit.healthy { "yes" } else { "no" }.to_owned(),
        messages.join("; "),
    ];
    table(&["EXIT", "GATEWAY", "CARRIES", "MESSAGE"], &[row])
}
