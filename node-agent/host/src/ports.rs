//! What can be asked of a host, noun by noun. Each port is a few methods; nothing here decides anything.
//!
//! Every method acts in the network namespace that the host was made for. Every method that adds refuses what is
//! already there (`EEXIST`) and every method that removes refuses what is missing, unless its documentation differs: a
//! caller that is surprised has read an old state and should read again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use postern_intent::credential::ExitCredential;
use postern_intent::{Address, IfName, WgKey};
use postern_plan::FlowCut;
use postern_plan::host::{
    AdminState, DeviceSetting, EgressAddress, KernelRoute, LinkConfig, LockPolicy, MacAddress,
    ObservedLink, ObservedTunnel, RoutingRule, TcpSession, TunnelBackend, TunnelConfig, TunnelLink,
};
use postern_plan::observed::ObservedFirewall;
use postern_plan::ruleset::Transaction;

use crate::bypass::Bypass;
use crate::error::HostError;

/// The result of an act on the host.
pub type HostResult<T> = Result<T, HostError>;

pub trait Links {
    /// Every link of the namespace, ours and others', with their addresses, by index.
    fn list_links(&self) -> impl Future<Output = HostResult<Vec<ObservedLink>>> + Send;
    /// Makes a tunnel device, down and without addresses. A userspace one is a persistent TUN: it stays, with its
    /// addresses and routes, when the process that serves it dies.
    fn add_link(&self, link: &TunnelLink) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes a device. The kernel removes its routes, of every table, with it.
    fn remove_link(&self, name: &IfName) -> impl Future<Output = HostResult<()>> + Send;
    /// Sets a device's MTU in bytes.
    fn set_mtu(&self, name: &IfName, mtu: u32) -> impl Future<Output = HostResult<()>> + Send;
    /// Brings a device up or down. Down removes its routes of every table, and up does not bring them back.
    fn set_state(
        &self,
        name: &IfName,
        state: AdminState,
    ) -> impl Future<Output = HostResult<()>> + Send;
}

pub trait Addresses {
    /// Adds an address, without asking the neighbours whether it is taken.
    fn add_address(
        &self,
        device: &IfName,
        address: IpNet,
    ) -> impl Future<Output = HostResult<()>> + Send;
    fn remove_address(
        &self,
        device: &IfName,
        address: IpNet,
    ) -> impl Future<Output = HostResult<()>> + Send;
}

/// Egress addresses on uplinks of the node. They carry our protocol number (`IFA_PROTO`, Linux 5.18), by which they are told
/// from addresses of others, and they end by themselves.
pub trait EgressAddresses {
    /// Those that are there, each with the seconds after which the kernel ends it.
    fn egress_addresses(
        &self,
    ) -> impl Future<Output = HostResult<BTreeMap<EgressAddress, u32>>> + Send;
    /// Adds one, or gives it another end: so many seconds from now. Refused by a kernel that does not record whose it is, and
    /// the address is not there then.
    fn keep_egress(
        &self,
        address: &EgressAddress,
        seconds: NonZeroU32,
    ) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes one; no error when it is not there.
    fn drop_egress(&self, address: &EgressAddress) -> impl Future<Output = HostResult<()>> + Send;
    /// Asks the neighbours who has the address (ARP, neighbour discovery). None: no neighbour answered in time.
    fn ask_neighbours(
        &self,
        address: &EgressAddress,
    ) -> impl Future<Output = HostResult<Option<MacAddress>>> + Send;
    /// Announces to the neighbours that this node has the address (RFC 5227, section 3; RFC 4861, section 7.2.6). A device
    /// without a MAC address has no neighbours.
    fn announce_egress(
        &self,
        address: &EgressAddress,
    ) -> impl Future<Output = HostResult<()>> + Send;
}

/// Per-device switches below `/proc/sys/net`.
pub trait Devices {
    /// The switch's value; the given value is not looked at.
    fn get_device(
        &self,
        setting: &DeviceSetting,
    ) -> impl Future<Output = HostResult<DeviceSetting>> + Send;
    fn set_device(&self, setting: &DeviceSetting) -> impl Future<Output = HostResult<()>> + Send;
}

/// Routes with our protocol number, and the default route of the main table, which is never ours.
pub trait Routes {
    /// Routes of ours, in every table.
    fn list_routes(&self) -> impl Future<Output = HostResult<BTreeSet<KernelRoute>>> + Send;
    /// Interfaces of the default routes of the main table, the lowest metric of each family.
    fn default_uplinks(&self) -> impl Future<Output = HostResult<BTreeMap<char, IfName>>> + Send;
    /// Adds a route, or replaces the one of the same table, destination and metric.
    fn add_route(&self, route: &KernelRoute) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes a route of ours.
    fn remove_route(&self, route: &KernelRoute) -> impl Future<Output = HostResult<()>> + Send;
}

/// Routing rules with our protocol number.
pub trait Rules {
    /// Rules of ours, both families. One that is there twice is listed twice.
    fn list_rules(&self) -> impl Future<Output = HostResult<Vec<RoutingRule>>> + Send;
    /// Adds a rule; refuses one that is there.
    fn add_rule(&self, rule: &RoutingRule) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes a rule of ours, once.
    fn remove_rule(&self, rule: &RoutingRule) -> impl Future<Output = HostResult<()>> + Send;
}

/// XFRM policies of direction `fwd` that this program made. Others' are never touched, whatever their priorities and marks.
pub trait Locks {
    fn list_locks(&self) -> impl Future<Output = HostResult<BTreeSet<LockPolicy>>> + Send;
    /// Others' policies for forwarded packets that let packets pass before a lock blocks them.
    fn overruling_locks(&self) -> impl Future<Output = HostResult<BTreeSet<LockPolicy>>> + Send;
    /// Adds a policy. Refuses one with the selector and mark of one that is there, at whatever priority.
    fn add_lock(&self, policy: &LockPolicy) -> impl Future<Output = HostResult<()>> + Send;
    /// Puts the policy in the place of the one with its selector and mark, at once: no packet is judged by neither.
    fn replace_lock(&self, policy: &LockPolicy) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes the policy with this selector and mark.
    fn remove_lock(&self, policy: &LockPolicy) -> impl Future<Output = HostResult<()>> + Send;
}

pub trait Firewall {
    /// Gives the kernel a batch, which it takes whole or not at all.
    fn change_firewall(
        &self,
        transaction: &Transaction,
    ) -> impl Future<Output = HostResult<()>> + Send;
    /// Are all of these addresses in these sets of `inet postern`?
    fn has_addresses(
        &self,
        sets: &BTreeMap<String, BTreeSet<Address>>,
    ) -> impl Future<Output = HostResult<bool>> + Send;
    /// Our tables as the kernel lists them.
    fn read_firewall(&self) -> impl Future<Output = HostResult<ObservedFirewall>> + Send;
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportProtocol {
    Tcp,
    Udp,
}

impl TransportProtocol {
    /// Its number (IANA protocol numbers).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

pub trait Flows {
    /// Deletes every entry that the cut takes; returns how many there were. What fails for one address keeps no other's
    /// flows from being cut: the error ([`HostError::CutFlows`]) names those that are left.
    fn cut_flows(&self, cut: &FlowCut) -> impl Future<Output = HostResult<usize>> + Send;
    /// Where a redirected packet wanted to go: `source` is who sent it, `local` the socket that it came to.
    fn original_destination(
        &self,
        protocol: TransportProtocol,
        source: SocketAddr,
        local: SocketAddr,
    ) -> impl Future<Output = HostResult<Option<SocketAddr>>> + Send;
}

pub trait Tunnels {
    /// How devices are served here.
    fn tunnel_backend(&self) -> impl Future<Output = HostResult<TunnelBackend>> + Send;
    /// Keys that a device has instead of the node's, from its next configuration on; none: the node's. They are kept in memory
    /// and are in no configuration, so that nothing that prints one shows them.
    fn use_credential(&self, device: &IfName, credential: Option<&ExitCredential>);
    /// What the device answers; none when no process serves it yet.
    fn read_tunnel(
        &self,
        device: &IfName,
    ) -> impl Future<Output = HostResult<Option<ObservedTunnel>>> + Send;
    /// Sets the whole configuration. Peers that are not named go before any other change, so that nothing staged for
    /// them leaves by a new session. A userspace device is first announced to the tunnel process, and this fails with
    /// [`crate::Nature::Transient`] until it serves it.
    fn configure_tunnel(
        &self,
        config: &TunnelConfig,
    ) -> impl Future<Output = HostResult<()>> + Send;
    /// Removes one peer with all that was staged for it; no error when it is not there.
    fn remove_peer(
        &self,
        device: &IfName,
        peer: &WgKey,
    ) -> impl Future<Output = HostResult<()>> + Send;
    /// Gives each peer of the configuration a new session: the next packet makes a handshake, and what was staged for the old
    /// session is dropped. By default the peers are taken out and put back; a host that can do it in one act does, because
    /// an agent that dies in between leaves a tunnel without peers.
    fn renew_session(&self, config: &TunnelConfig) -> impl Future<Output = HostResult<()>> + Send
    where
        Self: Sync,
    {
        renew_by_peers(self, config)
    }
    /// Tells the tunnel process to stop serving the device; no error when it does not.
    fn dismiss_tunnel(&self, device: &IfName) -> impl Future<Output = HostResult<()>> + Send;
}

/// [`Tunnels::renew_session`] on a host that cannot do it in one act: the peers are taken out and put back.
///
/// # Errors
/// Those of [`Tunnels::remove_peer`] and [`Tunnels::configure_tunnel`].
pub async fn renew_by_peers<T: Tunnels + Sync + ?Sized>(
    host: &T,
    config: &TunnelConfig,
) -> HostResult<()> {
    for peer in &config.peers {
        host.remove_peer(&config.interface, &peer.public_key)
            .await?;
    }
    host.configure_tunnel(config).await
}

/// Ways past netfilter. What takes one of them is seen by no rule of the guard.
pub trait Paths {
    /// Those of the links from which something may lead packets past netfilter, with the first thing that does; a link
    /// that is not there has none.
    fn bypasses(
        &self,
        links: &BTreeSet<IfName>,
    ) -> impl Future<Output = HostResult<BTreeMap<IfName, Bypass>>> + Send;
}

/// Links by which the host itself reaches others, and what goes with their state.
pub trait Uplinks {
    /// Names of links that have a radio.
    fn wireless_links(&self) -> impl Future<Output = HostResult<BTreeSet<String>>> + Send;
    /// Connections of TCP that are established.
    fn tcp_sessions(&self) -> impl Future<Output = HostResult<Vec<TcpSession>>> + Send;
    /// The ends of such a connection on the wire, where connection tracking translates one of them; none where it knows nothing
    /// of it.
    fn as_sent(
        &self,
        session: &TcpSession,
    ) -> impl Future<Output = HostResult<Option<TcpSession>>> + Send;
    /// What the kernel would forget if the link went down now. An address that ends by itself is none of it: who gave it gives it again.
    fn link_config(&self, device: &IfName) -> impl Future<Output = HostResult<LinkConfig>> + Send;
    /// Puts back the missing routes and addresses of a link; existing ones stay as they are.
    fn restore_link(&self, config: &LinkConfig) -> impl Future<Output = HostResult<()>> + Send;
}

/// All of a host.
pub trait Host:
    Links
    + Addresses
    + Devices
    + Routes
    + Rules
    + Locks
    + Firewall
    + Flows
    + Tunnels
    + Paths
    + Uplinks
    + Send
    + Sync
{
}

impl<H> Host for H where
    H: Links
        + Addresses
        + Devices
        + Routes
        + Rules
        + Locks
        + Firewall
        + Flows
        + Tunnels
        + Paths
        + Uplinks
        + Send
        + Sync
{
}

/// Is the interface a tunnel of ours, by its name? `pst-c-` is used, `pst-s-` is served, `pst-x-` leads to a server outside.
#[must_use]
pub fn is_own_link(name: &str) -> bool {
    ["pst-c-", "pst-s-", "pst-x-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
