//! Connection tracking in memory.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{Flows, HostResult, TransportProtocol};
use postern_plan::FlowCut;
use postern_plan::flow::FlowEntry;

impl Flows for FakeHost {
    async fn cut_flows(&self, cut: &FlowCut) -> HostResult<usize> {
        let mut state = self.state();
        let uncut = |source| HostError::CutFlows {
            uncut: cut.addresses.keys().copied().collect(),
            source,
        };
        state.faults.meet(Call::CutFlows).map_err(uncut)?;
        let before = state.flows.len();
        let FakeState {
            flows, uncuttable, ..
        } = &mut *state;
        let mut left = BTreeSet::new();
        flows.retain(|flow| {
            let flow = FlowEntry::from(flow);
            let is_left = cut.takes(&flow) && uncuttable.contains(&flow.original.0.ip());
            if is_left {
                left.extend(cut.owners(&flow));
            }
            is_left || !cut.takes(&flow)
        });
        if left.is_empty() {
            return Ok(before - flows.len());
        }
        Err(HostError::CutFlows {
            uncut: left,
            source: HostCause::errno(errno::EBUSY),
        })
    }

    async fn original_destination(
        &self,
        protocol: TransportProtocol,
        from: SocketAddr,
        to: SocketAddr,
    ) -> HostResult<Option<SocketAddr>> {
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
