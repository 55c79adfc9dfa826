//! An entry of connection tracking.

use std::net::SocketAddr;

use postern_host::ports::TransportProtocol;
use postern_plan::flow::FlowEntry;

/// An entry of connection tracking: both directions, as `conntrack -L` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub protocol: TransportProtocol,
    /// Source and destination of the first packet.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of replies.
    pub reply: (SocketAddr, SocketAddr),
}

impl From<&Flow> for FlowEntry {
    fn from(flow: &Flow) -> Self {
        Self {
            protocol: flow.protocol.number(),
            original: flow.original,
            reply: flow.reply,
        }
    }
}
