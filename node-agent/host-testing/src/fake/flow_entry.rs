//! An entry of connection tracking.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_host::ports::Protocol;
use postern_intent::Address;

/// An entry of connection tracking: both directions, as `conntrack -L` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub protocol: Protocol,
    /// Source and destination of the first packet.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of replies.
    pub reply: (SocketAddr, SocketAddr),
}

impl Flow {
    const fn addresses(&self) -> [Address; 4] {
        [
            self.original.0.ip(),
            self.original.1.ip(),
            self.reply.0.ip(),
            self.reply.1.ip(),
        ]
    }

    /// Whether one of its tuples has one of these addresses: such a flow is cut.
    pub(super) fn touches(&self, addresses: &BTreeSet<Address>) -> bool {
        self.addresses()
            .iter()
            .any(|address| addresses.contains(address))
    }
}
