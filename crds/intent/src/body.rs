//! The body: what one node is to do, complete. A node never needs a second document to act on it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::{
    Address, ExitName, IfName, Mark, Namespace, NodeName, PodName, Prefix, ScopeId, Serial,
    TableId, Uid, WgKey,
};

/// The document that tells one node what to do. An unknown field or class refuses the whole body: a node that does
/// not understand an instruction must not guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body {
    /// The only node that may apply it.
    pub node: NodeIdentity,
    /// Grows with every change.
    pub serial: Serial,
    /// When it was compiled. RFC 3339.
    pub issued_at: Timestamp,
    /// When it stops being in force. RFC 3339.
    pub not_after: Timestamp,
    /// The trace that led to this body (W3C trace id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Namespaces with a policy in them or with the `deny` label: a pod of these that is not listed is held.
    pub guarded_namespaces: BTreeSet<Namespace>,
    /// What is the cluster's.
    pub cluster: Cluster,
    /// WireGuard devices of this node.
    pub tunnels: Vec<Tunnel>,
    /// Which mark leads into which tunnel.
    pub routes: Vec<ExitRoute>,
    /// Exits whose active gateway this node is.
    pub nat: Vec<ServedExit>,
    /// What each scope may do.
    pub firewall: Vec<Scope>,
    /// What becomes of the names that a scope's pods ask for.
    pub dns: Vec<ScopeDns>,
    /// Every pod that is bound to the node, from before it has an address.
    pub pods: Vec<Pod>,
    /// Which uplink may be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// Who a body is for. Name and UID: a node that was deleted and made again is another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeIdentity {
    /// The node's name.
    pub name: NodeName,
    /// The node object's UID.
    pub uid: Uid,
}

/// What belongs to the cluster. `inside` is made of pod ranges, node addresses and API server endpoints, never of
/// service ranges: an untranslated service address leaves the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Pod ranges of the whole cluster, sorted.
    pub pod_ranges: Vec<Prefix>,
    /// Pod ranges of this node.
    pub local_pod_ranges: Vec<Prefix>,
    /// Service ranges.
    pub service_ranges: Vec<Prefix>,
    /// Addresses of every node, this one's too.
    pub node_addresses: BTreeSet<Address>,
    /// This node's own and load-balancer addresses: where translated inbound connections may have come in.
    pub inbound_addresses: BTreeSet<Address>,
    /// API server endpoints that may lie outside the ranges: inside with their port only.
    pub api_servers: BTreeSet<SocketAddr>,
    /// Where tunnel addresses are taken from.
    pub tunnel_ranges: Vec<Prefix>,
    /// Where gateways listen: not for pods.
    pub tunnel_endpoints: BTreeSet<SocketAddr>,
    /// The cluster's own names.
    pub dns: ClusterDns,
}

/// The cluster's resolver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterDns {
    /// The cluster domain without a trailing dot, for example `cluster.local`. Empty: unknown.
    pub domain: String,
    /// The resolver's addresses, service addresses allowed.
    pub addresses: Vec<Address>,
}

/// Which end of an exit's WireGuard network a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TunnelRole {
    /// `pst-c-*`: pods of this node leave by it.
    Used,
    /// `pst-s-*`: other nodes' traffic arrives by it.
    Served,
}

/// One WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tunnel {
    /// Whose network it is.
    pub exit: ExitName,
    /// Which end this is.
    pub role: TunnelRole,
    /// The device's name.
    pub interface: IfName,
    /// UDP port to listen on; none on a client, where the kernel chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// MTU in bytes.
    pub mtu: u16,
    /// The device's own addresses with their prefix length.
    pub addresses: Vec<IpNet>,
    /// The other ends.
    pub peers: Vec<Peer>,
}

/// The other end of a WireGuard session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// The node at the other end.
    pub node: NodeName,
    /// Its key, pinned per node and UID by the compiler.
    pub public_key: WgKey,
    /// Where it listens; none on a gateway, which learns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// What may come from it, and what is sent to it.
    pub allowed_ips: Vec<Prefix>,
    /// Seconds between keepalives; none: no keepalives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_seconds: Option<u16>,
}

/// A mark, its table and the used tunnel behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitRoute {
    /// Whose traffic.
    pub exit: ExitName,
    /// One of [`Mark::EXITS`], numbered per node.
    pub mark: Mark,
    /// The routing table of the exit on this node.
    pub table: TableId,
    /// The used tunnel.
    pub interface: IfName,
}

/// An exit whose active gateway this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedExit {
    /// The exit.
    pub exit: ExitName,
    /// The served tunnel.
    pub interface: IfName,
    /// Where it leaves; none: the interface of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<IfName>,
    /// Source addresses. Empty: masquerade. One family only: the other family is dropped.
    pub egress: Vec<Address>,
    /// What the exit offers.
    pub routes: Vec<Prefix>,
    /// May clients reach the exit's own LAN?
    pub lan: Access,
}

/// Allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// It may pass.
    Allow,
    /// It is refused.
    Deny,
}

/// One policy-to-exit binding on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// Its name, unique on the node.
    pub id: ScopeId,
    /// The policy that it enforces, for the report.
    pub policy: PolicyRef,
    /// The one way out.
    pub way: Way,
    /// What may happen when the way out is lost.
    pub failure: FailureMode,
    /// In order; the first match wins.
    pub rules: Vec<Rule>,
    /// For traffic that no rule names.
    pub default_action: Access,
    /// What replies of inbound connections may do.
    pub replies: Replies,
    /// Private ranges (RFC 1918, RFC 6598, RFC 4193): policy and exit both allow.
    pub lan: Access,
    /// Special-use destinations that are allowed all the same (RFC 6890).
    pub special_use_exceptions: Vec<Prefix>,
    /// What becomes of flows that the scope no longer allows.
    pub established_flows: EstablishedFlows,
}

/// The policy's identity as the body carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// `metadata.generation` of what is enforced.
    pub generation: i64,
}

/// The one way out of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Way {
    /// Into the used tunnel of the exit.
    Tunnel {
        /// The exit; [`ExitRoute`] has its mark and device.
        exit: ExitName,
    },
    /// This node is the exit's active gateway: by its uplink with the exit's source address.
    LocalExit {
        /// The exit; [`ServedExit`] has its limits.
        exit: ExitName,
    },
    /// By the node's own uplink, filtered.
    NodeUplink,
    /// Nothing leaves.
    Blocked {
        /// Why.
        reason: BlockedReason,
    },
}

/// Why a scope or a pod is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BlockedReason {
    /// No exit of the policy is there or has an eligible gateway.
    NoExit,
    /// The key of client or gateway is not known yet.
    NoPeerKey,
    /// All five marks of the node are taken.
    NoMarkLeft,
    /// The policy was refused.
    PolicyRefused,
    /// The policy sets a field that is not honoured yet.
    NotImplemented,
    /// The policy names something that does not exist or may not be used.
    RefNotResolved,
    /// The namespace has the `deny` label and no policy selects the pod.
    NamespaceDeny,
    /// The policy that selected the pod went, and its release is held until it is approved.
    ReleaseHeld,
    /// The node's intent would not fit into its budget.
    TooLarge,
    /// The node cannot make a tunnel.
    NoTunnel,
}

/// What may happen when the way out is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FailureMode {
    /// Nothing leaves.
    Closed,
    /// After this time the node's uplink may be used.
    Open {
        /// Seconds without a way out before it opens.
        after_seconds: u32,
    },
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The policy's name for it.
    pub name: String,
    /// What happens to what matches.
    pub action: Access,
    /// Destinations; empty: every destination.
    pub to: Vec<Prefix>,
    /// Ports; empty: every protocol and port.
    pub ports: Vec<PortRange>,
}

/// A transport protocol that has ports, or ICMP of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// RFC 9293.
    #[serde(rename = "TCP")]
    Tcp,
    /// RFC 768.
    #[serde(rename = "UDP")]
    Udp,
    /// RFC 9260.
    #[serde(rename = "SCTP")]
    Sctp,
    /// RFC 792 and RFC 4443; has no ports.
    #[serde(rename = "ICMP")]
    Icmp,
}

/// A protocol with its ports, both ends included. ICMP carries 0 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
}

/// What replies of inbound connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replies {
    /// Go back the way they came, if the connection came by a service of this node.
    Services,
    /// Nothing.
    None,
}

/// What becomes of flows that a stricter policy no longer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EstablishedFlows {
    /// Their conntrack entries are deleted.
    Cut,
    /// They may end by themselves, as far as the rules let them.
    Keep,
}

/// What becomes of the names that a scope's pods ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeDns {
    /// The scope.
    pub scope: ScopeId,
    /// What is done.
    pub mode: DnsMode,
    /// Resolvers asked through the exit, in order. Empty: the address that the pod asked if it is outside, else
    /// `REFUSED`.
    pub upstreams: Vec<SocketAddr>,
}

/// What is done with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsMode {
    /// Cluster names to the cluster's resolver, all others through the exit.
    Forward,
    /// Cluster names to the cluster's resolver, all others are refused.
    Block,
}

/// A pod that is bound to the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: PodName,
    /// Its UID.
    pub uid: Uid,
    /// What it may do.
    pub class: Class,
    /// Its addresses, when they are known.
    pub addresses: BTreeSet<Address>,
}

/// What the intent says of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Class {
    /// It leaves as the scope says.
    Policy {
        /// The scope's id.
        scope: ScopeId,
    },
    /// Nothing of it leaves the cluster.
    Blocked {
        /// Why.
        reason: BlockedReason,
    },
    /// Postern has nothing to say about it.
    Released,
}

/// Which uplink may be up; honoured from the isolation release on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Interface names or patterns with a trailing `*`, in order of preference.
    pub preferred: Vec<String>,
    /// Patterns of interfaces that are not looked at.
    pub exclude: Vec<String>,
}

impl Body {
    /// What a reader of a parsed body may rely on beyond its types.
    ///
    /// # Errors
    /// The first broken rule, as [`Inconsistency`].
    pub fn check(&self) -> Result<(), Inconsistency> {
        let scopes: BTreeSet<&ScopeId> = self.firewall.iter().map(|scope| &scope.id).collect();
        if scopes.len() != self.firewall.len() {
            return Err(Inconsistency::DuplicateScope);
        }
        for pod in &self.pods {
            if let Class::Policy { scope } = &pod.class
                && !scopes.contains(scope)
            {
                return Err(Inconsistency::UnknownScope(scope.clone()));
            }
        }
        let mut marks = BTreeSet::new();
        let mut tables = BTreeSet::new();
        for route in &self.routes {
            if !Mark::EXITS.contains(&route.mark)
                || !marks.insert(route.mark)
                || !tables.insert(route.table)
            {
                return Err(Inconsistency::Route(route.exit.clone()));
            }
        }
        let mut owners = BTreeSet::new();
        for address in self.pods.iter().flat_map(|pod| &pod.addresses) {
            if !owners.insert(address) {
                return Err(Inconsistency::SharedAddress(*address));
            }
        }
        self.check_ways()
    }

    fn check_ways(&self) -> Result<(), Inconsistency> {
        for scope in &self.firewall {
            let known = match &scope.way {
                Way::Tunnel { exit } => self.routes.iter().any(|route| &route.exit == exit),
                Way::LocalExit { exit } => self.nat.iter().any(|served| &served.exit == exit),
                Way::NodeUplink | Way::Blocked { .. } => true,
            };
            if !known {
                return Err(Inconsistency::WayWithoutExit(scope.id.clone()));
            }
        }
        let fits = |tunnel: &Tunnel, route: &ExitRoute| {
            (tunnel.role, &tunnel.exit, &tunnel.interface)
                == (TunnelRole::Used, &route.exit, &route.interface)
        };
        let used = |route: &ExitRoute| self.tunnels.iter().any(|tunnel| fits(tunnel, route));
        if let Some(route) = self.routes.iter().find(|route| !used(route)) {
            return Err(Inconsistency::Route(route.exit.clone()));
        }
        if self.not_after <= self.issued_at {
            return Err(Inconsistency::Validity);
        }
        Ok(())
    }
}

/// A body that parses but contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// Two scopes have one id.
    #[error("two scopes have the same id")]
    DuplicateScope,
    /// A pod's class names a scope that the firewall section does not have.
    #[error("a pod names the scope {0}, which the body does not have")]
    UnknownScope(ScopeId),
    /// Marks or tables are used twice, the mark is no exit's, or the tunnel is missing.
    #[error(
        "the route of exit {0} has no tunnel, a mark that is no exit's, or a mark or table of another one"
    )]
    Route(ExitName),
    /// Two pods have one address.
    #[error("two pods have the address {0}")]
    SharedAddress(Address),
    /// A scope's way names an exit that the body does not carry.
    #[error("the way out of scope {0} names an exit that the body does not carry")]
    WayWithoutExit(ScopeId),
    /// It ends before it starts.
    #[error("notAfter is not behind issuedAt")]
    Validity,
}
