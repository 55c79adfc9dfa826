//! What the administrator decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use jiff::SignedDuration;
use postern_intent::body::{ClusterDns, DEFAULT_NODE_PORTS, EncryptedResolvers, PortSpan};
use postern_intent::{Address, Namespace, Prefix};

/// Everything that is the same for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerSettings {
    /// Pod ranges besides those that the nodes say.
    pub pod_ranges: Vec<Prefix>,
    /// Where the nodes' addresses lie: what a node claims outside of them counts as nobody's. Empty: every claim counts.
    pub node_ranges: Vec<Prefix>,
    pub service_ranges: Vec<Prefix>,
    /// The API server's `--service-node-port-range`. NodePorts outside of it are refused once their Service is known.
    pub node_ports: PortSpan,
    pub api_servers: BTreeSet<SocketAddr>,
    /// The cluster's own names.
    pub dns: ClusterDns,
    /// Resolvers that are asked through the exit where a policy names none.
    pub dns_upstreams: Vec<SocketAddr>,
    /// Resolvers over HTTPS that no pod with `dns.mode` Filter or Block may ask.
    pub encrypted_resolvers: EncryptedResolvers,
    pub tunnels: TunnelSettings,
    /// How long a document is in force.
    pub validity: SignedDuration,
    /// After what time an unchanged document is issued again.
    pub refresh: SignedDuration,
    /// The largest envelope, in bytes of its JSON.
    pub envelope_budget: usize,
    /// What tenants may ask for in a namespace that has no ceiling of its own.
    pub ceiling: Ceiling,
    /// What tenants of these namespaces may ask for.
    pub ceilings: BTreeMap<Namespace, Ceiling>,
    /// Namespaces that the tier `Baseline` is never about: what the cluster itself needs to start and to resolve names.
    pub exempt_namespaces: BTreeSet<Namespace>,
    /// How many pods may be released without an approval.
    pub gate: GateSettings,
}

/// Where tunnels take their numbers from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSettings {
    /// `tunnelCIDRs`: one range of each family. Every exit gets a network of its own from each.
    pub ranges: Vec<Prefix>,
    /// UDP ports, one for each exit.
    pub ports: RangeInclusive<u16>,
    /// MTU in bytes where the exit says none.
    pub mtu: u16,
    /// Seconds between a client's keepalives.
    pub keepalive_seconds: u16,
}

/// What a tenant may ask for; beyond it a policy is refused as `NotPermitted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    pub lan: Permission,
    /// Exceptions from the special-use ranges.
    pub special_use: Permission,
    /// Resolvers of its own choice.
    pub upstreams: Permission,
    /// The node's uplink while the exit is lost.
    pub fail_open: Permission,
    /// The uplinks of nodes instead of an exit.
    pub node_uplink: Permission,
    /// A policy that only counts what it would refuse.
    pub observe: Permission,
    pub priority: i32,
}

/// May a tenant ask for it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Granted,
    Withheld,
}

/// A compile that would release more pods than this stops with `ReleaseHeld`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSettings {
    /// So many pods are always let go.
    pub pods: usize,
    /// So many percent of the enforced pods are always let go.
    pub percent: usize,
    /// Summed over this time.
    pub window: SignedDuration,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            pods: 10,
            percent: 5,
            window: SignedDuration::from_mins(10),
        }
    }
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            lan: Permission::Granted,
            special_use: Permission::Granted,
            upstreams: Permission::Granted,
            fail_open: Permission::Granted,
            node_uplink: Permission::Granted,
            observe: Permission::Granted,
            priority: i32::MAX,
        }
    }
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            // RFC 2544's benchmarking range, which no network routes, and a locally assigned prefix (RFC 4193).
            ranges: ["198.18.0.0/15", "fd50:7374:726e:198::/64"]
                .iter()
                .filter_map(|net| net.parse().ok())
                .collect(),
            ports: 51850..=51899,
            mtu: 1420,
            keepalive_seconds: 25,
        }
    }
}

/// The list where the administrator names none.
const KNOWN_RESOLVERS: &str = include_str!("../../data/encrypted-resolvers.txt");

/// An address is no name: the last label of a name begins with a letter.
fn known_resolvers() -> EncryptedResolvers {
    let lines = || resolver_lines(KNOWN_RESOLVERS);
    EncryptedResolvers {
        names: lines().filter_map(|line| line.parse().ok()).collect(),
        addresses: lines().filter_map(|line| line.parse().ok()).collect(),
    }
}

fn resolver_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

impl CompilerSettings {
    /// What tenants of the namespace may ask for.
    #[must_use]
    pub fn ceiling_of(&self, namespace: &Namespace) -> &Ceiling {
        self.ceilings.get(namespace).unwrap_or(&self.ceiling)
    }

    /// May the address be a node's? Node objects are the kubelets': an address outside of the node ranges counts for nothing,
    /// where there are any.
    #[must_use]
    pub fn is_node_address(&self, address: &Address) -> bool {
        self.node_ranges.is_empty() || self.node_ranges.iter().any(|range| range.contains(address))
    }
}

impl Default for CompilerSettings {
    fn default() -> Self {
        Self {
            pod_ranges: Vec::new(),
            node_ranges: Vec::new(),
            service_ranges: Vec::new(),
            node_ports: DEFAULT_NODE_PORTS,
            api_servers: BTreeSet::new(),
            dns: ClusterDns::default(),
            dns_upstreams: Vec::new(),
            encrypted_resolvers: known_resolvers(),
            tunnels: TunnelSettings::default(),
            validity: SignedDuration::from_hours(24),
            refresh: SignedDuration::from_hours(1),
            envelope_budget: 700 * 1024,
            ceiling: Ceiling::default(),
            ceilings: BTreeMap::new(),
            exempt_namespaces: ["kube-system", "postern-system"]
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            gate: GateSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_RESOLVERS, known_resolvers, resolver_lines};

    #[test]
    fn each_line_of_the_list_is_one_name_or_one_address_and_its_head_has_source_and_date() {
        let known = known_resolvers();
        let lines = resolver_lines(KNOWN_RESOLVERS).count();
        assert_eq!(known.names.len() + known.addresses.len(), lines);
        assert!(known.names.len() > 40 && known.addresses.len() > 40);
        for word in ["# Source: ", "# Date: "] {
            assert!(KNOWN_RESOLVERS.contains(word), "{word}");
        }
    }
}
