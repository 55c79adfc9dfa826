//! What belongs to the cluster: one document, which every node reads.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name_pattern::NamePattern;
use crate::newtypes::{Address, Namespace, Prefix, Serial};

/// The document that all nodes share. A node that joins and a Service that changes rewrite it, and no node's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterDocument {
    /// [`FORMAT_VERSION`](super::FORMAT_VERSION).
    pub version: u32,
    /// Grows with every change.
    pub serial: Serial,
    /// The first serial since which the operator knows every document that it published. A node's document that names a
    /// serial below it is not joined with this one: the store was set back in between, and what this document leaves out may
    /// have been left out by the backup (docs/adr/0021-one-document-for-all-nodes.md).
    pub follows: Serial,
    /// The serial of the last change of content. A refresh keeps it, and a node's document names it.
    pub changed: Serial,
    /// Serials that may have been published and lost with the store, oldest first. A node that reports one of them, and whose
    /// own document names an earlier one, has facts that the operator does not have.
    pub lost: Vec<SerialGap>,
    /// When it was compiled. RFC 3339.
    pub issued_at: Timestamp,
    /// When it stops being in force. RFC 3339.
    pub not_after: Timestamp,
    /// Namespaces with a policy in them or with the `deny` label: a pod of these that is not listed is held.
    pub guarded_namespaces: BTreeSet<Namespace>,
    /// What is the cluster's.
    pub cluster: Cluster,
}

/// The serials between two, neither of them included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialGap {
    /// The last serial before it that the operator knows; 0: it knows none.
    pub after: Serial,
    /// The first serial behind it.
    pub before: Serial,
}

impl SerialGap {
    /// Whether a serial lies in it.
    #[must_use]
    pub fn contains(&self, serial: Serial) -> bool {
        self.after < serial && serial < self.before
    }
}

/// What belongs to the cluster. `inside` is made of pod ranges, node addresses and API server endpoints, never of
/// service ranges: an untranslated service address leaves the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Pod ranges of the whole cluster, sorted.
    pub pod_ranges: Vec<Prefix>,
    pub service_ranges: Vec<Prefix>,
    /// Addresses of every node.
    pub node_addresses: BTreeSet<Address>,
    /// Load-balancer and external addresses of Services, but no node's: every node may translate connections to them.
    pub service_addresses: BTreeSet<Address>,
    /// Ports at which a node may translate a connection to an endpoint anywhere (NodePorts): sorted and disjoint.
    pub node_ports: Vec<PortSpan>,
    /// External and load-balancer addresses that are a node's, each with a port of its Service: other nodes translate them
    /// as they translate a NodePort.
    pub node_services: BTreeSet<SocketAddr>,
    /// API server endpoints that may lie outside the ranges: inside with their port only.
    pub api_servers: BTreeSet<SocketAddr>,
    /// Where tunnel addresses are taken from.
    pub tunnel_ranges: Vec<Prefix>,
    /// Where gateways listen: not for pods.
    pub tunnel_endpoints: BTreeSet<SocketAddr>,
    /// The cluster's own names.
    pub dns: ClusterDns,
    /// What pods whose names are filtered or blocked do not resolve names by.
    #[serde(default, skip_serializing_if = "EncryptedResolvers::is_empty")]
    pub encrypted_resolvers: EncryptedResolvers,
}

/// Resolvers outside of the cluster that answer over HTTPS (RFC 8484).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EncryptedResolvers {
    pub names: BTreeSet<NamePattern>,
    pub addresses: BTreeSet<Address>,
}

impl EncryptedResolvers {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.addresses.is_empty()
    }
}

/// Ports of any protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpan {
    pub from: u16,
    pub to: u16,
}

impl PortSpan {
    /// As few spans as say the same, sorted and disjoint. O(n · log n).
    #[must_use]
    pub fn joined(spans: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut spans: Vec<Self> = spans.into_iter().collect();
        spans.sort_unstable();
        let mut joined: Vec<Self> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.from <= last.to.saturating_add(1) => {
                    last.to = last.to.max(span.to);
                }
                _ => joined.push(span),
            }
        }
        joined
    }
}

/// The default of `--service-node-port-range` of an API server.
pub const DEFAULT_NODE_PORTS: PortSpan = PortSpan {
    from: 30_000,
    to: 32_767,
};

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            self.from.fmt(f)
        } else {
            write!(f, "{}-{}", self.from, self.to)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterDns {
    /// The cluster domain without a trailing dot, for example `cluster.local`. Empty: unknown.
    pub domain: String,
    /// The resolver's addresses, service addresses allowed.
    pub addresses: Vec<Address>,
}

#[cfg(test)]
mod tests {
    use super::PortSpan;

    #[test]
    fn spans_that_overlap_or_touch_become_one() {
        let span = |(from, to)| PortSpan { from, to };
        let spans = [
            (443, 443),
            (85, 100),
            (80, 90),
            (101, 101),
            (60_000, 65_535),
        ]
        .map(span);
        assert_eq!(
            PortSpan::joined(spans),
            [(80, 101), (443, 443), (60_000, 65_535)].map(span)
        );
    }
}
