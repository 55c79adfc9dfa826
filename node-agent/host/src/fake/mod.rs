//! A host in memory, for tests of what stands above the ports.
//!
//! # How far to believe it
//!
//! It knows these rules of the kernel; beside each is the case of the [contract](crate::contract), run on Linux too,
//! that taught it:
//!
//! | rule | case |
//! |---|---|
//! | a link that goes down loses its routes of every table, without an event, and its IPv6 addresses; up brings nothing back | `route::a_link_that_goes_down_loses_its_routes_of_every_table`, `link::a_link_that_goes_down_keeps_its_ipv4_and_loses_its_ipv6_addresses` |
//! | a link that is removed takes its routes along, unreachable ones stay | `route::a_link_that_is_removed_loses_its_routes` |
//! | a route needs a link that is up; a route of the same table, destination and metric is replaced | `route::a_route_into_a_link_that_is_down_is_refused`, `route::adding_a_route_twice_replaces_it` |
//! | rules, links, addresses and XFRM policies cannot be added twice; policies are told apart by selector and mark | `*::…cannot_be_added_twice…` |
//! | what is not there cannot be removed, each noun with its own error number | `*::removing_…_that_is_not_there_is_refused` |
//! | a persistent TUN has a carrier while somebody serves it, and stays when nobody does | `link::a_tunnel_that_nobody_serves_has_no_carrier` |
//! | switches exist with their device | `link::a_switch_of_a_missing_device_is_missing` |
//! | a batch of nft is taken whole or not at all; names must exist; what is in use cannot be deleted; other data for a key is refused | `firewall::*` |
//! | a flush of nft leaves the XFRM policies | `lock::a_lock_holds_when_somebody_flushes_the_firewall` |
//! | a tunnel that nobody serves does not answer | `tunnel::*` |
//!
//! It does **not** know: packets and counters (they stay 0), time (a lease stays until [`FakeHost::expires_the_lease`]),
//! what expressions mean (a rule is its text), overlapping intervals, which families and hooks an expression is allowed
//! in, limits and permissions, prefix routes of addresses, link-local addresses, and any other thing that is not in the
//! table above.

mod fault;
mod firewall;
mod flow;
mod link;
mod lock;
mod nft;
mod route;
mod tunnel;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_intent::{Address, IfName};
use postern_plan::host::{AdminState, DeviceKey, LockPolicy, ObservedLink, Route, RoutingRule};
use postern_plan::observed::ObservedFirewall;

pub use fault::Call;
pub use flow::Flow;

use crate::contract::Outsider;
use fault::Faults;
use tunnel::Served;

/// A host in memory. A clone is the same host.
#[derive(Debug, Clone, Default)]
pub struct FakeHost {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<ObservedLink>,
    switches: BTreeMap<(IfName, DeviceKey), u8>,
    routes: BTreeSet<Route>,
    uplinks: BTreeMap<char, IfName>,
    rules: Vec<RoutingRule>,
    locks: BTreeSet<LockPolicy>,
    firewall: ObservedFirewall,
    declared: nft::Declarations,
    flows: Vec<Flow>,
    tunnels: Served,
    faults: Faults,
}

impl FakeHost {
    /// A host with `lo` only.
    #[must_use]
    pub fn new() -> Self {
        let host = Self::default();
        host.state().links.push(link::loopback());
        host
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
        let State { firewall, declared, .. } = &mut *state;
        nft::expire(firewall, declared);
    }

    /// From the `nth` call on (1 is the next one), calls of a kind fail `times` times with an error number.
    pub fn fails(&self, call: Call, nth: usize, times: usize, errno: i32) {
        self.state().faults.plan(call, nth, times, errno);
    }
}

impl Outsider for FakeHost {
    async fn sets_state(&self, name: &str, wanted: AdminState) {
        self.state().set_state(name, wanted);
    }

    async fn removes_link(&self, name: &str) {
        self.state().remove_link(name);
    }

    async fn flushes_the_firewall(&self) {
        let mut state = self.state();
        state.firewall = ObservedFirewall::default();
        state.declared = nft::Declarations::default();
    }
}

/// Addresses in a flow's tuples that count for a cut.
fn touches(flow: &Flow, addresses: &BTreeSet<Address>) -> bool {
    flow.addresses().iter().any(|address| addresses.contains(address))
}
