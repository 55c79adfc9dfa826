//! What the plan is made from, and what several sections ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::body::{EgressPath, Scope, TunnelRole};
use postern_intent::{Address, Body, ExitName, IfName, ScopeId};
use serde::{Deserialize, Serialize};

use crate::binding::Bindings;
use crate::host::{Family, LockPolicy, TunnelBackend};
use crate::settings::NodeSettings;

/// The kernel's lease: a set whose elements go by themselves.
pub const LEASE: &str = "lease";

/// What the plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInputs<'a> {
    /// The node's own settings.
    pub settings: &'a NodeSettings,
    /// The body in force; none before the first one, or when the ledger was lost.
    pub body: Option<&'a Body>,
    /// Who is behind which interface.
    pub bindings: &'a Bindings,
    /// What the host is like.
    pub facts: &'a HostFacts,
}

impl PlanInputs<'_> {
    /// Is the address a source that packets may leave this node with: on an interface of the node, or on the device of a
    /// session with a server outside, which is given it?
    #[must_use]
    pub fn has_source(&self, address: &Address) -> bool {
        let tunnels = self.body.iter().flat_map(|body| &body.tunnels);
        let mut external = tunnels.filter(|tunnel| tunnel.role == TunnelRole::External);
        let is_given = external.any(|tunnel| {
            let mut addresses = tunnel.addresses.iter();
            addresses.any(|net| net.addr() == *address)
        });
        self.facts.has_address(address) || is_given && self.facts.has_family(Family::of(address))
    }

    /// Whether a body is, or was once, in force here.
    #[must_use]
    pub fn claim(&self) -> NodeClaim {
        if self.body.is_some() {
            NodeClaim::Claimed
        } else {
            self.facts.claim
        }
    }
}

/// Whether an intent was ever in force on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeClaim {
    /// One was, or it is not known that none was: what is not classified is held.
    #[default]
    Claimed,
    /// None ever was. Pods without a binding ran before Postern was installed, so that no policy can have selected them:
    /// they are left alone. Pods with a binding started since, and are held until an intent says what they are.
    Unclaimed,
}

/// Facts of the host that the plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// Whether an intent was ever in force here; a body in force counts more.
    pub claim: NodeClaim,
    /// The interface of the default route, by family.
    pub uplinks: BTreeMap<Family, IfName>,
    /// How tunnels can be made; none: not at all.
    pub tunnel_backend: Option<TunnelBackend>,
    /// Scopes that may use the node's uplink, because their exit was lost for longer than the body allows to wait.
    pub failed_open: BTreeSet<ScopeId>,
    /// Addresses with flows of former classes in connection tracking that could not be cut yet.
    pub uncut: BTreeSet<Address>,
    /// Addresses on the node's own interfaces; none: not known, as in a plan that is made away from the node.
    pub addresses: Option<BTreeSet<Address>>,
    /// Sessions of external exits whose credential this node could read, by their device, with the server's address; none:
    /// its name has no address yet.
    pub sessions: BTreeMap<IfName, Option<SocketAddr>>,
    /// Pod links whose packets bypass netfilter.
    pub bypassed: BTreeSet<IfName>,
    /// Families that this kernel does not have (`ipv6.disable=1`).
    pub absent: BTreeSet<Family>,
    /// Families that this kernel has and that new devices do not take (`net.ipv6.conf.default.disable_ipv6=1`).
    pub disabled: BTreeSet<Family>,
    /// Other programs' XFRM policies that let packets pass before the second lock blocks them.
    pub overruling_locks: BTreeSet<LockPolicy>,
    /// By which interfaces packets may leave an isolated node; none: the node is not isolated.
    pub isolation: Option<UplinkGuard>,
    /// Whether the kernel can tell the agent of packets. A ruleset with such rules would be refused as a whole where it cannot.
    pub packet_log: PacketLog,
}

/// Whether the kernel has nflog (`CONFIG_NETFILTER_NETLINK_LOG`), and the agent reads its group at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PacketLog {
    /// The agent has not tried it yet.
    #[default]
    Untried,
    Missing,
    Read,
}

/// The interfaces of an isolated node by which packets may leave. Every other one drops what would leave by it, also one that
/// comes later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UplinkGuard {
    /// Names, or patterns with a trailing `*`. None begins with a pattern that is here too.
    pub passes: BTreeSet<String>,
}

/// What stands for the interface of the default route where only a body is known.
pub const DEFAULT_ROUTE: &str = "default-route";

impl HostFacts {
    /// A node of which only the body is known: the interface of its default route is called [`DEFAULT_ROUTE`], and tunnels
    /// are the kernel's.
    #[must_use]
    pub fn assumed() -> Self {
        let uplink: Option<IfName> = DEFAULT_ROUTE.parse().ok();
        let uplinks = Family::BOTH.into_iter();
        Self {
            uplinks: uplinks
                .filter_map(|family| Some((family, uplink.clone()?)))
                .collect(),
            tunnel_backend: Some(TunnelBackend::Kernel),
            packet_log: PacketLog::Read,
            ..Self::default()
        }
    }

    /// Do the pods of the scope leave by the node's own uplink, and by no exit?
    #[must_use]
    pub fn leaves_by_uplink(&self, scope: &Scope) -> bool {
        scope.way == EgressPath::NodeUplink || self.failed_open.contains(&scope.id)
    }

    /// The uplink of a served exit: as the body says, else the default route's interface.
    #[must_use]
    pub fn uplink(&self, named: Option<&IfName>) -> Option<IfName> {
        // What leaves by it comes back in.
        if named.is_some_and(|name| name.as_str() == "lo") {
            return None;
        }
        named
            .or_else(|| self.uplinks.get(&Family::V4))
            .or_else(|| self.uplinks.get(&Family::V6))
            .cloned()
    }

    /// Can devices of ours have addresses of the family?
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        !self.absent.contains(&family) && !self.disabled.contains(&family)
    }

    /// Is the address on an interface of the node? A source address that is not would get no answers, or is another
    /// host's.
    #[must_use]
    pub fn has_address(&self, address: &Address) -> bool {
        let known = self.addresses.as_ref();
        known.is_none_or(|addresses| addresses.contains(address))
    }
}

/// The device of an exit that this node uses.
#[must_use]
pub fn used_interface<'a>(body: &'a Body, exit: &ExitName) -> Option<&'a IfName> {
    body.routes
        .iter()
        .find(|route| &route.exit == exit)
        .map(|route| &route.interface)
}

/// The address of a tunnel device in this family.
#[must_use]
pub fn tunnel_address(body: &Body, interface: &IfName, family: Family) -> Option<Address> {
    let tunnel = body
        .tunnels
        .iter()
        .find(|tunnel| &tunnel.interface == interface)?;
    tunnel
        .addresses
        .iter()
        .map(IpNet::addr)
        .find(|address| Family::of(address) == family)
}
