//! Connection tracking in memory.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_intent::Address;

use super::fault::Call;
use super::host::{FakeHost, touches};
use postern_host::error::HostError;
use postern_host::ports::{Act, Flows, Protocol};

/// An entry of connection tracking: both directions, as `conntrack -L` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// From where to where the first packet went.
    pub original: (SocketAddr, SocketAddr),
    /// From where to where replies go.
    pub reply: (SocketAddr, SocketAddr),
}

impl Flow {
    pub(super) const fn addresses(&self) -> [Address; 4] {
        [
            self.original.0.ip(),
            self.original.1.ip(),
            self.reply.0.ip(),
            self.reply.1.ip(),
        ]
    }
}

impl Flows for FakeHost {
    async fn cut_flows(&self, addresses: &BTreeSet<Address>) -> Act<usize> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::CutFlows)
            .map_err(|source| HostError::CutFlow { source })?;
        let before = state.flows.len();
        state.flows.retain(|flow| !touches(flow, addresses));
        Ok(before - state.flows.len())
    }

    async fn original_destination(
        &self,
        protocol: Protocol,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Act<Option<SocketAddr>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::OriginalDestination)
            .map_err(|source| HostError::FindFlow { from, to, source })?;
        let found = state
            .flows
            .iter()
            .find(|flow| flow.protocol == protocol && flow.reply == (to, from));
        Ok(found.map(|flow| flow.original.1))
    }
}
