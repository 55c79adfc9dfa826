//! One change to the host, as data, with its inverse. A step prints itself: that line is the log, the dry run and
//! what tests compare.

use std::fmt;

use ipnet::IpNet;
use postern_intent::{IfName, WgKey};

use crate::flow::FlowCut;
use crate::host::{
    DeviceSetting, KernelRoute, LinkConfig, LockPolicy, RouteKind, RoutingRule, TunnelConfig,
    TunnelLink,
};
use crate::ruleset::Transaction;

/// One change to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A batch of firewall changes that the kernel takes whole or not at all.
    Firewall(Transaction),
    /// Conntrack entries of these addresses that are not inside the cluster are deleted.
    CutFlows(FlowCut),
    /// An XFRM policy is added.
    AddLock(LockPolicy),
    /// An XFRM policy takes the place of the one with its selector and mark.
    ReplaceLock(LockPolicy),
    /// An XFRM policy goes.
    RemoveLock(LockPolicy),
    /// A tunnel device is made, down.
    AddLink(TunnelLink),
    /// A tunnel device goes.
    RemoveLink(TunnelLink),
    /// A per-device switch is set.
    SetDevice(DeviceSetting),
    /// A device's MTU is set.
    SetMtu(TunnelLink),
    /// A device is brought up.
    SetUp(IfName),
    /// A device of the host is brought down.
    SetDown(IfName),
    /// What a device of the host lost when it was brought down is put back.
    RestoreLink(LinkConfig),
    /// An address is added to a device.
    AddAddress {
        device: IfName,
        /// The address with its prefix length.
        address: IpNet,
    },
    /// An address goes from a device.
    RemoveAddress {
        device: IfName,
        /// The address with its prefix length.
        address: IpNet,
    },
    /// The device's configuration is set as a whole: peers that are not named go first.
    ConfigureTunnel(TunnelConfig),
    /// The device's peers are taken out and put back, so that the next packet makes a handshake.
    RenewSession(TunnelConfig),
    /// A peer goes from a device, with all that was staged for it.
    RemovePeer {
        device: IfName,
        peer: WgKey,
    },
    /// A route is added or replaced.
    AddRoute(KernelRoute),
    RemoveRoute(KernelRoute),
    /// A routing rule is added.
    AddRule(RoutingRule),
    /// A routing rule goes.
    RemoveRule(RoutingRule),
}

impl Step {
    /// What takes the step back; none where nothing can or where going back would open something.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::AddLock(policy) => Some(Self::RemoveLock(policy.clone())),
            Self::RemoveLock(policy) => Some(Self::AddLock(policy.clone())),
            Self::AddLink(link) => Some(Self::RemoveLink(link.clone())),
            Self::AddAddress { device, address } => Some(Self::RemoveAddress {
                device: device.clone(),
                address: *address,
            }),
            Self::RemoveAddress { device, address } => Some(Self::AddAddress {
                device: device.clone(),
                address: *address,
            }),
            Self::AddRoute(route) => Some(Self::RemoveRoute(route.clone())),
            Self::RemoveRoute(route) => Some(Self::AddRoute(route.clone())),
            Self::AddRule(rule) => Some(Self::RemoveRule(rule.clone())),
            Self::RemoveRule(rule) => Some(Self::AddRule(rule.clone())),
            // The kernel takes a firewall batch whole or not at all, so there is nothing half done to take back. The
            // rest cannot be taken back without knowing what was there: the next observation decides.
            Self::Firewall(_)
            | Self::CutFlows(_)
            | Self::ReplaceLock(_)
            | Self::RemoveLink(_)
            | Self::SetDevice(_)
            | Self::SetMtu(_)
            | Self::SetUp(_)
            | Self::SetDown(_)
            | Self::RestoreLink(_)
            | Self::ConfigureTunnel(_)
            | Self::RenewSession(_)
            | Self::RemovePeer { .. } => None,
        }
    }

    /// The device that the step is about; none for what is about no device, or about all of them.
    #[must_use]
    pub const fn device(&self) -> Option<&IfName> {
        match self {
            Self::AddLink(link) | Self::RemoveLink(link) | Self::SetMtu(link) => Some(&link.name),
            Self::SetDevice(setting) => Some(&setting.device),
            Self::RestoreLink(config) => Some(&config.device),
            Self::SetUp(device)
            | Self::SetDown(device)
            | Self::AddAddress { device, .. }
            | Self::RemoveAddress { device, .. }
            | Self::RemovePeer { device, .. } => Some(device),
            Self::ConfigureTunnel(config) | Self::RenewSession(config) => Some(&config.interface),
            Self::AddRoute(route) | Self::RemoveRoute(route) => match &route.kind {
                RouteKind::Device(device) => Some(device),
                RouteKind::Unreachable => None,
            },
            Self::Firewall(_)
            | Self::CutFlows(_)
            | Self::AddLock(_)
            | Self::ReplaceLock(_)
            | Self::RemoveLock(_)
            | Self::AddRule(_)
            | Self::RemoveRule(_) => None,
        }
    }

    /// The step's kind as a metric label.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Firewall(_) => "firewall",
            Self::CutFlows(_) => "flow",
            Self::AddLock(_) | Self::ReplaceLock(_) | Self::RemoveLock(_) => "lock",
            Self::AddLink(_) | Self::RemoveLink(_) | Self::SetMtu(_) | Self::SetUp(_) => "link",
            Self::SetDown(_) | Self::RestoreLink(_) => "uplink",
            Self::SetDevice(_) => "device",
            Self::AddAddress { .. } | Self::RemoveAddress { .. } => "address",
            Self::ConfigureTunnel(_) | Self::RenewSession(_) | Self::RemovePeer { .. } => "tunnel",
            Self::AddRoute(_) | Self::RemoveRoute(_) => "route",
            Self::AddRule(_) | Self::RemoveRule(_) => "rule",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firewall(transaction) => write!(f, "firewall: {}", transaction.summary()),
            Self::CutFlows(cut) => {
                write!(f, "cut flows of")?;
                let mut clients = cut.clients.iter();
                clients.try_for_each(|range| write!(f, " {range}"))?;
                let mut addresses = cut.addresses.keys();
                addresses.try_for_each(|address| write!(f, " {address}"))
            }
            Self::AddLock(policy) => write!(f, "add lock {policy}"),
            Self::ReplaceLock(policy) => write!(f, "replace lock {policy}"),
            Self::RemoveLock(policy) => write!(f, "remove lock {policy}"),
            Self::AddLink(link) => write!(
                f,
                "add {} link {} with mtu {}",
                link.backend.as_str(),
                link.name,
                link.mtu
            ),
            Self::RemoveLink(link) => write!(f, "remove link {}", link.name),
            Self::SetDevice(setting) => write!(
                f,
                "set {} = {}",
                setting.key.path(&setting.device),
                setting.value
            ),
            Self::SetMtu(link) => write!(f, "set mtu of {} to {}", link.name, link.mtu),
            Self::SetUp(name) => write!(f, "bring up {name}"),
            Self::SetDown(name) => write!(f, "bring down {name}"),
            Self::RestoreLink(config) => write!(
                f,
                "put back {} addresses and {} routes of {}",
                config.addresses.len(),
                config.routes.len(),
                config.device
            ),
            Self::AddAddress { device, address } => write!(f, "add address {address} to {device}"),
            Self::RemoveAddress { device, address } => {
                write!(f, "remove address {address} from {device}")
            }
            Self::ConfigureTunnel(config) => {
                write!(
                    f,
                    "configure tunnel {} with {} peers",
                    config.interface,
                    config.peers.len()
                )
            }
            Self::RenewSession(config) => write!(f, "renew the session of {}", config.interface),
            Self::RemovePeer { device, peer } => write!(f, "remove peer {peer} from {device}"),
            Self::AddRoute(route) => write!(f, "add route {route}"),
            Self::RemoveRoute(route) => write!(f, "remove route {route}"),
            Self::AddRule(rule) => write!(f, "add rule {rule}"),
            Self::RemoveRule(rule) => write!(f, "remove rule {rule}"),
        }
    }
}
