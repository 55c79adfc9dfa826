//! The host's state, and what tests and others do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_intent::{Address, IfName};
use postern_plan::host::{
    AdminState, DeviceKey, EgressAddress, Family, KernelRoute, LockPolicy, ObservedLink,
    RoutingRule, TcpSession,
};
use postern_plan::observed::ObservedFirewall;

use super::fault::{Call, Faults};
use super::flow_entry::Flow;
use super::loopback::{loopback, loopback_name};
use super::nft;
use super::tunnel_process::TunnelProcess;
use crate::contract::OtherProgram;
use postern_host::bypass::Bypass;
use postern_host::ports::TransportProtocol;
use postern_plan::flow::FlowEntry;

/// A host in memory. A clone is the same host.
#[derive(Debug, Clone, Default)]
pub struct FakeHost {
    state: Arc<Mutex<FakeState>>,
}

#[derive(Debug, Default)]
pub(super) struct FakeState {
    pub(super) links: Vec<ObservedLink>,
    pub(super) switches: BTreeMap<(IfName, DeviceKey), u8>,
    pub(super) routes: BTreeSet<KernelRoute>,
    pub(super) uplinks: BTreeMap<char, IfName>,
    /// With the seconds that each was given.
    pub(super) egress: BTreeMap<EgressAddress, u32>,
    pub(super) rules: Vec<RoutingRule>,
    pub(super) locks: BTreeSet<LockPolicy>,
    pub(super) foreign_locks: BTreeSet<LockPolicy>,
    pub(super) firewall: ObservedFirewall,
    pub(super) flows: Vec<Flow>,
    /// Addresses whose own flows connection tracking does not let go.
    pub(super) uncuttable: BTreeSet<Address>,
    pub(super) tunnels: TunnelProcess,
    pub(super) bypasses: BTreeMap<IfName, Bypass>,
    /// Connections by which others reach the node.
    pub(super) sessions: Vec<TcpSession>,
    pub(super) faults: Faults,
    pub(super) foreign_edit: ForeignEdit,
    pub(super) foreign_edit_after_a_reading: ForeignEdit,
    /// Families that this kernel does not have.
    pub(super) absent: BTreeSet<Family>,
}

type FirewallEdit = Box<dyn FnOnce(&mut ObservedFirewall) + Send>;

/// A change of the firewall by another program between two acts of ours.
#[derive(Default)]
pub(super) struct ForeignEdit(pub(super) Option<FirewallEdit>);

impl std::fmt::Debug for ForeignEdit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ForeignEdit")
            .field(&self.0.is_some())
            .finish()
    }
}

impl FakeHost {
    /// A host with `lo` only.
    #[must_use]
    pub fn new() -> Self {
        let host = Self::default();
        {
            let mut state = host.state();
            state.links.push(loopback());
            state.add_switches(&loopback_name());
        }
        host
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a link that is not ours, for example a pod's.
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

    /// Connection tracking does not let the flows go that the address opened.
    pub fn keeps_flows_of(&self, address: Address) {
        self.state().uncuttable.insert(address);
    }

    /// Entries of connection tracking that are left.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        self.state().flows.clone()
    }

    /// Lets time pass until no element with a timeout is left.
    pub fn expires_the_lease(&self) {
        let mut state = self.state();
        nft::expire(&mut state.firewall);
    }

    /// The kernel was booted without a family: none of its switches is there, and nothing of it is taken.
    pub fn has_no(&self, family: Family) {
        let mut state = self.state();
        state.absent.insert(family);
        state.switches.retain(|(_, key), _| key.family() != family);
    }

    /// `net.ipv6.conf.default.disable_ipv6=1`: new devices take no IPv6 address and no route.
    pub fn disables_ipv6(&self) {
        let key = (crate::contract::device("default"), DeviceKey::DisableIpv6);
        self.state().switches.insert(key, 1);
    }

    /// Another program edits our tables.
    pub fn edits_the_firewall(&self, edit: impl FnOnce(&mut ObservedFirewall)) {
        edit(&mut self.state().firewall);
    }

    /// Another program edits our tables right before our next batch reaches the kernel.
    pub fn edits_the_firewall_before_the_next_batch(
        &self,
        edit: impl FnOnce(&mut ObservedFirewall) + Send + 'static,
    ) {
        self.state().foreign_edit = ForeignEdit(Some(Box::new(edit)));
    }

    /// Another program edits our tables right after the next reading.
    pub fn edits_the_firewall_after_the_next_reading(
        &self,
        edit: impl FnOnce(&mut ObservedFirewall) + Send + 'static,
    ) {
        self.state().foreign_edit_after_a_reading = ForeignEdit(Some(Box::new(edit)));
    }

    /// Another program puts an XFRM policy in the place of the one with its selector and mark.
    pub fn edits_a_lock(&self, policy: LockPolicy) {
        let mut state = self.state();
        state.locks.retain(|there| !there.is_same(&policy));
        state.locks.insert(policy);
    }

    /// Every call since the last time that this was asked, in order.
    pub fn takes_the_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().faults.made)
    }

    /// From the `nth` call on (1 is the next one), calls of a kind fail `times` times with an error number.
    pub fn fails(&self, call: Call, nth: usize, times: usize, errno: i32) {
        self.state().faults.plan(call, nth, times, errno);
    }

    /// Calls of a kind take this much longer from now on, of the real time.
    pub fn delays(&self, call: Call, by: Duration) {
        self.state().faults.delay(call, by);
    }

    /// The program makes so many changes, and the call of the next one unwinds with [`super::ProgramDied`]; none: it lives.
    pub fn lets_the_agent_die_before_change(&self, nth: Option<usize>) {
        self.state().faults.die_before(nth);
    }
}

impl OtherProgram for FakeHost {
    async fn sets_state(&self, name: &str, wanted: AdminState) {
        // As with `ip link`, there is nobody to tell that there is no such link.
        let _ = self.state().set_state(name, wanted);
    }

    async fn removes_link(&self, name: &str) {
        let _ = self.state().remove_link(name);
    }

    async fn adds_lock(&self, policy: &LockPolicy) {
        self.state().foreign_locks.insert(policy.clone());
    }

    async fn lists_locks(&self) -> usize {
        self.state().foreign_locks.len()
    }

    async fn opens_flow(&self, flow: &FlowEntry) {
        let protocol = match flow.protocol {
            17 => TransportProtocol::Udp,
            _ => TransportProtocol::Tcp,
        };
        self.has_flow(Flow {
            protocol,
            original: flow.original,
            reply: flow.reply,
        });
    }

    async fn flushes_the_firewall(&self) {
        self.state().firewall = ObservedFirewall::default();
    }
}
