//! Connection tracking in memory.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_intent::Address;

use super::fault::Call;
use super::host::FakeHost;
use postern_host::error::HostError;
use postern_host::ports::{Act, Flows, Protocol};

impl Flows for FakeHost {
    async fn cut_flows(&self, addresses: &BTreeSet<Address>) -> Act<usize> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::CutFlows)
            .map_err(|source| HostError::CutFlow { source })?;
        let before = state.flows.len();
        state.flows.retain(|flow| !flow.touches(addresses));
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
