//! A packet is judged by the pod's node first, and then by the gateway of the exit whose tunnel it enters.

use std::error::Error;

use jiff::Timestamp;
use postern_intent::{Address, Body, NamePattern, NodeName};
use postern_plan::explain::{LegEnd, NodeLeg, NodeModel, TunnelEntry};

use super::packet::{ExplainedPacket, PacketResult};
use super::question::{DestinationOrigin, PacketQuestion};
use super::sentence;
use crate::text::chain;

/// The result that follows from the name alone; none: the address of its answer decides.
fn named(
    model: &NodeModel<'_>,
    source: &Address,
    name: &NamePattern,
) -> Option<(PacketResult, String)> {
    if model.is_clusters(name) {
        let summary = format!(
            "{name} is a name of the cluster, which the cluster's resolver answers; ask with the address that it has"
        );
        return Some((PacketResult::NotKnown, summary));
    }
    model.refuses(source, name).then(|| {
        let summary = format!(
            "the forwarder of the node refuses the name {name} to the pod: its policy does not allow it"
        );
        (PacketResult::Refused, summary)
    })
}

/// A packet as the pod's node judged it.
pub(super) struct JudgedLeg<'a> {
    pub(super) question: PacketQuestion,
    pub(super) model: NodeModel<'a>,
    pub(super) leg: NodeLeg,
}

impl ExplainedPacket {
    /// Judges a packet at this time, by the bodies of the nodes that it passes.
    ///
    /// # Errors
    /// Why the pod's node has no body. A gateway without one makes the answer end in its tunnel.
    pub fn judged<E: Error>(
        question: &PacketQuestion,
        now: Timestamp,
        mut body: impl FnMut(&NodeName) -> Result<Body, E>,
    ) -> Result<Self, E> {
        if let Some(staying) = Self::staying(question) {
            return Ok(staying);
        }
        let mut explained = Self::new(question);
        let own = body(&question.node)?;
        let model = NodeModel::new(&own, Some(&question.pod), now);
        let Some(judged) = explained.judge(question, model) else {
            return Ok(explained);
        };
        let JudgedLeg {
            question,
            model,
            leg,
        } = &judged;
        explained.pass(leg, &own);
        explained.assumed = sentence::assumed(question, &own, leg);
        explained.assumed.extend(sentence::granted(question, model));
        let end = match leg.end.clone() {
            LegEnd::Tunnel(entry) => explained.enter(question, now, entry, body),
            other => other,
        };
        explained.summary = sentence::summary(&explained, &end);
        Ok(explained)
    }

    /// The pod's node judges; none: the answer is there without its rules.
    pub(super) fn judge<'a>(
        &mut self,
        question: &PacketQuestion,
        mut model: NodeModel<'a>,
    ) -> Option<JudgedLeg<'a>> {
        if question.origin == DestinationOrigin::StandIn
            && let Some(name) = &question.name
            && let Some((result, summary)) = named(&model, &question.packet.source, name)
        {
            self.end(result);
            self.summary = summary;
            return None;
        }
        let Some(question) = question.unnamed(&model) else {
            "not known: rules name each address that could stand for the answer; ask with the address itself"
                .clone_into(&mut self.summary);
            return None;
        };
        self.packet.destination = question.packet.destination;
        if let Some(name) = &question.name {
            model = model.answered(&question.packet, name);
        }
        let leg = model.from_pod(&question.packet);
        Some(JudgedLeg {
            question,
            model,
            leg,
        })
    }

    /// The gateway judges, if it is a node and has a body. What it lets out, a rule of the pod's node has let out.
    fn enter<E: Error>(
        &mut self,
        question: &PacketQuestion,
        now: Timestamp,
        entry: TunnelEntry,
        body: impl FnOnce(&NodeName) -> Result<Body, E>,
    ) -> LegEnd {
        self.exit = Some(entry.exit.clone());
        self.gateway = entry.gateways.first().cloned();
        let Some(gateway) = &self.gateway else {
            self.end(PacketResult::LeavesByExit);
            return LegEnd::Tunnel(entry);
        };
        let body = match body(gateway) {
            Ok(body) => body,
            Err(error) => {
                self.gateway_error = Some(chain(&error));
                return LegEnd::Tunnel(entry);
            }
        };
        let cause = self.cause.clone();
        let leg = NodeModel::new(&body, None, now).from_tunnel(&entry, &question.packet);
        self.pass(&leg, &body);
        if self.result == PacketResult::LeavesByExit {
            self.cause = cause;
        }
        leg.end
    }
}
