//! A limit of each source by itself: a set keyed by the source's address, in whose elements the kernel counts.

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

/// What a source sent since its element was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCount {
    pub packets: u64,
    pub bytes: u64,
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
