//! A packet's whole way through a node.

use super::hook::{Evaluator, Fate, Source, Trace};
use super::packet::Packet;
use crate::ruleset::{Counter, Hook};

/// How a forwarded packet ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What becomes of it.
    pub end: End,
    /// Counters that counted it, in order.
    pub counters: Vec<Counter>,
    /// Rules that decided or changed something, in order.
    pub traces: Vec<Trace>,
}

/// What becomes of a forwarded packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is gone, silently.
    Dropped,
    /// The packet is refused: it is dropped, and the sender gets a reset or an ICMP error.
    Rejected,
    /// It is delivered to a local port instead.
    Redirected(u16),
    /// It leaves by this interface.
    Left {
        /// The interface.
        oif: String,
        /// The mark.
        mark: u32,
        /// What our rules make of its source; none: they leave it as it is.
        source: Option<Source>,
    },
}

impl Passage {
    /// Does it leave?
    #[must_use]
    pub const fn left(&self) -> bool {
        matches!(self.end, End::Left { .. })
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
        let mut passage = Passage {
            end: End::Dropped,
            counters: Vec::new(),
            traces: Vec::new(),
        };
        let mut packet = packet.clone();
        let oif = std::mem::take(&mut packet.oif);
        let mut source = None;
        for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
            if hook == Hook::Forward {
                packet.oif.clone_from(&oif);
            }
            let outcome = self.hook(hook, &mut packet);
            passage.counters.extend(outcome.counters);
            passage.traces.extend(outcome.traces);
            source = source.or(outcome.source);
            if outcome.fate != Fate::Passes {
                if outcome.fate == Fate::Rejected {
                    passage.end = End::Rejected;
                }
                return passage;
            }
            if let Some(port) = outcome.redirected {
                passage.end = End::Redirected(port);
                return passage;
            }
        }
        passage.end = End::Left {
            oif,
            mark: packet.mark,
            source,
        };
        passage
    }
}
