//! The nft tables in memory.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::Address;
use postern_plan::observed::ObservedFirewall;
use postern_plan::ruleset::{Atom, Element, Transaction};

use super::fault::Call;
use super::host::FakeHost;
use super::nft;
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{Firewall, HostResult};

impl Firewall for FakeHost {
    async fn change_firewall(&self, transaction: &Transaction) -> HostResult<()> {
        let mut state = self.state();
        let failed = |source: HostCause| HostError::ChangeFirewall {
            summary: transaction.summary().to_owned(),
            source,
        };
        state.faults.meet(Call::ChangeFirewall).map_err(failed)?;
        if let Some(edit) = state.foreign_edit.0.take() {
            edit(&mut state.firewall);
        }
        // The kernel takes all of a batch or none of it, so the batch works on a copy.
        let mut firewall = state.firewall.clone();
        nft::perform(&mut firewall, transaction.edits()).map_err(failed)?;
        state.firewall = firewall;
        Ok(())
    }

    async fn has_addresses(&self, sets: &BTreeMap<String, BTreeSet<Address>>) -> HostResult<bool> {
        let mut state = self.state();
        let failed = |source| HostError::ReadFirewall {
            table: "inet postern",
            source,
        };
        state.faults.meet(Call::ReadFirewall).map_err(failed)?;
        let table = state.firewall.inet.as_ref();
        let holds = |name: &String, address: &Address| {
            let set = table.and_then(|table| table.sets.get(name));
            let key = Element::key([Atom::Address(*address)]);
            set.is_some_and(|set| set.elements.contains(&key))
        };
        let mut wanted = sets.iter();
        Ok(wanted.all(|(name, addresses)| addresses.iter().all(|one| holds(name, one))))
    }

    async fn read_firewall(&self) -> HostResult<ObservedFirewall> {
        let mut state = self.state();
        let failed = |source| HostError::ReadFirewall {
            table: "inet postern",
            source,
        };
        state.faults.meet(Call::ReadFirewall).map_err(failed)?;
        let seen = state.firewall.clone();
        if let Some(edit) = state.foreign_edit_after_a_reading.0.take() {
            edit(&mut state.firewall);
        }
        Ok(seen)
    }
}
