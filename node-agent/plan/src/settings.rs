//! What the node knows without any intent: enough to seal before the first contact with anybody.

use std::collections::BTreeSet;

use postern_intent::{Address, Mark, Prefix};

use crate::host::MaskedMark;

/// The node's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Pod ranges of the cluster.
    pub pod_ranges: Vec<Prefix>,
    /// Pod ranges of this node.
    pub local_pod_ranges: Vec<Prefix>,
    pub service_ranges: Vec<Prefix>,
    /// Node addresses or ranges.
    pub node_ranges: Vec<Prefix>,
    /// This node's own addresses.
    pub own_addresses: BTreeSet<Address>,
    /// Interface names, or patterns with a trailing `*`, behind which pods are.
    pub pod_links: Vec<String>,
    /// Our bits of the firewall mark.
    pub mark_mask: u32,
    /// UDP and TCP port of the node's DNS forwarder.
    pub dns_port: u16,
    /// Is the XFRM lock wanted?
    pub second_lock: SecondLock,
}

/// Whether the XFRM lock is used. Off where IPsec is in use on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondLock {
    /// It is kept in force.
    On,
    /// It is not touched.
    Off,
}

/// Routing protocol number of our routes and rules (`rtm_protocol`, user range of rtnetlink(7)).
pub const ROUTE_PROTOCOL: u8 = 200;
/// Priority of the rules from tunnel addresses.
pub const FROM_RULE_PRIORITY: u32 = 10_005;
/// Priority of the rules by mark.
pub const MARK_RULE_PRIORITY: u32 = 10_010;
/// Metric of a route into a tunnel.
pub const TUNNEL_METRIC: u32 = 100;
/// Metric of the unreachable default below it: the highest that still leaves room for nothing.
pub const UNREACHABLE_METRIC: u32 = 4_278_198_272;
pub const POD_LINKS: [&str; 5] = ["cni0", "cbr0", "cali*", "lxc*", "veth*"];
/// Default mask of the firewall mark: no other known component uses these bits.
pub const MARK_MASK: u32 = 0x70;
/// Default port of the DNS forwarder.
pub const DNS_PORT: u16 = 5300;
/// XFRM policies: allow traffic between pods.
pub const LOCK_INSIDE_PRIORITY: u32 = 1000;
/// XFRM policies: allow what is marked.
pub const LOCK_MARK_PRIORITY: u32 = 2000;
/// XFRM policies: block everything else.
pub const LOCK_BLOCK_PRIORITY: u32 = 3000;

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            pod_ranges: Vec::new(),
            local_pod_ranges: Vec::new(),
            service_ranges: Vec::new(),
            node_ranges: Vec::new(),
            own_addresses: BTreeSet::new(),
            pod_links: POD_LINKS.iter().map(ToString::to_string).collect(),
            mark_mask: MARK_MASK,
            dns_port: DNS_PORT,
            second_lock: SecondLock::On,
        }
    }
}

impl NodeSettings {
    /// A mark under our mask.
    #[must_use]
    pub const fn masked(&self, mark: Mark) -> MaskedMark {
        MaskedMark {
            value: mark.under(self.mark_mask),
            mask: self.mark_mask,
        }
    }

    /// Is the interface a pod link by the setting?
    #[must_use]
    pub fn is_pod_link(&self, name: &str) -> bool {
        self.pod_links
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => pattern == name,
            })
    }
}
