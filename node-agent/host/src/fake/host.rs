//! The host's state, and what tests and others do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_intent::{Address, IfName};
use postern_plan::host::{AdminState, DeviceKey, LockPolicy, ObservedLink, Route, RoutingRule};
use postern_plan::observed::ObservedFirewall;

use super::fault::{Call, Faults};
use super::flow::Flow;
use super::tunnel::Served;
use super::{link, nft};
use crate::bypass::Bypass;
use crate::contract::Outsider;

/// A host in memory. A clone is the same host.
#[derive(Debug, Clone, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) links: Vec<ObservedLink>,
    pub(super) switches: BTreeMap<(IfName, DeviceKey), u8>,
    pub(super) routes: BTreeSet<Route>,
    pub(super) uplinks: BTreeMap<char, IfName>,
    pub(super) rules: Vec<RoutingRule>,
    pub(super) locks: BTreeSet<LockPolicy>,
    pub(super) firewall: ObservedFirewall,
    pub(super) declared: nft::Declarations,
    pub(super) flows: Vec<Flow>,
    pub(super) tunnels: Served,
    pub(super) bypasses: BTreeMap<IfName, Bypass>,
    pub(super) faults: Faults,
}

impl FakeHost {
    /// A host with `lo` only.
    #[must_use]
    pub fn new() -> Self {
        let host = Self::default();
        host.state().links.push(link::loopback());
        host
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a link of somebody else's, for example a pod's.
    pub fn has_link(&self, link: ObservedLink) {
        self.state().links.push(link);
    }

    /// Sets the interface of the default route of a family.
    pub fn has_uplink(&self, family: char, name: IfName) {
        self.state().uplinks.insert(family, name);
    }

    /// Adds an entry of connection tracking.
    pub fn has_flow(&self, flow: Flow) {
        self.state().flows.push(flow);
    }

    /// Entries of connection tracking that are left.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        self.state().flows.clone()
    }

    /// Lets time pass until no element with a timeout is left.
    pub fn expires_the_lease(&self) {
        let mut state = self.state();
        let State {
            firewall, declared, ..
        } = &mut *state;
        nft::expire(firewall, declared);
    }

    /// From the `nth` call on (1 is the next one), calls of a kind fail `times` times with an error number.
    pub fn fails(&self, call: Call, nth: usize, times: usize, errno: i32) {
        self.state().faults.plan(call, nth, times, errno);
    }
}

impl Outsider for FakeHost {
    async fn sets_state(&self, name: &str, wanted: AdminState) {
        // As with `ip link`, there is nobody to tell that there is no such link.
        let _ = self.state().set_state(name, wanted);
    }

    async fn removes_link(&self, name: &str) {
        let _ = self.state().remove_link(name);
    }

    async fn flushes_the_firewall(&self) {
        let mut state = self.state();
        state.firewall = ObservedFirewall::default();
        state.declared = nft::Declarations::default();
    }
}

/// Addresses in a flow's tuples that count for a cut.
pub(super) fn touches(flow: &Flow, addresses: &BTreeSet<Address>) -> bool {
    flow.addresses()
        .iter()
        .any(|address| addresses.contains(address))
}
