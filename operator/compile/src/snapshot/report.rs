//! The only parts of a node's report that are read: what a node says is untrusted input.

use postern_intent::{NodeName, NodeUid, Serial, WgKey};

/// What one node says of itself, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The node.
    pub node: NodeName,
    /// The node's UID, which the report has had since it was made.
    pub uid: NodeUid,
    /// Its WireGuard public key; none: not said, or not usable.
    pub key: Option<WgKey>,
    /// The highest serial of its ledger.
    pub ledger_serial: Option<Serial>,
    /// The serial that it has applied and read back.
    pub applied_serial: Option<Serial>,
}
