//! Egress addresses in memory. No neighbour has one, and none ends by itself.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use postern_plan::host::{EgressAddress, MacAddress};

use super::fault::Call;
use super::host::FakeHost;
use postern_host::error::HostError;
use postern_host::ports::{EgressAddresses, HostResult};

impl FakeHost {
    /// Egress addresses of ours that are there, with the seconds that each was given.
    #[must_use]
    pub fn egress(&self) -> BTreeMap<EgressAddress, u32> {
        self.state().egress.clone()
    }
}

impl EgressAddresses for FakeHost {
    async fn egress_addresses(&self) -> HostResult<BTreeMap<EgressAddress, u32>> {
        let mut state = self.state();
        let met = state.faults.meet(Call::ListEgress);
        met.map_err(|source| HostError::ListAddresses { source })?;
        Ok(state.egress.clone())
    }

    async fn keep_egress(&self, address: &EgressAddress, seconds: NonZeroU32) -> HostResult<()> {
        let mut state = self.state();
        let met = state.faults.meet(Call::KeepEgress);
        met.map_err(|source| HostError::AddAddress {
            link: address.device.clone(),
            address: address.address.into(),
            source,
        })?;
        state.egress.insert(address.clone(), seconds.get());
        Ok(())
    }

    async fn drop_egress(&self, address: &EgressAddress) -> HostResult<()> {
        let mut state = self.state();
        let met = state.faults.meet(Call::DropEgress);
        met.map_err(|source| HostError::RemoveAddress {
            link: address.device.clone(),
            address: address.address.into(),
            source,
        })?;
        state.egress.remove(address);
        Ok(())
    }

    async fn ask_neighbours(&self, address: &EgressAddress) -> HostResult<Option<MacAddress>> {
        let met = self.state().faults.meet(Call::AskNeighbours);
        met.map_err(|source| HostError::AskNeighbours {
            link: address.device.clone(),
            address: address.address,
            source,
        })?;
        Ok(None)
    }

    async fn announce_egress(&self, address: &EgressAddress) -> HostResult<()> {
        let met = self.state().faults.meet(Call::AnnounceEgress);
        met.map_err(|source| HostError::Announce {
            link: address.device.clone(),
            address: address.address,
            source,
        })
    }
}
