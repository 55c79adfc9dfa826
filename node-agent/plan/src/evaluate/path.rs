//! A packet's whole way through a node.

use super::hook::{Evaluator, Fate, SourceRewrite, Trace};
use super::packet::Packet;
use crate::ruleset::{Counter, Hook};

/// How a forwarded packet ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What becomes of it.
    pub end: PathEnd,
    /// Counters that counted it, in order.
    pub counters: Vec<Counter>,
    /// Counters of single rules that counted it, in order.
    pub rule_counters: Vec<String>,
    /// Rules that decided or changed something, in order.
    pub traces: Vec<Trace>,
}

/// Where the routing decision sends a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// To the node itself.
    Local,
    /// Out of this interface.
    Interface(String),
}

/// What becomes of a packet that comes to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEnd {
    /// It is gone, silently.
    Dropped,
    /// The packet is refused: it is dropped, and the sender gets a reset or an ICMP error.
    Rejected,
    /// It is delivered to a local port instead.
    Redirected(u16),
    /// It is delivered to the node itself.
    Delivered,
    /// It leaves by this interface.
    Left {
        oif: String,
        mark: u32,
        /// What our rules make of its source; none: they leave it as it is.
        source: Option<SourceRewrite>,
    },
}

impl Passage {
    #[must_use]
    pub const fn left(&self) -> bool {
        matches!(self.end, PathEnd::Left { .. })
    }

    /// The rule that ended it or let it go last.
    #[must_use]
    pub fn deciding(&self) -> Option<&Trace> {
        self.traces.last()
    }
}

impl Evaluator<'_> {
    /// A packet of a pod that the node forwards: prerouting without an outgoing interface, then forward and postrouting
    /// with the one that routing gave it.
    #[must_use]
    pub fn forwarded(&self, packet: &Packet) -> Passage {
        self.routed(packet, |_| Hop::Interface(packet.oif.clone()))
    }

    /// The same where the routing decision depends on what prerouting made of the packet, its mark above all. A packet to
    /// the node itself meets the input hook instead of the other two.
    #[must_use]
    pub fn routed(&self, packet: &Packet, route: impl Fn(&Packet) -> Hop) -> Passage {
        let mut passage = Passage {
            end: PathEnd::Dropped,
            counters: Vec::new(),
            rule_counters: Vec::new(),
            traces: Vec::new(),
        };
        let mut packet = packet.clone();
        packet.oif.clear();
        passage.end = match self.through(&mut packet, &mut passage, route) {
            Ok(end) | Err(end) => end,
        };
        passage
    }

    /// Where a packet ends; the error is an end before the last hook.
    fn through(
        &self,
        packet: &mut Packet,
        passage: &mut Passage,
        route: impl Fn(&Packet) -> Hop,
    ) -> Result<PathEnd, PathEnd> {
        self.pass(Hook::Prerouting, packet, passage)?;
        match route(packet) {
            Hop::Local => {
                self.pass(Hook::Input, packet, passage)?;
                Ok(PathEnd::Delivered)
            }
            Hop::Interface(oif) => {
                packet.oif.clone_from(&oif);
                self.pass(Hook::Forward, packet, passage)?;
                let source = self.pass(Hook::Postrouting, packet, passage)?;
                Ok(PathEnd::Left {
                    oif,
                    mark: packet.mark,
                    source,
                })
            }
        }
    }

    fn pass(
        &self,
        hook: Hook,
        packet: &mut Packet,
        passage: &mut Passage,
    ) -> Result<Option<SourceRewrite>, PathEnd> {
        let outcome = self.hook(hook, packet);
        passage.counters.extend(outcome.counters);
        passage.rule_counters.extend(outcome.rule_counters);
        passage.traces.extend(outcome.traces);
        match (outcome.fate, outcome.redirected) {
            (Fate::Dropped, _) => Err(PathEnd::Dropped),
            (Fate::Rejected, _) => Err(PathEnd::Rejected),
            (Fate::Passes, Some(port)) => Err(PathEnd::Redirected(port)),
            (Fate::Passes, None) => Ok(outcome.source),
        }
    }
}
