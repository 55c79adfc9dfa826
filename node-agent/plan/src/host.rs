//! The nouns of a host that we own: links, device settings, routes, rules, locks, tunnels.

use std::net::SocketAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use postern_intent::{Address, IfName, Prefix, WgKey};
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Internet Protocol version 4.
    V4,
    /// Internet Protocol version 6.
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// The family of a prefix.
    #[must_use]
    pub const fn of_prefix(prefix: &Prefix) -> Self {
        if prefix.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `4` or `6`, as names of sets and maps end.
    #[must_use]
    pub const fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    /// The prefix of every address of the family.
    #[must_use]
    pub fn everything(self) -> Prefix {
        let unspecified: Address = match self {
            Self::V4 => Address::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Self::V6 => Address::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        Prefix::from(IpNet::new_assert(unspecified, 0))
    }
}

/// How a WireGuard device is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TunnelBackend {
    /// A link of kind `wireguard`.
    Kernel,
    /// A persistent TUN served by the tunnel process.
    Userspace,
}

impl TunnelBackend {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        }
    }
}

/// A tunnel device as it should be: present, persistent and up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelLink {
    pub name: IfName,
    /// Its MTU in bytes.
    pub mtu: u32,
    pub backend: TunnelBackend,
}

/// Is a link administratively up?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AdminState {
    /// `IFF_UP` is set.
    Up,
    /// `IFF_UP` is not set.
    Down,
}

/// Does a link have a carrier?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// Something is at the other end; for a TUN: a process holds it open.
    Present,
    /// Nothing is at the other end.
    Absent,
}

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    pub index: u32,
    pub name: String,
    /// `IFLA_INFO_KIND`: `tun`, `wireguard`, `veth`, `bridge`; empty for a device without a kind.
    pub kind: String,
    /// MTU in bytes.
    pub mtu: u32,
    pub state: AdminState,
    pub carrier: Carrier,
    /// The bridge or other master that it belongs to.
    pub master: Option<String>,
    /// The link that it sends by, where it is a VLAN or another device on top of one.
    pub parent: Option<String>,
    /// Its MAC address, where it has one.
    pub mac: Option<MacAddress>,
    /// Its addresses with their prefix length, link-local ones too.
    pub addresses: Vec<IpNet>,
}

/// An address of an exit on an uplink of its gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EgressAddress {
    pub device: IfName,
    pub address: Address,
}

/// What the kernel forgets of a link of the host that is brought down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkConfig {
    pub device: IfName,
    /// Its IPv6 addresses that are not link-local.
    pub addresses: Vec<IpNet>,
    /// Its routes of every table but the local one, each as the kernel described it: a message of rtnetlink in hex.
    pub routes: Vec<String>,
}

/// Whether a link has a radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkMedium {
    Wired,
    Wireless,
}

/// A connection of TCP that is established and ends on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpSession {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// An EUI-48 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// The text is no EUI-48 address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address such as 0a:58:0a:f4:01:02")]
pub struct MacError(String);

impl TryFrom<String> for MacAddress {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        let parts: Option<Vec<u8>> = text
            .split(':')
            .map(|part| {
                (part.len() == 2)
                    .then(|| u8::from_str_radix(part, 16).ok())
                    .flatten()
            })
            .collect();
        parts
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(MacError(text))
    }
}

/// A per-device switch below `/proc/sys/net`. `all.*` is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKey {
    /// `ipv4/conf/DEV/rp_filter`.
    ReversePathFilter,
    /// `ipv4/conf/DEV/forwarding`.
    Forwarding4,
    /// `ipv6/conf/DEV/forwarding`.
    Forwarding6,
    /// `ipv6/conf/DEV/accept_ra`.
    AcceptRouterAdvertisements,
    /// `ipv6/conf/DEV/accept_dad`: an address must be usable at once, there is no neighbour to ask.
    DuplicateAddressDetection,
    /// `ipv6/conf/DEV/addr_gen_mode`: 1 makes no link-local address.
    AddressGeneration,
    /// `ipv4/conf/DEV/ignore_routes_with_linkdown`: else the unreachable default is not used when the carrier goes.
    IgnoreRoutesWithLinkdown4,
    /// The same for IPv6.
    IgnoreRoutesWithLinkdown6,
    /// `ipv6/conf/DEV/disable_ipv6`, which is read and never set: the device takes no IPv6 address.
    DisableIpv6,
}

impl DeviceKey {
    /// Every switch that we set.
    pub const ALL: [Self; 8] = [
        Self::ReversePathFilter,
        Self::Forwarding4,
        Self::Forwarding6,
        Self::AcceptRouterAdvertisements,
        Self::DuplicateAddressDetection,
        Self::AddressGeneration,
        Self::IgnoreRoutesWithLinkdown4,
        Self::IgnoreRoutesWithLinkdown6,
    ];

    /// Which family's switch it is: without the family in the kernel there is no such switch.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::ReversePathFilter | Self::Forwarding4 | Self::IgnoreRoutesWithLinkdown4 => {
                Family::V4
            }
            Self::Forwarding6
            | Self::AcceptRouterAdvertisements
            | Self::DuplicateAddressDetection
            | Self::AddressGeneration
            | Self::IgnoreRoutesWithLinkdown6
            | Self::DisableIpv6 => Family::V6,
        }
    }

    /// Path below `/proc/sys/net` for a device.
    #[must_use]
    pub fn path(self, device: &IfName) -> String {
        let (family, key) = match self {
            Self::ReversePathFilter => ("ipv4", "rp_filter"),
            Self::Forwarding4 => ("ipv4", "forwarding"),
            Self::Forwarding6 => ("ipv6", "forwarding"),
            Self::AcceptRouterAdvertisements => ("ipv6", "accept_ra"),
            Self::DuplicateAddressDetection => ("ipv6", "accept_dad"),
            Self::AddressGeneration => ("ipv6", "addr_gen_mode"),
            Self::IgnoreRoutesWithLinkdown4 => ("ipv4", "ignore_routes_with_linkdown"),
            Self::IgnoreRoutesWithLinkdown6 => ("ipv6", "ignore_routes_with_linkdown"),
            Self::DisableIpv6 => ("ipv6", "disable_ipv6"),
        };
        format!("{family}/conf/{device}/{key}")
    }
}

/// A device's switch with its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceSetting {
    pub device: IfName,
    pub key: DeviceKey,
    pub value: u8,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Out of this device.
    Device(IfName),
    /// `RTN_UNREACHABLE`: an error to the sender instead of the next table.
    Unreachable,
}

/// A route of ours, in a table of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    pub table: u32,
    pub destination: Prefix,
    /// Lower wins.
    pub metric: u32,
    pub kind: RouteKind,
}

/// What a routing rule looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSelector {
    /// The packet's mark under a mask.
    Mark {
        /// Family of the rule.
        family: Family,
        /// The value, already shifted.
        value: u32,
        mask: u32,
    },
    From(Address),
}

impl RuleSelector {
    /// Which family's rule list it belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Mark { family, .. } => *family,
            Self::From(address) => Family::of(address),
        }
    }
}

/// A routing rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoutingRule {
    /// Lower is asked first.
    pub priority: u32,
    /// What it looks at.
    pub selector: RuleSelector,
    /// The table that it leads to.
    pub table: u32,
}

/// What an XFRM policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockAction {
    /// `XFRM_POLICY_ALLOW`.
    Allow,
    /// `XFRM_POLICY_BLOCK`.
    Block,
}

/// A value under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaskedMark {
    /// The value, already shifted.
    pub value: u32,
    pub mask: u32,
}

/// An XFRM policy of direction `fwd`: the lock that does not depend on nft. XFRM judges the destination before DNAT.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockPolicy {
    pub source: Prefix,
    pub destination: Prefix,
    /// Lower wins.
    pub priority: u32,
    /// What happens to what matches.
    pub action: LockAction,
    /// The mark that a packet must carry for this policy to apply.
    pub mark: Option<MaskedMark>,
}

impl LockPolicy {
    /// Is it the same policy to the kernel, whatever its priority and action? The kernel holds one policy for each
    /// selector and mark (`xfrm_policy_insert` in `net/xfrm/xfrm_policy.c`).
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.source, self.destination, self.mark) == (other.source, other.destination, other.mark)
    }
}

/// A WireGuard device's configuration. The private key stays with the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelConfig {
    pub interface: IfName,
    /// UDP port to listen on; none: the kernel chooses.
    pub listen_port: Option<u16>,
    /// Mark of the tunnel's own sockets, already shifted.
    pub fwmark: u32,
    /// The public half of the device's own key; none: it has the node's.
    pub own_key: Option<WgKey>,
    /// The other ends, sorted by key.
    pub peers: Vec<TunnelPeer>,
}

/// The other end of a session as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelPeer {
    pub public_key: WgKey,
    pub endpoint: Option<SocketAddr>,
    /// What may come from it and what is sent to it, sorted.
    pub allowed_ips: Vec<Prefix>,
    pub keepalive_seconds: Option<u16>,
}

/// A WireGuard device as it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTunnel {
    pub interface: IfName,
    /// The key that it has, if it has one.
    pub public_key: Option<WgKey>,
    /// The port that it listens on.
    pub listen_port: u16,
    /// The mark of its sockets.
    pub fwmark: u32,
    /// The other ends, sorted by key.
    pub peers: Vec<ObservedPeer>,
}

/// The other end as the device reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPeer {
    /// Configuration as it was read.
    pub peer: TunnelPeer,
    pub last_handshake: Option<Timestamp>,
    pub received: u64,
    pub sent: u64,
}

/// A packet of which the kernel told the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedPacket {
    /// The name of the place in the ruleset.
    pub name: String,
    pub source: Address,
    pub destination: Address,
    /// By its number (IANA, Assigned Internet Protocol Numbers).
    pub protocol: u8,
    /// Source and destination port, where the protocol has them and the packet is no later fragment.
    pub ports: Option<(u16, u16)>,
    /// Length of the packet in bytes, where its header holds it.
    pub length: Option<u32>,
}
