//! A packet is judged by the pod's node first, and then by the gateway of the exit into whose tunnel it goes.

use jiff::Timestamp;
use postern_intent::{Body, NodeName};
use postern_plan::explain::{LegEnd, NodeLeg, NodeModel, TunnelEntry};

use super::packet::{ExplainedPacket, PacketResult};
use super::question::PacketQuestion;
use super::sentence;

/// The pod's node has judged; the gateway may follow.
#[derive(Debug, Clone)]
pub struct HalfExplained<'a> {
    question: &'a PacketQuestion,
    body: &'a Body,
    leg: NodeLeg,
}

impl<'a> HalfExplained<'a> {
    /// Judges a packet on the pod's node.
    #[must_use]
    pub fn of(question: &'a PacketQuestion, body: &'a Body, now: Timestamp) -> Self {
        let leg = NodeModel::new(body, Some(&question.pod), now).from_pod(&question.packet);
        Self {
            question,
            body,
            leg,
        }
    }

    /// The gateway that judges next.
    #[must_use]
    pub fn gateway(&self) -> Option<&NodeName> {
        self.entry()?.gateways.first()
    }

    fn entry(&self) -> Option<&TunnelEntry> {
        match &self.leg.end {
            LegEnd::Tunnel(entry) => Some(entry),
            _ => None,
        }
    }

    /// The whole answer. `gateway` is the body of the gateway that judges next; none: it is not at hand.
    #[must_use]
    pub fn with(self, gateway: Option<&Body>, now: Timestamp) -> ExplainedPacket {
        let question = self.question;
        let mut explained = ExplainedPacket::new(question);
        if question.stays_in_the_pod() {
            "it never leaves the pod: the address is the pod's own"
                .clone_into(&mut explained.summary);
            explained.result = PacketResult::StaysInPod;
            return explained;
        }
        let entry = self.entry().cloned();
        explained.pass(&self.leg, self.body);
        explained.assumed = sentence::assumed(question, self.body, &self.leg);
        if let Some(entry) = entry {
            explained.exit = Some(entry.exit.clone());
            explained.gateway = entry.gateways.first().cloned();
            enter(&mut explained, question, &entry, gateway, now);
        }
        explained.summary = sentence::summary(&explained, &self.leg.end);
        explained
    }
}

/// The gateway judges. What it lets out, a rule of the pod's node has let out.
fn enter(
    explained: &mut ExplainedPacket,
    question: &PacketQuestion,
    entry: &TunnelEntry,
    gateway: Option<&Body>,
    now: Timestamp,
) {
    if entry.gateways.is_empty() {
        explained.result = PacketResult::LeavesByExit;
    }
    let Some(body) = gateway else {
        return;
    };
    let cause = explained.cause.clone();
    let leg = NodeModel::new(body, None, now).from_tunnel(entry, &question.packet);
    explained.pass(&leg, body);
    if explained.result == PacketResult::LeavesByExit {
        explained.cause = cause;
    }
}
