//! A limit of each source by itself: a set keyed by the source's address, in whose elements the kernel counts.

use std::fmt;

use super::rule::{Match, MatchField, Operand};
use crate::host::Family;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitMeasure {
    /// Connections that conntrack knows at one time; of TCP those that are not closed.
    Connections,
    NewConnections,
    Packets,
    Bytes,
}

impl LimitMeasure {
    pub const EACH: [Self; 4] = [
        Self::Connections,
        Self::NewConnections,
        Self::Packets,
        Self::Bytes,
    ];

    /// As sets and counters are named after it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::NewConnections => "new_connections",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
        }
    }
}

/// One limit of a family's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimit {
    pub measure: LimitMeasure,
    pub family: Family,
    /// At one time, or in a second.
    pub most: u64,
    /// The set of those who send. Its elements keep the limit with which they were made, so that a set serves one number only.
    pub set: String,
}

/// For how long the kernel remembers how much of a rate a silent source used. A source that sent nothing for a second has its
/// whole burst again, so that nothing is lost with the element.
const REMEMBERED: &str = "1m";

impl fmt::Display for SourceLimit {
    /// The set's element is made by the first packet. The kernel deletes it when the last of the counted connections ends, or when
    /// the source was silent for some time.
    ///
    /// A rate lets a burst of one second pass. The kernel adds a second's worth to the burst of bytes by itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            measure, most, set, ..
        } = self;
        let saddr = MatchField::Saddr(self.family);
        match measure {
            LimitMeasure::Connections => {
                write!(f, "add @{set} {{ {saddr} ct count over {most} }}")
            }
            LimitMeasure::NewConnections | LimitMeasure::Packets => write!(
                f,
                "update @{set} {{ {saddr} timeout {REMEMBERED} limit rate over {most}/second burst {most} packets }}"
            ),
            LimitMeasure::Bytes => write!(
                f,
                "update @{set} {{ {saddr} timeout {REMEMBERED} limit rate over {most} bytes/second }}"
            ),
        }
    }
}

/// The packet's source is over the limit.
#[must_use]
pub fn over(limit: SourceLimit) -> Match {
    Match {
        fields: vec![MatchField::Over(limit)],
        operand: Operand::Alone,
    }
}

/// `ct status ! confirmed`: no packet of the flow went through this node before.
#[must_use]
pub fn first_of_flow() -> Match {
    Match {
        fields: vec![MatchField::Unconfirmed],
        operand: Operand::Alone,
    }
}
